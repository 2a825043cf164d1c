"""Arrays as the CPU kernels want them."""

import math

import numpy as np
from numba import njit


def empty(shape, dtype):
    """An array that begins at a multiple of 64 bytes, so that no vector straddles a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def plain(array, dtype=None):
    """The array as the kernels are compiled for it: contiguous and writeable. Nothing is written to it."""
    if dtype is not None and array.dtype != dtype:
        array = array.astype(dtype)
    return array if array.flags.carray else array.copy()


_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@_jit
def copy_row(source, out):
    """Out ← source. An assignment of slices, which looks for overlaps, takes several times as long."""
    for i in range(len(out)):
        out[i] = source[i]


@_jit
def aligned(rows, columns, like):
    """As `empty`, (rows, columns) of the dtype of ``like``, in compiled code."""
    size = rows * columns
    memory = np.empty(size + 64 // like.itemsize, like.dtype)
    start = -memory.ctypes.data % 64 // like.itemsize
    return memory[start : start + size].reshape(rows, columns)
