"""Products of units and weights, each the fastest way its operand allows, as functions at an address.

Compiled code that calls another function contains it, and so does what calls that one: products, which are long, would
be compiled into a dozen functions. Called by address each is compiled once for a dtype.

    real(A, B, out, add)    lists (``sparse``) where A is mostly zeros, else tiles (``product``)
    bits(packed, B, out, add)    sums of subsets (``subsets``), for a matrix of zeros and ones
    turned(A, B, out)    out ← A Bᵀ, by tiles

A function is int64 (words, add), of the address of three arrays' addresses, shapes and strides. It returns 1; what it
raises, where no memory is left, does not leave C code, so callers raise MemoryError where it returns anything else.
"""

from collections import namedtuple
from functools import cache

import numpy as np
from llvmlite import ir
from numba import cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .._engine.arrays import aligned, array_at
from .._engine.product import multiply, multiply_transposed
from .._engine.transpose import transpose
from .sparse import listed, multiply_listed
from .subsets import multiply_bits

SEVERAL = 24  # rows of a product for which it pays to make sums of subsets, or lists, first

Products = namedtuple("Products", "real bits turned")  # addresses

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)
# What the callers' compilation takes up: as functions of their own they would be compiled for every kind of array.
_inline = njit(nogil=True, cache=True, error_model="numpy", fastmath=False, inline="always")


@intrinsic
def _read(typing_context, words, i, dtype):
    """Array i of the words, of any strides."""
    array_type = types.Array(dtype.instance_type, 2, "A")

    def code(context, builder, signature, arguments):
        number = context.get_value_type(types.int64)
        words_ = builder.inttoptr(arguments[0], number.as_pointer())
        first = builder.mul(arguments[1], number(5))
        address, *numbers = (builder.load(builder.gep(words_, [builder.add(first, number(q))])) for q in range(5))
        return array_at(context, builder, array_type, address, numbers[:2], numbers[2:])

    return array_type(types.int64, types.int64, dtype), code


@intrinsic
def _call(typing_context, function, A, B, out, add):
    """Call the C function at an address with where three arrays lie; returns what it does, 1 unless it failed.

    The arrays are alive here, so nothing is freed meanwhile.
    """

    def code(context, builder, signature, arguments):
        number = context.get_value_type(types.int64)
        words = cgutils.alloca_once(builder, number, size=15)
        for place, (kind, value) in enumerate(zip(signature.args[1:4], arguments[1:4], strict=True)):
            array = context.make_array(kind)(context, builder, value)
            sizes = (*cgutils.unpack_tuple(builder, array.shape), *cgutils.unpack_tuple(builder, array.strides))
            for q, word in enumerate((builder.ptrtoint(array.data, number), *sizes)):
                builder.store(word, builder.gep(words, [number(5 * place + q)]))
        kind = ir.FunctionType(number, [number, number]).as_pointer()
        flag = builder.zext(arguments[4], number)
        return builder.call(builder.inttoptr(arguments[0], kind), [builder.ptrtoint(words, number), flag])

    return types.int64(types.int64, A, B, out, types.boolean), code


@_jit
def _check(status):
    # A function of its own: an exception that is raised in inlined code passes the caller's except.
    if status != 1:
        raise MemoryError("no memory is left for a product")


@_inline
def real(products, A, B, out, add):
    """out ← A B, or out + A B where ``add``.

    A : (m, p) float, its rows or its columns contiguous; B : (p, ≥ n), out : (m, n), with contiguous rows
    """
    _check(_call(products.real, A, B, out, add))


@_inline
def bits(products, packed, B, out, add):
    """The same for a matrix of zeros and ones. packed : (m, groups(p)) uint8, see ``subsets``"""
    _check(_call(products.bits, packed, B, out, add))


@_inline
def turned(products, A, B, out):
    """out ← A Bᵀ. A : (m, p) float, B : (n, p), with contiguous rows; out : (m, n)"""
    _check(_call(products.turned, A, B, out, False))


@cache
def products(dtype):
    """The functions' addresses for a dtype."""
    return Products(*(function.address for function in _functions(dtype)))


@cache  # which keeps them alive
def _functions(dtype):
    dtype = np.dtype(dtype).type
    compiled = cfunc(types.int64(types.int64, types.int64), cache=True, error_model="numpy", fastmath=False)

    @compiled
    def real(words, add):
        A, B, out = _read(words, np.int64(0), dtype), _read(words, np.int64(1), dtype), _read(words, np.int64(2), dtype)
        rows = A
        if min(A.shape) < SEVERAL:
            rows = A[:0]
        elif A.strides[1] != A.itemsize:
            copy = aligned(A.shape[0], A.shape[1], A)
            transpose(A.T, copy)
            rows = copy[:, :]
        columns, values, ends = listed(rows)
        if len(columns):
            multiply_listed(columns, values, ends, B, out, add > 0)
        else:
            multiply(A, B, out, add > 0)
        return 1

    @compiled
    def bits(words, add):
        multiply_bits(
            _read(words, np.int64(0), np.uint8),
            _read(words, np.int64(1), dtype),
            _read(words, np.int64(2), dtype),
            add > 0,
        )
        return 1

    @compiled
    def turned(words, add):
        multiply_transposed(
            _read(words, np.int64(0), dtype), _read(words, np.int64(1), dtype), _read(words, np.int64(2), dtype)
        )
        return 1

    return real, bits, turned
