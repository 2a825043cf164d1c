"""Interrupts of the thread pool at every place where one can come, forks, and threads that cannot be had."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from interrupts import interrupt_at
from numba import njit
from numba.core.serialize import _numba_unpickle
from threadpoolctl import ThreadpoolController, threadpool_limits

from csrl_core import TensorizedAutoencoder, TensorizedRBM
from csrl_core.kernels.cpu._engine import pool, swallowed

OURS = ("kernels/cpu/_engine/pool.py", "kernels/cpu/_engine/blas.py")
BLAS = ThreadpoolController().select(user_api="blas").lib_controllers


def _blas_threads():
    return [library.num_threads for library in BLAS]


@pytest.fixture
def two_blas_threads():
    """The number of threads that BLAS is to have again."""
    with threadpool_limits(2, user_api="blas"):
        yield _blas_threads()


@pytest.fixture
def helpers(monkeypatch):
    """Helpers of which no test has made use before."""
    monkeypatch.setattr(pool, "_helpers", pool._Helpers())
    return pool._helpers


# -- interrupts ------------------------------------------------------------------------------------------


def _work(n_jobs, out):
    """All that a scope is used for; tasks write their numbers to ``out``, slowly."""

    def task(i):
        time.sleep(0.0005)
        out[i] = i + 1

    with pool.threads(n_jobs):
        pool.parallel(task, range(len(out)))
        with pool.single_blas_thread():
            pass
    with pool.single_blas_thread():
        pass


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_nothing_is_left_wherever_it_is_interrupted(n_jobs, two_blas_threads):
    _work(n_jobs, np.zeros(6))  # threads are there, functions compiled
    places = []
    while True:
        out = np.zeros(6)
        where = interrupt_at(len(places), OURS, lambda: _work(n_jobs, out))  # noqa: B023
        then = out.copy()
        if where is None:
            break
        places.append(where)
        assert _blas_threads() == two_blas_threads, where
        assert pool._innermost() is None, where
        assert all(job.stopped and not job.working.any() for job in pool._helpers._jobs), where
        assert all(job.function is None for job in pool._helpers._jobs), where
        assert pool._helpers._queue.qsize() < n_jobs, where
        time.sleep(0.001 if n_jobs > 1 else 0)
        np.testing.assert_array_equal(out, then, where)  # nobody writes any more
    np.testing.assert_array_equal(out, np.arange(1, 7))
    for name in ("__enter__", "__exit__", "_leave", "_surely", "settle", "hold", *(["offer"] * (n_jobs > 1))):
        assert any(where.startswith(name + ",") for where in places), (name, places)


def test_a_scope_that_was_never_left_ends_with_its_owner(two_blas_threads):
    scope = pool.threads(2).__enter__()
    assert set(_blas_threads()) == {1}
    assert pool._allowed() == 2
    del scope
    assert _blas_threads() == two_blas_threads
    assert pool._allowed() == 0


def test_scopes_may_end_in_any_order(two_blas_threads):
    outer, inner = pool.threads(2), pool.threads(3)
    outer.__enter__(), inner.__enter__()
    outer.__exit__(None, None, None)
    assert set(_blas_threads()) == {1}
    assert pool._allowed() == 3
    inner.__exit__(None, None, None)
    assert _blas_threads() == two_blas_threads
    assert pool._allowed() == 0


@njit
def _two():
    return np.zeros(1), np.zeros(2)


def test_an_interrupt_while_an_array_is_returned_is_one():
    assert len(_two()) == 2
    with pytest.raises(SystemError, match="returned a result with an exception set"):  # what Python makes of it
        interrupt_at(0, ("numba/core/serialize.py",), _two)

    def inside():
        with pool.threads(1):
            _two()

    assert interrupt_at(0, ("numba/core/serialize.py",), inside) is not None  # `Interrupt`, a KeyboardInterrupt
    with pytest.raises(SystemError, match="of another kind"), pool.threads(1):
        raise SystemError("of another kind")


@pytest.mark.parametrize("callback", ["_raw_object_cache_notify", "_raw_object_cache_getbuffer"])
@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_of_the_compiler_is_not_lost(callback, fails, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", swallowed._keep)  # pytest has one of its own

    def event(frame, event, argument):
        if frame.f_code.co_name == callback:
            raise KeyboardInterrupt

    def compile_something():
        monkeypatch.setattr(swallowed, "_MOMENT", 3600 if fails else 0.01)
        sys.settrace(event)
        try:
            njit(lambda x: x + 1)(1)
        finally:
            sys.settrace(None)
        if fails:  # as Numba does where it misses what the callback was to keep
            raise RuntimeError("no compiled object yet")
        for _ in range(6000):  # a fit that goes on
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt) as raised, pool.threads(1):
        compile_something()
    assert isinstance(raised.value.__cause__, RuntimeError) == fails
    assert swallowed.take() is None


_random = np.random.default_rng(0)
_X, _WIDE = _random.random((60, 6)), _random.random((300, 60))
_BITS = (_random.random((60, 20)) < 0.5).astype(float)
_MACHINES = {"n_hidden": 4, "epochs": 2, "batch_size": 20, "ais_chains": 2, "ais_betas": 5}
MODELS = {
    "small": (_X, TensorizedAutoencoder(epochs=2, assignment="loss")),
    "batches": (_X, TensorizedAutoencoder(epochs=2, batch_size=20, assignment="loss")),
    "not fused": (_X, TensorizedAutoencoder(epochs=2, hidden=(64,), assignment="loss")),
    "likelihood": (_X, TensorizedAutoencoder(epochs=2, assignment="likelihood")),
    "skinny": (_WIDE, TensorizedAutoencoder(epochs=2, hidden=(3,), assignment="loss")),
    "wide": (_WIDE, TensorizedAutoencoder(epochs=2, hidden=(40, 10), assignment="loss")),
    "wide, shared": (_WIDE, TensorizedAutoencoder(epochs=2, hidden=(40, 10), shared=1, assignment="loss")),
    "CD": (_BITS, TensorizedRBM(n_clusters=1, **_MACHINES)),
    "PCD": (_BITS, TensorizedRBM(n_clusters=1, persistent=True, **_MACHINES)),
    "machines": (_BITS, TensorizedRBM(n_clusters=2, persistent=True, **_MACHINES)),
    "Gaussian": (_BITS - _BITS.mean(0), TensorizedRBM(n_clusters=2, visible="gaussian", **_MACHINES)),
}


def _use(model, X):
    """Fit it, and ask everything."""
    model.set_params(random_state=0).fit(X).partial_fit(X[:20])
    model.value_and_gradient(X, model.predict(X))
    model.score(X)
    Z = model.transform(X)
    questions = "transform_all", "cluster_losses", "reconstruct", "free_energy", "predict_proba", "pseudo_likelihood"
    for question in questions:
        if hasattr(model, question) and (question, model.get_params().get("visible")) != (questions[-1], "gaussian"):
            getattr(model, question)(X)
    model.inverse_transform(Z)
    if hasattr(model, "sample"):
        model.sample(10, steps=2)
        model.gibbs(X, 2)


@pytest.mark.parametrize("name", MODELS)
def test_compiled_code_returns_no_arrays(name):
    X, model = MODELS[name]
    _use(model, X)  # all is compiled
    assert interrupt_at(0, (_numba_unpickle.__code__.co_filename,), lambda: _use(model, X)) is None


# -- forks and threads -----------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("inside", [False, True])
def test_a_child_has_the_blas_threads_of_whoever_forked(inside, two_blas_threads):
    entered, leave = threading.Event(), threading.Event()

    def other():
        with pool.threads(1):
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(60)
    scope = pool.threads(1).__enter__() if inside else None
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)  # a child that hangs dies
            right = set(_blas_threads()) == {1} if inside else _blas_threads() == two_blas_threads
            if inside:
                scope.__exit__(None, None, None)
            code = 0 if right and _blas_threads() == two_blas_threads else 1
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert set(_blas_threads()) == {1}
    if inside:
        scope.__exit__(None, None, None)
    leave.set()
    thread.join(60)
    assert status == 0
    assert _blas_threads() == two_blas_threads


def test_helpers_that_are_busy_collect_nothing(helpers):
    started, go_on = threading.Event(), threading.Event()

    def long_task(_):
        started.set()
        go_on.wait(60)

    def other():
        with pool.threads(2):
            pool.parallel(long_task, range(2))  # one by this thread, one by the helper

    thread = threading.Thread(target=other)
    thread.start()
    assert started.wait(60)
    with pool.threads(2):
        for _ in range(1000):
            assert pool.parallel(lambda i: i, range(3)) == [0, 1, 2]
    assert helpers._queue.qsize() <= 1
    assert len(helpers._jobs) <= 2
    go_on.set()
    thread.join(60)


def test_without_threads_to_be_had_there_are_fewer(helpers, monkeypatch):
    start, left = threading.Thread.start, [1]

    def cannot(thread):
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", cannot)
    with pool.threads(5):
        assert pool.parallel(lambda i: i * i, range(50)) == [i * i for i in range(50)]
    assert len(helpers._threads) == 1
    monkeypatch.setattr(threading.Thread, "start", start)
    barrier = threading.Barrier(3, timeout=60)  # passes only if three threads are in it at once
    with pool.threads(3):
        pool.parallel(lambda _: barrier.wait(), range(3))
    assert len(helpers._threads) == 2


@pytest.mark.parametrize("name", ["skinny", "wide", "CD", "machines"])
def test_same_bits_without_threads(name, helpers, monkeypatch):
    X, model = MODELS[name]
    expected = model.set_params(random_state=0, n_jobs=1).fit(X).params_

    def cannot(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pool, "_helpers", pool._Helpers())
    monkeypatch.setattr(threading.Thread, "start", cannot)
    np.testing.assert_array_equal(model.set_params(n_jobs=3).fit(X).params_, expected)
    model.predict(X)


def test_a_helper_that_dies_is_replaced(helpers, monkeypatch):
    died = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda arguments: died.set())
    with pool.threads(2):
        pool.parallel(lambda i: i, range(4))
        (first,) = helpers._threads
        monkeypatch.setattr(helpers, "_jobs", None)  # an error where none is expected
        helpers._queue.put(None)
        assert died.wait(60)
        first.join(60)
        monkeypatch.setattr(helpers, "_jobs", [])
        barrier = threading.Barrier(2, timeout=60)
        pool.parallel(lambda _: barrier.wait(), range(2))
        assert helpers._threads
        assert first not in helpers._threads


# -- long tasks ------------------------------------------------------------------------------------------


def _answered(function):
    """Seconds from a Ctrl-C, which comes after a moment, to the KeyboardInterrupt."""
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, send)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        function()
    timer.join()
    return time.monotonic() - sent[0]


def test_ctrl_c_ends_a_long_task_of_a_helper():
    def task(i):
        end = time.monotonic() + (20 if i else 0)
        while time.monotonic() < end and not pool.stopped():
            time.sleep(0.01)

    def parallel():
        with pool.threads(2):
            pool.parallel(task, range(2))

    assert not pool.stopped()
    assert _answered(parallel) < 1


@pytest.mark.parametrize("where", ["fit", "estimate"])
def test_ctrl_c_ends_annealed_importance_sampling(where):
    X = (np.random.default_rng(0).random((60, 20)) < 0.5).astype(float)
    arguments = {"n_clusters": 2, "n_hidden": 4, "epochs": 2, "batch_size": 30, "ais_chains": 2, "n_jobs": 2}
    model = TensorizedRBM(random_state=0, persistent=True, ais_betas=5, **arguments).fit(X)
    if where == "estimate":
        assert _answered(lambda: model.estimate_log_partition(n_betas=10**7)) < 1
        return
    model.set_params(ais_betas=10**7)
    assert _answered(lambda: model.fit(X)) < 1
    assert model.n_iter_ == 2
    assert not model.state_["n_estimates"].any()  # to be made when somebody asks
