"""`TensorizedAutoencoder`: scikit-learn's conventions, exact answers, agreement of whole fits, and typical use."""

import tracemalloc

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from csrl_core import TensorizedAutoencoder, datasets

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "k-means++ draws rows by their position, so repeating rows draws other centres (as for scikit-learn's KMeans)"
    ),
}


@parametrize_with_checks(
    [
        TensorizedAutoencoder(epochs=3, random_state=0),
        TensorizedAutoencoder(epochs=3, hidden=(2,), activation="tanh", bias=True, batch_size=7, backend="numpy"),
        TensorizedAutoencoder(epochs=3, hidden=(1,), start="components", backend="numpy"),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def lines():
    return datasets.make_lines_3d(random_state=0)


@pytest.fixture(scope="module")
def fitted(lines):
    return TensorizedAutoencoder(n_clusters=3, assignment="loss", learning_rate=0.1, random_state=0).fit(lines[0])


# -- exact answers -------------------------------------------------------------------------------


def optimum(X, labels, h):
    """(1/(n d)) Σ_j Σ_{l>h} s_jl², s_jl the singular values of cluster j about its mean."""
    values = [np.linalg.svd(X[labels == j] - X[labels == j].mean(axis=0), compute_uv=False) for j in set(labels)]
    return sum((s[h:] ** 2).sum() for s in values) / X.size


def train_to_optimum(model, X, labels):
    """Continue training with SciPy until no step lowers the loss beyond rounding; returns the mean loss.

    Adam with a constant rate does not converge: its distance from an optimum stays about the length of its steps.
    """
    result = minimize(
        lambda params: model.value_and_gradient(X, labels, params=params),
        *(model.params_, ()),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 0, "gtol": 1e-12, "maxiter": 10_000, "maxfun": 10_000},
    )
    assert result.nfev < 10_000
    model.params_ = result.x
    return result.fun / len(X)


@pytest.mark.sensitive
@pytest.mark.parametrize(("hidden", "h"), [((1,), 1), ((3, 2), 2)])
def test_a_linear_tae_reaches_the_principal_subspaces(lines, hidden, h):
    X, y = lines
    X = X + 10 * y[:, None]  # so far apart that assignments stay as they are
    fixed = {"n_clusters": 3, "hidden": hidden, "reg": 0.0, "init": y, "random_state": 0}
    model = TensorizedAutoencoder(epochs=800, learning_rate=0.02, **fixed).fit(X)
    np.testing.assert_array_equal(model.labels_, y)
    best = optimum(X, y, h)
    assert best * (1 - 1e-9) <= model.loss_ <= best * (1 + 1e-2)
    np.testing.assert_allclose(train_to_optimum(model, X, y), best, rtol=1e-9)
    decoder = [view for name, view in model.named_parameters().items() if name.startswith("decoder")]
    for j in range(3):
        D = decoder[0][j]
        for view in decoder[1:]:
            D = D @ view[j]
        U = np.linalg.qr(D.T)[0]
        V = PCA(h).fit(X[y == j]).components_.T
        cosines = np.linalg.svd(U[:, :h].T @ V, compute_uv=False)
        np.testing.assert_allclose(cosines, 1, atol=1e-7)


@pytest.mark.sensitive
def test_one_uncentred_linear_cluster_is_the_truncated_svd():
    X = np.random.default_rng(0).normal(size=(80, 5)) @ np.diag([3, 2, 1, 0.5, 0.2]) + [4, 0, 0, 1, 0]
    model = TensorizedAutoencoder(
        n_clusters=1, center=False, hidden=(2,), reg=0.0, epochs=1000, learning_rate=0.02, random_state=0
    ).fit(X)
    svd = TruncatedSVD(2, algorithm="arpack").fit(X)
    best = ((X - svd.inverse_transform(svd.transform(X))) ** 2).mean()
    assert best * (1 - 1e-9) <= model.loss_ <= best * (1 + 1e-2)
    assert ((X - X.mean(0)) ** 2).mean() > best  # and centring would have given another answer
    np.testing.assert_allclose(train_to_optimum(model, X, np.zeros(80, int)), best, rtol=1e-9)
    np.testing.assert_allclose(model.reconstruct(X), svd.inverse_transform(svd.transform(X)), atol=1e-5)


@pytest.mark.parametrize(
    ("d", "k", "hidden", "shared", "count"),
    [
        (6, 1, (1,), 0, 12),
        (6, 1, (2, 1), 0, 28),
        (6, 1, (2, 3), 0, 36),
        (6, 3, (1,), 0, 36),
        (6, 3, (2, 1), 0, 84),
        (6, 3, (2, 1), 1, 36),
        (784, 1, (1,), 0, 1568),
        (784, 1, (2, 1), 0, 3140),
        (784, 5, (1,), 0, 7840),
        (784, 5, (2, 1), 0, 15700),
        (784, 5, (2, 1), 1, 3156),
    ],
)
def test_parameter_counts_are_the_papers(d, k, hidden, shared, count):
    X = np.random.default_rng(0).normal(size=(8, d))
    model = TensorizedAutoencoder(n_clusters=k, hidden=hidden, shared=shared, epochs=0, random_state=0).fit(X)
    assert model.params_.shape == (count,)


# -- attributes and methods ---------------------------------------------------------------------------


@pytest.mark.sensitive
def test_lines_are_found(fitted, lines):
    assert adjusted_rand_score(lines[1], fitted.labels_) > 0.99


@pytest.mark.sensitive
def test_attributes_of_a_fit(fitted, lines):
    X, _ = lines
    np.testing.assert_array_equal(fitted.labels_, fitted.predict(X))
    L = fitted.cluster_losses(X)
    np.testing.assert_array_equal(fitted.labels_, L.argmin(axis=1))
    np.testing.assert_allclose(fitted.loss_, L.min(axis=1).mean(), rtol=1e-12)
    np.testing.assert_allclose(fitted.score(X), -fitted.loss_, rtol=1e-12)
    np.testing.assert_allclose(fitted.score_samples(X), -L.min(axis=1), rtol=1e-12)
    assert len(fitted.loss_curve_) == fitted.n_iter_ == fitted.n_steps_ == 150
    assert fitted.backend_ == "numba"
    for j in range(3):
        np.testing.assert_allclose(fitted.cluster_centers_[j], X[fitted.labels_ == j].mean(axis=0), rtol=1e-9)


@pytest.mark.sensitive
def test_embedding_and_reconstruction_are_those_of_the_assigned_cluster(fitted, lines):
    X, _ = lines
    Z = fitted.transform_all(X)
    assert Z.shape == (300, 3, 1)
    np.testing.assert_array_equal(fitted.transform(X), Z[np.arange(300), fitted.labels_])
    P = fitted.named_parameters()
    for j in range(3):
        own = fitted.labels_ == j
        z = (X[own] - fitted.cluster_centers_[j]) @ P["encoder.0.weight"][j] @ P["encoder.1.weight"][j]
        np.testing.assert_allclose(fitted.transform(X)[own], z, atol=1e-12)
        x = z @ P["decoder.0.weight"][j] @ P["decoder.1.weight"][j] + fitted.cluster_centers_[j]
        np.testing.assert_allclose(fitted.reconstruct(X)[own], x, atol=1e-12)
    back = fitted.inverse_transform(fitted.transform(X), fitted.labels_)
    np.testing.assert_allclose(back, fitted.reconstruct(X), atol=1e-12)


def test_inverse_transform_without_labels_takes_the_decoding_nearest_to_its_centre(fitted):
    Z = np.linspace(-2, 2, 9)[:, None]
    every = np.stack([fitted.inverse_transform(Z, np.full(9, j)) for j in range(3)])
    distances = ((every - fitted.cluster_centers_[:, None]) ** 2).sum(axis=2)
    expected = every[distances.argmin(axis=0), np.arange(9)]
    np.testing.assert_allclose(fitted.inverse_transform(Z), expected, atol=1e-12)


def test_parameters_are_the_concatenation_of_their_names(fitted):
    named = fitted.named_parameters()
    assert list(named) == [f"{half}.{l}.weight" for half in ("encoder", "decoder") for l in (0, 1)]
    np.testing.assert_array_equal(np.concatenate([view.ravel() for view in named.values()]), fitted.params_)
    assert all(np.shares_memory(view, fitted.params_) for view in named.values())
    biased = TensorizedAutoencoder(n_clusters=2, shared=1, bias=True, epochs=1).fit(
        np.random.default_rng(0).random((9, 4))
    )
    shapes = {name: view.shape for name, view in biased.named_parameters().items()}
    assert shapes == {
        "encoder.0.weight": (1, 4, 2),
        "encoder.0.bias": (1, 2),
        "encoder.1.weight": (2, 2, 1),
        "encoder.1.bias": (2, 1),
        "decoder.0.weight": (2, 1, 2),
        "decoder.0.bias": (2, 2),
        "decoder.1.weight": (1, 2, 4),
        "decoder.1.bias": (1, 4),
    }


@pytest.mark.sensitive
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_value_and_gradient_is_what_scipy_takes(lines, backend):
    X, y = lines
    arguments = {"n_clusters": 3, "activation": "tanh", "assignment": "loss", "init": "k-means++"}
    model = TensorizedAutoencoder(epochs=5, random_state=0, backend=backend, **arguments).fit(X)
    value, gradient = model.value_and_gradient(X, y)
    assert isinstance(value, float)
    L = model.cluster_losses(X)
    np.testing.assert_allclose(value, L[np.arange(300), y].sum(), rtol=1e-12)
    direction = np.random.default_rng(0).normal(size=gradient.shape)
    up, _ = model.value_and_gradient(X, y, params=model.params_ + 1e-5 * direction)
    down, _ = model.value_and_gradient(X, y, params=model.params_ - 1e-5 * direction)
    np.testing.assert_allclose((up - down) / 2e-5, gradient @ direction, rtol=1e-7)
    noisy, centers = X + 1.0, model.cluster_centers_ + 1.0
    shifted, _ = model.value_and_gradient(noisy, y, centers=centers)
    np.testing.assert_allclose(shifted, value, rtol=1e-9)
    assert model.value_and_gradient(X.astype(np.float32), y, params=model.params_)[1].dtype == np.float64
    assert model.value_and_gradient(X, y) == (value, pytest.approx(gradient, abs=0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_follows_the_input(lines, dtype):
    X = lines[0].astype(dtype)
    model = TensorizedAutoencoder(n_clusters=3, assignment="loss", epochs=3, random_state=0).fit(X)
    arrays = [model.params_, model.cluster_centers_, model.transform(X), model.transform_all(X), model.reconstruct(X)]
    arrays += [model.cluster_losses(X), model.score_samples(X), model.inverse_transform(model.transform(X))]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}


@pytest.mark.sensitive
def test_float32_keeps_its_digits_far_from_the_origin(lines):
    X = lines[0]
    near = TensorizedAutoencoder(n_clusters=3, epochs=50, random_state=0).fit(X.astype(np.float32))
    far = TensorizedAutoencoder(n_clusters=3, epochs=50, random_state=0).fit((X + 100).astype(np.float32))
    # X + 100 itself is rounded to 2⁻¹⁸ = 4e-6 of spread-one data; without the shift products lose 1e-3
    np.testing.assert_allclose(far.loss_curve_, near.loss_curve_, rtol=2e-4)
    np.testing.assert_array_equal(far.labels_, near.labels_)


def test_denoising_reconstructs_the_target(lines):
    clean = lines[0]
    noisy = clean + np.random.default_rng(1).normal(scale=0.1, size=clean.shape)
    model = TensorizedAutoencoder(n_clusters=3, learning_rate=0.1, random_state=0).fit(noisy, target=clean)
    denoised = ((model.reconstruct(noisy) - clean) ** 2).mean()
    assert denoised < ((noisy - clean) ** 2).mean() + 0.01
    np.testing.assert_allclose(model.cluster_centers_.sum(0) * 100, clean.sum(0), rtol=1e-9)  # means of the target


@pytest.mark.sensitive
def test_sample_weights_are_repetitions(lines):
    X, y = lines
    weights = np.random.default_rng(0).integers(0, 3, 300)
    arguments = {"n_clusters": 3, "epochs": 30, "random_state": 0}
    weighted = TensorizedAutoencoder(init=y, **arguments).fit(X, sample_weight=weights)
    repeated = TensorizedAutoencoder(init=np.repeat(y, weights), **arguments).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(weighted.cluster_centers_, repeated.cluster_centers_, rtol=1e-9)


def test_partial_fit_accumulates_means_and_learns(lines):
    X, _ = lines
    order = np.random.default_rng(0).permutation(300)
    model = TensorizedAutoencoder(n_clusters=3, learning_rate=0.05, random_state=0)
    for _ in range(20):
        for rows in np.split(order, 5):
            model.partial_fit(X[rows])
    assert model.n_steps_ == model.n_iter_ == len(model.loss_curve_) == 100
    assert np.mean(model.loss_curve_[-5:]) < 0.2 * np.mean(model.loss_curve_[:5])
    assert model.state_["counts"].sum() == 20 * 300
    np.testing.assert_allclose(model.state_["totals"] @ model.cluster_centers_ / 6000, X.mean(axis=0), atol=1e-12)
    assert model.predict(X).shape == (300,)


def test_partial_fit_continues_a_fit(lines):
    X = lines[0]
    model = TensorizedAutoencoder(n_clusters=3, epochs=20, random_state=0).fit(X)
    before = model.params_.copy()
    model.partial_fit(X[:50])
    assert model.n_steps_ == 21
    assert np.abs(model.params_ - before).max() < 0.02  # one Adam step of 0.01, with its moments kept
    assert not np.array_equal(model.params_, before)


def test_init_takes_labels_and_centres(lines):
    X, y = lines
    centers = np.stack([X[y == j].mean(axis=0) for j in range(3)])
    arguments = {"n_clusters": 3, "epochs": 1, "random_state": 0}
    by_labels = TensorizedAutoencoder(init=y, **arguments).fit(X)
    by_lists = TensorizedAutoencoder(init=y.tolist(), **arguments).fit(X)
    by_centers = TensorizedAutoencoder(init=centers, **arguments).fit(X)
    assert by_labels.loss_curve_ == by_lists.loss_curve_
    nearest = ((X[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    by_nearest = TensorizedAutoencoder(init=nearest, **arguments).fit(X)
    np.testing.assert_allclose(by_centers.loss_curve_, by_nearest.loss_curve_, rtol=1e-12)


# -- backends and threads ----------------------------------------------------------------------------


@pytest.mark.sensitive
@pytest.mark.parametrize("batch_size", [None, 64])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"shared": 1, "update": "assign-then-step"},
        {"hidden": (5, 3), "activation": "relu", "bias": True, "center_update": "running"},
        {"hidden": (3,), "activation": "sigmoid", "center": False, "optimizer": "sgd", "clip_norm": 0.1},
    ],
    ids=["TAE", "PTAE", "deep", "sgd"],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_whole_fits_agree_between_backends(lines, arguments, batch_size, dtype):
    X = lines[0].astype(dtype)
    arguments = {"n_clusters": 3, "epochs": 20, "random_state": 0, "batch_size": batch_size} | arguments
    exact = TensorizedAutoencoder(backend="numpy", **arguments).fit(lines[0])
    reference = TensorizedAutoencoder(backend="numpy", **arguments).fit(X)
    compiled = TensorizedAutoencoder(backend="numba", **arguments).fit(X)
    np.testing.assert_array_equal(compiled.labels_, reference.labels_)
    if dtype == np.float64:
        np.testing.assert_allclose(compiled.loss_curve_, reference.loss_curve_, rtol=1e-9)
        np.testing.assert_allclose(compiled.params_, reference.params_, rtol=1e-6, atol=1e-8)
    else:  # twice the reference's own error in float32, plus the rounding of 20 steps
        budget = 2 * np.abs(np.subtract(reference.loss_curve_, exact.loss_curve_)).max() + 20 * 2**-23
        assert np.abs(np.subtract(compiled.loss_curve_, exact.loss_curve_)).max() <= budget


@pytest.mark.sensitive
@pytest.mark.parametrize(
    ("n", "d", "arguments"),
    [
        (2500, 6, {"hidden": (2, 1), "batch_size": None}),
        (2500, 100, {"hidden": (2, 1), "batch_size": None}),
        (2500, 100, {"hidden": (40, 8), "batch_size": 1100}),
        (2500, 100, {"hidden": (40, 8), "shared": 1, "n_clusters": 1, "batch_size": None}),
    ],
    ids=["cache", "skinny", "wide", "one-cluster"],
)
def test_results_are_bit_equal_for_any_number_of_threads(n, d, arguments):
    X = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    fits = [
        TensorizedAutoencoder(**{"n_clusters": 4, "epochs": 2, "random_state": 0, "n_jobs": n_jobs} | arguments).fit(X)
        for n_jobs in (1, 2, 7)
    ]
    for other in fits[1:]:
        np.testing.assert_array_equal(other.params_, fits[0].params_)
        assert other.loss_curve_ == fits[0].loss_curve_
        np.testing.assert_array_equal(other.cluster_losses(X), fits[0].cluster_losses(X))
        np.testing.assert_array_equal(other.transform_all(X), fits[0].transform_all(X))


def test_seeds(lines):
    X = lines[0]
    fit = lambda seed: TensorizedAutoencoder(n_clusters=3, epochs=5, batch_size=64, random_state=seed).fit(X)  # noqa: E731
    np.testing.assert_array_equal(fit(1).params_, fit(1).params_)
    assert not np.array_equal(fit(1).params_, fit(2).params_)


# -- with other tools ----------------------------------------------------------------------------------------


def test_pipeline_and_pandas_output(lines):
    pandas = pytest.importorskip("pandas")
    pipe = make_pipeline(StandardScaler(), TensorizedAutoencoder(n_clusters=3, epochs=3, random_state=0))
    frame = pipe.set_output(transform="pandas").fit(lines[0]).transform(lines[0])
    assert isinstance(frame, pandas.DataFrame)
    assert frame.columns.tolist() == ["tensorizedautoencoder0"]
    assert pipe.predict(lines[0]).shape == (300,)


def test_grid_search_in_processes(lines):
    search = GridSearchCV(
        TensorizedAutoencoder(n_clusters=3, epochs=20, reg=0.0, random_state=0),
        {"hidden": [(1,), (2,)]},
        n_jobs=2,
        cv=KFold(2, shuffle=True, random_state=0),
    ).fit(lines[0])
    assert search.best_params_ == {"hidden": (2,)}  # two dimensions reconstruct better than one
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_clone_and_parameters_of_the_constructor(fitted):
    twin = clone(fitted)
    assert not hasattr(twin, "params_")
    assert twin.get_params() == fitted.get_params()


def test_read_only_memory_maps_in_chunks(tmp_path, lines):
    X = np.tile(lines[0], (60, 1)).astype(np.float32)  # 18000 rows: several chunks
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = TensorizedAutoencoder(n_clusters=3, epochs=2, random_state=0).fit(mapped)
    memory = TensorizedAutoencoder(n_clusters=3, epochs=2, random_state=0).fit(X)
    np.testing.assert_array_equal(model.params_, memory.params_)
    np.testing.assert_array_equal(model.predict(mapped), memory.predict(X))
    np.testing.assert_array_equal(model.transform(mapped), memory.transform(X))
    np.testing.assert_array_equal(model.predict(X[:300]), model.predict(X)[:300])


def test_memory_of_predict_does_not_grow_with_a_memory_map(tmp_path):
    shape = (80_000, 64)  # 41 MB
    np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float64, shape)[:] = np.random.default_rng(0).random(shape)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    # one thread: it is chance what two hold at the same time
    model = TensorizedAutoencoder(n_clusters=2, epochs=1, n_jobs=1, random_state=0).fit(mapped[:100])
    peaks = []
    for n in (100, 20_000, 80_000):
        tracemalloc.start()
        model.predict(mapped[:n])
        peaks.append(tracemalloc.get_traced_memory()[1] - 8 * n)  # without the labels themselves
        tracemalloc.stop()
    assert peaks[2] < 1.05 * peaks[1], peaks


def test_predictions_are_of_each_row_alone(fitted, lines):
    X = lines[0]
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(fitted.predict(X[order]), fitted.labels_[order])
    np.testing.assert_allclose(fitted.cluster_losses(X[:1]), fitted.cluster_losses(X)[:1], rtol=1e-10)
