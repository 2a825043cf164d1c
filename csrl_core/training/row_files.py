"""The samples of files, which are read row by row or many at a time.

Files are read by position and not through the memory map: a file that another program cuts short is an error message
then and not a dead process, and what has been read does not stay among the process's memory.
"""

import os
import weakref
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from csrl_core.training.on_disk import BLOCK, Samples

GAP = 8192  # bytes between two rows that are read and thrown away, which takes no longer than to ask for both
OPEN_FILES = 64  # most files that are open at a time


@dataclass(frozen=True)
class Part:
    """The samples of one file.

    stored : dtype in the file; offset : byte of the first sample; stride : bytes from one sample to the next
    """

    path: Path
    shape: tuple
    stored: np.dtype
    offset: int
    stride: int


class SampleFiles(Samples):
    """The samples of files, one file after the other. Every value that is read must be finite.

    parts : list of `Part` of the same width and dtype; dtype : of the arrays that are read; name : for messages
    """

    def __init__(self, parts, dtype, name="X"):
        self.parts, self.dtype, self.name = parts, np.dtype(dtype), name
        self._ends = np.cumsum([part.shape[0] for part in parts])
        self.shape = int(self._ends[-1]), parts[0].shape[1]
        self._open = {}
        self._closing = weakref.finalize(self, _close, self._open)

    def __reduce__(self):
        return SampleFiles, (self.parts, self.dtype, self.name)

    def _rows(self, numbers):
        stored = self.parts[0].stored
        raw = np.empty((len(numbers), self.shape[1]), stored)
        if raw.size:
            consecutive = isinstance(numbers, range) or (
                numbers[-1] - numbers[0] == len(numbers) - 1 and bool((np.diff(numbers) == 1).all())
            )
            if consecutive:
                self._read_consecutive(int(numbers[0]), raw)
            else:
                self._read_each(numbers, raw)
        array = raw.astype(self.dtype, copy=False)
        if stored.kind == "f" and not np.isfinite(array).all():
            raise self._not_finite(array, numbers)
        return array

    def _read_consecutive(self, first, raw):
        """Fill ``raw`` with the rows from ``first`` on."""
        done = 0
        while done < len(raw):
            number = int(np.searchsorted(self._ends, first + done, side="right"))
            part = self.parts[number]
            start = first + done - (int(self._ends[number]) - part.shape[0])
            count = min(len(raw) - done, part.shape[0] - start)
            if part.stride != raw.strides[0]:  # columns of a wider table
                self._read_each(np.arange(first + done, first + done + count), raw[done : done + count])
            else:
                piece = raw[done : done + count]
                self._fill(number, memoryview(piece).cast("B"), part.offset + start * part.stride)
            done += count

    def _read_each(self, numbers, raw):
        """Fill ``raw`` with the given rows, read in the order of the files, near ones together with what is between."""
        order = np.argsort(numbers, kind="stable")
        rows = numbers[order]
        files = np.searchsorted(self._ends, rows, side="right")
        begins = self._ends - [part.shape[0] for part in self.parts]
        offsets, strides = (np.array([getattr(part, name) for part in self.parts]) for name in ("offset", "stride"))
        at = offsets[files] + (rows - begins[files]) * strides[files]
        apart = (np.diff(at) > GAP + strides[files[1:]]) | (np.diff(files) > 0)
        cuts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(rows)]
        whole, size = memoryview(raw).cast("B"), raw.strides[0]
        places, file_of, byte_of = order.tolist(), files.tolist(), at.tolist()
        for first, stop in pairwise(cuts):
            if stop - first == 1:
                place = places[first] * size
                self._fill(file_of[first], whole[place : place + size], byte_of[first])
                continue
            for start in range(first, stop, BLOCK):
                near = slice(start, min(start + BLOCK, stop))
                self._read_near(file_of[start], at[near], order[near], raw)

    def _read_near(self, number, at, places, raw):
        """Fill ``raw[places]`` with rows of one file, which begin at the rising bytes ``at``."""
        stride, size, span = self.parts[number].stride, raw.strides[0], int(at[-1] - at[0])
        read = np.empty(span + stride, np.uint8)
        self._fill(number, memoryview(read)[: span + size], int(at[0]))
        raw.view(np.uint8)[places] = read.reshape(-1, stride)[(at - at[0]) // stride, :size]

    def _fill(self, number, view, offset):
        """Read into a buffer from a byte of a file on."""
        file = self._file(number)
        done = _read_at(file, view, offset)
        while done < len(view):
            count = _read_at(file, view[done:], offset + done)
            if not count:
                part = self.parts[number]
                raise OSError(
                    f"{part.path} ends at byte {offset + done}, where {self.name} had samples when it was opened "
                    f"({part.shape[0]} × {part.shape[1]} of {part.stored}); the file was changed while it was read"
                )
            done += count

    def _file(self, number):
        """The descriptor of a file, which is opened if it is not open."""
        file = self._open.get(number)
        if file is None:
            while len(self._open) >= OPEN_FILES:
                os.close(self._open.pop(next(iter(self._open))))
            file = self._open[number] = os.open(self.parts[number].path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        return file

    def _not_finite(self, array, numbers):
        i, j = np.argwhere(~np.isfinite(array))[0]
        row = int(numbers[int(i)])
        number = int(np.searchsorted(self._ends, row, side="right"))
        where, part = "", self.parts[number]
        if len(self.parts) > 1:
            where = f" (row {row - int(self._ends[number]) + part.shape[0]} of {part.path})"
        kind = "NaN" if np.isnan(array[i, j]) else "infinity"
        return ValueError(f"Input {self.name} contains {kind}: row {row}, column {j}{where}; expected finite numbers")


def _close(files):
    for file in files.values():
        os.close(file)


def _read_at(file, view, offset):
    """Read bytes from a place in a file; returns how many."""
    if hasattr(os, "preadv"):
        return os.preadv(file, [view], offset)
    os.lseek(file, offset, os.SEEK_SET)
    read = os.read(file, len(view))
    view[: len(read)] = read
    return len(read)
