"""`TensorizedVAE`: scikit-learn's conventions, what it answers, its files, bad input, and typical use."""

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import csrl_core
from csrl_core import TensorizedVAE, callbacks
from csrl_core import backends as backend

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "repeating rows gives each of them other random numbers, and k-means++ draws rows by their position"
    ),
}
SMALL = {"hidden": (6,), "epochs": 25, "learning_rate": 0.02, "center": True, "reg": 0.1}
SMALL |= {"bound_samples": 3, "random_state": 0, "init": "k-means"}


@parametrize_with_checks(
    # Other outputs than Bernoulli's, since the data of the checks are not in [0, 1]; tests below have binary ones.
    [
        TensorizedVAE(**SMALL, reconstruction_loss="gaussian"),
        TensorizedVAE(**SMALL, reconstruction_loss="mse", latent=1, shared=0, backend="numpy"),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def two_kinds(n=120, seed=0):
    """Binary images of 6 × 6 pixels, rows, and their classes: the left or the right half is mostly 1."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    p = np.where((np.arange(6) < 3) == y[:, None], 0.9, 0.05)
    return (rng.random((n, 6, 6)) < p[:, None]).astype(float).reshape(n, 36), y


X, Y = two_kinds()
FAST = {"hidden": (16, 8), "channels": (3, 4), "epochs": 30, "batch_size": 32, "random_state": 0, "learning_rate": 0.01}
NORMALISED = {
    "encoder": ["conv 4 3 2 1 bias=False shared", "batch_norm activation=relu shared", "dropout 0.1"],
    "decoder": ["dense 4x3x3", "batch_norm relu shared", "up_sample 2", "conv 1 3 1 1 shared"],
    "image_shape": (6, 6),
}
KINDS = {
    "dense": {},
    "one cluster": {"n_clusters": 1},
    "everything per cluster": {"shared": 0},
    "conv": {"architecture": "conv", "epochs": 10},
    "layers of one's own": NORMALISED | {"epochs": 10, "standing_epochs": 3},
    "gaussian": {"reconstruction_loss": "gaussian", "noise_variance": 0.1, "reg": 0.5, "center": True},
    "squashed": {"center": True},
    "mse": {"reconstruction_loss": "mse", "reg": 0.001, "latent": 3},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def fitted():
    return TensorizedVAE(**FAST).fit(X)


@every_kind
def test_answers_and_files(kind, tmp_path):
    model = TensorizedVAE(**FAST | KINDS[kind]).fit(X)
    k, h, rows = model.n_clusters, model.latent, np.arange(len(X))
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    L, Z = model.cluster_losses(X), model.transform_all(X)
    np.testing.assert_allclose(model.loss_, L.min(axis=1).mean())
    assert L.shape == (len(X), k)
    assert Z.shape == (len(X), k, h)
    np.testing.assert_allclose(model.transform(X), Z[rows, model.labels_], rtol=1e-12)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X), model.labels_), model.reconstruct(X))
    np.testing.assert_array_equal(
        np.concatenate([view.ravel() for view in model.named_parameters().values()]), model.params_
    )
    assert not hasattr(model, "predict_proba")
    model.save(tmp_path / "model")
    again = csrl_core.load(tmp_path / "model")
    for ask in (
        lambda model: model.predict(X),
        lambda model: model.score_samples(X, n_samples=3),
        lambda model: model.reconstruct(X),
        lambda model: model.sample(4)[0],
    ):
        np.testing.assert_array_equal(ask(again), ask(model))
    for one in (again, model):
        one.partial_fit(X[:20])
    np.testing.assert_array_equal(again.params_, model.params_)


@every_kind
def test_an_interrupted_fit_resumes_to_the_same_curve(kind, tmp_path):
    arguments = FAST | KINDS[kind] | {"epochs": 6, "n_init": 2, "standing_epochs": 3}
    whole = TensorizedVAE(**arguments).fit(X)

    class Stop(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            if (epoch.restart, epoch.epoch) == (1, 4):
                raise KeyboardInterrupt

    interrupted = TensorizedVAE(**arguments).set_callbacks(callbacks.Checkpoint(tmp_path / "checkpoint"), Stop())
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X)
    resumed = TensorizedVAE(**arguments).fit(X, resume=tmp_path / "checkpoint")
    assert resumed.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(resumed.params_, whole.params_)
    for name, array in whole.state_.items():
        np.testing.assert_array_equal(resumed.state_[name], array)


@pytest.mark.sensitive
@every_kind
def test_backends_and_threads_agree_on_a_whole_fit(kind):
    arguments = FAST | KINDS[kind] | {"epochs": 4, "standing_epochs": 2}
    models = [
        TensorizedVAE(**arguments, backend=name, n_jobs=n_jobs).fit(X)
        for name, n_jobs in [("numpy", 1), ("numba", 1), ("numba", 2), ("numba", 7)]
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model.labels_, models[0].labels_)
        np.testing.assert_allclose(model.loss_curve_, models[0].loss_curve_, rtol=1e-8)
        np.testing.assert_array_equal(model.params_, models[1].params_)


@pytest.mark.sensitive
def test_clusters_are_found(fitted):
    assert adjusted_rand_score(Y, fitted.labels_) > 0.95
    assert fitted.loss_curve_[-1] < 0.8 * fitted.loss_curve_[0]


def test_results_do_not_depend_on_the_other_rows(fitted):
    some = np.random.default_rng(0).permutation(len(X))[:50]
    for name in ("cluster_losses", "score_samples", "reconstruct", "transform"):
        ask = getattr(fitted, name)
        np.testing.assert_allclose(ask(X[some]), ask(X)[some], rtol=1e-10, atol=1e-12)


def test_float32_stays_float32(fitted):
    model = TensorizedVAE(**FAST).fit(X.astype(np.float32))
    assert model.params_.dtype == model.transform(X.astype(np.float32)).dtype == np.float32
    assert adjusted_rand_score(model.labels_, fitted.labels_) > 0.95


@pytest.mark.parametrize("kind", ["dense", "layers of one's own", "squashed"])
def test_value_and_gradient_is_one_function(kind):
    model = TensorizedVAE(**FAST | KINDS[kind] | {"epochs": 2}).fit(X)
    value, gradient = model.value_and_gradient(X, Y)
    assert value == model.value_and_gradient(X, Y)[0]
    direction = np.random.default_rng(0).normal(size=gradient.shape)
    up, _ = model.value_and_gradient(X, Y, params=model.params_ + 1e-6 * direction)
    down, _ = model.value_and_gradient(X, Y, params=model.params_ - 1e-6 * direction)
    np.testing.assert_allclose((up - down) / 2e-6, gradient @ direction, rtol=1e-5)


def test_the_bound_rises_with_its_samples_and_mixes_clusters(fitted):
    few, many = fitted.score_samples(X, n_samples=1), fitted.score_samples(X, n_samples=200)
    assert few.mean() < many.mean()
    shares = np.bincount(fitted.labels_) / len(X)
    bounds = fitted.cluster_bounds(X, 200)
    np.testing.assert_allclose(many, logsumexp(bounds + np.log(shares), axis=1))
    np.testing.assert_allclose(fitted.score(X), fitted.score_samples(X, n_samples=100).mean())
    # The negative loss at β = ½ is the bound of one sample, in the mean over its noise.
    one = TensorizedVAE(**FAST | {"n_clusters": 1, "reg": 0.5}).fit(X)
    value, _ = one.value_and_gradient(X, np.zeros(len(X), int))
    assert -value / len(X) < one.score(X)


def test_the_density_of_a_linear_model_is_bounded_tightly():
    """Of p(x) = N(0, D Dᵀ + σ² I), integrated over a grid of the one latent dimension."""
    data = np.random.default_rng(0).normal(size=(80, 2)) @ np.array([[1.0, 0.6], [0, 0.4]])
    linear = {"encoder": [], "decoder": ["dense 2"], "latent": 1, "reg": 0.5, "reconstruction_loss": "gaussian"}
    model = TensorizedVAE(
        **linear, n_clusters=1, noise_variance=0.2, epochs=150, learning_rate=0.02, random_state=0
    ).fit(data)
    P = model.named_parameters()
    D, b = P["decoder.0.weight"][0], P["decoder.0.bias"][0]
    covariance = D.T @ D + 0.2 * np.eye(2)
    r = data - b
    exact = (
        -0.5 * (r * np.linalg.solve(covariance, r.T).T).sum(axis=1) - 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    )
    bound = model.score_samples(data, n_samples=2000)
    np.testing.assert_allclose(bound, exact, atol=0.05)


def test_samples_and_traversals(fitted):
    samples, labels = fitted.sample(300)
    assert samples.shape == (300, 36)
    assert 0 <= samples.min() <= samples.max() <= 1
    assert 0.3 < labels.mean() < 0.7
    assert (fitted.sample(5)[0] != fitted.sample(5)[0]).any()
    np.testing.assert_array_equal(fitted.sample(5, random_state=1)[0], fitted.sample(5, random_state=1)[0])
    for cluster in (0, 1):
        one, own = fitted.sample(50, cluster)
        assert (own == cluster).all()
        assert (fitted.predict(one) == cluster).mean() > 0.9
        grid = fitted.traverse(cluster, 5)
        assert grid.shape == (5, 5, 36)
        np.testing.assert_allclose(grid[2, 2], fitted.inverse_transform(np.zeros((1, 2)), np.array([cluster]))[0])
        line = fitted.traverse(cluster, np.zeros((3, 2)))
        np.testing.assert_allclose(line, np.repeat(grid[2, 2][None], 3, axis=0))
    assert TensorizedVAE(**FAST | {"latent": 1, "epochs": 1}).fit(X).traverse(0, 7).shape == (7, 36)


def test_images_are_rows(fitted):
    arguments = FAST | {"architecture": "conv", "epochs": 2}
    rows = TensorizedVAE(**arguments).fit(X)
    for images in (X.reshape(-1, 6, 6), X.reshape(-1, 1, 6, 6)):
        model = TensorizedVAE(**arguments).fit(images)
        np.testing.assert_array_equal(model.params_, rows.params_)
        np.testing.assert_array_equal(model.predict(images), rows.predict(X))
    wide = TensorizedVAE(**arguments, image_shape=(2, 3, 3)).fit(X[:, :18])
    assert wide.named_parameters()["encoder.0.weight"].shape[2] == 2


def test_weights_of_zero_have_no_effect():
    weight = (np.arange(len(X)) % 3 > 0).astype(float)
    other = np.where(weight[:, None] > 0, X, 1 - X)
    models = [TensorizedVAE(**FAST | {"epochs": 3}).fit(data, sample_weight=weight) for data in (X, other)]
    np.testing.assert_allclose(models[0].params_, models[1].params_, rtol=1e-9, atol=1e-12)


def test_denoising_takes_a_target():
    noisy = np.clip(X + np.random.default_rng(0).normal(size=X.shape), 0, 1)
    model = TensorizedVAE(**FAST).fit(noisy, target=X)
    assert ((model.reconstruct(noisy) - X) ** 2).mean() < ((noisy - X) ** 2).mean() / 2
    with pytest.raises(
        ValueError, match=r"reconstruction_loss='bernoulli' needs values in \[0, 1\], target has values from 0 to 2"
    ):
        TensorizedVAE(**FAST).fit(noisy, target=2 * X)


def test_partial_fit_learns():
    model = TensorizedVAE(**FAST)
    for _ in range(30):
        for first in range(0, len(X), 40):
            model.partial_fit(X[first : first + 40])
    assert model.n_steps_ == 90
    assert adjusted_rand_score(Y, model.predict(X)) > 0.9


@pytest.mark.parametrize("kind", ["dense", "conv", "layers of one's own"])
def test_the_device_code_trains_alike(kind):
    if {"network", "vae"} & {*backend.get("emulated").missing}:
        pytest.skip("the device code of the stem network is not there")
    arguments = FAST | KINDS[kind] | {"epochs": 2, "standing_epochs": 1}
    device, host = (TensorizedVAE(**arguments, backend=name).fit(X[:40]) for name in ("emulated", "numpy"))
    np.testing.assert_array_equal(device.labels_, host.labels_)
    np.testing.assert_allclose(device.loss_curve_, host.loss_curve_, rtol=1e-9)


# -- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (X, {"latent": 0}, "'latent' .* Got 0"),
        (X, {"hidden": (0,)}, r"hidden=\(0,\); expected at least 0 numbers, each an int of at least 1"),
        (X, {"channels": ()}, r"channels=\(\); expected at least 1 numbers"),
        (X, {"shared": 3}, "shared=3, but there are only 2 outer pairs of layers; expected 0 to 2"),
        (X, {"reconstruction_loss": "poisson"}, "'reconstruction_loss' .* Got 'poisson'"),
        (X, {"noise_variance": 0}, "'noise_variance' .* Got 0"),
        (X, {"bound_samples": 0}, "'bound_samples' .* Got 0"),
        (X, {"assignment": "likelihood"}, "'assignment' .* Got 'likelihood'"),
        (X, {"encoder": ["dense 3"]}, "encoder and decoder are given together or not at all"),
        (X, NORMALISED | {"shared": 1}, "shared=1, but encoder and decoder are given"),
        (X, {"encoder": [3], "decoder": []}, "layers are given as text, such as .* got 3"),
        (X, {"encoder": ["lstm 3"], "decoder": []}, "'lstm' is no kind of layer; expected one of dense, conv"),
        (X, {"image_shape": (6,)}, r"image_shape=\(6,\); expected at least 2 numbers"),
        (X, {"image_shape": (1, 1, 6, 6)}, r"image_shape=\(1, 1, 6, 6\); expected \(height, width\) or"),
        (2 * X, {}, r"reconstruction_loss='bernoulli' needs values in \[0, 1\], X has values from 0 to 2; scale it"),
        (X - 0.1, {}, r"reconstruction_loss='bernoulli' needs values in \[0, 1\], X has values from -0.1 to 0.9"),
        # Images of the wrong rank or size
        (X.reshape(-1, 6, 6), {}, "Found array with dim 3"),
        (X.reshape(-1, 1, 1, 6, 6), {"architecture": "conv"}, "Found array with dim 5"),
        (X[:, :35], {"architecture": "conv"}, "X has 35 features, which are no square image of one channel"),
        (X, {"image_shape": (5, 7)}, r"X has 36 features; expected 35, those of image_shape=\(1, 5, 7\)"),
        (X.reshape(-1, 4, 9), {"architecture": "conv"}, r"X has images of shape \(1, 4, 9\); expected \(1, 6, 6\)"),
        (
            X.reshape(-1, 4, 9),
            {"architecture": "conv", "image_shape": (4, 9)},
            "architecture='conv' pads images of 4 × 9 to multiples of 4, by 0 and 3; expected the same for both",
        ),
        (
            X,
            NORMALISED | {"decoder": ["dense 4x3x3", "conv 1 3 1 1"]},
            r"(?s)the decoder's layers do not fit.*output has shape \(1, 3, 3\), expected \(1, 6, 6\)"
            r".*input \(2, 1, 1\).*0 Dense.*→ \(4, 3, 3\).*1 Conv.*→ \(1, 3, 3\)",
        ),
        (
            X,
            NORMALISED | {"encoder": ["conv 4 3 2 1", "max_pool 4"]},
            r"(?s)the encoder's layers do not fit.*1 does not fit: of an input of shape \(4, 3, 3\) nothing is left",
        ),
        (
            X,
            {"encoder": ["dense 4", "batch_norm"], "decoder": ["dense 36"], "batch_size": 1},
            "a batch has 1 sample, and batch normalisation needs at least 2 for statistics",
        ),
    ],
    ids=str,
)
def test_bad_input(data, changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        TensorizedVAE(**FAST | {"epochs": 2} | changes).fit(data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.sample(0), "n_samples=0; expected an int of at least 1"),
        (lambda m: m.sample(3, 2), "cluster=2; expected an int from 0 to 1"),
        (lambda m: m.traverse(-1), "cluster=-1; expected an int from 0 to 1"),
        (lambda m: m.traverse(0, 0), "grid=0; expected an int of at least 1, or codes"),
        (
            lambda m: m.traverse(0, np.zeros((3, 4))),
            r"grid has shape \(3, 4\); expected finite codes of shape \(..., 2\)",
        ),
        (lambda m: m.score_samples(X, n_samples=0), "n_samples=0; expected an int of at least 1"),
        (lambda m: m.predict(X[:, :5]), "X has 5 features, but TensorizedVAE is expecting 36 features"),
        (lambda m: m.predict(3 * X), r"needs values in \[0, 1\], X has values from 0 to 3"),
    ],
)
def test_bad_calls(call, message, fitted):
    with pytest.raises(ValueError, match=message):
        call(fitted)


def test_a_mean_squared_error_without_a_penalty_has_no_likelihood():
    model = TensorizedVAE(**FAST | {"reconstruction_loss": "mse", "reg": 0, "epochs": 1}).fit(X)
    with pytest.raises(ValueError, match="reconstruction_loss='mse' has a likelihood only with reg > 0, got 0"):
        model.score(X)


def test_an_argument_changed_after_the_fit_is_refused():
    model = TensorizedVAE(**FAST | {"epochs": 1}).fit(X)
    with pytest.raises(ValueError, match=r"hidden=\(3,\), but this TensorizedVAE was fitted with hidden=\(16, 8\)"):
        model.set_params(hidden=(3,)).predict(X)
