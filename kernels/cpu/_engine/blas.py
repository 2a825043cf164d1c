"""One BLAS thread while kernels work.

Its results depend on its number of threads, and its own threads make small products slower. What holds it is said by
the scopes that have not ended, never by a counter: a Ctrl-C may come between any two steps, and the next one who
looks, at the latest, finds what is right.
"""

import os
import threading
import weakref

import scipy.linalg.cython_blas  # noqa: F401  what np.dot in compiled code calls, to be held to one thread too
from threadpoolctl import ThreadpoolController


class Scope:
    """Holds BLAS to one thread until it is ``over``, or its owner is no more.

    owner : object; n_jobs : int, threads of ours meanwhile; outer : the scope around it, or None
    """

    def __init__(self, owner, n_jobs, outer):
        self.n_jobs, self.outer, self.over, self.thread = n_jobs, outer, False, threading.get_ident()
        self.owner = weakref.ref(owner, lambda _: blas.settle())

    @property
    def ended(self):
        """Whether it holds BLAS no more."""
        owner = self.owner
        return self.over or owner is None or owner() is None


class _Limit:
    """One thread for some libraries while a scope has not ended, and afterwards what they had."""

    def __init__(self, libraries):
        self.libraries, self.scopes, self.found = libraries, [], None

    def settle(self):
        """Make it so. May be interrupted anywhere and done again."""
        self.scopes = [scope for scope in self.scopes if not scope.ended]
        if self.scopes:
            if self.found is None:
                self.found = [(library, library.num_threads) for library in self.libraries]
            for library in self.libraries:
                if library.num_threads != 1:
                    _set_threads(library, 1)
        elif self.found is not None:
            for library, number in self.found:
                _set_threads(library, number)
            self.found = None


class SingleBlasThread:
    """Most BLAS have one number of threads for the process, some (built on OpenMP) one for each calling thread.

    What the first scope found is restored when the last one has ended, whichever thread that is.
    """

    def __init__(self):
        # Whoever holds the lock may be interrupted by code that wants it: a signal's handler, or a finalizer.
        self._lock, self._shared, self._of_thread, self._mine = threading.RLock(), None, [], threading.local()

    def _limits(self):
        if self._shared is None:  # milliseconds, so once
            libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            self._of_thread = [library for library in libraries if _has_number_per_thread(library)]
            self._shared = _Limit([library for library in libraries if not _has_number_per_thread(library)])
        if not self._of_thread:
            return (self._shared,)
        if not hasattr(self._mine, "limit"):
            self._mine.limit = _Limit(self._of_thread)
        return self._shared, self._mine.limit

    def hold(self, scope):
        """One thread from now on until the scope has ended."""
        with self._lock:
            for limit in self._limits():
                limit.scopes.append(scope)
                limit.settle()

    def settle(self):
        """To be called when a scope has ended; again where that was interrupted."""
        with self._lock:
            for limit in self._limits():
                limit.settle()

    def hold_here(self):
        """For good in this thread, where every thread has its own number."""
        for library in self._of_thread:
            _set_threads(library, 1)

    def after_fork(self):
        """In a forked child: scopes of threads that do not exist here have ended."""
        self._lock = threading.RLock()
        if self._shared is not None:
            here = threading.get_ident()
            self._shared.scopes = [scope for scope in self._shared.scopes if scope.thread == here]
            self.settle()


def _has_number_per_thread(library):
    return getattr(library, "threading_layer", None) == "openmp"


def _set_threads(library, number):
    # From 3.7 on threadpoolctl ignores all threads but the first that sets a number, even if that one has left.
    getattr(library, "_real_set_num_threads", library.set_num_threads)(number)


blas = SingleBlasThread()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=blas.after_fork)
