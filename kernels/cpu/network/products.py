"""Products of dense layers, in tiles small enough for those kernels of BLAS that copy nothing.

A larger product first copies its factors into an order of its own: up to a fifth of its time where a batch has few
rows, and done again by every thread for its part (dense rows of bench/results/vae.csv, before and after).
"""

from .._engine.jit import jit
from ..conv.gemm import SMALL, gemm

# Rows and columns of a tile; of factors that both lie along the terms, tiles have fewer numbers, or BLAS copies.
_TILE, _THIN = (64, 64), (24, 48)


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
