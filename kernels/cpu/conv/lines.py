"""Parts of flat arrays, and sums of them, without checks and the counting of references, some 10 ns each."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from .._engine.jit import jit

_WIDTHS = 64, 32, 1  # numbers at a time: sums of vectors in registers, and what is left


@intrinsic
def line(typing_context, x, at, n):
    """x[at : at + n] of a flat contiguous array that has these and outlives its part: nothing is checked.

    Compiled code frees an array after the last use of its name: let that be later than the part's.
    """
    part = types.Array(x.dtype, 1, "C")

    def build(context, builder, signature, arguments):
        source, at, n = arguments
        data = builder.gep(context.make_array(x)(context, builder, source).data, [at])
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_value_type(x.dtype)))
        out = context.make_array(part)(context, builder)
        populate_array(out, data, [n], [itemsize], itemsize, meminfo=None)
        return out._getvalue()

    return part(x, types.intp, types.intp), build


@jit
def clear(values):
    """Zeros, by a plain loop: assigning to a slice is one that knows of strides, and slow."""
    for i in range(len(values)):
        values[i] = 0


@jit
def zeros(n, like):
    """N zeros of the dtype of ``like``."""
    out = np.empty(n, like.dtype)
    clear(out)
    return out


@intrinsic
def weighted_sums(typing_context, factors, table, sums, units, x, at, y, to, n, more):
    """y[to + outputs[i] u + l] ← Σ_j factors[j] x[at + inputs[j] s + l] for l < n and every sum i; + that if ``more``.

    (s, u) = ``units``; sum i has the factors from ends[i − 1] to ends[i]; all are flat, nothing is checked
    table : from ``sums`` on where the factors begin, how many sums there are, their ends, outputs, the factors' inputs
    Sums stay in registers, which the compiler's own vectors do not.
    """

    def build(context, builder, signature, arguments):
        def at_place(array, place, kind):
            return builder.bitcast(builder.gep(array, [place]), kind.as_pointer())

        owner, sums, units, at, (to, n, more) = arguments[0], *arguments[2:4], arguments[5], arguments[7:]
        arrays = zip((factors, table, x, y), (owner, arguments[1], arguments[4], arguments[6]), strict=True)
        own, numbers, source, target = (context.make_array(k)(context, builder, array).data for k, array in arrays)
        number, size, index = context.get_value_type(x.dtype), x.dtype.bitwidth // 8, n.type
        zero, one, two = (ir.Constant(index, value) for value in range(3))
        scale, unit = (builder.extract_value(units, i) for i in range(2))
        head = builder.gep(numbers, [sums])
        own, rows = builder.gep(own, [builder.load(head)]), builder.load(builder.gep(head, [one]))
        ends = builder.gep(head, [two])
        outputs = builder.gep(ends, [rows])
        inputs, begin = builder.gep(outputs, [rows]), cgutils.alloca_once_value(builder, zero)
        for width in _WIDTHS:
            vector, step = ir.VectorType(number, width), ir.Constant(index, width)
            total, first = cgutils.alloca_once(builder, vector), cgutils.alloca_once(builder, index)
            stop = builder.sub(n, builder.srem(n, step))
            with cgutils.for_range_slice(builder, builder.load(begin), stop, step) as (l, _):
                builder.store(zero, first)
                with cgutils.for_range(builder, rows) as row:
                    place = builder.mul(unit, builder.load(builder.gep(outputs, [row.index])))
                    place = builder.add(builder.add(to, l), place)
                    out, end = at_place(target, place, vector), builder.load(builder.gep(ends, [row.index]))
                    with builder.if_else(more) as (then, otherwise):
                        with then:
                            builder.store(builder.load(out, align=size), total)
                        with otherwise:
                            builder.store(ir.Constant(vector, None), total)
                    with cgutils.for_range_slice(builder, builder.load(first), end, one) as (j, _):
                        place = builder.mul(scale, builder.load(builder.gep(inputs, [j])))
                        place = builder.add(builder.add(at, l), place)
                        values = builder.load(at_place(source, place, vector), align=size)
                        factor = builder.insert_element(
                            ir.Constant(vector, ir.Undefined),
                            builder.load(builder.gep(own, [j])),
                            ir.Constant(ir.IntType(32), 0),
                        )
                        mask = ir.Constant(ir.VectorType(ir.IntType(32), width), None)
                        term = builder.fmul(builder.shuffle_vector(factor, factor, mask), values, flags=("contract",))
                        builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
                    builder.store(builder.load(total), out, align=size)
                    builder.store(end, first)
            builder.store(stop, begin)
        return context.get_dummy_value()

    integer = types.intp
    left = factors, table, integer, types.UniTuple(integer, 2)
    return types.void(*left, x, integer, y, integer, integer, types.boolean), build
