"""How every function here is compiled: without Python's lock, kept on disk, division as NumPy has it.

No function is called from C, so none gets Numba's wrapper for that: it would be compiled with the function once more
inside, a tenth to a fifth of the time of a first fit.
"""

from functools import partial

from numba import njit
from numba.extending import register_jitable

compiled = partial(njit, nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)  # with its ``fastmath``
jit = compiled(fastmath=False)
# Arithmetic with a few numbers: Python does it where Python calls it, and what is compiled around it takes it in.
jitable = register_jitable(fastmath=False, error_model="numpy")
