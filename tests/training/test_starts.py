"""The first assignment that ``init="auto"`` chooses; the defaults keep a good one."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from csrl_core import ClusterModel, ClusterSpecific, TensorizedAutoencoder, TensorizedRBM, callbacks, datasets
from csrl_core.experiments.defaults_sets import SETS, subspaces
from csrl_core.metrics import adjusted_rand_index
from csrl_core.training.starts import _first_best

EXACT = {"assignment": "likelihood", "solver": "exact", "reg": 0, "hidden": (2,)}


def crossing_lines(seed, noise=0.03):
    return subspaces(seed, (100,) * 3, 3, noise=noise, apart=0.3)


def index_of(X, y, **arguments):
    model = TensorizedAutoencoder(**{"n_clusters": len(np.unique(y)), "random_state": 0} | arguments)
    return adjusted_rand_index(y, model.fit(X).labels_)


def test_clean_lines_are_found_whatever_the_seed():
    X, y = crossing_lines(1)
    assert adjusted_rand_index(y, KMeans(3, n_init=10, random_state=0).fit_predict(X)) < 0.1
    assert min(index_of(X, y, random_state=seed) for seed in range(5)) > 0.9


@pytest.mark.parametrize(
    "name", ["Bernoulli, two", "Bernoulli, unequal", "Gaussian, small", "digits 3 5", "digits 0 4 6 9"]
)
def test_a_good_start_is_kept(name):
    """On data where seeds of k-means++ give likelihoods that are higher by chance, or by a spike."""
    X, y, k = SETS[name].load(2)
    start = adjusted_rand_index(y, KMeans(k, n_init=10, random_state=2).fit_predict(X))
    assert start > 0.75
    assert index_of(X, y, random_state=2) > start - 0.05
    assert index_of(X, y, random_state=2, **EXACT | {"hidden": (1,)}) > start - 0.05


@pytest.mark.parametrize("n_init", [1, 3])
def test_one_objective_finds_digits_and_crossing_planes(n_init):
    digits = datasets.load("digits_0_4")
    assert index_of(digits.data, digits.target, n_init=n_init, **EXACT) > 0.8
    X, y = subspaces(0, (100,) * 3, 12, h=2)
    assert index_of(X, y, n_init=n_init, **EXACT) > 0.9


def test_the_starts_are_those_of_separate_restarts():
    X, _ = crossing_lines(0)
    arguments = {"n_clusters": 3, "epochs": 0, "random_state": 0, "start": "components", "assignment": "loss"}
    first, again = (TensorizedAutoencoder(**arguments).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.params_, again.params_)
    assert first.n_reseeded_ == 0
    # At the loss of k-means the best start is the best k-means of the tries.
    inertia = KMeans(3, n_init=20, random_state=0).fit(X).inertia_
    assert first.loss_ * X.size == pytest.approx(inertia, rel=0.05)


def test_backends_start_alike():
    X, _ = crossing_lines(1)
    arguments = {"n_clusters": 3, "epochs": 20, "random_state": 0}
    numpy, numba = (TensorizedAutoencoder(backend=name, **arguments).fit(X) for name in ("numpy", "numba"))
    np.testing.assert_array_equal(numpy.labels_, numba.labels_)
    np.testing.assert_allclose(numpy.loss_curve_, numba.loss_curve_, rtol=1e-7)


def test_rows_without_weight_have_no_effect():
    X, y = crossing_lines(1)
    weight = np.r_[np.ones(300), np.zeros(60)]
    more = np.r_[X, 5 + np.zeros((60, 3))]
    model = TensorizedAutoencoder(n_clusters=3, random_state=0).fit(more, sample_weight=weight)
    assert adjusted_rand_index(y, model.labels_[:300]) > 0.9


def test_a_model_that_cannot_tell_clusters_apart_starts_at_k_means():
    X = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], 20, axis=0) + np.random.default_rng(0).normal(size=(60, 2))
    model = TensorizedAutoencoder(n_clusters=3, activation="tanh", hidden=(1,), epochs=0, random_state=0).fit(X)
    assert adjusted_rand_index(np.arange(60) // 20, model.state_["assign"]) == 1
    assert TensorizedAutoencoder(activation="tanh").init == "auto"


class Means(ClusterModel):
    """k-means as a user's model, whose parameters are the centres."""

    follows_clusters = True

    def init_parameters(self, X, n_clusters, draw):
        return {"mean": np.zeros((n_clusters, X.shape[1]))}

    def init_from_clusters(self, data, assign, centers, draw):
        return {"mean": np.array(centers)}

    def losses(self, params, X, target, centers, draw):
        return ((X[:, None] - params["mean"]) ** 2).sum(axis=2)

    def gradient(self, params, X, target, centers, assign, weights, draw):
        errors = 2 * weights[:, None] * (params["mean"][assign] - X)
        return {"mean": np.stack([errors[assign == j].sum(axis=0) for j in range(len(centers))])}

    def embed(self, params, X, centers, draw):
        return X[:, None] - params["mean"]


