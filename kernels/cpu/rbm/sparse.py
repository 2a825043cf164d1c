"""Products with a matrix that is mostly zeros: each of its rows as a list of what is not.

An entry of A costs an addition of a row of B, times itself, read in the first-level cache; zeros cost nothing. Tiles
(``product``) take two thirds of that time for every entry, zeros too.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .._engine.arrays import aligned, copy_row
from .._engine.vectors import BYTES, REGISTERS, Builder, index

_VECTORS = min(256 // BYTES, REGISTERS // 2)  # columns of a block, as vectors: sums that need not wait for each other
_DEPTH = 28672 // (_VECTORS * BYTES) // 16 * 16  # rows of B whose block stays in the first-level cache
_DENSE = 1 / 3  # part of entries from which lists do not pay
_SAMPLE = 16  # rows that are counted before all are listed

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@intrinsic
def _list_vector(typing_context, A, columns, values, i, j, right, position):
    """List what is not 0 of a vector of A[i] from j on, up to ``right``, from ``position`` on; returns the next one."""

    def generate(context, builder, signature, arguments):
        b = Builder(context, builder, A.dtype)
        kinds = zip((A, columns, values), arguments[:3], strict=True)
        a_, c_, v_ = (context.make_array(t)(context, builder, v) for t, v in kinds)
        i_, j_, right_, position_ = arguments[3:]
        entries = b.load(b.at(a_, i_, j_), b.lane_mask(builder.sub(right_, j_)))
        listed = builder.fcmp_unordered("!=", entries, b.zero)
        number = ir.IntType(32)
        lanes = ir.Constant(ir.VectorType(number, b.lanes), list(range(b.lanes)))
        places = builder.add(lanes, b.spread(builder.trunc(j_, number), ir.VectorType(number, b.lanes)))
        for array, vector, name in ((v_, entries, b.suffix), (c_, places, f"v{b.lanes}i32")):
            place = builder.bitcast(b.at(array, i_, position_), vector.type.as_pointer())
            b.call(f"llvm.masked.compressstore.{name}", ir.VoidType(), vector, place, listed)
        bits = builder.bitcast(listed, ir.IntType(b.lanes))
        count = b.call(f"llvm.ctpop.i{b.lanes}", bits.type, bits)
        return builder.add(position_, builder.zext(count, index))

    return types.intp(A, columns, values, types.intp, types.intp, types.intp, types.intp), generate


@_jit
def _list_rows(A, lo, hi, columns, values, ends):
    lanes, total, (_, p) = BYTES // A.itemsize, 0, A.shape
    for i in range(lo, hi):
        position = 0
        for c in range(ends.shape[1]):
            for j in range(c * _DEPTH, min((c + 1) * _DEPTH, p), lanes):
                position = _list_vector(A, columns, values, i, j, p, position)
            ends[i, c] = position
        total += position
    return total


@_jit
def listed(A):
    """Lists of what is not 0 in the rows of A, or empty ones if that is too much.

    A : (m, p) float with contiguous rows
    returns columns (m, p) int32, values (m, p), ends (m, ·) int64: where the list of each piece of _DEPTH columns ends
    """
    m, p = A.shape
    first = min(m, _SAMPLE)
    columns, values = np.empty((m, p), np.int32), np.empty((m, p), A.dtype)
    ends = np.empty((m, (p + _DEPTH - 1) // _DEPTH), np.int64)
    if _list_rows(A, 0, first, columns, values, ends) < _DENSE * first * p:
        total = _list_rows(A, first, m, columns, values, ends)
        if total < _DENSE * (m - first) * p or m == first:
            return columns, values, ends
    return columns[:0], values[:0], ends[:0]


def _block(vectors, masked):
    @intrinsic
    def row(typing_context, columns, values, piece, out, i, j, start, stop, first, add):
        """out[i, j : j + width] ← Σ value · piece[column − first] over entries start … stop − 1 of list i."""

        def generate(context, builder, signature, arguments):
            b = Builder(context, builder, out.dtype)
            kinds = zip((columns, values, piece, out), arguments[:4], strict=True)
            c_, v_, p_, o_ = (context.make_array(t)(context, builder, v) for t, v in kinds)
            i_, j_, start_, stop_, first_, add_ = arguments[4:]
            rest = builder.sub(cgutils.unpack_tuple(builder, o_.shape)[1], j_)
            masks = b.lane_masks(rest, vectors) if masked else [None] * vectors
            places, totals = b.vectors_at(o_, i_, j_, vectors), b.totals(vectors)
            with builder.if_then(add_):
                for total, place, mask in zip(totals, places, masks, strict=True):
                    builder.store(b.load(place, mask), total)
            with cgutils.for_range_slice(builder, start_, stop_, index(1)) as (entry, _):
                place = builder.bitcast(b.at(c_, i_, entry), ir.IntType(32).as_pointer())
                k = builder.sub(builder.sext(builder.load(place, align=4), index), first_)
                value = b.spread(b.one(b.at(v_, i_, entry)), b.vector)
                for total, theirs in zip(totals, b.vectors_at(p_, k, index(0), vectors), strict=True):
                    b.add_product(total, value, b.load(theirs, None))
            for total, place, mask in zip(totals, places, masks, strict=True):
                b.store(builder.load(total), place, mask)
            return context.get_dummy_value()

        kinds = columns, values, piece, out, types.intp, types.intp, types.intp, types.intp, types.intp, types.boolean
        return types.void(*kinds), generate

    return row


_whole, _part = _block(_VECTORS, False), _block(_VECTORS, True)


@_jit
def multiply_listed(columns, values, ends, B, out, add):
    """out ← A B, or out + A B where ``add``, for a matrix A as `listed` has it.

    B : (p, ≥ n) float, out : (m, n), with contiguous rows
    Cost: 2 n flops for every entry listed
    """
    n, width = out.shape[1], BYTES // out.itemsize * _VECTORS
    piece = aligned(_DEPTH, width, out)
    for j in range(0, n, width):
        for c in range(ends.shape[1]):
            # A copy: rows of B that are a power of two apart would drive each other out of cache.
            for k in range(c * _DEPTH, min((c + 1) * _DEPTH, len(B))):
                copy_row(B[k, j : min(j + width, n)], piece[k - c * _DEPTH])
            for i in range(len(out)):
                start, first = ends[i, c - 1] if c > 0 else 0, c * _DEPTH
                if j + width <= n:
                    _whole(columns, values, piece, out, i, j, start, ends[i, c], first, add or c > 0)
                else:
                    _part(columns, values, piece, out, i, j, start, ends[i, c], first, add or c > 0)
