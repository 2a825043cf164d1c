"""Announce that Numba compiles, before it begins, and count what it compiled."""

import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from csrl_core import backends

# Seconds of compiling at a first fit, by the file of the estimator: compile_seconds of the cases of
# bench/bench_first_fit.py on two cores (bench/results/first_fit.csv).
SECONDS = {"autoencoder": 2, "rbm": 7, "vae": 3, "contrastive": 4, "instance": 3, "divergence": 2}
SECONDS |= {"conv autoencoder": 8, "conv vae": 7, "conv contrastive": 10, "conv instance": 10}


@dataclass
class Compiled:
    """The number of functions compiled, counting every signature, and the seconds that it took."""

    functions: int = 0
    seconds: float = 0.0


_announcing = 0  # contexts that announce: those further in leave it to them


@contextmanager
def announced(say, model=None, backend="auto"):
    """Announce the first function that Numba compiles within the context; nothing is said where all are cached.

    Parameters
    ----------
    say : callable or None
        Takes the line; not called within another `announced`, as one line is enough. None only counts.
    model : estimator, class of estimators, or None
        The line has its name and the expected time.
    backend : str
        The backend's name; only "numba" and "auto" compile.

    Yields
    ------
    Compiled
        Its counts grow within the context.
    """
    global _announcing
    if backend not in ("auto", "numba"):
        yield Compiled()
        return
    backends.get(backend)  # or the reason why it cannot compile
    from numba.core import event

    compiled, depth, begin, quiet = Compiled(), 0, 0.0, say is None or _announcing > 0

    class Listener(event.Listener):
        def on_start(self, occurred):
            nonlocal depth, begin
            if not depth:
                begin = time.perf_counter()
            depth += 1
            compiled.functions += 1
            if compiled.functions == 1 and not quiet:
                say(line(model))

        def on_end(self, occurred):
            nonlocal depth
            depth -= 1
            if not depth:
                compiled.seconds += time.perf_counter() - begin

    _announcing += say is not None
    try:
        with event.install_listener("numba:compile", Listener()):
            yield compiled
    finally:
        _announcing -= say is not None


def of_fit(estimator, backend):
    """The context of an estimator's fit: if it is verbose, `announced` prints to standard error.

    backend : `csrl_core.backends.Backend`
    """
    if not estimator.verbose:
        return nullcontext()
    return announced(lambda text: print(text, file=sys.stderr, flush=True), estimator, backend.name)


def line(model=None):
    """The line to print before compiling; model : estimator or class"""
    kind = model if model is None or isinstance(model, type) else type(model)
    home = kind and kind.__module__.rpartition(".")[2]
    if getattr(model, "architecture", None) == "conv":
        home = f"conv {home}"
    name = f" of {kind.__name__}" if kind else ""
    long = f"about {SECONDS[home]} s" if home in SECONDS else "some seconds"
    return f"compiling the Numba kernels{name}: {long}, once on this machine for this version"
