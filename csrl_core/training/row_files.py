"""The samples of files, which are read row by row or many at a time.

Files are read by position and not through the memory map: a file that another program cuts short is an error message
then and not a dead process, and what has been read does not stay among the process's memory.
"""

import os
import weakref
from dataclasses import dataclass
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
        strides = np.array([part.stride for part in self.parts])[files]
        apart = (np.diff(rows) - 1) * strides[1:] > GAP
        cuts = np.flatnonzero(apart | (np.diff(files) > 0)) + 1
        for group in np.split(np.arange(len(rows)), cuts):
            for first in range(0, len(group), BLOCK):
                own = group[first : first + BLOCK]
                self._read_near(int(files[own[0]]), rows[own], order[own], raw)

    def _read_near(self, number, rows, places, raw):
        """Fill ``raw[places]`` with rows of one file, which rise."""
        part, size = self.parts[number], raw.strides[0]
        start = int(rows[0]) - (int(self._ends[number]) - part.shape[0])
        offset, span = part.offset + start * part.stride, int(rows[-1] - rows[0])
        if span == 0 and len(rows) == 1:
            place = int(places[0])
            self._fill(number, memoryview(raw[place : place + 1]).cast("B"), offset)
            return
        read = np.empty((span + 1) * part.stride, np.uint8)
        self._fill(number, memoryview(read)[: span * part.stride + size], offset)
        whole = read.reshape(span + 1, part.stride)[:, :size]
        raw.view(np.uint8)[places] = whole[rows - rows[0]]

    def _fill(self, number, view, offset):
        """Read into a buffer from a byte of a file on."""
        file, done = self._file(number), 0
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
        if number not in self._open:
            while len(self._open) >= OPEN_FILES:
                os.close(self._open.pop(next(iter(self._open))))
            self._open[number] = os.open(self.parts[number].path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        return self._open[number]

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
