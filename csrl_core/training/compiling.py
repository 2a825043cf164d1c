"""What Numba compiles: said before it begins, and counted."""

import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

# Seconds of compiling at a first fit, by the file of the estimator: compile_seconds of the cases "small" and "machine",
# as bench/bench_first_fit.py measures them on two cores (bench/results/first_fit.csv).
SECONDS = {"autoencoder": 10, "rbm": 30}


@dataclass
class Compiled:
    """How many functions were compiled, each signature counted, and the seconds that the outermost of them took."""

    functions: int = 0
    seconds: float = 0.0


_announcing = False  # whether some caller has already been asked to say it


@contextmanager
def announced(say, kind=None, backend="auto"):
    """Have the first function that Numba compiles within the context announced; where all are cached nothing is.

    Parameters
    ----------
    say : callable or None
        Takes the line; within another `announced` it is not called, as one line is enough.
    kind : class or None
        Of the estimator, whose name and time are said.
    backend : str
        What computes; only "numba" and "auto" compile.

    Yields
    ------
    Compiled
        Counts that grow.
    """
    global _announcing
    if backend not in ("auto", "numba"):
        yield Compiled()
        return
    from numba.core import event

    compiled, depth, begin, quiet = Compiled(), 0, 0.0, say is None or _announcing

    class Listener(event.Listener):
        def on_start(self, occurred):
            nonlocal depth, begin
            if not depth:
                begin = time.perf_counter()
            depth += 1
            compiled.functions += 1
            if compiled.functions == 1 and not quiet:
                say(line(kind))

        def on_end(self, occurred):
            nonlocal depth
            depth -= 1
            if not depth:
                compiled.seconds += time.perf_counter() - begin

    before, _announcing = _announcing, _announcing or say is not None
    try:
        with event.install_listener("numba:compile", Listener()):
            yield compiled
    finally:
        _announcing = before


def of_fit(estimator, backend):
    """The context of an estimator's fit: `announced` on standard error where it is verbose.

    backend : `csrl_core.backends.Backend`
    """
    if not estimator.verbose:
        return nullcontext()
    return announced(lambda text: print(text, file=sys.stderr, flush=True), type(estimator), backend.name)


def line(kind=None):
    """What is said before compiling."""
    home = kind and kind.__module__.rpartition(".")[2]
    name = f" of {kind.__name__}" if kind else ""
    long = f"about {SECONDS[home]} s" if home in SECONDS else "some seconds"
    return f"compiling the Numba kernels{name}: {long}, once on this machine for this version"
