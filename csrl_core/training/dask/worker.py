"""What a Dask worker does with a partition: look at it, take rows of it, compute with it."""

import ctypes
import pickle
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from csrl_core import backends
from csrl_core.training.on_disk import BLOCK, blocks

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
IN_CACHE = 2**23  # bytes of a block of rows in a pass: larger ones are copied, changed and summed in memory
_ONE = threading.Lock()  # tasks compute one after the other, each with all threads of the worker


@contextmanager
def threads(backend, number):
    """Context in which a task computes with so many threads, and no other task beside it."""
    with _ONE, backend.threads(number):
        yield


def keep_freed_memory():
    """Let glibc keep up to 64 MB of freed memory, as it comes to do by itself where nothing else was set.

    Dask's nanny sets MALLOC_TRIM_THRESHOLD_, with which all larger arrays are new pages of the system.
    """
    if sys.platform == "linux":
        allocate = getattr(ctypes.CDLL(None), "mallopt", None)
        for parameter, size in (_MMAP_THRESHOLD, 2**25), (_TRIM_THRESHOLD, 2**26):
            if allocate is not None:
                allocate(parameter, size)


def number_of_threads():
    """Threads of the Dask worker that runs this task; None, which is all, outside of such a task."""
    distributed = sys.modules.get("distributed")
    try:
        return None if distributed is None else distributed.get_worker().state.nthreads
    except ValueError:
        return None


class Found(NamedTuple):
    """What a partition is.

    kind : str, its type for messages; shape; dtype : None where it is no array
    bad : (row, column, "NaN" or "infinity") of the first value that is not finite, or None
    """

    kind: str
    shape: tuple
    dtype: np.dtype | None
    bad: tuple | None = None


def look_at(part):
    """The `Found` of a partition."""
    kind = f"{type(part).__module__.split('.')[0]}.{type(part).__name__}"
    if not isinstance(part, np.ndarray):
        return Found(kind, tuple(getattr(part, "shape", ())), None)
    bad = None
    if part.dtype.kind == "f" and part.ndim == 2 and not np.isfinite(part).all():
        i, j = np.argwhere(~np.isfinite(part))[0]
        bad = int(i), int(j), "NaN" if np.isnan(part[i, j]) else "infinity"
    return Found(kind, part.shape, part.dtype, bad)


def values(frame, columns, dtype, name):
    """The numbers of a data frame as an array (m, d); missing values are NaN.

    columns : names that it must have; name : of the data frame, for messages

    Raises
    ------
    ValueError
        It has others, or in another order.
    """
    if list(frame.columns) != columns:
        raise ValueError(f"{name} has the columns {list(frame.columns)}; expected those of the others, {columns}")
    return np.ascontiguousarray(frame.to_numpy(dtype=dtype, na_value=np.nan))


def take(part, rows):
    """Some rows of a partition. rows : slice, or (b,) int64"""
    return part[rows]


def take_into(array, part, rows):
    """``array[...] = part[rows]``, where it can be without a copy in between, while other threads run Python.

    rows : (b,) int64, from 0 to less than the partition has
    """
    if part.dtype == array.dtype and part.flags.c_contiguous:
        np.take(part, rows, axis=0, out=array, mode="clip")  # with "raise" there is a copy
    else:
        array[...] = part[rows]


def rows_of(part, rows, dtype, functions):
    """Rows of a partition as a fit sees them: (m, d), a new array.

    part : (m, d) array as it is stored; functions : what changes the rows, one after the other
    """
    array = np.ascontiguousarray(part[rows], dtype)
    if np.may_share_memory(array, part):
        array = array.copy()
    for function in functions:
        array = function(array)
    return array


class Pass(NamedTuple):
    """What a pass computes of every block of rows: ``function(block, *others)``.

    given : for every array beside None, or (dtype, functions) of `rows_of` where it is a partition as well
    """

    function: Callable
    given: list

    def __call__(self, part, dtype, beside):
        """List of results, one for each block of a partition. beside : arrays with its rows"""
        with threads(backends.get("numpy"), number_of_threads()):
            rows = max(1, min(BLOCK, IN_CACHE // max(1, part[:1].size * np.dtype(dtype).itemsize)))
            return [self._of_block(part, dtype, beside, piece) for piece in blocks(len(part), rows)]

    def _of_block(self, part, dtype, beside, rows):
        others = (
            array[rows] if how is None else rows_of(array, rows, *how)
            for array, how in zip(beside, self.given, strict=True)
        )
        return self.function(rows_of(part, rows, dtype, ()), *others)


def passed(function, parts, dtype, beside):
    """What a pickled `Pass` gives of partitions, a list. beside : for each of them the arrays with its rows"""
    function = pickle.loads(function)
    return [function(part, dtype, others) for part, others in zip(parts, beside, strict=True)]
