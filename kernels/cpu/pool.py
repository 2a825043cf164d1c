"""Threads of our own: fixed tasks on as many threads as the caller allows, one BLAS thread each.

    with pool.threads(n_jobs):
        parts = pool.parallel(function, tasks)

Tasks are cut by shape alone and write to places of their own, so no result depends on how many
threads there are, or on which of them does what. BLAS is held to one thread meanwhile: its results
depend on its thread count, and its own threads make small products slower. The caller works too;
helpers are started when first needed, shared by the whole process, and wait for the next tasks.
"""

import os
import threading
from collections import deque
from contextvars import ContextVar
from numbers import Integral
from queue import SimpleQueue

import scipy.linalg.cython_blas  # noqa: F401  what np.dot in compiled code calls, to be held to one thread too
from threadpoolctl import ThreadpoolController

from . import team

_allowed = ContextVar("csrl_core_threads", default=0)  # 0: outside of ``threads``, and in a helper


def usable_threads(n_jobs=None):
    """How many threads ``n_jobs`` means here.

    n_jobs : int or None; None takes OMP_NUM_THREADS where it is set, else all usable cores; a negative
    number counts back from all usable cores, -1 being all, as elsewhere in the ecosystem

    Raises
    ------
    ValueError
        ``n_jobs`` is 0 or not an int.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if n_jobs is None:
        wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
        return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else cores
    if not isinstance(n_jobs, Integral) or isinstance(n_jobs, bool) or n_jobs == 0:
        raise ValueError(f"n_jobs={n_jobs!r}; expected None, an int of at least 1, or a negative int (-1: all cores)")
    return int(n_jobs) if n_jobs > 0 else max(1, cores + 1 + int(n_jobs))


class _SingleBlasThread:
    """Holds BLAS to one thread from the first ``enter`` to the last ``exit`` in the process.

    Most BLAS have one number of threads for the process: what the first to enter found is restored by the last
    to leave, whichever thread that is. Built on OpenMP they have one for each calling thread.
    """

    def __init__(self):
        self._lock, self._depth, self._libraries, self._to_restore = threading.Lock(), 0, None, []

    def enter(self):
        """Returns what ``exit`` wants to have back."""
        with self._lock:
            if self._libraries is None:  # milliseconds, so once
                self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            self._depth += 1
            found = [(library, library.num_threads) for library in self._libraries]
            changed = [(library, number) for library, number in found if number != 1]
            for library, _ in changed:
                _set_threads(library, 1)
            return changed

    def hold_here(self):
        """For good in this thread, where every thread has its own number."""
        for library in self._libraries or ():
            if _has_number_per_thread(library):
                _set_threads(library, 1)

    def exit(self, changed):
        with self._lock:
            self._depth -= 1
            for library, number in changed:
                if _has_number_per_thread(library):
                    _set_threads(library, number)
                else:
                    self._to_restore.append((library, number))
            if self._depth == 0:
                for library, number in self._to_restore:
                    _set_threads(library, number)
                self._to_restore.clear()

    def reset(self):
        """In a forked child, where the thread that held the lock does not exist."""
        self._lock = threading.Lock()


def _has_number_per_thread(library):
    return getattr(library, "threading_layer", None) == "openmp"


def _set_threads(library, number):
    # From 3.7 on threadpoolctl ignores all threads but the first that sets a number, even if that one has left.
    getattr(library, "_real_set_num_threads", library.set_num_threads)(number)


class _Job:
    """One call of ``parallel``. The caller counts only helpers: an interrupt cannot make it lose count."""

    def __init__(self, function, tasks):
        self.function, self.tasks, self.pending = function, tasks, deque(range(len(tasks)))
        self.results, self.error = [None] * len(tasks), None
        self._helping, self._closed = 0, False
        self._lock, self._idle = threading.Lock(), threading.Lock()
        self._idle.acquire()

    def work(self, take):
        """Take tasks until there are none; after an error the rest is skipped."""
        while self.error is None:
            try:
                i = take()
            except IndexError:
                return
            try:
                self.results[i] = self.function(self.tasks[i])
            except BaseException as error:
                self.error = error

    def help(self):
        """What a helper does, unless it comes too late."""
        with self._lock:
            if self._closed:
                return
            self._helping += 1
        self.work(self.pending.pop)  # from the other end: call after call a core meets the data it has in its cache
        with self._lock:
            self._helping -= 1
            if self._closed and self._helping == 0:
                self._idle.release()

    def close(self):
        """Wait for the helpers, whatever interrupts: arrays must not be written to behind the caller's back."""
        while True:
            try:
                with self._lock:
                    self._closed, helping = True, self._helping
                if helping:
                    self._idle.acquire()
                return
            except BaseException as error:
                self.error = error


