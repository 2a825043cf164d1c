"""Products with a matrix of zeros and ones, by sums of subsets of the other's rows: the method of the four Russians.

Source: Arlazarov, Dinic, Kronrod, Faradžev, *On economical construction of the transitive closure of an oriented
graph* (1970). Four terms of a product with bits are the sum of some of four rows of B; there are 16 such sums. They
are made once, 11 additions, and then found for every row of bits by its four bits as a number: one addition instead
of four multiplications. A block of sums lies in the first-level cache.

Bits come packed, as `pack_rows` and `pack_columns` make them: bytes (groups of four, or rows of A, with strides).
"""

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .._engine.arrays import aligned
from .._engine.vectors import BYTES, REGISTERS, Builder, index

GROUP, _SUMS = 4, 16  # terms, and subsets of them
_VECTORS = min(256 // BYTES, REGISTERS // 2)  # columns of a block, as vectors: enough that finding a row costs little
_GROUPS = 28672 // (_SUMS * _VECTORS * BYTES)  # whose sums are kept at a time, and stay in the first-level cache

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)
# A sum of what is 0 for every zero and one may be taken in any order: it is 0, or not.
_lanes = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})


@_jit
def groups(terms):
    """Number of groups of that many terms."""
    return (terms + GROUP - 1) // GROUP


