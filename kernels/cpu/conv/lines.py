"""Parts of flat arrays without the counting of references and the checks of slices, some 10 ns each."""

from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array


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
