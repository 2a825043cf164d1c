"""Sums over lines of numbers, in registers: a line is as many numbers of an array as a processor's vector has.

Products of matrices of a few rows whose lines lie anywhere: nothing has to be copied to where BLAS would look for it.
Written as instructions, for a compiler that meets loops keeps their sums in memory. What is beyond an edge is masked:
one block of instructions serves all sizes, and is compiled once.
Everything is flat, of one float dtype; places and steps count numbers.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._engine.jit import jit

_PAIR, _COLUMNS = 2, 5  # lines that meet a weight, and places that meet a line, before the next one is loaded
_BOTH, _THREE, _FOUR = (types.UniTuple(types.intp, n) for n in (2, 3, 4))


MOST = 64  # bytes of the longest line


def _vector(context, dtype):
    """(numbers of a vector, rows at a time): 64 bytes where processors have such, which have 32 registers, else 32."""
    wide = "+avx512f" in context.codegen().magic_tuple()[2].split(",")
    return (MOST if wide else 32) // (dtype.bitwidth // 8), 8 if wide else 4


class _Lines:
    """Instructions on lines of up to ``count`` numbers, in a function that is being built."""

    def __init__(self, context, builder, dtype, count):
        self.context, self.builder, self.count, self.bytes = context, builder, count, dtype.bitwidth // 8
        self.size, self.rows = _vector(context, dtype)
        self.type, places = (
            ir.VectorType(context.get_value_type(dtype), self.size),
            ir.VectorType(count.type, self.size),
        )
        lane = ir.Constant(places, list(range(self.size)))
        self.mask = builder.icmp_signed("<", lane, self._all(count, places))

    def arrays(self, kinds, values):
        """Where the numbers of some arrays begin."""
        pairs = zip(kinds, values, strict=True)
        return [self.context.make_array(kind)(self.context, self.builder, value).data for kind, value in pairs]

    def numbers(self, values, count):
        """Those of a tuple."""
        return [self.builder.extract_value(values, i) for i in range(count)]

    def number(self, value):
        """A constant."""
        return ir.Constant(self.count.type, value)

    def several(self, first, limit, most):
        """[(index, whether it is below the limit)] of first, first + 1, …, ``most`` of them; beyond it is the last."""
        out = []
        for i in range(most):
            index = self.builder.add(first, self.number(i))
            there = self.builder.icmp_signed("<", index, limit)
            out.append((self.builder.select(there, index, self.builder.sub(limit, self.number(1))), there))
        return out

    def at(self, data, *offsets):
        """Where in an array the sum of some offsets is; a pair is their product."""
        total = self.number(0)
        for offset in offsets:
            total = self.builder.add(total, self.builder.mul(*offset) if isinstance(offset, tuple) else offset)
        return self.builder.gep(data, [total])

    def spread(self, place):
        """The number at a place, on all lanes."""
        return self._all(self.builder.load(place), self.type)

    def load(self, place):
        """A line, 0 beyond its end."""
        place, zeros = self.builder.bitcast(place, self.type.as_pointer()), ir.Constant(self.type, None)
        return self._call("masked.load.{}.p0", self.type, place, self._aligned, self.mask, zeros)

    def store(self, value, place, *there):
        """A line, if all is ``there``; else, and beyond its end, stays what there was."""
        place, mask = self.builder.bitcast(place, self.type.as_pointer()), self.mask
        for condition in there:
            mask = self.builder.and_(mask, self._all(condition, mask.type))
        self._call("masked.store.{}.p0", ir.VoidType(), value, place, self._aligned, mask)

    def fused(self, a, b, c):
        """A b + c, rounded once where the processor can."""
        return self._call("fmuladd.{}", self.type, a, b, c)

    def sums(self, begin, times, step):
        """Sums after ``times`` >= 1 steps, from ``begin`` on. step : (index, sums) → sums"""
        builder = self.builder
        before, body = builder.block, builder.function.append_basic_block()
        builder.branch(body)
        builder.position_at_end(body)
        index, sums = builder.phi(times.type), [builder.phi(self.type) for _ in begin]
        added, following = step(index, sums), builder.add(index, self.number(1))
        for phi, first, other in [(index, self.number(0), following), *zip(sums, begin, added, strict=True)]:
            phi.add_incoming(first, before)
            phi.add_incoming(other, body)
        after = builder.function.append_basic_block()
        builder.cbranch(builder.icmp_signed("<", following, times), body, after)
        builder.position_at_end(after)
        return added

    @property
    def _aligned(self):
        return ir.Constant(ir.IntType(32), self.bytes)

    def _all(self, value, kind):
        first = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.size), None)
        return self.builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

    def _call(self, name, result, *arguments):
        name = "llvm." + name.format(f"v{self.size}f{8 * self.bytes}")
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)


@intrinsic
def lanes(typing_context, like):
    """Numbers of the longest line, for arrays of the dtype of ``like``."""
    return types.intp(like), lambda context, *_: context.get_constant(types.intp, _vector(context, like.dtype)[0])


@intrinsic
def _rows(typing_context, like):
    """Rows at a time, as many as there are registers for."""
    return types.intp(like), lambda context, *_: context.get_constant(types.intp, _vector(context, like.dtype)[1])


@intrinsic
def _multiply(typing_context, part, weights, steps, values, starts, out, targets, apart, size, begin, more):
    """``multiply_lines`` for a line's part of two lines and some rows. part : (row, y, x), the first; size : of all"""
    arrays = weights, values, starts, out, targets, begin

    def build(context, builder, signature, arguments):
        part, weights, steps, values, starts, out, targets, apart, size, begin, more = arguments
        rows, terms, lines, count = (builder.extract_value(size, i) for i in range(4))
        on = _Lines(context, builder, arrays[0].dtype, count)
        W, V, starts, Y, targets, begin = on.arrays(arrays, (weights, values, starts, out, targets, begin))
        (row, line, x), (down, along), (below, above) = on.numbers(part, 3), on.numbers(steps, 2), on.numbers(apart, 2)
        rows, lines = on.several(row, rows, on.rows), on.several(line, lines, _PAIR)

        def step(term, sums):
            start = builder.load(on.at(starts, term))
            met = [on.load(on.at(V, start, x, (line, below))) for line, _ in lines]
            added = []
            for row, _ in rows:
                weight = on.spread(on.at(W, (row, down), (term, along)))
                added += [on.fused(weight, line, sums[len(added) + i]) for i, line in enumerate(met)]
            return added

        first = [on.spread(on.at(begin, row)) for row, _ in rows for _ in lines]
        sums = iter(on.sums(first, terms, step))
        goals = [
            (next(sums), on.at(Y, builder.load(on.at(targets, row)), x, (line, above)), one, other)
            for row, one in rows
            for line, other in lines
        ]
        with builder.if_else(more) as (added, replaced):
            with added:
                for total, place, *there in goals:
                    on.store(builder.fadd(on.load(place), total), place, *there)
            with replaced:
                for goal in goals:
                    on.store(*goal)
        return context.get_dummy_value()

    left = _THREE, weights, _BOTH, values, starts, out, targets
    return types.void(*left, _BOTH, _FOUR, begin, types.boolean), build


