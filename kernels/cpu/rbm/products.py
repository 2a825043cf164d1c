"""Products of units and weights: BLAS, or one of two faster ways where the units' values allow it.

    sparse      mostly zeros, as images are: lists of what is not
    subsets     zeros and ones, as sampled units are: sums of subsets of the other factor's rows

What the values are is looked at, at the price of reading them once; the product is the same to rounding.
"""

import numpy as np
from numba import njit, uintp

from . import sparse, subsets

SEVERAL = 24  # rows from which the faster ways pay
_SPARSE, _SPARSE_BITS = 0.25, 0.15  # parts of entries up to which lists pay, beside BLAS and beside subsets
_SQUARE = 16  # rows and columns of W that are transposed at a time

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


def product(A, B, out, add=False):
    """out ← A B, or out + A B where ``add``.

    A : (m, p) float, units, contiguous; B : (p, n), contiguous or the transpose of what is; out : (m, n), contiguous
    Cost: 2 m n p flops by BLAS
    """
    listed, others = sparse.count(A) if len(A) >= SEVERAL else (A.size, A.size)
    bits = others == 0
    if listed > A.size * (1 if bits else _SPARSE):
        np.matmul(A, B, out=out) if not add else np.add(out, A @ B, out=out)
        return
    if not B.flags.c_contiguous:
        B = transposed(B.T)
    if not add:
        out[...] = 0
    if listed <= A.size * (_SPARSE_BITS if bits else _SPARSE):
        sparse.multiply(A, B, out)
    else:
        subsets.multiply(A, B, out)


def transposed(W):
    """A transposed copy. NumPy's takes three times as long where rows lie a power of two apart.

    W : (d, m) float, contiguous; returns (m, d)
    """
    out = np.empty(W.shape[::-1], W.dtype)
    _transpose(W, out)
    return out


@_jit
def _transpose(W, out):
    d, m = W.shape
    rows, columns = d - d % _SQUARE, m - m % _SQUARE
    for i in range(0, rows, _SQUARE):
        for j in range(0, columns, _SQUARE):
            _transpose_square(W, out, uintp(i), uintp(j))
    for i in range(d):
        for j in range(columns if i < rows else 0, m):
            out[j, i] = W[i, j]


@_jit
def _transpose_square(W, out, i, j):
    for b in range(_SQUARE):
        for a in range(_SQUARE):
            out[j + uintp(b), i + uintp(a)] = W[i + uintp(a), j + uintp(b)]
