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

import time

import numpy as np
from numba import njit
from numba.extending import register_jitable

from .atomic import LINE, fetch_add, load, pause, swap_if
from .pool import parallel, usable_threads

_NEXT, _DONE, _PHASE = 0, LINE, 2 * LINE  # each number of a phase has a cache line of its own
_PATIENCE = 20_000  # looks, a millisecond or so, after which something else seems to keep the core busy


_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@register_jitable(error_model="numpy", fastmath=False)
def counters(phases):
    """Tasks taken and tasks finished of so many phases, int64."""
    return np.zeros(phases * _PHASE, np.int64)


@_jit
def take(counters, phase):
    """The number of a task that no thread has taken before; from the phase's number of tasks on: there is none."""
    return fetch_add(counters, phase * _PHASE + _NEXT, 1)


@_jit
def claim(claims, task):
    """Whether a task is this thread's, none having claimed it before: for threads that choose, in place of `take`.

    claims : (t,) int64, zeros at first
    """
    return swap_if(claims, task, 0, 1)


@_jit
def finish(counters, phase):
    """To be said after every task; what it wrote is then seen by whoever has waited."""
    fetch_add(counters, phase * _PHASE + _DONE, 1)


@_jit
def wait(counters, phase, tasks):
    """Until all tasks of the phase are finished; False if that takes so long that the core is better left."""
    looks = 0
    while load(counters, phase * _PHASE + _DONE) != tasks:
        pause()
        looks += 1
        if looks == _PATIENCE:
            return False
    return True


def run(work, tasks):
    """``work()`` on the threads of the context, again wherever it gave up waiting and said False.

    tasks : int, most of a phase
    """
    finished = []

    def until_done(_):
        try:
            while not finished and not work():
                time.sleep(0)  # let others have the core, and the interpreter
        finally:
            finished.append(True)  # also after an error: then nobody waits for what will not come

    parallel(until_done, range(min(usable_threads(-1), tasks)))
