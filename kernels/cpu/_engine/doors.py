"""Who works on a job, so that it can be closed: compiled, for a signal cannot come between the steps of a C call.

A door is one int64 in an array: the number of helpers inside, and from ``_SHUT`` on nobody comes in any more.
"""

import numpy as np
from numba import njit

from .atomic import fetch_add, load, swap_if
from .team import nap, rest

_SHUT = 1 << 32
_LOOKS = 1000  # half a millisecond or so, after which whoever is inside takes long

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


def new_door():
    """A door with nobody inside."""
    return np.zeros(1, np.int64)


@_jit
def come_in(door, seats):
    """Whether there was a seat left, and the door open; who comes in has to `leave`."""
    inside = load(door, 0)
    while inside < seats:
        if swap_if(door, 0, inside, inside + 1):
            return True
        inside = load(door, 0)
    return False


@_jit
def leave(door):
    """Nothing is written after this."""
    fetch_add(door, 0, -1)


@_jit
def shut(door):
    """Let nobody in any more, and wait until nobody is inside. Only whoever opened the job may call it."""
    if load(door, 0) < _SHUT:
        fetch_add(door, 0, _SHUT)
    looks = 0
    while load(door, 0) > _SHUT:
        looks += 1
        if looks < _LOOKS:
            rest()
        else:
            nap()


def compile_all():
    """Compile what has to be one C call from the first time on."""
    door = new_door()
    come_in(door, 1)
    leave(door)
    shut(door)
