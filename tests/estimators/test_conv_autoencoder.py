"""`TensorizedAutoencoder` with convolutions and with layers as text: what it answers, its files, bad input, use."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import csrl_core
from csrl_core import TensorizedAutoencoder, backends, callbacks, selection

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "k-means++ draws rows by their position, so repeating rows draws other centres (as for scikit-learn's KMeans)"
    ),
}


class Pixels(TensorizedAutoencoder):
    """Samples are images of one pixel with as many channels as there are features: the checks have any number."""

    def _image(self, d):
        return d, 1, 1


SMALL = {"architecture": "conv", "channels": (4,), "epochs": 4, "learning_rate": 0.01, "reg": 0.1}
SMALL |= {"standing_epochs": 0, "random_state": 0, "init": "k-means"}


@parametrize_with_checks(
    [Pixels(**SMALL), Pixels(**SMALL, latent=1, shared=1, center=False, batch_size=7, backend="numpy")],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def bars(n=120, seed=0):
    """Images of 6 × 6 pixels, rows, and their classes: a bar across or a bar down, of any strength."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    images = rng.normal(scale=0.1, size=(n, 6, 6))
    strength = rng.uniform(0.5, 1.5, n)
    images[y == 0, 2:4, :] += strength[y == 0, None, None]
    images[y == 1, :, 2:4] += strength[y == 1, None, None]
    return images.reshape(n, 36), y


X, Y = bars()
FAST = {"architecture": "conv", "channels": (3, 4), "epochs": 12, "batch_size": 32, "learning_rate": 0.01}
FAST |= {"standing_epochs": 0, "reg": 0.1, "random_state": 0}
LAYERS = {
    "architecture": "dense",
    "encoder": ["conv 4 3 2 1 bias=False shared", "batch_norm activation=relu shared", "dropout 0.1"],
    "decoder": ["dense 4x3x3", "batch_norm relu shared", "up_sample 2", "conv 1 3 1 1 shared"],
    "image_shape": (6, 6),
}
KINDS = {
    "TAE": {},
    "PTAE": {"shared": 2},
    "PTAE without centres": {"shared": 2, "center": False},
    "all shared": {"shared": 3, "latent": 3},
    "one cluster": {"n_clusters": 1, "center": False},
    "layers of one's own": LAYERS,
    "likelihood": {"assignment": "likelihood", "output_activation": "tanh"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def fitted():
    return TensorizedAutoencoder(**FAST).fit(X)


@every_kind
def test_answers_and_files(kind, tmp_path):
    model = TensorizedAutoencoder(**FAST | KINDS[kind]).fit(X)
    k, h, rows, by_likelihood = model.n_clusters, model.latent, np.arange(len(X)), kind == "likelihood"
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    L, Z = model.cluster_losses(X), model.transform_all(X)
    np.testing.assert_allclose(model.loss_, L[rows, model.labels_].mean())
    assert L.shape == (len(X), k)
    assert Z.shape == (len(X), k, h)
    np.testing.assert_allclose(model.transform(X), Z[rows, model.labels_], rtol=1e-12)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X), model.labels_), model.reconstruct(X))
    assert model.inverse_transform(model.transform(X)).shape == X.shape
    error = ((model.reconstruct(X) - X) ** 2).mean(axis=1) + 0.1 * (model.transform(X) ** 2).sum(axis=1)
    np.testing.assert_allclose(error, L[rows, model.labels_], rtol=1e-9)
    np.testing.assert_array_equal(
        np.concatenate([view.ravel() for view in model.named_parameters().values()]), model.params_
    )
    assert hasattr(model, "predict_proba") == by_likelihood
    if by_likelihood:
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
        np.testing.assert_array_equal(model.predict_proba(X).argmax(axis=1), model.labels_)
    else:
        np.testing.assert_allclose(model.score_samples(X), -L.min(axis=1))
    assert model.set_output(transform="pandas").transform(X).shape == (len(X), h)
    model.set_output(transform="default").save(tmp_path / "model")
    again = csrl_core.load(tmp_path / "model")
    for ask in ("predict", "score_samples", "reconstruct", "transform_all"):
        np.testing.assert_array_equal(getattr(again, ask)(X), getattr(model, ask)(X))
    for one in (again, model):
        one.partial_fit(X[:20])
    np.testing.assert_array_equal(again.params_, model.params_)


