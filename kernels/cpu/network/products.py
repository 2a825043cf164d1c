"""Products of dense layers, in tiles small enough for those kernels of BLAS that copy nothing.

A larger product first copies its factors into an order of its own: a fifth of its time where a batch has few rows, and
done again by every thread for its part (piece "tiles of dense products" in bench/results/ladder_vae.csv).
"""

from .._engine.jit import jit
from ..conv.gemm import SMALL, gemm
from ..dense import activate_row

# Rows and columns of a tile; of factors that both lie along the terms, tiles have fewer numbers, or BLAS copies.
_TILE, _THIN = (64, 64), (24, 48)
_ROWS = 128  # between a product and what follows it


@jit
def product(turned_a, turned_b, m, n, k, A, lda, B, ldb, C, ldc):
    """C ← op(A) op(B), as ``gemm`` does it, which has the arguments."""
    rows, columns = _THIN if turned_b else _TILE
    parts = -(-k * rows * columns // SMALL)
    terms = -(-k // parts)
    for j in range(0, n, columns):
        for q in range(0, k, terms):
            for i in range(0, m, rows):
                a = A[q * lda + i :] if turned_a else A[i * lda + q :]
                b = B[j * ldb + q :] if turned_b else B[q * ldb + j :]
                sizes = min(rows, m - i), min(columns, n - j), min(terms, k - q)
                gemm(turned_a, turned_b, *sizes, a, lda, b, ldb, q > 0, C[i * ldc + j :], ldc)


@jit
def forward(X, W, bias, activation, first, stop, Y):
    """Columns first … stop − 1 of Y ← act(X W + b), some rows at a time, so that they are in cache for b and act."""
    k, m = W.shape
    for i in range(0, len(X), _ROWS):
        x, y = X[i : i + _ROWS], Y[i : i + _ROWS]
        sizes = len(x), stop - first, k
        product(False, False, *sizes, x.reshape(-1), k, W.reshape(-1)[first:], m, y.reshape(-1)[first:], m)
        for r in range(len(y)):
            row = y[r, first:stop]
            if len(bias):
                for f in range(len(row)):
                    row[f] += bias[first + f]
            activate_row(row, activation)