@intrinsic
def _pack_vector(typing_context, A, packed, i, j, right):
    """packed[i, j / 4 …] ← a vector of A[i] from j on, four entries to a byte, those from ``right`` on as 0.

    Returns whether all are zeros and ones.
    """

    def generate(context, builder, signature, arguments):
        b = Builder(context, builder, A.dtype, GROUP)
        a_, p_ = (context.make_array(t)(context, builder, v) for t, v in zip((A, packed), arguments[:2], strict=True))
        i_, j_, right_ = arguments[2:]
        entries = b.load(b.at(a_, i_, j_), b.lane_mask(builder.sub(right_, j_)))
        ones = builder.fcmp_ordered("==", entries, b.spread(b.scalar(1), b.vector))
        other = builder.not_(builder.or_(ones, builder.fcmp_ordered("==", entries, b.zero)))
        # Spread the lanes' bits, four to a byte: halves of them move apart, then halves of these.
        number, wide = ir.IntType(b.lanes), ir.IntType(2 * b.lanes)
        bits, half = builder.zext(builder.bitcast(ones, number), wide), b.lanes // 2
        while half >= GROUP:
            kept = sum(((1 << half) - 1) << (2 * half * part) for part in range(b.lanes // half))
            bits = builder.and_(builder.or_(bits, builder.shl(bits, wide(half))), wide(kept))
            half //= 2
        group = builder.sdiv(j_, index(GROUP))
        place = builder.bitcast(b.at(p_, i_, group), ir.IntType(8).as_pointer())
        n_groups = builder.sdiv(builder.add(builder.sub(right_, j_), index(GROUP - 1)), index(GROUP))
        with builder.if_else(builder.icmp_signed(">=", n_groups, index(b.lanes // GROUP))) as (whole, rest):
            with whole:
                builder.store(bits, builder.bitcast(place, wide.as_pointer()), align=1)
            with rest, cgutils.for_range(builder, n_groups) as loop:
                byte = builder.lshr(bits, builder.trunc(builder.mul(loop.index, index(8)), wide))
                builder.store(builder.trunc(byte, ir.IntType(8)), builder.gep(place, [loop.index]))
        return builder.icmp_unsigned("==", builder.bitcast(other, number), number(0))

    return types.boolean(A, packed, types.intp, types.intp, types.intp), generate


@_jit
def pack_rows(A, packed):
    """packed[i, g] ← A[i, 4g] + 2 A[i, 4g + 1] + 4 A[i, 4g + 2] + 8 A[i, 4g + 3].

    A : (m, p) float, packed : (m, groups(p)) uint8, both with contiguous rows
    returns whether all entries are zeros and ones, without which packed says nothing
    """
    lanes, p = max(GROUP, BYTES // A.itemsize), A.shape[1]
    for i in range(len(A)):
        known = True
        for j in range(0, p, lanes):
            known &= _pack_vector(A, packed, i, j, p)
        if not known:
            return False
    return True


@_jit
def pack_columns(A, left, right, packed):
    """packed[g, j − left] ← A[4g, j] + 2 A[4g + 1, j] + 4 A[4g + 2, j] + 8 A[4g + 3, j], left ≤ j < right.

    A : (p, n) float, packed : (groups(p), right − left) uint8, both contiguous
    returns whether all of these entries are zeros and ones, without which packed says nothing
    """
    whole, others = len(A) // GROUP, A.dtype.type(0)
    for g in range(whole):
        x, y, z, w = A[4 * g], A[4 * g + 1], A[4 * g + 2], A[4 * g + 3]
        others += _pack_four(x[left:right], y[left:right], z[left:right], w[left:right], packed[g])
    for j in range(left if len(A) % GROUP else right, right):
        last = 0
        for q in range(whole * GROUP, len(A)):
            others += abs(A[q, j] * A[q, j] - A[q, j])
            last += types.int32(A[q, j]) << (q % GROUP)
        packed[whole, j - left] = last
    return others == 0


@_lanes
def _pack_four(x, y, z, w, packed):
    t = x.dtype.type
    two, four, eight, others = t(2), t(4), t(8), t(0)
    for j in range(len(packed)):
        others += (abs(x[j] * x[j] - x[j]) + abs(y[j] * y[j] - y[j])) + (
            abs(z[j] * z[j] - z[j]) + abs(w[j] * w[j] - w[j])
        )
        packed[j] = types.int32((x[j] + two * y[j]) + (four * z[j] + eight * w[j]))
    return others


def _block(vectors, masked):
    """Functions for a block of columns: so many vectors side by side, those beyond the last column left out."""

    def masks(b, columns, j):
        return b.lane_masks(b.builder.sub(columns, j), vectors) if masked else [None] * vectors

    @intrinsic
    def sums(typing_context, B, table, group, slot, j):
        """Place ``slot`` of the table ← sums of all subsets of the group's rows; none beyond the last is selected."""

        def generate(context, builder, signature, arguments):
            b = Builder(context, builder, B.dtype)
            b_, t_ = (context.make_array(t)(context, builder, v) for t, v in zip((B, table), arguments[:2]))
            group_, slot_, j_ = arguments[2:]
            n_rows, n_columns = cgutils.unpack_tuple(builder, b_.shape)
            rows = b.clamped(builder.mul(group_, index(GROUP)), GROUP, n_rows)
            rows, first = [b.vectors_at(b_, row, j_, vectors) for row in rows], builder.mul(slot_, index(_SUMS))
            places = [b.vectors_at(t_, builder.add(first, index(s)), index(0), vectors) for s in range(_SUMS)]
            for v, mask in enumerate(masks(b, n_columns, j_)):
                terms, found = [b.load(row[v], mask) for row in rows], [b.zero]
                for term in terms:
                    found += [term, *(builder.fadd(less, term) for less in found[1:])]
                for s in range(_SUMS):
                    b.store(found[s], places[s][v], None)
            return context.get_dummy_value()

        return types.void(B, table, types.intp, types.intp, types.intp), generate

    @intrinsic
    def select(typing_context, packed, table, out, i, j, first, count, add):
        """out[i, j : j + width] ← sums of groups first … first + count − 1, added to what is there where ``add``."""

        def generate(context, builder, signature, arguments):
            b = Builder(context, builder, out.dtype)
            kinds = zip((packed, table, out), arguments[:3], strict=True)
            p_, t_, o_ = (context.make_array(t)(context, builder, v) for t, v in kinds)
            i_, j_, first_, count_, add_ = arguments[3:]
            each = list(
                zip(
                    b.vectors_at(o_, i_, j_, vectors),
                    masks(b, cgutils.unpack_tuple(builder, o_.shape)[1], j_),
                    strict=True,
                )
            )
            totals = b.totals(vectors)
            with builder.if_then(add_):
                for total, (place, mask) in zip(totals, each, strict=True):
                    builder.store(b.load(place, mask), total)

            def find(slot):
                number = builder.zext(b.byte(p_, i_, builder.add(first_, slot)), index)
                row = builder.add(builder.mul(slot, index(_SUMS)), number)
                for total, place in zip(totals, b.vectors_at(t_, row, index(0), vectors), strict=True):
                    builder.store(builder.fadd(builder.load(total), b.load(place, None)), total)

            with builder.if_else(builder.icmp_signed("==", count_, index(_GROUPS))) as (full, rest):
                with full:
                    for slot in range(_GROUPS):
                        find(index(slot))
                with rest, cgutils.for_range(builder, count_) as loop:
                    find(loop.index)
            for total, (place, mask) in zip(totals, each, strict=True):
                b.store(builder.load(total), place, mask)
            return context.get_dummy_value()

        kinds = packed, table, out, types.intp, types.intp, types.intp, types.intp, types.boolean
        return types.void(*kinds), generate

    @_jit
    def block(packed, B, table, out, j, add):
        """Columns from j on of ``multiply_bits``."""
        n_groups = packed.shape[1]
        for first in range(0, n_groups, _GROUPS):
            count = min(_GROUPS, n_groups - first)
            for slot in range(count):
                sums(B, table, first + slot, slot, j)
            for i in range(len(out)):
                select(packed, table, out, i, j, first, count, add or first > 0)

    return block


_whole, _part, _single = _block(_VECTORS, False), _block(_VECTORS, True), _block(1, True)


@_jit
def multiply_bits(packed, B, out, add):
    """out ← A B, or out + A B where ``add``, for a matrix A of zeros and ones.

    packed : (m, groups(p)) uint8, the bits of A, of any strides; B : (p, n) float, out : (m, n), with contiguous rows
    Cost: m n p / 4 additions of what is read in cache, and 11 n p / 4 for the sums
    """
    n = out.shape[1]
    if packed.shape[1] == 0 and not add:
        out[...] = 0
    lanes = BYTES // out.itemsize
    width = lanes * _VECTORS
    table = aligned(_SUMS * _GROUPS, width, out)
    narrow = aligned(_SUMS * _GROUPS, lanes, out)
    whole = n - n % width
    for j in range(0, whole, width):
        _whole(packed, B, table, out, j, add)
    if n - whole > lanes:
        _part(packed, B, table, out, whole, add)
    elif n > whole:
        _single(packed, B, narrow, out, whole, add)
