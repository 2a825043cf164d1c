"""A transposed copy, made of squares of as many rows as a vector has entries."""

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .vectors import BYTES, Builder, index

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@intrinsic
def _square(typing_context, A, out, i, j):
    """out[j : j + lanes, i : i + lanes] ← A[i : i + lanes, j : j + lanes]ᵀ."""

    def generate(context, builder, signature, arguments):
        b = Builder(context, builder, A.dtype)
        a_, o_ = (context.make_array(t)(context, builder, v) for t, v in zip((A, out), arguments[:2], strict=True))
        i_, j_ = arguments[2:]
        rows = [b.load(b.at(a_, builder.add(i_, index(r)), j_), None) for r in range(b.lanes)]
        # Quarters of a square change places, then quarters of its quarters, and so on.
        half = b.lanes // 2
        while half:
            number = ir.IntType(32)
            lower = [lane if not lane & half else b.lanes + lane - half for lane in range(b.lanes)]
            upper = [lane + half if not lane & half else b.lanes + lane for lane in range(b.lanes)]
            masks = [ir.Constant(ir.VectorType(number, b.lanes), lanes) for lanes in (lower, upper)]
            for r in range(b.lanes):
                if not r & half:
                    pair = rows[r], rows[r + half]
                    rows[r], rows[r + half] = (builder.shuffle_vector(*pair, mask) for mask in masks)
            half //= 2
        for c, row in enumerate(rows):
            b.store(row, b.at(o_, builder.add(j_, index(c)), i_), None)
        return context.get_dummy_value()

    return types.void(A, out, types.intp, types.intp), generate


@_jit
def transpose(A, out):
    """out ← Aᵀ.

    A : (m, n) float, out : (n, m), both with contiguous rows
    """
    m, n = A.shape
    lanes = BYTES // A.itemsize
    whole_rows, whole_columns = m - m % lanes, n - n % lanes
    for i in range(0, whole_rows, lanes):
        for j in range(0, whole_columns, lanes):
            _square(A, out, i, j)
    for i in range(m):
        for j in range(whole_columns if i < whole_rows else 0, n):
            out[j, i] = A[i, j]
