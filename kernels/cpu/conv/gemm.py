"""Products of parts of flat arrays, inside of compiled code, by the function of BLAS that ``np.dot`` calls there.

What ``np.dot`` cannot: rows that lie apart, and adding to what there is.
"""

import numpy as np
from numba import types
from numba.np.linalg import ensure_blas

from .._engine.jit import jit

ensure_blas()
_pointer, _int, _char = types.voidptr, types.intp, types.char
# kind, transposed B and A, sizes, α, B, from row to row, A, from row to row, β, C, from row to row: BLAS counts columns
# first, so that the factors change places.
_xxgemm = types.ExternalFunction(
    "numba_xxgemm",
    types.intc(
        *(_char, _char, _char, _int, _int, _int),
        *(_pointer, _pointer, _int, _pointer, _int, _pointer, _pointer, _int),
    ),
)
_FLOAT, _DOUBLE, _PLAIN, _TURNED = (ord(letter) for letter in "sdnt")
# Products of at most so many multiplications go to kernels of OpenBLAS (with AVX-512) that copy nothing: 110 GFLOP/s
# where larger ones reach 70 to 100.
SMALL = 1_000_000


@jit
def gemm(turned_a, turned_b, m, n, k, A, lda, B, ldb, add, C, ldc):
    """C ← op(A) op(B), or C + op(A) op(B) where ``add``.

    turned_a, turned_b : bool, whether A is stored as (k, m) and B as (n, k); m, n, k : sizes of the product
    A, B, C : flat, from their first number on, of one float dtype; lda, ldb, ldc : numbers from a row to the next
    """
    factors = np.empty(2, A.dtype)
    factors[0], factors[1] = 1, 1 if add else 0
    _xxgemm(
        _FLOAT if A.itemsize == 4 else _DOUBLE,
        _TURNED if turned_b else _PLAIN,
        _TURNED if turned_a else _PLAIN,
        *(n, m, k),
        *(factors.ctypes, B.ctypes, ldb, A.ctypes, lda, factors[1:].ctypes, C.ctypes, ldc),
    )
