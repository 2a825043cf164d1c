"""Rows of weight 0 have no effect."""

import warnings

import numpy as np
import pytest

from csrl_core import TensorizedAutoencoder, TensorizedRBM, datasets
from csrl_core import backends as backend
from csrl_core.estimators.rbm import ScaleWarning

X, Y = datasets.make_lines_3d(random_state=0)
KEPT = np.arange(len(X)) % 3 > 0
WEIGHT = KEPT.astype(float)
# Their place must not matter: far away, or at each sample in turn.
ELSEWHERE = {"far": 1e3, "near": 1e-3}


def with_absent(scale):
    Z = X.copy()
    Z[~KEPT] = scale * np.random.RandomState(0).randn((~KEPT).sum(), X.shape[1])
    return Z


@pytest.mark.parametrize("name", ["numpy", "numba", "emulated"])
def test_they_are_not_counted_as_moved(name):
    kernel = backend.get(name).assign
    assign, sums = np.array([0, 0, 1, 1]), (np.zeros((2, 2)), np.zeros(2), np.array([1, 1]))
    weights = np.array([1.0, 0.0, 0.0, 2.0])
    moved = kernel.move(np.ones((4, 2)), np.arange(4), np.array([1, 1, 0, 1]), assign, weights, *sums)
    assert moved == 1
    np.testing.assert_array_equal(assign, [1, 1, 0, 1])


@pytest.mark.parametrize("batch_size", [None, 50])
def test_they_do_not_delay_convergence(batch_size):
    def fit(Z, weight):
        model = TensorizedAutoencoder(
            **{"n_clusters": 3, "init": "k-means", "tol": 1e-4, "n_iter_no_change": 3, "epochs": 400},
            **{"batch_size": batch_size, "random_state": 0, "center": False, "learning_rate": 0.02},
        )
        return model.fit(Z, sample_weight=weight)

    ends = {scale: fit(with_absent(scale), WEIGHT) for scale in ELSEWHERE.values()}
    first, second = (model.n_iter_ for model in ends.values())
    assert first == second < 400
    if batch_size is None:
        alone = fit(X[KEPT], None)
        assert alone.n_iter_ == first
        np.testing.assert_array_equal(ends[1e3].labels_[KEPT], alone.labels_)
        np.testing.assert_allclose(ends[1e3].loss_, alone.loss_, rtol=1e-6)


def test_the_exact_solver_settles_without_them():
    def fit(Z, weight):
        model = TensorizedAutoencoder(
            n_clusters=3, hidden=(1,), reg=0.0, solver="exact", init="k-means", random_state=0
        )
        return model.fit(Z, sample_weight=weight)

    whole, alone = fit(with_absent(1e-3), WEIGHT), fit(X[KEPT], None)
    assert whole.n_iter_ == alone.n_iter_
    np.testing.assert_array_equal(whole.labels_[KEPT], alone.labels_)


@pytest.mark.parametrize("init", ["k-means++", "k-means", "random"])
def test_starts_depend_on_rows_with_weight_only(init):
    def start(Z, weight):
        return TensorizedAutoencoder(n_clusters=3, init=init, epochs=0, random_state=0).fit(Z, sample_weight=weight)

    whole, alone = start(with_absent(1e3), WEIGHT), start(X[KEPT], None)
    np.testing.assert_allclose(whole.cluster_centers_, alone.cluster_centers_, rtol=1e-12)


@pytest.mark.parametrize("init", ["k-means++", "k-means", "random", np.arange(12) % 4])
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_fewer_of_positive_weight_than_clusters_are_refused(init, call):
    weight = np.zeros(12)
    weight[[3, 7]] = 1
    model = TensorizedAutoencoder(n_clusters=4, init=init, random_state=0)
    with pytest.raises(ValueError, match=r"n_samples=2 with a positive sample_weight.* should be >= n_clusters=4"):
        getattr(model, call)(X[:12], sample_weight=weight)
    weight[[0, 1]] = 1
    getattr(model, call)(X[:12], sample_weight=weight)


def machine(**changes):
    return TensorizedRBM(**{"n_hidden": 3, "epochs": 0, "random_state": 0, "ais_betas": 5, "ais_chains": 3} | changes)


def test_persistent_chains_start_at_rows_with_weight():
    V = np.zeros((60, 4))
    V[::2] = 1  # rows with weight; the others are zeros
    for model in (machine(persistent=True, n_chains=16), machine(persistent=True, n_chains=16, n_clusters=1)):
        model.fit(V, sample_weight=V[:, 0])
        assert (model.state_["chains"] == 1).all()
    # Chains of a cluster without rows of positive weight start at such rows of other clusters.
    model = machine(persistent=True, n_chains=16, init=np.arange(60) % 2).fit(V, sample_weight=V[:, 0])
    assert (model.state_["chains"] == 1).all()


def test_they_do_not_affect_the_warning_of_scale():
    random = np.random.RandomState(0)
    V = random.randn(60, 4)
    V[::2] *= 1e4
    with warnings.catch_warnings():
        warnings.simplefilter("error", ScaleWarning)
        machine(visible="gaussian").fit(V, sample_weight=np.arange(60) % 2)
    with pytest.warns(ScaleWarning):
        machine(visible="gaussian").fit(V, sample_weight=1 - np.arange(60) % 2)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_they_do_not_affect_the_scores_of_machines(visible):
    random = np.random.RandomState(0)
    V = random.rand(60, 4).round()
    W = V.copy()
    W[::2] = 1 - V[::2]
    weight, arguments = (
        (np.arange(60) % 2).astype(float),
        {"visible": visible, "init": np.arange(60) // 30, "epochs": 2},
    )
    one, other = (machine(batch_size=None, **arguments).fit(Z, sample_weight=weight) for Z in (V, W))
    np.testing.assert_array_equal(one.params_, other.params_)
    np.testing.assert_array_equal(one.log_partition_, other.log_partition_)
    np.testing.assert_array_equal(one.sample(5, steps=2)[0], other.sample(5, steps=2)[0])
    assert one.loss_ == other.loss_
