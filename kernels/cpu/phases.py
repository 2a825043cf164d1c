"""Phases of tasks for threads that are already at work: nobody is woken, and Python is not asked, in between.

    while True:
        i = take(counters, phase)          # the next task of the phase for this thread
        if i >= tasks of the phase: break
        ...
        finish(counters, phase)
    wait(counters, phase, tasks of the phase)

To wake a thread takes longer than many a phase does. A thread that finds no task left waits for those that others
have taken, never for a thread that has not come; so any number of threads gets to the end.
"""

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_NEXT, _DONE, _LINE = 0, 8, 16  # each number of a phase has a cache line (64 bytes) of its own
_PATIENCE = 20_000  # looks, a millisecond or so, after which something else seems to keep the core busy
_PAUSES = bool(llvmlite.binding.get_host_cpu_features().get("sse2"))


def counters(phases):
    """(phases, 16) int64: tasks taken and tasks finished of every phase."""
    return np.zeros((phases, _LINE), np.int64)


def _address(context, builder, array, value, row, column):
    data = context.make_array(array)(context, builder, value).data
    return builder.gep(data, [builder.add(builder.mul(row, ir.IntType(64)(_LINE)), column)])


@intrinsic
def _add_one(typing_context, array, row, column):
    """array[row, column] before one is added to it, by one thread at a time."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, array, *arguments)
        return builder.atomic_rmw("add", address, ir.IntType(64)(1), "seq_cst")

    return types.int64(array, types.intp, types.intp), generate


@intrinsic
def _read(typing_context, array, row, column):
    """array[row, column] as it is now, a moment later."""

    def generate(context, builder, signature, arguments):
        if _PAUSES:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return builder.load_atomic(_address(context, builder, array, *arguments), "seq_cst", 8)

    return types.int64(array, types.intp, types.intp), generate


_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@_jit
def take(counters, phase):
    """The number of a task that no thread has taken before; from the phase's number of tasks on: there is none."""
    return _add_one(counters, phase, _NEXT)


@_jit
def finish(counters, phase):
    """To be said after every task; what it wrote is then seen by whoever has waited."""
    _add_one(counters, phase, _DONE)


@_jit
def wait(counters, phase, tasks):
    """Until all tasks of the phase are finished; False if that takes so long that the core is better left."""
    looks = 0
    while _read(counters, phase, _DONE) != tasks:
        looks += 1
        if looks == _PATIENCE:
            return False
    return True
