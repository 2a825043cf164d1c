"""The exact solver: principal components computed in another way, the optimum of gradient training, and refusals."""

import numpy as np
import pytest
from sklearn.decomposition import PCA, TruncatedSVD

from csrl_core import TensorizedAutoencoder, datasets
from csrl_core.metrics import adjusted_rand_index
from csrl_core.models.components import principal_axes

pytestmark = pytest.mark.sensitive

SETS = {
    "parallel_line": datasets.make_parallel_line(random_state=0),
    "orthogonal": datasets.make_orthogonal(random_state=0),
    "triangle": datasets.make_triangle(random_state=0),
    "lines_3D": datasets.make_lines_3d(random_state=0),
}
X, Y = SETS["lines_3D"]


def fit(X=X, weight=None, target=None, **changes):
    arguments = {
        "n_clusters": 3,
        "hidden": (2, 1),
        "reg": 0.0,
        "solver": "exact",
        "assignment": "loss",
        "random_state": 0,
    }
    arguments |= {"backend": "numpy"} | changes
    return TensorizedAutoencoder(**arguments).fit(X, target=target, sample_weight=weight)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (3, 40), (2500, 5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_principal_axes_are_singular_vectors(shape, weighted):
    rng = np.random.default_rng(shape)
    Z = rng.normal(size=shape) * np.linspace(1, 4, shape[1])
    w = rng.uniform(0.5, 2, shape[0]) if weighted else np.ones(shape[0])
    axes = principal_axes(Z, w, 2)
    _, _, Vt = np.linalg.svd(np.sqrt(w)[:, None] * Z, full_matrices=False)
    np.testing.assert_allclose(axes @ axes.T, Vt[:2].T @ Vt[:2], atol=1e-10)
    np.testing.assert_allclose(axes.T @ axes, np.eye(2), atol=1e-14)
    assert (axes[np.abs(axes).argmax(axis=0), [0, 1]] > 0).all()


@pytest.mark.parametrize(
    "Z", [np.ones((1, 9)), np.zeros((4, 9)), np.ones((12, 9)), np.outer(np.arange(5.0), np.ones(9))]
)
def test_missing_axes_are_completed(Z):
    axes = principal_axes(Z, np.ones(len(Z)), 3)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(Z @ axes @ axes.T, Z, atol=1e-12)


@pytest.mark.parametrize("hidden", [(1,), (2, 1), (4, 2, 3), (2,), (5, 3)])
def test_loss_and_reconstruction_are_those_of_pca(hidden):
    # Lines far apart, so that the given assignment is kept and the final parameters are those of the first epoch.
    Z = X + 20.0 * np.eye(3)[Y] @ np.eye(3, 6)[:, ::-1]
    model = fit(Z, hidden=hidden, init=Y)
    np.testing.assert_array_equal(model.labels_, Y)
    expected = np.empty_like(Z)
    for j in range(3):
        own = np.flatnonzero(np.equal(Y, j))
        pca = PCA(min(hidden)).fit(Z[own])
        expected[own] = pca.inverse_transform(pca.transform(Z[own]))
    np.testing.assert_allclose(model.reconstruct(Z), expected, atol=1e-9)
    assert model.loss_ == pytest.approx(np.mean((Z - expected) ** 2), rel=1e-10)
    assert model.transform(Z).shape == (300, hidden[-1])


def test_one_cluster_without_centre_is_truncated_svd():
    model = fit(n_clusters=1, center=False, hidden=(2,), shared=1)
    svd = TruncatedSVD(2, algorithm="arpack").fit(X)
    np.testing.assert_allclose(model.reconstruct(X), svd.inverse_transform(svd.transform(X)), atol=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_the_loss_never_rises_and_it_stops_by_itself(name):
    Z, y = SETS[name]
    model = fit(Z, n_clusters=len(np.unique(y)), init="random")
    assert model.n_iter_ < 150
    assert (np.diff(model.loss_curve_) <= 1e-12).all()
    assert model.loss_ == pytest.approx(model.loss_curve_[-1], rel=1e-12)
    np.testing.assert_array_equal(model.labels_, model.predict(Z))
    again = fit(Z, n_clusters=len(np.unique(y)), init=model.labels_)
    assert again.n_iter_ == 1
    assert again.loss_ == pytest.approx(model.loss_, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_gradient_descent_comes_within_a_hundredth_and_not_below(name):
    Z, y = SETS[name]
    k = len(np.unique(y))
    exact = fit(Z, n_clusters=k, n_init=200, init="random")  # milliseconds each
    arguments = {"n_clusters": k, "solver": "gradient", "learning_rate": 0.05, "epochs": 600, "backend": "numba"}
    runs = [fit(Z, random_state=seed, **arguments).loss_ for seed in range(6)]
    assert exact.loss_ <= min(runs) * (1 + 1e-9)
    assert min(runs) <= 1.01 * exact.loss_


def test_likelihood_and_exact_find_the_lines():
    for name, (Z, y) in SETS.items():
        hidden = (2,) if name == "triangle" else (2, 1)
        model = fit(Z, n_clusters=len(np.unique(y)), hidden=hidden, assignment="likelihood", n_init=10)
        assert adjusted_rand_index(y, model.labels_) >= 0.98, name


def test_whole_number_weights_are_repetitions():
    weight = np.random.default_rng(3).integers(0, 3, len(X))
    repeated = np.repeat(np.arange(len(X)), weight)
    a, b = fit(weight=weight, init=Y), fit(X[repeated], init=Y[repeated])
    np.testing.assert_allclose(a.params_, b.params_, atol=1e-9)
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-10)


def test_float32_stays_and_agrees():
    a, b = fit(X.astype(np.float32), n_init=3), fit(n_init=3)
    assert a.params_.dtype == np.float32
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-5)


def test_more_features_than_samples():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(20, 60))
    model = fit(Z, n_clusters=2, hidden=(3,), init="k-means")
    assert model.loss_ < Z.var(axis=0).mean()


