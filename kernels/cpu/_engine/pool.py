"""Threads of our own: fixed tasks on as many threads as the caller allows, one BLAS thread each.

    with pool.threads(n_jobs):
        parts = pool.parallel(function, tasks)

Tasks are cut by shape alone and write to places of their own, so no result depends on how many
threads there are, or on which of them does what. BLAS is held to one thread meanwhile (``blas``). The caller works
too; helpers are started when first needed, shared by the whole process, and wait for the next tasks.

A Ctrl-C may come between any two steps of Python, but not within a call of compiled code, nor between ``finally`` and
the first call after it. So what has to happen is one such call, or can be done again.
"""

import os
import threading
from collections import deque
from contextlib import nullcontext
from contextvars import ContextVar
from itertools import pairwise
from queue import SimpleQueue

import numpy as np

from . import swallowed
from .blas import Scope, blas
from .cores import usable_threads
from .waiting import look_out, wait_for

_MOMENT = 2000  # sleeps of 50 µs, after which Python looks for signals

_scope = ContextVar("csrl_core_threads", default=None)  # the last entered; None in a helper


def _innermost():
    """The scope that one is in, None outside of ``threads`` and in a helper."""
    scope = _scope.get()
    while scope is not None and scope.ended:
        scope = scope.outer
    return scope


def _allowed():
    """Threads of the scope that one is in, 0 for none."""
    scope = _innermost()
    return scope.n_jobs if scope is not None else 0


_here = threading.local()  # job : of a helper that works


def stopped():
    """Whether nobody waits for the task that asks: a long one looks now and then, and returns anything."""
    job = getattr(_here, "job", None)
    return job is not None and job.stopped


class _Job:
    """One call of ``parallel``.

    A helper takes a seat, raises its flag and only then looks whether the job has stopped; the caller stops the job and
    only then looks at the flags. So once the caller has seen all flags down no helper begins any more.
    """

    def __init__(self, function, tasks, seats):
        self.function, self.tasks, self.pending = function, tasks, deque(range(len(tasks)))
        self.results, self.error, self.stopped = [None] * len(tasks), None, False
        self.seats, self.working = list(range(seats)), np.zeros(seats, np.int64)

    def work(self, take):
        """Take tasks until there are none; after an error the rest is skipped."""
        while self.error is None and not self.stopped:
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
        try:
            seat = self.seats.pop()
        except IndexError:
            return
        self.working[seat] = 1
        try:
            _here.job = self
            self.work(self.pending.pop)  # from the other end: a core meets the data it has in its cache
        finally:
            _here.job = None
            self.working[seat] = 0


class _Helpers:
    """Daemon threads that wait for jobs. What is in the queue wakes them, to look for open jobs.

    To wake a thread whose core has gone to sleep takes as long as a short job, so it looks out for a moment first.
    """

    def __init__(self):
        self._calls = np.zeros(1, np.int64)
        self._queue, self._threads, self._jobs, self._lock = SimpleQueue(), set(), [], threading.Lock()

    def offer(self, job):
        """Let threads join in the job, as many as it has seats."""
        wanted = len(job.working)
        self._start(wanted)
        with self._lock:
            self._jobs = [other for other in self._jobs if not other.stopped] + [job]
        self._calls[0] += 1
        # Threads that are busy find what is in the queue when they are not; more would only pile up there.
        for _ in range(wanted - self._queue.qsize()):
            self._queue.put(None)

    def _start(self, helpers):
        """Have so many threads, or as many as the system allows: whoever has none works alone, with the same bits."""
        if len(self._threads) < helpers:
            wait_for(np.zeros(1, np.int64), 0)  # compiled from here on, so that it is one call
            look_out(self._calls, -1)
            with self._lock:
                while len(self._threads) < helpers:
                    thread = threading.Thread(target=self._serve, daemon=True)
                    try:
                        thread.start()
                    except (RuntimeError, MemoryError):  # "can't start new thread"
                        return
                    self._threads.add(thread)

    def _serve(self):
        try:
            blas.hold_here()
            while True:
                self._queue.get()
                seen = int(self._calls[0])
                for job in self._jobs:
                    job.help()
                if len(self._threads) < usable_threads(-1):  # else it would be in the way of others
                    look_out(self._calls, seen)
        finally:  # without memory
            self._threads.discard(threading.current_thread())  # so that another is started in its place


_helpers = _Helpers()


def _after_fork():
    global _helpers
    _helpers = _Helpers()  # the parent's threads do not exist here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class threads:
    """Context in which kernels use ``n_jobs`` threads (see ``usable_threads``), and BLAS one. It can be nested.

    An exception that a signal raised is raised as itself: where a call of compiled code was just returning an array,
    Python makes it the cause of a SystemError; where one was just compiled it is lost (``swallowed``).
    """

    def __init__(self, n_jobs=None):
        self.n_jobs = usable_threads(n_jobs)

    def __enter__(self):
        self._entered = scope = Scope(self, self.n_jobs, _innermost())
        try:
            blas.hold(scope)
            _scope.set(scope)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind, error, traceback):
        self._leave()
        cause = error
        while isinstance(cause, SystemError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if cause is not error:
            raise cause from None
        lost = swallowed.take()
        if lost is not None:
            raise lost from error

    def _leave(self):
        self._entered.over = True
        _surely(blas.settle)
        self._entered.owner = None  # an interrupt before may leave that to the end of this object


def _surely(act):
    """Do what can be done again until it was not interrupted, then raise the interrupt."""
    interrupt = None
    for _ in range(100):  # an error that always comes is none of them
        try:
            act()
            break
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        try:
            raise interrupt
        finally:
            del interrupt  # which refers to this frame


def single_blas_thread():
    """Context for kernels: inside of ``threads`` nothing, elsewhere ``threads(1)``, with the same bits."""
    return threads(1) if _innermost() is None else nullcontext()


def parallel(function, tasks):
    """[function(task) for task in tasks], on the threads of the context.

    tasks : sequence; what they write to must not overlap
    An exception of a task is raised here when no thread works any more; the tasks not yet begun are skipped.
    """
    helpers = min(_allowed(), len(tasks)) - 1
    if helpers < 1:
        return [function(task) for task in tasks]
    job = _Job(function, tasks, helpers)
    try:
        _helpers.offer(job)
        job.work(job.pending.popleft)
        while job.error is None and not wait_for(job.working, _MOMENT):
            pass  # here a Ctrl-C is answered
    finally:
        job.stopped = True
        try:
            # The first call: nobody writes to the caller's arrays from here on, whatever interrupts
            wait_for(job.working, 0)
        finally:
            job.function = job.tasks = None  # a helper that comes too late must not keep them alive
    results, error = job.results, job.error
    job.results = job.error = None
    if error is not None:
        try:
            raise error
        finally:
            del error  # which refers to this frame
    return results


def blocks(size, block, start=0, more=0):
    """Slices that cut ``size`` entries from ``start`` on into blocks of ``block``; the last may have ``more`` more."""
    end = start + size
    bounds = [*range(start, max(end - more, start + 1 if size else start), block), end]
    return [slice(first, stop) for first, stop in pairwise(bounds)]


def spans(count):
    """Tasks in a row as slices, so that one call can do several: one on one thread, else some eight a thread."""
    allowed = _allowed()
    if allowed <= 1:
        return [slice(0, count)]
    return blocks(count, -(-count // (8 * allowed)) or 1)
