"""Matrix products by tiles of six rows whose sums stay in registers.

BLAS copies its operands into panels before it multiplies, which large products pay for. Those of one cluster's
network and a batch are not large, and lie well as they are: rows of B are read as vectors, entries of A one by one.
Every entry of a product is the same sum whatever rows and columns are beside it.

A tile is made of LLVM's vectors, as wide as the machine's, since loops would be vectorised at half of that width.
"""

import llvmlite.binding
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_features = llvmlite.binding.get_host_cpu_features()
_ROWS = 6
# Bytes of a vector, and vectors of a tile's row: 6 rows of them fill 16 or 32 registers and leave some to load into.
if _features.get("avx512f"):
    _BYTES, _VECTORS = 64, 4
elif _features.get("avx2"):
    _BYTES, _VECTORS = 32, 2
else:
    _BYTES, _VECTORS = 16, 4 if _features.get("neon") else 2
_DEPTH = 128  # terms that are added up before they are added to others: so many rows of a tile of B stay in cache

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)
_index, _number, _bit = ir.IntType(64), ir.IntType(32), ir.IntType(1)


class _Builder:
    """What tiles are made of: vectors of one dtype, loaded from arrays and stored to them."""

    def __init__(self, context, builder, dtype):
        self.context, self.builder = context, builder
        self.size, self.lanes = dtype.bitwidth // 8, _BYTES * 8 // dtype.bitwidth
        self.scalar = context.get_value_type(dtype)
        self.vector, self.mask = ir.VectorType(self.scalar, self.lanes), ir.VectorType(_bit, self.lanes)
        self.zero, self.suffix = ir.Constant(self.vector, None), f"v{self.lanes}f{dtype.bitwidth}"

    def call(self, name, result, *arguments):
        """An intrinsic function of LLVM."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def lane_mask(self, count):
        """Lanes below ``count``."""
        lanes = ir.Constant(ir.VectorType(_index, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", lanes, self.spread(count, ir.VectorType(_index, self.lanes)))

    def spread(self, value, vector):
        """A vector of one value."""
        one = self.builder.insert_element(ir.Constant(vector, ir.Undefined), value, _number(0))
        first = ir.Constant(ir.VectorType(_number, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), first)

    def at(self, array, row, column):
        """Address of an entry."""
        rows, columns = cgutils.unpack_tuple(self.builder, array.strides)
        offset = self.builder.add(self.builder.mul(row, rows), self.builder.mul(column, columns))
        return cgutils.pointer_add(self.builder, array.data, offset, self.vector.as_pointer())

    def vectors_at(self, array, row, column, count):
        """Addresses of vectors side by side in a row that is contiguous."""
        first = self.at(array, row, column)
        return [self.builder.gep(first, [_index(v)], source_etype=self.vector) for v in range(count)]

    def load(self, address, mask):
        """A vector; lanes that the mask leaves out are 0 and not read."""
        if mask is None:
            return self.builder.load(address, align=self.size)
        return self.call(
            f"llvm.masked.load.{self.suffix}.p0", self.vector, address, _number(self.size), mask, self.zero
        )

    def store(self, value, address, mask):
        """Lanes that the mask leaves out are not written."""
        if mask is None:
            self.builder.store(value, address, align=self.size)
        else:
            self.call(f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), value, address, _number(self.size), mask)

    def expect(self, address):
        """Fetch what will be written to, while there is something else to do."""
        byte = self.builder.bitcast(address, ir.IntType(8).as_pointer())
        self.call("llvm.prefetch.p0", ir.VoidType(), byte, _number(1), _number(3), _number(1))

    def one(self, address):
        """A scalar."""
        pointer = self.builder.bitcast(address, self.scalar.as_pointer())
        return self.builder.load(pointer, align=self.size)

    def add_product(self, total, a, b):
        """total ← total + a b, in place."""
        self.builder.store(self.call(f"llvm.fmuladd.{self.suffix}", self.vector, a, b, self.builder.load(total)), total)

    def totals(self, count):
        """Places for sums, which the compiler turns into registers."""
        places = [cgutils.alloca_once(self.builder, self.vector) for _ in range(count)]
        for place in places:
            self.builder.store(self.zero, place)
        return places

    def clamped(self, first, count, end):
        """first … first + count − 1, those beyond the last below ``end`` being that one."""
        last = self.builder.sub(end, _index(1))
        numbers = [self.builder.add(first, _index(r)) for r in range(count)]
        return [self.builder.select(self.builder.icmp_signed("<", r, last), r, last) for r in numbers]

    def sum(self, vector):
        """Of all lanes, the halves added to each other."""
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            half = ir.Constant(ir.VectorType(_number, self.lanes), [i % lanes + lanes for i in range(self.lanes)])
            other = self.builder.shuffle_vector(vector, ir.Constant(self.vector, ir.Undefined), half)
            vector = self.builder.fadd(vector, other)
        return self.builder.extract_element(vector, _number(0))


def _tile(vectors, masked):
    @intrinsic
    def tile(typing_context, A, B, out, i, j, add):
        """out[i : i + 6, j : j + width] ← A[i : i + 6] B[:, j : j + width], added to what is there where ``add``.

        Rows beyond the last are the last once more.
        """

        def generate(context, builder, signature, arguments):
            b = _Builder(context, builder, A.dtype)
            a_, b_, o_ = (context.make_array(t)(context, builder, v) for t, v in zip((A, B, out), arguments[:3]))
            i_, j_, add_ = arguments[3:]
            n_rows, n_columns = cgutils.unpack_tuple(builder, o_.shape)
            depth, _ = cgutils.unpack_tuple(builder, b_.shape)
            rows = b.clamped(i_, _ROWS, n_rows)
            mask = b.lane_mask(builder.sub(n_columns, j_)) if masked else None
            totals = b.totals(_ROWS * vectors)
            places = [place for r in rows for place in b.vectors_at(o_, r, j_, vectors)]
            for place in places:
                b.expect(place)
            with cgutils.for_range(builder, depth) as loop:
                row = [b.load(place, mask) for place in b.vectors_at(b_, loop.index, j_, vectors)]
                for r in range(_ROWS):
                    entry = b.spread(b.one(b.at(a_, rows[r], loop.index)), b.vector)
                    for v in range(vectors):
                        b.add_product(totals[r * vectors + v], entry, row[v])
            with builder.if_then(add_):
                for place, total in zip(places, totals, strict=True):
                    builder.store(builder.fadd(b.load(place, mask), builder.load(total)), total)
            for place, total in zip(places, totals, strict=True):
                b.store(builder.load(total), place, mask)
            return context.get_dummy_value()

        return types.void(A, B, out, types.intp, types.intp, types.boolean), generate

    return tile


_wide, _narrow = _tile(_VECTORS, False), _tile(1, True)


@_jit
def multiply(A, B, out):
    """out ← A B.

    A : (m, p) float, of any strides; B : (p, n), out : (m, n), with contiguous rows
    Cost: 2 m n p flops
    """
    (m, n), p, lanes = out.shape, len(B), _BYTES // out.itemsize
    if p == 0:
        out[...] = 0
    for k in range(0, p, _DEPTH):
        a, b = A[:, k : k + _DEPTH], B[k : k + _DEPTH]
        for j in range(0, n // (lanes * _VECTORS) * (lanes * _VECTORS), lanes * _VECTORS):
            for i in range(0, m, _ROWS):
                _wide(a, b, out, i, j, k > 0)
        for j in range(n // (lanes * _VECTORS) * (lanes * _VECTORS), n, lanes):
            for i in range(0, m, _ROWS):
                _narrow(a, b, out, i, j, k > 0)


@intrinsic
def _dot_tile(typing_context, A, B, out, i, j):
    """out[i : i + 6, j : j + 4] ← A[i : i + 6] B[j : j + 4]ᵀ; rows beyond the last are the last once more."""

    def generate(context, builder, signature, arguments):
        b = _Builder(context, builder, A.dtype)
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

        whole = builder.sub(depth, builder.srem(depth, _index(b.lanes)))
        with cgutils.for_range_slice(builder, _index(0), whole, _index(b.lanes)) as (k, _):
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
