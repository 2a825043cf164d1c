"""The CPU twins: Numba loops around NumPy products, same functions as the reference.

Everything is compiled by ``_engine.jit``, whose ``jit`` says ``fastmath=False``. Left out, a function takes over the
setting of whichever function happens to be compiled around it first, and its bits depend on the order of calls.

What Python calls fills arrays that it is given, and returns numbers at most. To return an array, Numba runs Python
again, where a signal's handler may raise; Python then sees a result together with an exception, a SystemError.
"""

from ._engine import compiler

if compiler.missing is None:
    from ._engine import freshness

    freshness.watch_over(__file__)
