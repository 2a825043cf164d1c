"""Arrays as the CPU kernels want them."""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic


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


@intrinsic
def _fetch(typing_context, A, i, j):
    """Ask for the cache line of A[i, j], which will be read."""

    def generate(context, builder, signature, arguments):
        a, number = context.make_array(A)(context, builder, arguments[0]), ir.IntType(32)
        strides = cgutils.unpack_tuple(builder, a.strides)
        offset = builder.add(*(builder.mul(place, stride) for place, stride in zip(arguments[1:], strides)))
        byte = cgutils.pointer_add(builder, a.data, offset, ir.IntType(8).as_pointer())
        # to be read, into the second-level cache, as data
        how = number(0), number(2), number(1)
        kind = ir.FunctionType(ir.VoidType(), [byte.type, *(value.type for value in how)])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0"), [byte, *how])
        return context.get_dummy_value()

    return types.void(A, types.intp, types.intp), generate


@_jit
def fetch_row(A, i, left, right):
    """Ask for A[i, left:right], so that it is in cache when it is read."""
    for j in range(left, right, 64 // A.itemsize):
        _fetch(A, i, j)
    _fetch(A, i, right - 1)
