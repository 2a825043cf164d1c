"""Products of units and weights: BLAS, or one of two faster ways where the units' values allow it.

    sparse      mostly zeros, as images are: lists of what is not
    subsets     zeros and ones, as sampled units are: sums of subsets of the other factor's rows

What the values are is looked at, at the price of reading them once; the product is the same to rounding. All arrays
are contiguous and of one float dtype.
"""

import numpy as np
from numba import uintp

from .._engine.jit import jit
from . import sparse, subsets

SEVERAL = 24  # rows from which the faster ways pay
SPARSE, SPARSE_BITS = 0.25, 0.15  # parts of entries up to which lists pay, beside BLAS and beside subsets
_SQUARE = 16  # rows and columns of W that are transposed at a time
BLAS, LISTS, SUBSETS = range(3)

_multiply_listed, _multiply_bits = sparse.multiply, subsets.multiply


@jit
def way(A):
    """How a product A B is best made: BLAS, LISTS or SUBSETS."""
    if len(A) < SEVERAL:
        return BLAS
    listed, others = sparse.count(A)
    if listed <= A.size * (SPARSE if others else SPARSE_BITS):
        return LISTS
    return BLAS if others else SUBSETS


@jit
def product(A, B, out, add):
    """out ← A B, or out + A B where ``add``.

    A : (m, p), units; B : (p, n); out : (m, n)
    Cost: 2 m n p flops by BLAS
    """
    how = way(A)
    part = np.empty(out.shape, out.dtype) if add and how == BLAS else out
    if how == BLAS:
        np.dot(A, B, part)
        if not add:
            return
    for i in range(len(out)):
        for j in range(out.shape[1]):
            if how == BLAS:
                out[i, j] += part[i, j]
            elif not add:
                out[i, j] = 0
    if how == LISTS:
        _multiply_listed(A, B, out)
    elif how == SUBSETS:
        _multiply_bits(A, B, out)


@jit
def transpose(W, out):
    """out ← Wᵀ, in squares: where rows lie a power of two apart, whole columns would leave the cache."""
    d, m = W.shape
    rows, columns = d - d % _SQUARE, m - m % _SQUARE
    for i in range(0, rows, _SQUARE):
        for j in range(0, columns, _SQUARE):
            _transpose_square(W, out, uintp(i), uintp(j))
    for i in range(d):
        for j in range(columns if i < rows else 0, m):
            out[j, i] = W[i, j]


@jit
def _transpose_square(W, out, i, j):
    for b in range(_SQUARE):
        for a in range(_SQUARE):
            out[j + uintp(b), i + uintp(a)] = W[i + uintp(a), j + uintp(b)]
