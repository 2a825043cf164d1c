"""How threads wait for each other: compiled, without Python's lock; in Python where nothing can be compiled."""

import os
import time

import numpy as np

from . import compiler

_YIELDS = 1000  # of the core to whatever else wants it, half a millisecond or so; whoever waits longer sleeps

if hasattr(os, "sched_yield") and compiler.missing is None:
    from numba import types

    from .jit import jit

    _sched_yield = types.ExternalFunction("sched_yield", types.int32())
    _usleep = types.ExternalFunction("usleep", types.int32(types.uint32))

    @jit
    def wait_for(working, sleeps):
        """Return True when all flags are 0, or False after so many sleeps (0: never).

        The functions of the system may change memory, so flags are read each time.
        """
        slept = 0
        for flag in range(len(working)):
            looks = 0
            while working[flag] != 0:
                looks += 1
                if looks < _YIELDS:
                    _sched_yield()
                    continue
                _usleep(np.uint32(50))
                slept += 1
                if slept == sleeps:
                    return False
        return True

    @jit
    def look_out(calls, seen):
        """Return when there is another call, or when none has come for a moment."""
        for _ in range(_YIELDS):
            if calls[0] != seen:
                return
            _sched_yield()

else:

    def wait_for(working, sleeps):
        """Return True when all flags are 0, or False after so many sleeps (0: never)."""
        slept = 0
        while working.any():
            time.sleep(5e-5)
            slept += 1
            if slept == sleeps:
                return False
        return True

    def look_out(calls, seen):
        """There is no such call of the system here."""
