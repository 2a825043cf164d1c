"""A promise to the compiler: a loop over few vectors otherwise takes half of its time to find out by itself."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def disjoint(typing_context):
    """Promise that no array which the calling function writes to overlaps another of its arguments."""

    def mark(context, builder, signature, arguments):
        for argument in builder.function.args:
            if argument.name.endswith(".4") and isinstance(argument.type, ir.PointerType):  # where an array's data lie
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), mark
