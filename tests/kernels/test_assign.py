"""Assignment and centre sums: answers by hand, moving against starting anew. Agreement is in test_verify."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csrl_core import backends as backend

BACKENDS = ["numpy", "numba"]


@pytest.fixture(params=BACKENDS)
def kernels(request):
    return backend.get(request.param).assign


def test_assign_by_hand(kernels):
    nan, inf = np.nan, np.inf
    costs = np.array(
        [[2, 1, 1], [nan, 5, 7], [nan, nan, nan], [inf, inf, 0], [nan, inf, nan], [3, nan, 2], [0, -inf, 0]]
    )
    assigned = kernels.assign(costs)
    assert assigned.dtype == np.int64
    assert assigned.tolist() == [1, 1, 0, 2, 0, 2, 1]


def test_nearest_by_hand(kernels):
    X = np.array([[0, 0], [1, 1], [2, 0], [5, 5]], dtype=np.float32)
    # (1, 1) is as far from both; the last centre repeats the first.
    assert kernels.nearest(X, np.array([[0.0, 0], [2, 2], [0, 0]])).tolist() == [0, 0, 0, 1]


def test_nearest_far_from_the_origin(kernels):
    # Squared norms of 1e16 leave no digit for a distance of 0.1; differences do.
    X = 1e8 + np.array([[0.0], [1.0]])
    assert kernels.nearest(X, 1e8 + np.array([[0.875], [0.25]])).tolist() == [1, 0]


def test_objective_by_hand(kernels):
    losses = np.array([[1, 10], [2, 20], [4, 40]], dtype=np.float32)
    found = kernels.objective(losses, np.array([0, 1, 0]), np.array([1, 0.5, 2], dtype=np.float32))
    assert found == (19.0, 3.5)
    assert all(type(value) is float for value in found)


def test_sums_over_many_samples_keep_their_digits(kernels):
    # float32 throughout would stop counting at 2²⁴; here every term is exact, and so is the sum.
    n = 2**20 + 1
    losses, weights, assign = np.full((n, 1), 64, np.float32), np.ones(n, np.float32), np.zeros(n, np.int64)
    assert kernels.objective(losses, assign, weights) == (64.0 * n, n)
    sums, totals, counts = kernels.cluster_sums(losses, assign, weights, 1)
    assert (sums[0, 0], totals[0], counts[0]) == (64.0 * n, n, n)


def test_cluster_sums_by_hand(kernels):
    X = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], dtype=np.float32)
    sums, totals, counts = kernels.cluster_sums(X, np.array([2, 0, 2, 0]), np.array([1, 0, 2, 0.5], np.float32), 3)
    assert sums.tolist() == [[3.5, 4], [0, 0], [11, 14]]
    assert totals.tolist() == [0.5, 0, 3]
    assert counts.tolist() == [1, 0, 2]
    assert (sums.dtype, totals.dtype, counts.dtype) == (np.float64, np.float64, np.int64)


def test_an_emptied_cluster_is_exactly_zero(kernels):
    # 0.1 + 0.2 − 0.1 − 0.2 is not 0 in floating point.
    X = np.array([[0.1], [0.2], [0.7]])
    assign, weights = np.array([0, 0, 1]), np.ones(3)
    state = kernels.cluster_sums(X, assign, weights, 2)
    index = np.array([0, 1])
    assert kernels.move(X[index], index, np.array([1, 1]), assign, weights[index], *state) == 2
    sums, totals, counts = state
    assert assign.tolist() == [1, 1, 1]
    assert (sums[0, 0], totals[0], counts[0]) == (0, 0, 0)
    assert counts[1] == 3


def test_means_by_hand(kernels):
    sums, totals = np.array([[2.0, 4], [0, 0], [9, 3]]), np.array([2.0, 0, 3])
    centers = np.array([[10.0, 10], [7, 7], [0, 0]])
    assert kernels.means(sums, totals, centers, 1) is None
    assert centers.tolist() == [[5.5, 6], [7, 7], [1.5, 0.5]]
    kernels.means(sums, totals, centers, 0)
    assert centers.tolist() == [[1, 2], [7, 7], [3, 1]]


@st.composite
def moves(draw):
    """Whole numbers and weights that are powers of two: every sum is exact in any order."""
    n, d, k = draw(st.integers(1, 12)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    X = rng.integers(-9, 10, size=(n, d)).astype(draw(st.sampled_from([np.float32, np.float64])))
    weights = rng.choice([0, 0.5, 1, 2], size=n).astype(X.dtype)
    batches = draw(st.lists(st.integers(1, n), min_size=1, max_size=4))
    return X, weights, rng.integers(0, k, size=n), k, batches, rng


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=60, deadline=None)
@given(arguments=moves())
def test_moving_is_starting_anew(name, arguments):
    kernels = backend.get(name).assign
    X, weights, assign, k, batches, rng = arguments
    sums, totals, counts = kernels.cluster_sums(X, assign, weights, k)
    for size in batches:
        index, new = rng.permutation(len(X))[:size], rng.integers(0, k, size=size)
        wanted = assign.copy()
        wanted[index] = new
        changed = np.count_nonzero((wanted != assign) & (weights > 0))
        assert kernels.move(X[index], index, new, assign, weights[index], sums, totals, counts) == changed
        assert np.array_equal(assign, wanted)
        for found, anew in zip((sums, totals, counts), kernels.cluster_sums(X, assign, weights, k)):
            assert np.array_equal(found, anew)


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(0, 8), k=st.integers(1, 5))
def test_assign_is_the_first_minimum(name, seed, n, k):
    costs = np.random.default_rng(seed).choice([0.0, 1, 2, np.nan, np.inf], size=(n, k))
    found = backend.get(name).assign.assign(costs)
    filled = [[np.inf if np.isnan(c) else c for c in row] for row in costs.tolist()]
    assert found.tolist() == [row.index(min(row)) for row in filled]
