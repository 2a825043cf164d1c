"""Arrays as the CPU kernels want them."""

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from .vectors import Builder


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


def array_at(context, builder, array_type, address, shape, strides):
    """For intrinsics: the array of that type which lies at an address, an int64; shape and strides : lists of int64."""
    kind = context.get_data_type(array_type.dtype)
    array, size = context.make_array(array_type)(context, builder), context.get_abi_sizeof(kind)
    data, size = builder.inttoptr(address, kind.as_pointer()), context.get_constant(types.intp, size)
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
    return array._getvalue()


@intrinsic
def _fetch(typing_context, A, i, j):
    """Ask for the cache line of A[i, j], which will be read."""

    def generate(context, builder, signature, arguments):
        b, a = Builder(context, builder, A.dtype), context.make_array(A)(context, builder, arguments[0])
        b.expect(b.at(a, *arguments[1:]), written=False)
        return context.get_dummy_value()

    return types.void(A, types.intp, types.intp), generate


@_jit
def fetch_row(A, i, left, right):
    """Ask for A[i, left:right], so that it is in cache when it is read."""
    for j in range(left, right, 64 // A.itemsize):
        _fetch(A, i, j)
    _fetch(A, i, right - 1)
