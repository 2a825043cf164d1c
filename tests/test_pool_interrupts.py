"""Interrupts of the thread pool at every place where one can come: BLAS, helpers, arrays, queue."""

import os
import threading
import time

import numpy as np
import pytest
from interrupts import Interrupt, interrupt_at
from threadpoolctl import threadpool_info, threadpool_limits

from csrl_core import backend

pool = backend.get("numba").pool
OURS = ("kernels/cpu/pool.py", "kernels/cpu/blas.py")


def _blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def _is_quiet(n_jobs):
    """Nobody is in a scope, no helper works on a job or could begin to, and what wakes them has not piled up."""
    assert pool._innermost() is None
    assert all(job.stopped and job.door[0] == 1 << 32 for job in pool._helpers._jobs)
    assert all(job.function is None and job.tasks is None for job in pool._helpers._jobs)
    assert pool._helpers._queue.qsize() < n_jobs


def _work(n_jobs):
    with pool.threads(n_jobs):
        pool.parallel(lambda i: time.sleep(1e-4), range(6))
        with pool.single_blas_thread():
            pool.summon(4)
    with pool.single_blas_thread():
        pass


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_nothing_is_left_wherever_it_is_interrupted(n_jobs):
    with threadpool_limits(2, user_api="blas"):
        before, places = _blas_threads(), []
        _work(n_jobs)  # threads are there, functions compiled
        while (where := interrupt_at(len(places), OURS, lambda: _work(n_jobs))) is not None:
            places.append(where)
            assert _blas_threads() == before, where
            _is_quiet(n_jobs)
        for name in ("__enter__", "__exit__", "_leave", "_surely", "settle", "hold"):
            assert any(where.startswith(name + ",") for where in places), (name, places)
