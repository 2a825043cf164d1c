"""Numbers that several threads change at one stroke, for compiled code: entries of one-dimensional int64 arrays."""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LINE = 8  # numbers on a cache line of 64 bytes: those that different threads change often lie on different ones
_PAUSES = bool(llvmlite.binding.get_host_cpu_features().get("sse2"))


def _place(context, builder, signature, arguments):
    """Pointer to entry ``arguments[1]`` of the array ``arguments[0]``."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])


@intrinsic
def load(typing_context, numbers, i):
    """numbers[i], read anew at every call."""

    def code(context, builder, signature, arguments):
        return builder.load_atomic(_place(context, builder, signature, arguments), "seq_cst", 8)

    return types.int64(numbers, types.int64), code


@intrinsic
def fetch_add(typing_context, numbers, i, value):
    """numbers[i] += value at one stroke; returns what it was."""

    def code(context, builder, signature, arguments):
        return builder.atomic_rmw("add", _place(context, builder, signature, arguments), arguments[2], "seq_cst")

    return types.int64(numbers, types.int64, types.int64), code


@intrinsic
def swap_if(typing_context, numbers, i, expected, value):
    """numbers[i] = value if it is ``expected``, at one stroke; returns whether it was."""

    def code(context, builder, signature, arguments):
        place = _place(context, builder, signature, arguments)
        return builder.extract_value(builder.cmpxchg(place, arguments[2], arguments[3], "seq_cst", "seq_cst"), 1)

    return types.boolean(numbers, types.int64, types.int64, types.int64), code


@intrinsic
def pause(typing_context):
    """Leave a processor's shared parts to its other thread for a moment, where it has such an instruction."""

    def code(context, builder, signature, arguments):
        if _PAUSES:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.none(), code
