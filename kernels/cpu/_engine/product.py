"""Matrix products by tiles of six rows whose sums stay in registers.

BLAS copies its operands into panels before it multiplies, which large products pay for. Those of one cluster's
network and a batch are not large, and lie well as they are: rows of B are read as vectors, entries of A one by one.
Every entry of a product is the same sum whatever rows and columns are beside it.

A tile is made of LLVM's vectors, as wide as the machine's, since loops would be vectorised at half of that width.
"""

from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import BYTES, REGISTERS, Builder, index

_ROWS = 6
_VECTORS = REGISTERS // 8  # of a tile's row: 6 rows of them leave some registers to load into
_DEPTH = 128  # terms that are added up before they are added to others: so many rows of a tile of B stay in cache

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


def _tile(vectors, masked):
    @intrinsic
    def tile(typing_context, A, B, out, i, j, add):
        """out[i : i + 6, j : j + width] ← A[i : i + 6] B[:, j : j + width], added to what is there where ``add``.

        Rows beyond the last are the last once more.
        """

        def generate(context, builder, signature, arguments):
            b = Builder(context, builder, A.dtype)
            a_, b_, o_ = (context.make_array(t)(context, builder, v) for t, v in zip((A, B, out), arguments[:3]))
            i_, j_, add_ = arguments[3:]
            n_rows, n_columns = cgutils.unpack_tuple(builder, o_.shape)
            depth, _ = cgutils.unpack_tuple(builder, b_.shape)
            rows = b.clamped(i_, _ROWS, n_rows)
            masks = b.lane_masks(builder.sub(n_columns, j_), vectors) if masked else [None] * vectors
            totals = b.totals(_ROWS * vectors)
            places = [pair for r in rows for pair in zip(b.vectors_at(o_, r, j_, vectors), masks, strict=True)]
            for place, _ in places:
                b.expect(place)
            with cgutils.for_range(builder, depth) as loop:
                theirs = b.vectors_at(b_, loop.index, j_, vectors)
                row = [b.load(place, mask) for place, mask in zip(theirs, masks, strict=True)]
                for r in range(_ROWS):
                    entry = b.spread(b.one(b.at(a_, rows[r], loop.index)), b.vector)
                    for v in range(vectors):
                        b.add_product(totals[r * vectors + v], entry, row[v])
            with builder.if_then(add_):
                for (place, mask), total in zip(places, totals, strict=True):
                    builder.store(builder.fadd(b.load(place, mask), builder.load(total)), total)
            for (place, mask), total in zip(places, totals, strict=True):
                b.store(builder.load(total), place, mask)
            return context.get_dummy_value()

        return types.void(A, B, out, types.intp, types.intp, types.boolean), generate

    return tile


_wide, _edge, _narrow = _tile(_VECTORS, False), _tile(_VECTORS, True), _tile(1, True)


@_jit
def multiply(A, B, out, add):
    """out ← A B, or out + A B where ``add``.

    A : (m, p) float, of any strides; B : (p, n), out : (m, n), with contiguous rows
    Cost: 2 m n p flops
    """
    (m, n), p, lanes = out.shape, len(B), BYTES // out.itemsize
    whole = n - n % (lanes * _VECTORS)
    if p == 0 and not add:
        out[...] = 0
    for k in range(0, p, _DEPTH):
        a, b = A[:, k : k + _DEPTH], B[k : k + _DEPTH]
        for j in range(0, whole, lanes * _VECTORS):
            for i in range(0, m, _ROWS):
                _wide(a, b, out, i, j, add or k > 0)
        for i in range(0, m if n - whole > lanes else 0, _ROWS):
            _edge(a, b, out, i, whole, add or k > 0)
        for i in range(0, m if 0 < n - whole <= lanes else 0, _ROWS):
            _narrow(a, b, out, i, whole, add or k > 0)


@intrinsic
def _dot_tile(typing_context, A, B, out, i, j):
    """out[i : i + 6, j : j + 4] ← A[i : i + 6] B[j : j + 4]ᵀ; rows beyond the last are the last once more."""

    def generate(context, builder, signature, arguments):
        b = Builder(context, builder, A.dtype)
        a_, b_, o_ = (context.make_array(t)(context, builder, v) for t, v in zip((A, B, out), arguments[:3]))
        n_rows, n_columns = cgutils.unpack_tuple(builder, o_.shape)
        depth = cgutils.unpack_tuple(builder, b_.shape)[1]
        rows = b.clamped(arguments[3], _ROWS, n_rows)
        columns = b.clamped(arguments[4], _VECTORS, n_columns)
        totals = b.totals(_ROWS * _VECTORS)

        def step(k, mask):
            ours = [b.load(b.at(b_, column, k), mask) for column in columns]
            for r in range(_ROWS):
                theirs = b.load(b.at(a_, rows[r], k), mask)
                for c in range(_VECTORS):
                    b.add_product(totals[r * _VECTORS + c], theirs, ours[c])

        whole = builder.sub(depth, builder.srem(depth, index(b.lanes)))
        with cgutils.for_range_slice(builder, index(0), whole, index(b.lanes)) as (k, _):
            step(k, None)
        with builder.if_then(builder.icmp_signed("<", whole, depth)):
            step(whole, b.lane_mask(builder.sub(depth, whole)))
        for r in range(_ROWS):
            for c in range(_VECTORS):
                place = builder.bitcast(b.at(o_, rows[r], columns[c]), b.scalar.as_pointer())
                builder.store(b.sum(builder.load(totals[r * _VECTORS + c])), place, align=b.size)
        return context.get_dummy_value()

    return types.void(A, B, out, types.intp, types.intp), generate


@_jit
def multiply_transposed(A, B, out):
    """out ← A Bᵀ.

    A : (m, p) float, B : (n, p), with contiguous rows; out : (m, n)
    Cost: 2 m n p flops
    """
    m, n = out.shape
    for j in range(0, n, _VECTORS):
        for i in range(0, m, _ROWS):
            _dot_tile(A, B, out, i, j)