@every_kind
def test_an_interrupted_fit_resumes_to_the_same_curve(kind, tmp_path):
    arguments = FAST | KINDS[kind] | {"epochs": 6, "n_init": 2, "standing_epochs": 3}
    whole = TensorizedAutoencoder(**arguments).fit(X)

    class Stop(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            if (epoch.restart, epoch.epoch) == (1, 4):
                raise KeyboardInterrupt

    interrupted = TensorizedAutoencoder(**arguments)
    interrupted.set_callbacks(callbacks.Checkpoint(tmp_path / "checkpoint"), Stop())
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X)
    resumed = TensorizedAutoencoder(**arguments).fit(X, resume=tmp_path / "checkpoint")
    assert resumed.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(resumed.params_, whole.params_)
    for name, array in whole.state_.items():
        np.testing.assert_array_equal(resumed.state_[name], array)


@pytest.mark.sensitive
@every_kind
def test_backends_and_threads_agree_on_a_whole_fit(kind):
    arguments = FAST | KINDS[kind] | {"epochs": 4, "standing_epochs": 2}
    models = [
        TensorizedAutoencoder(**arguments, backend=name, n_jobs=n_jobs).fit(X)
        for name, n_jobs in [("numpy", 1), ("numba", 1), ("numba", 2), ("numba", 7)]
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model.labels_, models[0].labels_)
        np.testing.assert_allclose(model.loss_curve_, models[0].loss_curve_, rtol=1e-8)
        np.testing.assert_array_equal(model.params_, models[1].params_)


@every_kind
def test_the_device_code_trains_alike(kind):
    if "network" in backends.get("emulated").missing:
        pytest.skip("the device code of the stem network is not there")
    arguments = FAST | KINDS[kind] | {"epochs": 2, "standing_epochs": 1}
    device, host = (TensorizedAutoencoder(**arguments, backend=name).fit(X[:40]) for name in ("emulated", "numpy"))
    np.testing.assert_array_equal(device.labels_, host.labels_)
    np.testing.assert_allclose(device.loss_curve_, host.loss_curve_, rtol=1e-9)


def test_the_dense_form_is_untouched_by_arguments_of_networks():
    plain = TensorizedAutoencoder(epochs=5, random_state=0).fit(X)
    other = TensorizedAutoencoder(epochs=5, random_state=0, channels=(7,), latent=5, image_shape=(6, 6))
    np.testing.assert_array_equal(other.fit(X.reshape(-1, 6, 6)).params_, plain.params_)
    np.testing.assert_array_equal(other.predict(X.reshape(-1, 1, 6, 6)), plain.labels_)


@pytest.mark.parametrize(
    ("changes", "steps", "standing"),
    [
        ({"architecture": "dense"}, 150, 0),
        ({}, 50 * 3, 10),
        ({"batch_size": None}, 50, 10),
        ({"epochs": 3}, 9, 10),
        (LAYERS | {"epochs": 2, "batch_size": 40}, 6, 10),
    ],
    ids=str,
)
def test_defaults_are_those_of_the_architecture(changes, steps, standing):
    model = TensorizedAutoencoder(**{"architecture": "conv", "channels": (2,), "random_state": 0} | changes).fit(X)
    assert model.n_steps_ == steps
    same = changes | {"standing_epochs": standing, "learning_rate": 0.001 if model.architecture == "conv" else 0.01}
    same |= {"learning_rate": 0.001} if "encoder" in changes else {}
    same |= {"reg": 0.1 if model.n_steps_ == 150 and "architecture" in changes else 0.0}
    other = TensorizedAutoencoder(**{"architecture": "conv", "channels": (2,), "random_state": 0} | same).fit(X)
    np.testing.assert_array_equal(other.params_, model.params_)


def test_a_linear_model_reaches_the_principal_subspace():
    """Kernels of the size of the image, λ = 0: h principal components, with exact means as centres."""
    from scipy.optimize import minimize

    data = np.random.default_rng(0).normal(size=(60, 16)) @ np.diag(np.linspace(2, 0.2, 16))
    layers = {"encoder": ["conv 3 4 bias=False"], "decoder": ["dense 3 bias=False", "transposed_conv 1 4 bias=False"]}
    model = TensorizedAutoencoder(n_clusters=1, latent=2, reg=0, epochs=50, random_state=0, **layers).fit(data)
    result = minimize(
        lambda params: model.value_and_gradient(data, np.zeros(60, int), params=params),
        model.params_,
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 0, "gtol": 1e-12, "maxiter": 10_000, "maxfun": 10_000},
    )
    pca = PCA(2).fit(data)
    best = ((data - pca.inverse_transform(pca.transform(data))) ** 2).mean()
    np.testing.assert_allclose(result.fun / 60, best, rtol=1e-9)
    model.params_ = result.x
    np.testing.assert_allclose(model.reconstruct(data), pca.inverse_transform(pca.transform(data)), atol=1e-5)