class _Helpers:
    """Daemon threads that wait for jobs. ``board`` is where compiled code shares its own, see ``team``."""

    def __init__(self):
        self._queue, self._count, self._lock = SimpleQueue(), 0, threading.Lock()
        self.board = team.new_board()

    def offer(self, job, helpers):
        """Let up to ``helpers`` threads join in the job."""
        self._start(helpers)
        self.board[team.CALLED] += 1  # whoever looks out for another job may stop
        for _ in range(helpers):
            self._queue.put(job.help)

    def summon(self, helpers):
        """Let up to ``helpers`` threads look out for what appears on the board."""
        missing = helpers - int(self.board[team.WATCHING])
        if missing > 0:
            self._start(helpers)
            # With more threads than cores, who looks out would be in the way of who works.
            patience = team.LOOKOUT if helpers < usable_threads(-1) else 0
            board, called = self.board, int(self.board[team.CALLED])
            for _ in range(missing):
                self._queue.put(lambda: team.watch(board, called, patience))

    def _start(self, helpers):
        if self._count < helpers:
            with self._lock:
                while self._count < helpers:
                    threading.Thread(target=self._serve, args=(self._queue,), daemon=True).start()
                    self._count += 1

    @staticmethod
    def _serve(queue):
        _blas.hold_here()
        while True:
            queue.get()()


_helpers, _blas = _Helpers(), _SingleBlasThread()


def _after_fork():
    global _helpers
    _helpers = _Helpers()  # the parent's threads do not exist here
    _blas.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class threads:
    """Context in which kernels use ``n_jobs`` threads (see ``usable_threads``), and BLAS one. It can be nested."""

    def __init__(self, n_jobs=None):
        self.n_jobs = usable_threads(n_jobs)

    def __enter__(self):
        self._changed = _blas.enter()
        self._token = _allowed.set(self.n_jobs)
        return self

    def __exit__(self, *exception):
        _allowed.reset(self._token)
        _blas.exit(self._changed)


class single_blas_thread:
    """Context for kernels: inside of ``threads`` nothing, elsewhere ``threads(1)``, with the same bits."""

    def __enter__(self):
        self._outside = _allowed.get() == 0
        if self._outside:
            self._changed = _blas.enter()

    def __exit__(self, *exception):
        if self._outside:
            _blas.exit(self._changed)


def parallel(function, tasks):
    """[function(task) for task in tasks], on the threads of the context.

    tasks : sequence; what they write to must not overlap
    An exception of a task is raised here when no thread works any more; the tasks not yet begun are skipped.
    """
    helpers = min(_allowed.get(), len(tasks)) - 1
    if helpers < 1:
        return [function(task) for task in tasks]
    job = _Job(function, tasks)
    _helpers.offer(job, helpers)
    try:
        job.work(job.pending.popleft)
    finally:
        job.close()
        job.function = job.tasks = None  # a helper that comes too late must not keep the caller's arrays alive
    if job.error is not None:
        raise job.error
    return job.results


def summon(tasks):
    """(board, seats) for ``team.run`` to share so many tasks on the threads of the context."""
    helpers = max(0, min(_allowed.get(), tasks) - 1)
    if helpers:
        _helpers.summon(helpers)
    return _helpers.board, helpers


def blocks(size, block, start=0):
    """Slices that cut ``size`` entries from ``start`` on into blocks of ``block``, the last one shorter."""
    end = start + size
    return [slice(first, min(first + block, end)) for first in range(start, end, block)]


def spans(count):
    """Tasks in a row as slices, so that one call can do several: one on one thread, else about eight a thread."""
    if _allowed.get() <= 1:
        return [slice(0, count)]
    return blocks(count, -(-count // (8 * _allowed.get())) or 1)
