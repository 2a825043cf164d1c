"""Products in register tiles against float64, at the edges of tiles; phases of tasks on any number of threads."""

import threading

import numpy as np
import pytest
from kernel_helpers import for_any_strides
from numba import njit, types

from csrl_core.kernels.cpu._engine import phases, pool, product

pytestmark = pytest.mark.sensitive

DTYPES = [np.float32, np.float64]
# Around six rows, the vectors' lanes, the columns of a tile, and the terms that are added up at a time.
SHAPES = [(1, 1, 1), (5, 3, 7), (6, 128, 64), (7, 129, 65), (13, 300, 100), (20, 784, 10), (26, 10, 784), (0, 4, 5)]


def _multiply(A, B, out, add):
    product.multiply(A, B, out, add)


def _turned(A, B, out):
    product.multiply_transposed(A, B, out)


def multiply(A, B, out):
    for_any_strides(_multiply, *[A.dtype] * 3, types.boolean)(A, B, out, False)


def _operands(m, p, n, dtype):
    rng = np.random.default_rng(m + p + n)
    return rng.standard_normal((m, p)).astype(dtype), rng.standard_normal((p, n)).astype(dtype)


def _bound(A, B):
    """Of p products added up, |error| ≤ γ_p |A| |B|, γ_p = p u / (1 − p u), u half of eps (Higham 2002, 3.5).

    Twice that: what it is compared with is a product itself.
    """
    p, u = A.shape[1], np.finfo(A.dtype).eps / 2
    return 2 * p * u / (1 - p * u) * (np.abs(A).astype(np.float64) @ np.abs(B).astype(np.float64))


def _framed(m, n, dtype):
    """An array with others around it, and a view of what is to be written."""
    frame = np.full((m + 2, n + 9), 7, dtype)
    return frame, frame[1 : m + 1, 3 : n + 3]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "p", "n"), SHAPES)
@pytest.mark.parametrize("kind", ["as it lies", "A transposed", "B transposed"])
def test_product_to_rounding_and_nothing_beside_it(kind, m, p, n, dtype):
    A, B = _operands(m, p, n, dtype)
    frame, out = _framed(m, n, dtype)
    if kind == "B transposed":
        for_any_strides(_turned, *[dtype] * 3)(A, np.ascontiguousarray(B.T), out)
    else:
        multiply(A if kind == "as it lies" else np.ascontiguousarray(A.T).T, B, out)
    error = np.abs(out - A.astype(np.float64) @ B.astype(np.float64))
    assert (error <= _bound(A, B)).all()
    out[...] = 7
    assert (frame == 7).all()


def test_no_terms_are_zero():
    out = np.full((3, 70), np.nan, np.float32)
    multiply(np.empty((3, 0), np.float32), np.empty((0, 70), np.float32), out)
    np.testing.assert_array_equal(out, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_entry_does_not_depend_on_its_neighbours(dtype):
    A, B = _operands(23, 300, 150, dtype)
    whole, part = np.empty((23, 150), dtype), np.empty((4, 37), dtype)
    multiply(A, B, whole)
    multiply(A[9:13], B[:, 80:117], part)
    np.testing.assert_array_equal(part, whole[9:13, 80:117])


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_stays_in_its_row(dtype):
    A, B = _operands(13, 40, 70, dtype)
    expected, out = np.empty((13, 70), dtype), np.empty((13, 70), dtype)
    multiply(A, B, expected)
    A[12, 3] = np.nan
    multiply(A, B, out)
    assert np.isnan(out[12]).all()
    np.testing.assert_array_equal(out[:12], expected[:12])


@njit(nogil=True, error_model="numpy", fastmath=False)
def _halve(counters, values, sums):
    """Phase 0 halves every value, phase 1 adds them all up, once for every task."""
    for phase in range(2):
        tasks = len(values) if phase == 0 else len(sums)
        while True:
            i = phases.take(counters, phase)
            if i >= tasks:
                break
            if phase == 0:
                values[i] /= 2
            else:
                sums[i] = values.sum()
            phases.finish(counters, phase)
        if not phases.wait(counters, phase, tasks):
            return False
    return True


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_task_once_and_phases_in_order(threads):
    values, sums, counters = np.full(5000, 2.0), np.zeros(300), phases.counters(2)

    def work():
        while not _halve(counters, values, sums):
            pass

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    np.testing.assert_array_equal(values, 1)  # twice were a half
    np.testing.assert_array_equal(sums, 5000)  # and a phase that began too early would have added up twos


def test_waiting_for_a_task_that_takes_long_gives_up():
    counters = phases.counters(1)
    assert phases.take(counters, 0) == 0
    assert not phases.wait(counters, 0, 1)
    phases.finish(counters, 0)
    assert phases.wait(counters, 0, 1)
    assert phases.take(counters, 0) == 1


def test_a_worker_that_fails_leaves_nobody_waiting():
    calls = []

    def work():
        calls.append(len(calls))
        if len(calls) > 3:
            raise MemoryError("none left")
        return False

    with pool.threads(2), pytest.raises(MemoryError, match="none left"):
        phases.run(work, 2)
    assert len(calls) >= 4
