"""Samples on disk: rows are read when they are needed, so that data may be larger than memory.

`Samples` stand where an array X (n, d) stands otherwise. They have its shape, dtype and length; ``X[rows]`` reads rows,
by slice or by numbers, into a new array. They are no array: ``np.asarray(X)`` would hold all of them, and raises.

Files are read by position and not through the memory map: a file that another program cuts short is an error message
then and not a dead process, and what has been read does not stay among the process's memory.
"""

import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from csrl_core.backends import as_numpy

BLOCK = 8192  # rows read at a time; as many as a full pass computes with
GAP = 8192  # bytes between two rows that are read and thrown away, which takes no longer than to ask for both
OPEN_FILES = 64  # most files that are open at a time


def blocks(n):
    """Slices of the rows 0 … n − 1, at most `BLOCK` long."""
    return [slice(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK)]


class Samples(ABC):
    """Samples (n, d) that are read when they are indexed.

    shape : (n, d); dtype : float32 or float64, of the arrays that indexing gives
    """

    ndim = 2
    shape: tuple
    dtype: np.dtype

    @abstractmethod
    def _rows(self, numbers):
        """Rows (b, d), a new array. numbers : range with step 1, or (b,) int64, each from 0 to n − 1"""

    def __len__(self):
        return self.shape[0]

    @property
    def size(self):
        """The number of values, n d."""
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self):
        """The bytes that an array of all samples would take."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, rows):
        n = len(self)
        if isinstance(rows, slice):
            numbers = range(*rows.indices(n))
            return self._rows(numbers if numbers.step == 1 else np.array(numbers, np.int64))
        numbers = np.asarray(rows)
        if numbers.dtype.kind not in "iu" or numbers.ndim > 1:
            raise TypeError(f"samples on disk are indexed by a slice or by numbers of rows, got {rows!r}")
        low, high = (int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0)
        if low < -n or high >= max(n, 1):
            raise IndexError(f"row {low if low < -n else high} is out of range; there are {n} rows")
        numbers = np.where(numbers < 0, numbers + n, numbers).astype(np.int64)
        return self._rows(numbers) if numbers.ndim else self._rows(numbers[None])[0]

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            f"these are {len(self)} samples on disk, and an array of them would take {self.nbytes} bytes of memory; "
            f"X[first:stop] gives some rows as an array, X.load() all of them"
        )

    def load(self):
        """All samples as an array (n, d)."""
        return self[:]

    def changed(self, function, dtype=None):
        """The samples that ``function`` makes of blocks of rows, when they are read.

        function : (m, d) array, which it may change → (m, d) array, each row by itself
        dtype : of these arrays, if it is another one
        """
        return ChangedSamples(self, function, self.dtype if dtype is None else np.dtype(dtype))

    # What NumPy's arrays have as methods, a block at a time

    def clip(self, low, high):
        """The samples with values between ``low`` and ``high``."""
        return self.changed(lambda rows: rows.clip(low, high))

    @cached_property
    def _extremes(self):
        """The least and the greatest value of every column, (2, d)."""
        low = high = None
        for rows in blocks(len(self)):
            block = self[rows]
            least, greatest = block.min(axis=0), block.max(axis=0)
            low = least if low is None else np.minimum(low, least)
            high = greatest if high is None else np.maximum(high, greatest)
        return np.stack([low, high])

    def min(self, axis=None):
        """The least value, with ``axis=0`` of every column."""
        return self._extremes[0] if axis == 0 else self._extremes[0].min()

    def max(self, axis=None):
        """The greatest value, with ``axis=0`` of every column."""
        return self._extremes[1] if axis == 0 else self._extremes[1].max()

    def mean(self, axis=0, dtype=np.float64):
        """Means (d,) of the columns, float64."""
        return column_sums(self, lambda rows, numbers: rows.astype(np.float64)) / len(self)

    def var(self, axis=0, dtype=np.float64):
        """Variances (d,) of the columns, float64."""
        mean = self.mean()
        return column_sums(self, lambda rows, numbers: np.square(rows - mean)) / len(self)

    def std(self, axis=0, dtype=np.float64):
        """Standard deviations (d,) of the columns, float64."""
        return np.sqrt(self.var())


@dataclass(frozen=True, eq=False)
class ChangedSamples(Samples):
    """What a function of rows makes of other samples, see `Samples.changed`."""

    of: Samples
    function: Callable
    dtype: np.dtype

    @property
    def shape(self):
        """(n, d)."""
        return self.of.shape

    def _rows(self, numbers):
        return self.function(self.of._rows(numbers))


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


def is_on_disk(*arrays):
    """Whether any of these are `Samples`."""
    return any(isinstance(array, Samples) for array in arrays)


def on_host(array):
    """`Samples` as they are, and any other array on the host."""
    return array if isinstance(array, Samples) else as_numpy(array)


def loaded(*arrays):
    """The arrays, with `Samples` read into memory; what was one object is one array."""
    done = {}
    for array in arrays:
        if id(array) not in done:
            done[id(array)] = array.load() if isinstance(array, Samples) else array
    return [done[id(array)] for array in arrays]


def column_sums(X, function):
    """Σ over rows of what ``function(rows, slice)`` makes of blocks of X: (d,) float64.

    Row is added to row, whatever the blocks, as NumPy's sum over the first axis adds them.
    """
    total = None
    for rows in blocks(len(X)):
        block = function(X[rows], rows)
        total = block.sum(axis=0) if total is None else np.concatenate([total[None], block]).sum(axis=0)
    return total
