"""Which floor of the house computes: "numpy", "numba", "cupy", "emulated", or "auto".

A backend is a name and one module per kernel stem; all backends have the same functions with the
same arguments (see ``contract``). An explicit choice never falls back to another one.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec

BACKENDS = ("numpy", "numba", "cupy", "emulated")
_FLOORS = {
    "numpy": "csrl_core.reference",
    "numba": "csrl_core.kernels.cpu",
    "cupy": "csrl_core.kernels.gpu",
    "emulated": "csrl_core.kernels.gpu",
}


class BackendError(RuntimeError):
    """A backend that was asked for cannot be used here; the message says why and what to do."""


@dataclass(frozen=True)
class Backend:
    """A resolved backend: ``backend.assign``, ``backend.optimizer``, … are the kernel modules."""

    name: str

    def __getattr__(self, stem):
        if stem.startswith("_"):
            raise AttributeError(stem)
        try:
            module = import_module(f"{_FLOORS[self.name]}.{stem}")
        except ModuleNotFoundError as error:
            if error.name != f"{_FLOORS[self.name]}.{stem}":
                raise
            raise AttributeError(f"backend {self.name!r} has no kernels of the stem {stem!r}") from None
        object.__setattr__(self, stem, module)  # found once, then an ordinary attribute
        return module

    def threads(self, n_jobs):
        """Context in which kernels use ``n_jobs`` threads (None: all usable cores), and BLAS one."""
        from csrl_core.kernels.cpu import pool

        return pool.threads(n_jobs)

    def parallel(self, function, tasks):
        """``function`` of every task; on several threads where the backend's kernels release the interpreter."""
        if self.name == "numba":
            self.pool.parallel(function, tasks)
        else:
            for task in tasks:
                function(task)


@cache
def get(name="auto"):
    """Resolve a backend by name.

    Parameters
    ----------
    name : {"auto", "numpy", "numba", "cupy", "emulated"}
        "auto" takes "numba".

    Returns
    -------
    Backend

    Raises
    ------
    ValueError
        The name is none of these.
    BackendError
        The backend cannot be used on this machine.
    """
    if name == "auto":
        name = "numba"
    if name not in BACKENDS:
        raise ValueError(f"backend={name!r} is unknown; expected 'auto' or one of {', '.join(map(repr, BACKENDS))}")
    if name in ("cupy", "emulated"):
        if name == "cupy" and find_spec("cupy") is None:
            raise BackendError(
                "backend='cupy' needs CuPy, which is not installed; "
                "pip install 'csrl_core[cuda12]' (or [cuda13], to match your driver)"
            )
        if find_spec(f"{_FLOORS[name]}.assign") is None:
            raise BackendError(
                f"backend={name!r} has no kernels in this version of csrl_core; use 'numba' (the default) or 'numpy'"
            )
    return Backend(name)
