"""How every function here is compiled: without Python's lock, kept on disk, division as NumPy has it.

No function is called from C, so none gets Numba's wrapper for that: it would be compiled with the function once more
inside, a tenth to a fifth of the time of a first fit.
"""

import gc
from functools import partial

from numba import njit
from numba.core import event
from numba.extending import register_jitable

compiled = partial(njit, nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)  # with its ``fastmath``
jit = compiled(fastmath=False)
# Arithmetic with a few numbers: Python does it where Python calls it, and what is compiled around it takes it in.
jitable = register_jitable(fastmath=False, error_model="numpy")


class _Frozen(event.Listener):
    """Collections of garbage pass over what was there before one of these is compiled: a tenth of a first fit."""

    function = None  # the outermost; after an interrupt within, until it is compiled again

    def on_start(self, started):
        function = started.data["dispatcher"].py_func
        if self.function is None and function.__module__.startswith("csrl_core.") and not gc.get_freeze_count():
            self.function = function
            gc.freeze()

    def on_end(self, ended):
        if ended.data["dispatcher"].py_func is self.function:
            gc.unfreeze()
            self.function = None


event.register("numba:compile", _Frozen())
