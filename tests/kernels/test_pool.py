"""The thread pool of the CPU kernels: order, errors, nesting, BLAS threads, forks."""

import os
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from csrl_core.kernels.cpu._engine import cores, pool


def _blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("n_jobs", [1, 2, 7])
def test_results_in_order(n_jobs):
    with pool.threads(n_jobs):
        assert pool.parallel(lambda i: i * i, range(50)) == [i * i for i in range(50)]
        assert pool.parallel(lambda i: i, []) == []
    assert pool.parallel(lambda i: i + 1, [1, 2]) == [2, 3]  # outside of any context


def test_helpers_take_part():
    barrier = threading.Barrier(3, timeout=20)  # passes only if three threads are in it at once
    with pool.threads(3):
        assert len(set(pool.parallel(lambda _: barrier.wait() * 0 + threading.get_ident(), range(3)))) == 3


def test_outside_and_in_tasks_there_are_no_helpers():
    here = threading.get_ident()
    assert pool.parallel(lambda _: threading.get_ident(), range(3)) == [here] * 3

    def outer(_):
        time.sleep(0.01)
        inner = pool.parallel(lambda _: threading.get_ident(), range(3))
        return threading.get_ident() == here or set(inner) == {threading.get_ident()}

    with pool.threads(2):
        assert all(pool.parallel(outer, range(4)))


@pytest.mark.parametrize("n_jobs", [1, 2, 7])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_errors_reach_the_caller_when_all_is_quiet(n_jobs, error):
    running = []

    def task(i):
        running.append(i)
        time.sleep(0.001)
        running.remove(i)
        if i == 3:
            raise error("task three")

    with pool.threads(n_jobs):
        with pytest.raises(error, match="task three"):
            pool.parallel(task, range(100))
        assert running == []
        assert pool.parallel(lambda i: i, range(9)) == list(range(9))  # and the pool lives on


def test_blas_has_one_thread_inside_and_its_own_outside():
    with threadpool_limits(2, user_api="blas"):
        before = _blas_threads()
        with pool.threads(2):
            assert set(_blas_threads()) == {1}
            with pool.threads(1), pool.single_blas_thread():
                assert set(_blas_threads()) == {1}
            assert set(_blas_threads()) == {1}
        assert _blas_threads() == before
        with pytest.raises(ValueError, match="stop"), pool.single_blas_thread():
            assert set(_blas_threads()) == {1}
            raise ValueError("stop")
        assert _blas_threads() == before


def test_blas_is_restored_by_the_last_to_leave():
    with threadpool_limits(2, user_api="blas"):
        before = _blas_threads()
        first_left, inside = threading.Event(), threading.Event()

        def other():
            with pool.threads(1):
                inside.set()
                first_left.wait(20)
                seen.extend(_blas_threads())

        seen = []
        thread = threading.Thread(target=other)
        with pool.threads(1):
            thread.start()
            assert inside.wait(20)
        first_left.set()
        thread.join()
        assert set(seen) == {1}
        assert _blas_threads() == before


def test_the_quota_of_a_container_is_respected(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores, "_cores", cores._cores.__wrapped__)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(64), raising=False)
    monkeypatch.setattr("joblib.cpu_count", lambda: 3)  # the least of cores, affinity and quota
    assert [pool.usable_threads(n_jobs) for n_jobs in (None, -1, -2, 5)] == [3, 3, 2, 5]


def test_usable_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = pool.usable_threads()
    assert cores >= 1
    assert pool.usable_threads(-1) == cores
    assert pool.usable_threads(-1000) == 1
    assert pool.usable_threads(5) == pool.usable_threads(np.int64(5)) == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert pool.usable_threads() == 3
    for nonsense in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert pool.usable_threads() == cores
    for bad in (0, 1.5, "2", True):
        with pytest.raises(ValueError, match=f"n_jobs={bad!r}; expected None, an int"):
            pool.usable_threads(bad)


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 1000])
@pytest.mark.parametrize("n_jobs", [None, 1, 2, 3])
def test_spans_cover_everything_once(count, n_jobs):
    if n_jobs is None:
        spans = pool.spans(count)
    else:
        with pool.threads(n_jobs):
            spans = pool.spans(count)
    assert [i for span in spans for i in range(span.start, span.stop)] == list(range(count))


def test_blocks():
    assert pool.blocks(5, 2) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert pool.blocks(4, 2, 10) == [slice(10, 12), slice(12, 14)]
    assert pool.blocks(0, 2) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own():
    with pool.threads(2):
        pool.parallel(time.sleep, [0.001] * 4)  # helpers exist
        child = os.fork()
        if child == 0:  # the parent's helpers do not exist here: to wait for them would be for ever
            code = 1
            try:
                if pool.parallel(lambda i: i + 1, range(8)) == list(range(1, 9)):
                    with pool.threads(3):
                        code = 0 if pool.parallel(lambda i: i, range(5)) == list(range(5)) else 1
            finally:
                os._exit(code)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


def test_several_callers_do_not_meet():
    wrong = []

    def caller(start):
        for _ in range(300):
            out = np.zeros(40)

            def task(i, out=out):
                out[i] += (start + i) ** 2

            with pool.threads(3):
                pool.parallel(task, range(40))
            if not (out == (start + np.arange(40.0)) ** 2).all():
                wrong.append(start)

    threads = [threading.Thread(target=caller, args=(100.0 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_helpers_sleep_when_there_is_nothing_to_do():
    with pool.threads(2):
        pool.parallel(time.sleep, [0.001] * 4)
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.05


def test_a_caller_that_waits_sleeps():
    """Whoever has no task left yields its core for a moment and then naps."""
    started = threading.Event()

    def task(i):
        if i == 1:  # the helper's, which takes from the other end
            started.set()
            time.sleep(0.5)
        else:
            started.wait(20)

    with pool.threads(2):
        pool.parallel(time.sleep, [0.001] * 4)  # threads are there, functions compiled
        before = time.process_time()
        pool.parallel(task, range(2))
        assert time.process_time() - before < 0.1
