"""Samples on disk: rows are read when they are needed, so that data may be larger than memory.

`Samples` stand where an array X (n, d) stands otherwise. They have its shape, dtype and length; ``X[rows]`` reads rows,
by slice or by numbers, into a new array. They are no array: ``np.asarray(X)`` would hold all of them, and raises.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from csrl_core.backends import as_numpy


class SamplesLostError(ConnectionError):
    """Samples cannot be read any more: what holds them has gone."""


BLOCK = 8192  # rows read at a time; as many as a full pass computes with


def blocks(n, rows=BLOCK):
    """Slices of the rows 0 … n − 1, at most so many rows long."""
    return [slice(first, min(first + rows, n)) for first in range(0, n, rows)]


class Samples(ABC):
    """Samples (n, d) that are read when they are indexed.

    shape : (n, d); dtype : float32 or float64, of the arrays that indexing gives
    frame : an empty data frame with the names of the columns, None where these have none
    on_workers : bool, whether the workers of a cluster hold them
    elsewhere : bool, whether workers compute what `map` asks for; sums are then added up block by block
    """

    ndim = 2
    frame = None
    on_workers = elsewhere = False
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

    def map(self, function, *beside):
        """``function(block, *others)`` of every block of rows, one after the other; others are the rows of ``beside``.

        beside : arrays or `Samples` with a row for each of the samples
        """
        for rows in blocks(len(self)):
            yield function(self[rows], *(array[rows] for array in beside))

    # What NumPy's arrays have as methods, a block at a time

    def clip(self, low, high):
        """The samples with values between ``low`` and ``high``."""
        return self.changed(lambda rows: rows.clip(low, high))

    @cached_property
    def _extremes(self):
        """The least and the greatest value of every column, (2, d)."""
        low = high = None
        for least, greatest in self.map(lambda block: (block.min(axis=0), block.max(axis=0))):
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
        return column_sums(self, lambda rows: rows.astype(np.float64)) / len(self)

    def var(self, axis=0, dtype=np.float64):
        """Variances (d,) of the columns, float64."""
        mean = self.mean()
        return column_sums(self, lambda rows: np.square(rows - mean)) / len(self)

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

    @property
    def on_workers(self):
        """As of the other samples."""
        return self.of.on_workers

    @property
    def elsewhere(self):
        """As of the other samples."""
        return self.of.elsewhere

    def map(self, function, *beside):
        """As `Samples.map`."""
        change = self.function
        return self.of.map(lambda block, *others: function(change(block), *others), *beside)

    def _rows(self, numbers):
        return self.function(self.of._rows(numbers))


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


def mapped(X, function, *beside):
    """`Samples.map` of `Samples`, or of an array."""
    if isinstance(X, Samples):
        return X.map(function, *beside)
    return (function(X[rows], *(array[rows] for array in beside)) for rows in blocks(len(X)))


def column_sums(X, function, *beside):
    """Σ over rows of what ``function(rows, *others)`` makes of blocks of X: (d,) float64. beside : as of `Samples.map`

    Row is added to row, whatever the blocks, as NumPy's sum over the first axis adds them; but of samples elsewhere
    each block by itself.
    """
    if X.elsewhere:
        return sum(X.map(lambda rows, *others: function(rows, *others).sum(axis=0), *beside))
    total = None
    for block in X.map(function, *beside):
        total = block.sum(axis=0) if total is None else np.concatenate([total[None], block]).sum(axis=0)
    return total
