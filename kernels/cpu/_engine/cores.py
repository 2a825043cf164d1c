"""How many threads to take."""

import os
from functools import lru_cache
from numbers import Integral

import joblib


@lru_cache
def _cores(allowed):
    """How many of the allowed cores may be used at a time: joblib reads the quota of the control group, from files."""
    return min(allowed, joblib.cpu_count())


def usable_threads(n_jobs=None):
    """How many threads ``n_jobs`` means here.

    n_jobs : int or None; None takes OMP_NUM_THREADS where it is set, else all usable cores; a negative
    number counts back from all usable cores, -1 being all, as elsewhere in the ecosystem. Usable are the cores that
    the process may run on, and no more than a container's quota of CPU time is worth.

    Raises
    ------
    ValueError
        ``n_jobs`` is 0 or not an int.
    """
    cores = _cores(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if n_jobs is None:
        wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
        return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else cores
    if not isinstance(n_jobs, Integral) or isinstance(n_jobs, bool) or n_jobs == 0:
        raise ValueError(f"n_jobs={n_jobs!r}; expected None, an int of at least 1, or a negative int (-1: all cores)")
    return int(n_jobs) if n_jobs > 0 else max(1, cores + 1 + int(n_jobs))
