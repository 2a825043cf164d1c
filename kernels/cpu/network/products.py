"""Products of dense layers, in tiles small enough for those kernels of BLAS that copy nothing.

A larger product first copies its factors into an order of its own: up to a fifth of its time where a batch has few
rows, and done again by every thread for its part (dense rows of bench/results/vae.csv, before and after).
"""

from functools import lru_cache

import numpy as np
from threadpoolctl import ThreadpoolController

from .._engine.jit import jit
from ..conv.gemm import SMALL, gemm

_COPY_NOTHING = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # OpenBLAS's names for processors with AVX-512
# Rows and columns of a tile; of factors that both lie along the terms, tiles have fewer numbers, or BLAS copies.
_TILE, _THIN = (64, 64), (24, 48)


@lru_cache(maxsize=1)
def in_tiles():
    """Whether BLAS has kernels that copy nothing: with others a step takes 1.1 to 1.5 times as long in tiles."""
    return any(library.get("architecture") in _COPY_NOTHING for library in ThreadpoolController().info())


def multiply(turned_a, turned_b, a, b, out):
    """Out ← op(a) op(b), in tiles or whole. a, b, out : (contiguous matrix, slice of rows, slice of columns)"""
    if not in_tiles():
        A, B, C = (matrix[rows, columns] for matrix, rows, columns in (a, b, out))
        np.matmul(A.T if turned_a else A, B.T if turned_b else B, out=C)
        return
    m, k = reversed(_size(a)) if turned_a else _size(a)
    n = _size(b)[0 if turned_b else 1]
    product(turned_a, turned_b, m, n, k, *_flat(*a), *_flat(*b), *_flat(*out))


def _size(part):
    return [own.stop - own.start for own in part[1:]]


def _flat(matrix, rows, columns):
    """(the matrix from its entry (first row, first column) on, numbers from a row to the next)."""
    width = matrix.shape[1]
    return matrix.reshape(-1)[rows.start * width + columns.start :], width


@jit
def product(turned_a, turned_b, m, n, k, A, lda, B, ldb, C, ldc):
    """C ← op(A) op(B), as ``gemm`` does it, which has the arguments."""
    rows, columns = _THIN if turned_b else _TILE
    terms = -(-k // -(-k * rows * columns // SMALL))
    row, term_of_a = (1, lda) if turned_a else (lda, 1)
    column, term_of_b = (ldb, 1) if turned_b else (1, ldb)
    for j in range(0, n, columns):
        for q in range(0, k, terms):
            for i in range(0, m, rows):
                sizes = min(rows, m - i), min(columns, n - j), min(terms, k - q)
                a, b = A[i * row + q * term_of_a :], B[j * column + q * term_of_b :]
                gemm(turned_a, turned_b, *sizes, a, lda, b, ldb, q > 0, C[i * ldc + j :], ldc)