def test_a_users_model_can_follow_clusters():
    X, y = datasets.load("iris").data, datasets.load("iris").target
    model = ClusterSpecific(Means(), n_clusters=3, epochs=0, random_state=0).fit(X)
    best = KMeans(3, n_init=20, random_state=0).fit(X)
    assert adjusted_rand_index(best.labels_, model.labels_) > 0.95
    assert adjusted_rand_index(y, model.labels_) > 0.7


def test_a_fit_continues_from_its_checkpoint(tmp_path):
    X, _ = crossing_lines(0)
    arguments = {"n_clusters": 3, "epochs": 12, "random_state": 0, "n_init": 2}
    whole = TensorizedAutoencoder(**arguments)
    whole.set_callbacks(callbacks.Checkpoint(tmp_path / "checkpoint", every=7)).fit(X)
    resumed = TensorizedAutoencoder(**arguments).fit(X, resume=tmp_path / "checkpoint")
    np.testing.assert_array_equal(resumed.params_, whole.params_)
    assert resumed.loss_curve_ == whole.loss_curve_


def test_automatic_rules():
    X, _ = crossing_lines(0)
    model = TensorizedAutoencoder(n_clusters=3, epochs=2, random_state=0).fit(X)
    by_likelihood = TensorizedAutoencoder(n_clusters=3, assignment="likelihood", epochs=2, random_state=0).fit(X)
    np.testing.assert_array_equal(model.predict_proba(X), by_likelihood.predict_proba(X))
    # No density: one cluster assigns nothing, a code as wide as the data has no residual, an output may be nonlinear.
    for changes in ({"n_clusters": 1}, {"hidden": (3,)}, {"output_activation": "tanh"}):
        other = TensorizedAutoencoder(**{"n_clusters": 3, "epochs": 2, "random_state": 0} | changes).fit(X)
        np.testing.assert_array_equal(other.labels_, other.cluster_losses(X).argmin(axis=1))
        assert not hasattr(other, "predict_proba")


def test_a_second_fit_may_have_other_features():
    model = TensorizedAutoencoder(n_clusters=2, hidden=(2, 1), epochs=2, random_state=0, start="components")
    rng = np.random.default_rng(0)
    model.fit(rng.normal(size=(30, 2)))
    model.set_params(hidden=(4, 1)).fit(rng.normal(size=(30, 6)))
    assert model.n_features_in_ == 6


def test_refusals():
    X, _ = crossing_lines(0)
    with pytest.raises(ValueError, match=r"'init' .* must be a str among .*auto.* Got 'kmeans'"):
        TensorizedAutoencoder(init="kmeans").fit(X)
    with pytest.raises(ValueError, match=r"'assignment' .* must be a str among .*auto.* Got 'posterior'"):
        TensorizedAutoencoder(assignment="posterior").fit(X)
    with pytest.raises(ValueError, match=r"'init' .* must be .* Got 'kmeans'"):
        TensorizedRBM(init="kmeans").fit((X > 0).astype(float))


def test_the_first_of_equal_solutions_is_taken():
    assert _first_best([1.0, 1.0 + 1e-9, 0.5]) == 0
    assert _first_best([-2.0, -1.0, -1.0 + 1e-7]) == 1
    assert _first_best([3.0, -np.inf, 4.0]) == 2


def test_machines_start_at_the_best_of_several_k_means():
    rng = np.random.default_rng(3)
    p = rng.choice([0.15, 0.85], (6, 30))
    X = (rng.random((240, 30)) < p[np.arange(240) % 6]).astype(float)
    arguments = {"n_clusters": 6, "n_hidden": 2, "epochs": 0, "ais_betas": 2, "ais_chains": 2}

    def within(init, seed):
        model = TensorizedRBM(init=init, random_state=seed, **arguments).fit(X)
        assign = model.state_["assign"]
        return sum(((X[assign == j] - X[assign == j].mean(axis=0)) ** 2).sum() for j in range(6) if (assign == j).any())

    single, several = ([within(init, seed) for seed in range(5)] for init in ("k-means", "auto"))
    assert all(b <= a * (1 + 1e-9) for a, b in zip(single, several, strict=True))
    assert np.mean(several) < np.mean(single)