@jit
def multiply_lines(weights, steps, values, starts, out, targets, apart, size, begin, more):
    """Out[targets[i] + y t + x] ← begin[i] + Σ_k weights[i, k] values[starts[k] + y s + x], (s, t) = ``apart``.

    For y, x < ``size``, one y after the other; where ``more`` that is added to what there was.

    steps : of weights, from a row to the next and from a term to the next
    """
    for x in range(0, size[1], lanes(out)):
        whole = len(targets), len(starts), size[0], min(lanes(out), size[1] - x)
        for y in range(0, size[0], _PAIR):
            for row in range(0, len(targets), _rows(out)):
                _multiply((row, y, x), weights, steps, values, starts, out, targets, apart, whole, begin, more)


@intrinsic
def _dots(typing_context, part, A, B, starts, sums, steps, size):
    """``add_dots`` for a line's part, some rows and places. part : (row, place, x), the first; size : of all"""
    arrays = A, B, starts, sums

    def build(context, builder, signature, arguments):
        part, A, B, starts, sums, steps, size = arguments
        rows, times, count, terms = (builder.extract_value(size, i) for i in range(4))
        on = _Lines(context, builder, arrays[0].dtype, count)
        A, B, starts, sums = on.arrays(arrays, (A, B, starts, sums))
        (row, term, x), (across, down, below) = on.numbers(part, 3), on.numbers(steps, 3)
        own, places = on.several(row, rows, on.rows // 2), on.several(term, terms, _COLUMNS)
        begins = [builder.load(on.at(starts, t)) for t, _ in places]
        width = on.number(on.size)
        goals = [
            (on.at(sums, (builder.add(builder.mul(i, terms), t), width)), mine, theirs)
            for i, mine in own
            for t, theirs in places
        ]

        def step(line, totals):
            met = [on.load(on.at(B, begin, x, (line, below))) for begin in begins]
            added = []
            for i, _ in own:
                factor = on.load(on.at(A, x, (i, across), (line, down)))
                added += [on.fused(factor, column, totals[len(added) + t]) for t, column in enumerate(met)]
            return added

        totals = on.sums([on.load(place) for place, *_ in goals], times, step)
        for total, goal in zip(totals, goals, strict=True):
            on.store(total, *goal)
        return context.get_dummy_value()

    return types.void(_THREE, A, B, starts, sums, _THREE, _FOUR), build


@jit
def add_dots(A, B, starts, sums, steps, size):
    """Sums[i, t, x mod lanes] += Σ_y A[i across + y down + x] B[starts[t] + y below + x] for i, y, x < ``size``.

    steps : (across, down, below); sums : (i, len(starts), ``lanes``) flat
    """
    for x in range(0, size[2], lanes(A)):
        whole = size[0], size[1], min(lanes(A), size[2] - x), len(starts)
        for i in range(0, size[0], _rows(A) // 2):
            for t in range(0, len(starts), _COLUMNS):
                _dots((i, t, x), A, B, starts, sums, steps, whole)
