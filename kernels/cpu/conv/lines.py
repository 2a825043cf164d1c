"""Parts of flat arrays, and sums of them, without checks and the counting of references, some 10 ns each."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

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


@intrinsic
def weighted_sums(typing_context, factors, terms, x, at, y, to, n, more):
    """y[to + outputs[i] + l] ← Σ_j factors[j] x[at + inputs[j] + l] for l < n and every sum i, or + that if ``more``.

    terms : (inputs, ends, outputs), sum i has the factors from ends[i − 1] to ends[i]; all are flat, nothing is checked
    Sums stay in registers, which the compiler's own vectors do not.
    """

    def build(context, builder, signature, arguments):
        def data(kind, array):
            return context.make_array(kind)(context, builder, array).data

        def at_place(array, place, kind):
            return builder.bitcast(builder.gep(array, [place]), kind.as_pointer())

        inputs, ends, outputs = (
            data(kind, builder.extract_value(arguments[1], i)) for i, kind in enumerate(terms.types)
        )
        own, source, target = data(factors, arguments[0]), data(x, arguments[2]), data(y, arguments[4])
        at, to, n, more = arguments[3], *arguments[5:]
        number, size, index = context.get_value_type(x.dtype), x.dtype.bitwidth // 8, n.type
        zero, one = ir.Constant(index, 0), ir.Constant(index, 1)
        shape = context.make_array(terms.types[1])(context, builder, builder.extract_value(arguments[1], 1)).shape
        rows, begin = builder.extract_value(shape, 0), cgutils.alloca_once_value(builder, zero)
        for width in _WIDTHS:
            vector, step = ir.VectorType(number, width), ir.Constant(index, width)
            sums, first = cgutils.alloca_once(builder, vector), cgutils.alloca_once(builder, index)
            stop = builder.sub(n, builder.srem(n, step))
            with cgutils.for_range_slice(builder, builder.load(begin), stop, step) as (l, _):
                builder.store(zero, first)
                with cgutils.for_range(builder, rows) as row:
                    place = builder.add(builder.add(to, l), builder.load(builder.gep(outputs, [row.index])))
                    out, end = at_place(target, place, vector), builder.load(builder.gep(ends, [row.index]))
                    with builder.if_else(more) as (then, otherwise):
                        with then:
                            builder.store(builder.load(out, align=size), sums)
                        with otherwise:
                            builder.store(ir.Constant(vector, None), sums)
                    with cgutils.for_range_slice(builder, builder.load(first), end, one) as (j, _):
                        place = builder.add(builder.add(at, l), builder.load(builder.gep(inputs, [j])))
                        values = builder.load(at_place(source, place, vector), align=size)
                        factor = builder.insert_element(
                            ir.Constant(vector, ir.Undefined),
                            builder.load(builder.gep(own, [j])),
                            ir.Constant(ir.IntType(32), 0),
                        )
                        mask = ir.Constant(ir.VectorType(ir.IntType(32), width), None)
                        term = builder.fmul(builder.shuffle_vector(factor, factor, mask), values, flags=("contract",))
                        builder.store(builder.fadd(builder.load(sums), term, flags=("contract",)), sums)
                    builder.store(builder.load(sums), out, align=size)
                    builder.store(end, first)
            builder.store(stop, begin)
        return context.get_dummy_value()

    return types.void(factors, terms, x, types.intp, y, types.intp, types.intp, types.boolean), build