@pytest.mark.sensitive
def test_clusters_are_found_from_a_start_that_is_wrong_in_part(fitted):
    assert adjusted_rand_score(Y, fitted.labels_) > 0.95
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


def test_images_are_rows(fitted):
    for images in (X.reshape(-1, 6, 6), X.reshape(-1, 1, 6, 6)):
        model = TensorizedAutoencoder(**FAST).fit(images)
        np.testing.assert_array_equal(model.params_, fitted.params_)
        np.testing.assert_array_equal(model.predict(images), fitted.labels_)
    wide = TensorizedAutoencoder(**FAST, image_shape=(2, 3, 3)).fit(X[:, :18])
    assert wide.named_parameters()["encoder.0.weight"].shape == (2, 3, 2, 3, 3)


@pytest.mark.parametrize(("shared", "copies"), [(0, "kkkkkk"), (1, "1kkkk1"), (2, "11kk11"), (3, "111111")])
def test_shared_counts_outer_pairs(shared, copies):
    model = TensorizedAutoencoder(**FAST | {"shared": shared, "epochs": 0}).fit(X)
    weights = [view for name, view in model.named_parameters().items() if name.endswith("weight")]
    assert [len(weight) for weight in weights] == [1 if copy == "1" else 2 for copy in copies]


def test_float32_stays_float32(fitted):
    model = TensorizedAutoencoder(**FAST).fit(X.astype(np.float32))
    assert model.params_.dtype == model.transform(X.astype(np.float32)).dtype == np.float32
    assert adjusted_rand_score(model.labels_, fitted.labels_) > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_value_and_gradient_is_one_function(kind):
    model = TensorizedAutoencoder(**FAST | KINDS[kind] | {"epochs": 2}).fit(X)
    labels = Y % model.n_clusters
    value, gradient = model.value_and_gradient(X, labels)
    assert value == model.value_and_gradient(X, labels)[0]
    direction = np.random.default_rng(0).normal(size=gradient.shape)
    up, _ = model.value_and_gradient(X, labels, params=model.params_ + 1e-6 * direction)
    down, _ = model.value_and_gradient(X, labels, params=model.params_ - 1e-6 * direction)
    np.testing.assert_allclose((up - down) / 2e-6, gradient @ direction, rtol=1e-5)


def test_results_do_not_depend_on_the_other_rows(fitted):
    some = np.random.default_rng(0).permutation(len(X))[:50]
    for name in ("cluster_losses", "score_samples", "reconstruct", "transform"):
        ask = getattr(fitted, name)
        np.testing.assert_allclose(ask(X[some]), ask(X)[some], rtol=1e-10, atol=1e-12)


def test_weights_of_zero_have_no_effect():
    weight = (np.arange(len(X)) % 3 > 0).astype(float)
    other = np.where(weight[:, None] > 0, X, 1 - X)
    models = [TensorizedAutoencoder(**FAST | {"epochs": 3}).fit(data, sample_weight=weight) for data in (X, other)]
    np.testing.assert_allclose(models[0].params_, models[1].params_, rtol=1e-9, atol=1e-12)


def test_denoising_reconstructs_the_target():
    noisy = X + np.random.default_rng(0).normal(scale=0.5, size=X.shape)
    model = TensorizedAutoencoder(**FAST | {"epochs": 60}).fit(noisy.reshape(-1, 6, 6), target=X.reshape(-1, 6, 6))
    assert ((model.reconstruct(noisy) - X) ** 2).mean() < ((noisy - X) ** 2).mean() / 2


def test_partial_fit_learns():
    model = TensorizedAutoencoder(**FAST)
    for _ in range(30):
        for first in range(0, len(X), 40):
            model.partial_fit(X[first : first + 40])
    assert model.n_steps_ == 90
    assert adjusted_rand_score(Y, model.predict(X)) > 0.9