def test_empty_clusters_are_re_seeded():
    Z = np.repeat([[0.0, 1.0, 0], [2.0, 3.0, 0]], 10, axis=0)
    model = fit(Z, n_clusters=3, init=np.zeros(20, int), hidden=(1,))
    assert model.n_reseeded_ > 0
    assert np.isfinite(model.loss_)


def test_lloyds_centres_are_kmeans():
    from sklearn.cluster import KMeans

    Z, _ = SETS["triangle"]
    model = fit(Z, init="k-means", epochs=0)
    kmeans = KMeans(3, init=model.cluster_centers_, n_init=1).fit(Z)
    np.testing.assert_array_equal(model.state_["assign"], kmeans.labels_)
    np.testing.assert_allclose(model.cluster_centers_, kmeans.cluster_centers_, atol=1e-10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reg": 0.1}, r"solver='exact' needs reg=0, got reg=0.1: with a penalty a linear model has no minimiser"),
        ({"activation": "tanh"}, r"solver='exact' needs activation='linear', got activation='tanh'"),
        ({"output_activation": "sigmoid"}, r"solver='exact' needs output_activation='linear'"),
        ({"bias": True}, r"solver='exact' needs bias=False, got bias=True"),
        ({"shared": 1}, r"solver='exact' needs shared=0 or n_clusters=1, got shared=1 and n_clusters=3"),
        ({"batch_size": 10}, r"solver='exact' needs batch_size=None, got batch_size=10"),
        ({"center_update": "running"}, r"solver='exact' needs center_update='mean'"),
        ({"target": X + 1}, r"solver='exact' got a target; it expects none"),
        ({"solver": "newton"}, r"'solver' .* must be a str among .*exact.* Got 'newton'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_refusals(changes, message):
    with pytest.raises(ValueError, match=message):
        fit(**changes)


def test_no_steps_on_batches():
    with pytest.raises(ValueError, match="partial_fit needs solver='gradient', got 'exact'"):
        TensorizedAutoencoder(reg=0.0, solver="exact").partial_fit(X)
