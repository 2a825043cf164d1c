"""Jobs that compiled code shares with helper threads, without the interpreter between them.

To wake a thread and to hand the interpreter over takes some 50 µs each, which is what whole epochs of small
problems take. So a helper that has worked looks out for the next job for a while, in compiled code, and yields
its core to whatever else wants it; ``pool`` wakes those that are not there and gives them up to sleep again.

A job is a C function int64 (words, i), made by ``numba.cfunc``, of the address of its arguments and the number
of a task; it returns 1. Tasks write to places of their own, so that it does not matter who takes which. There
is one board a process, of words that lie on cache lines of their own:

    STATE      number of seats for further helpers · 2¹⁶ + number of helpers at work
    OWNER      1 while there is a job; whoever meets it does his own alone
    FUNCTION   address;   WORDS   address of the arguments;   COUNT   number of tasks
    TAKEN      tasks begun;   BACK   those that helpers began, from the last one backwards
    FAILED     tasks that raised: without memory
    WATCHING   helpers that look out or work;   CALLED   counts up when helpers are wanted for something else
"""

import os
import time

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .arrays import array_at
from .atomic import fetch_add, load, swap_if

STATE, OWNER, FUNCTION, WORDS, COUNT, TAKEN, BACK, FAILED, WATCHING, CALLED, _N_WORDS = range(0, 88, 8)
_SEAT = 1 << 16
LOOKOUT = 600_000  # ns without a job after which a helper goes to sleep

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)
_i64 = ir.IntType(64)


def new_board():
    """A board without a job: int64 words, from a cache line on."""
    words = np.zeros(_N_WORDS + 8, np.int64)
    return words[-words.ctypes.data % 64 // 8 :][:_N_WORDS]


@intrinsic
def call(typing_context, function, words, i):
    """The C function at an address."""

    def code(context, builder, signature, arguments):
        kind = ir.FunctionType(_i64, [_i64, _i64]).as_pointer()
        return builder.call(builder.inttoptr(arguments[0], kind), arguments[1:])

    return types.int64(types.int64, types.int64, types.int64), code


if hasattr(os, "sched_yield"):
    _sched_yield = types.ExternalFunction("sched_yield", types.int32())
    _usleep = types.ExternalFunction("usleep", types.int32(types.uint32))
    _clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp))
    _MONOTONIC = time.CLOCK_MONOTONIC

    @_jit
    def rest():
        _sched_yield()

    @_jit
    def nap():
        _usleep(np.uint32(50))

    @_jit
    def _now(seconds_and_ns):
        """Nanoseconds of a clock that only goes forwards; ``seconds_and_ns`` (2,) int64, to work in."""
        _clock_gettime(_MONOTONIC, seconds_and_ns.ctypes.data)
        return seconds_and_ns[0] * 1_000_000_000 + seconds_and_ns[1]

else:

    @_jit
    def rest():
        """There is no such call here."""

    @_jit
    def nap():
        """There is no such call here."""

    @_jit
    def _now(seconds_and_ns):
        seconds_and_ns[1] += 300  # about what a look takes
        return seconds_and_ns[1]


@intrinsic
def write(typing_context, words, i, array):
    """Argument i of a job, an array of one or two dimensions, C-contiguous. words : (n, 3) int64."""

    def code(context, builder, signature, arguments):
        table = context.make_array(signature.args[0])(context, builder, arguments[0])
        value = context.make_array(signature.args[2])(context, builder, arguments[2])
        sizes = (*cgutils.unpack_tuple(builder, value.shape), _i64(1))[:2]
        for q, word in enumerate((builder.ptrtoint(value.data, _i64), *sizes)):
            place = builder.add(builder.mul(arguments[1], _i64(3)), _i64(q))
            builder.store(word, builder.gep(table.data, [place]))
        return context.get_dummy_value()

    return types.void(words, types.int64, array), code


def _reader(dimensions):
    @intrinsic
    def reader(typing_context, address, i, dtype):
        array_type = types.Array(dtype.instance_type, dimensions, "C")

        def code(context, builder, signature, arguments):
            words, first = builder.inttoptr(arguments[0], _i64.as_pointer()), builder.mul(arguments[1], _i64(3))
            where, rows, columns = (builder.load(builder.gep(words, [builder.add(first, _i64(q))])) for q in range(3))
            size = _i64(context.get_abi_sizeof(context.get_data_type(dtype.instance_type)))
            shape = [rows, columns] if dimensions == 2 else [builder.mul(rows, columns)]
            strides = [builder.mul(columns, size), size] if dimensions == 2 else [size]
            return array_at(context, builder, array_type, where, shape, strides)

        return array_type(types.int64, types.int64, dtype), code

    return reader


# Argument i of a job, of the words' address: read(address, i, dtype) as a 2-D array, (length, 1) if it had one
# dimension, and read_flat as one of one dimension.
read, read_flat = _reader(2), _reader(1)


@_jit
def run(board, seats, function, words, count):
    """function(words, i) for i < count, on this thread and up to ``seats`` helpers.

    words : (n, 3) int64, see ``write``

    Raises
    ------
    MemoryError
        There was none left for a task.
    """
    address, failed = words.ctypes.data, 0
    if count < 2 or seats < 1 or not swap_if(board, OWNER, 0, 1):
        for i in range(count):
            failed += call(function, address, i) != 1
    else:
        board[FUNCTION], board[WORDS], board[COUNT] = function, address, count
        board[TAKEN] = board[BACK] = board[FAILED] = 0
        fetch_add(board, STATE, min(seats, count - 1) * _SEAT)
        first = 0
        while fetch_add(board, TAKEN, 1) < count:
            failed += call(function, address, first) != 1
            first += 1
        state = load(board, STATE)
        while not swap_if(board, STATE, state, state % _SEAT):  # no more seats
            state = load(board, STATE)
        while load(board, STATE) > 0:
            rest()
        failed += board[FAILED]
        swap_if(board, OWNER, 1, 0)
    if failed > 0:
        raise MemoryError


@_jit
def watch(board, called, patience):
    """Help with jobs until none has come for ``patience`` ns, or CALLED is not ``called``; looks once at least."""
    clock = np.zeros(2, np.int64)  # before it counts as there: memory may be short
    fetch_add(board, WATCHING, 1)
    end = _now(clock) + patience
    looking = True
    while looking and load(board, CALLED) == called:
        state = load(board, STATE)
        if state >= _SEAT and swap_if(board, STATE, state, state - _SEAT + 1):
            count = board[COUNT]
            # From the other end than the caller: call after call a core meets the data it has in its cache.
            while fetch_add(board, TAKEN, 1) < count:
                if call(board[FUNCTION], board[WORDS], count - 1 - fetch_add(board, BACK, 1)) != 1:
                    fetch_add(board, FAILED, 1)
            fetch_add(board, STATE, -1)
            end = _now(clock) + patience
        else:
            rest()
            looking = _now(clock) < end
    fetch_add(board, WATCHING, -1)