# -- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (X, {"latent": 0}, "'latent' .* Got 0"),
        (X, {"channels": ()}, r"channels=\(\); expected at least 1 numbers"),
        (X, {"shared": 4}, "shared=4, but there are only 3 outer pairs of layers; expected 0 to 3"),
        (X, {"encoder": ["dense 3"]}, "encoder and decoder are given together or not at all"),
        (X, LAYERS | {"shared": 1}, "shared=1, but encoder and decoder are given: their layers say 'shared'"),
        (X, {"encoder": ["lstm 3"], "decoder": []}, "'lstm' is no kind of layer; expected one of dense, conv"),
        (X, {"activation": "relu"}, "activation='relu' is not for architecture='conv'; expected 'linear'; encoder and"),
        (X, {"bias": True}, "bias=True is not for architecture='conv'; expected False"),
        (X, {"solver": "exact"}, "solver='exact' is not for architecture='conv'; expected 'gradient'$"),
        (X, {"start": "components"}, "start='components' is not for architecture='conv', which have no principal"),
        (X, LAYERS | {"output_activation": "tanh"}, "output_activation='tanh' is not for layers that are given"),
        # Images of the wrong rank or size
        (X.reshape(-1, 1, 1, 6, 6), {}, "Found array with dim 5"),
        (X.reshape(-1, 6, 6), {"architecture": "dense"}, "Found array with dim 3"),
        (X[:, :35], {}, "X has 35 features, which are no square image of one channel"),
        (X, {"image_shape": (6,)}, r"image_shape=\(6,\); expected at least 2 numbers"),
        (X, {"image_shape": (5, 7)}, r"X has 36 features; expected 35, those of image_shape=\(1, 5, 7\)"),
        (X, {"architecture": "dense", "image_shape": (5, 7)}, "X has 36 features; expected 35"),
        (X.reshape(-1, 4, 9), {}, r"X has images of shape \(1, 4, 9\); expected \(1, 6, 6\)"),
        (X.reshape(-1, 4, 9), {"image_shape": (4, 9)}, "pads images of 4 × 9 to multiples of 4, by 0 and 3"),
        (
            X,
            LAYERS | {"decoder": ["dense 4x3x3", "conv 1 3 1 1"]},
            r"(?s)the decoder's layers do not fit.*output has shape \(1, 3, 3\), expected \(1, 6, 6\)"
            r".*input \(2, 1, 1\).*0 Dense.*→ \(4, 3, 3\).*1 Conv.*→ \(1, 3, 3\)",
        ),
        (
            X,
            LAYERS | {"encoder": ["conv 4 3 2 1", "max_pool 4"]},
            r"(?s)the encoder's layers do not fit.*1 does not fit: of an input of shape \(4, 3, 3\) nothing is left",
        ),
        (
            X,
            {"encoder": ["dense 4", "batch_norm"], "decoder": ["dense 36"], "batch_size": 1},
            "a batch has 1 sample, and batch normalisation needs at least 2 for statistics",
        ),
        (X, {"assignment": "likelihood", "latent": 36}, "latent width of at least 1 and below the number of features"),
    ],
    ids=str,
)
def test_bad_input(data, changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        TensorizedAutoencoder(**FAST | {"epochs": 2} | changes).fit(data)


def test_other_targets_and_widths_are_refused(fitted):
    with pytest.raises(ValueError, match=r"target has images of shape \(1, 4, 9\); expected \(1, 6, 6\)"):
        TensorizedAutoencoder(**FAST).fit(X, target=X.reshape(-1, 4, 9))
    with pytest.raises(ValueError, match="X has 5 features, but TensorizedAutoencoder is expecting 36 features"):
        fitted.predict(X[:, :5])
    with pytest.raises(ValueError, match=r"channels=\(3,\), but this TensorizedAutoencoder was fitted with channels="):
        TensorizedAutoencoder(**FAST | {"epochs": 1}).fit(X).set_params(channels=(3,)).predict(X)


def test_the_number_of_clusters_is_chosen_with_dense_layers_only():
    with pytest.raises(ValueError, match="estimator has architecture='conv'; expected 'dense'"):
        selection.select(X, n_clusters=[1, 2], estimator=TensorizedAutoencoder(**FAST, assignment="likelihood"))
