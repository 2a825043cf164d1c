"""`DeepDivergenceClustering`: conventions, answers, files, resuming, devices, bad input, use."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import check_clustering, parametrize_with_checks

import csrl_core
import csrl_core.training.empty_clusters
from csrl_core import DeepDivergenceClustering, callbacks
from csrl_core.training.draws import Use, stream

ONE = "the check sets n_clusters=1, and a divergence is between at least 2"
EXPECTED_FAILURES = {
    "check_dont_overwrite_parameters": ONE,
    "check_methods_subset_invariance": ONE,
    "check_fit2d_1sample": ONE,
    "check_fit2d_1feature": ONE,
    "check_fit2d_predict1d": ONE,
    "check_sample_weight_equivalence_on_dense_data": (
        "batch normalisation and the median of distances count a sample once, whatever its weight"
    ),
}
SMALL = {"hidden": (6,), "latent": 4, "epochs": 40, "learning_rate": 0.01, "random_state": 0}


@parametrize_with_checks(
    [
        DeepDivergenceClustering(**SMALL),
        DeepDivergenceClustering(**SMALL, companion="uco", batch_size=None, backend="numpy"),
        DeepDivergenceClustering(**SMALL, companion="autoencoder", invariance=1.0),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learn_conventions(estimator, check):
    well = check.func is check_clustering  # the one that asks for good clusters
    check(clone(estimator).set_params(epochs=40 if well else 4))


def two_kinds(n=120, seed=0):
    """Images of 8 × 8 pixels, rows, and their classes: the left or the right half is bright."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    p = np.where((np.arange(8) < 4) == y[:, None], 0.9, 0.05)
    return (rng.random((n, 8, 8)) < p[:, None]).astype(float).reshape(n, 64), y


X, Y = two_kinds()
FAST = {"hidden": (16, 8), "latent": 8, "epochs": 10, "batch_size": 32, "random_state": 0, "learning_rate": 0.01}
FAST |= {"elastic": 5.0, "smoothing": 2.0, "shift": 1.0}
OWN = ["conv 3 3", "batch_norm activation=relu", "max_pool 2", "conv 4 2 activation=relu", "dropout 0.1"]
BACK = ["transposed_conv 3 2 activation=relu", "up_sample 2", "transposed_conv 1 3"]
KINDS = {
    "alone": {},
    "autoencoder": {"companion": "autoencoder", "companion_weight": 0.5},
    "tensors of vectors": {"companion": "uco", "block_weights": "linear"},
    "vectors": {"companion": "uco", "kernel": "vector", "block_weights": "exponential"},
    "views": {"invariance": 0.5, "image_shape": (8, 8)},
    "views of vectors": {"invariance": 0.5, "companion": "uco"},
    "own layers": {"encoder": OWN, "blocks": (2, 4), "companion": "uco", "companion_weight": 0.3},
    "own decoder": {"encoder": OWN, "decoder": BACK, "companion": "autoencoder", "invariance": 0.2},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind, **changes):
    return DeepDivergenceClustering(**FAST | KINDS[kind] | changes)


@every_kind
def test_answers_and_files(kind, tmp_path):
    model = make(kind).fit(X)
    A, L, H = model.predict_proba(X), model.cluster_losses(X), model.transform(X)
    np.testing.assert_allclose(A.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(model.labels_, A.argmax(axis=1))
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    np.testing.assert_allclose(L, -np.log(A), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.score_samples(X), np.log(A.max(axis=1)), rtol=1e-9, atol=1e-12)
    named = model.named_parameters()
    logits = H @ named["head.2.weight"][0] + named["head.2.bias"][0]
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], L[:, 0] - L[:, 1], atol=1e-10)
    assert H.shape == (len(X), model.latent)
    assert len(model.get_feature_names_out()) == model.latent
    np.testing.assert_array_equal(model.transform_all(X), H[:, None].repeat(2, axis=1))
    for j in np.unique(model.labels_):
        np.testing.assert_allclose(model.cluster_centers_[j], X[model.labels_ == j].mean(axis=0), atol=1e-12)
    assert model.loss_ == model.loss_curve_[-1]
    assert model.n_steps_ == 10 * 4
    for name in ("reconstruct", "inverse_transform", "gaussians", "sample"):
        assert not hasattr(model, name)
    model.save(tmp_path / "model")
    again = csrl_core.load(tmp_path / "model")
    for name in ("predict", "predict_proba", "transform", "score_samples"):
        np.testing.assert_array_equal(getattr(again, name)(X), getattr(model, name)(X))
    for one in (again, model):
        one.partial_fit(X[:20])
    np.testing.assert_array_equal(again.params_, model.params_)


@every_kind
def test_an_interrupted_fit_resumes_to_the_same_curve(kind, tmp_path):
    arguments = {"epochs": 4, "n_init": 2}
    whole = make(kind, **arguments).fit(X)

    class Stop(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            if (epoch.restart, epoch.epoch) == (1, 2):
                raise KeyboardInterrupt

    path = tmp_path / "checkpoint"
    interrupted = make(kind, **arguments).set_callbacks(callbacks.Checkpoint(path), Stop())
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X)
    assert interrupted.predict(X).shape == (120,)  # of what was learnt so far
    resumed = make(kind, **arguments).fit(X, resume=path)
    assert resumed.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(resumed.params_, whole.params_)
    assert resumed.state_.keys() == whole.state_.keys()
    for name, array in whole.state_.items():
        np.testing.assert_array_equal(resumed.state_[name], array)


@every_kind
def test_backends_and_threads_agree_on_a_whole_fit(kind, one_order):
    models = [
        make(kind, epochs=2, backend=name, n_jobs=n_jobs).fit(X[:40])
        for name, n_jobs in [("numpy", 1), ("numba", 1), ("numba", 2), ("numba", 5), ("emulated", 1)]
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model.labels_, models[0].labels_)
        np.testing.assert_allclose(model.loss_curve_, models[0].loss_curve_, rtol=1e-8)
    for model in models[2:4]:
        np.testing.assert_array_equal(model.params_, models[1].params_)


@pytest.mark.parametrize("kind", ["autoencoder", "views", "own layers"])
def test_arrays_of_the_device(kind, cupy, one_order):
    few = X[:40]
    model = make(kind, epochs=2, backend="cupy").fit(cupy.asarray(few))
    same = make(kind, epochs=2, backend="emulated").fit(few)
    assert type(model.params_) is type(model.predict_proba(cupy.asarray(few))) is cupy.ndarray
    np.testing.assert_allclose(csrl_core.backends.as_numpy(model.params_), same.params_, rtol=1e-7, atol=1e-10)
    np.testing.assert_array_equal(csrl_core.backends.as_numpy(model.predict(cupy.asarray(few))), same.labels_)
    _, gradient = model.value_and_gradient(cupy.asarray(X[:9]))
    assert type(gradient) is cupy.ndarray
    model.partial_fit(cupy.asarray(X[:20]))


@pytest.mark.parametrize("kind", KINDS)
def test_clusters_are_found(kind):
    model = make(kind, epochs=40, n_init=3, companion_weight="auto").fit(X)
    assert adjusted_rand_score(Y, model.labels_) > 0.95
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    unseen, classes = two_kinds(60, seed=7)
    assert adjusted_rand_score(classes, model.predict(unseen)) > 0.9


def test_the_best_of_several_is_that_of_the_lowest_loss():
    best = make("alone", n_init=4, epochs=3).fit(X)
    ends = []

    class Look(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            if epoch.epoch == 2:
                ends.append(epoch.loss)

    again = make("alone", n_init=4, epochs=3).set_callbacks(Look()).fit(X)
    assert len(ends) == 4
    assert best.loss_ == again.loss_ == min(ends)


def test_the_last_short_batch_is_left_out():
    """Of 127 samples in batches of 120 the loss of an epoch is that of one batch, with one update."""
    more, changes = np.concatenate([X, X[:7]]), {"batch_size": 120, "epochs": 1, "optimizer": "sgd", "clip_norm": None}
    start, model = (make("alone", **changes | {"epochs": epochs}).fit(more) for epochs in (0, 1))
    assert (model.n_steps_, start.n_steps_) == (2, 0)
    kernel = csrl_core.backends.get("numpy").philox
    order = kernel.permutation(127, start._key, stream(Use.PERMUTATION), 0)
    value, gradient = start.value_and_gradient(more[order[:120]])
    np.testing.assert_allclose(model.loss_, value / 120, rtol=1e-12)
    np.testing.assert_allclose(model.params_, start.params_ - 0.01 * gradient / 120, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("companion", "rate"), [(None, 1e-3), ("autoencoder", 1e-3), ("uco", 1e-4)])
def test_the_rate_follows_the_companion(companion, rate):
    arguments = FAST | {"companion": companion, "epochs": 2}
    automatic = DeepDivergenceClustering(**arguments | {"learning_rate": "auto"}).fit(X)
    given = DeepDivergenceClustering(**arguments | {"learning_rate": rate}).fit(X)
    np.testing.assert_array_equal(automatic.params_, given.params_)


def test_float32_stays_float32():
    model = make("own layers", epochs=2).fit(X.astype(np.float32))
    assert model.params_.dtype == model.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_images_are_rows():
    rows = make("views", epochs=2).fit(X)
    for images in (X.reshape(-1, 8, 8), X.reshape(-1, 1, 8, 8)):
        model = make("views", epochs=2).fit(images)
        np.testing.assert_array_equal(model.params_, rows.params_)
        np.testing.assert_array_equal(model.predict(images), rows.predict(X))


def test_convolutions_of_the_sources():
    big = np.random.default_rng(0).random((12, 28 * 28)).astype(np.float32)
    model = DeepDivergenceClustering(
        architecture="conv", channels=(2, 3), companion="autoencoder", latent=5, epochs=1, random_state=0
    ).fit(big)
    shapes = {name: array.shape for name, array in model.named_parameters().items()}
    assert shapes["head.0.weight"] == (1, 3 * 3 * 3, 5)
    assert shapes["decoder.7.weight"] == (1, 2, 1, 5, 5)


def test_weights_of_zero_have_no_effect():
    weight = (np.arange(len(X)) % 3 > 0).astype(float)
    other = np.where(weight[:, None] > 0, X, 1 - X)
    models = [make("views", epochs=3).fit(data, sample_weight=weight) for data in (X, other)]
    np.testing.assert_array_equal(models[0].params_, models[1].params_)


# -- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (X, {"n_clusters": 1}, "'n_clusters' .* Got 1"),
        (X, {"companion": "decoder"}, "'companion' .* Got 'decoder'"),
        (X, {"kernel": "matrix"}, "'kernel' .* Got 'matrix'"),
        (X, {"companion_weight": -1.0}, "'companion_weight' .* Got -1.0"),
        (X, {"block_weights": "square"}, "'block_weights' .* Got 'square'"),
        (X, {"invariance": -0.1}, "'invariance' .* Got -0.1"),
        (X, {"latent": 0}, "'latent' .* Got 0"),
        (X, {"learning_rate": 0}, "'learning_rate' .* Got 0"),
        (X, {"hidden": ()}, r"hidden=\(\); expected at least 1 numbers, each an int of at least 1"),
        (X, {"encoder": ["lstm 3"]}, "'lstm' is no kind of layer; expected one of dense, conv"),
        (X, {"encoder": OWN, "companion": "autoencoder"}, "encoder and decoder are given together or not at all"),
        (X, {"encoder": OWN, "decoder": BACK}, "decoder is given, but companion=None has none"),
        (X, {"blocks": (1,)}, r"blocks=\(1,\); expected rising numbers of layers of a given encoder"),
        (X, {"encoder": OWN, "blocks": (2, 2)}, "expected rising numbers of layers of a given encoder, from 1 to 5"),
        (X, {"encoder": OWN, "blocks": (2, 6)}, "expected rising numbers of layers of a given encoder, from 1 to 5"),
        (X, {"image_shape": (5, 7)}, r"X has 64 features; expected 35, those of image_shape=\(1, 5, 7\)"),
        (X, {"architecture": "conv"}, "the encoder's layers do not fit"),
        (X, {"n_clusters": 3, "batch_size": 2}, "batch_size=2 is smaller than n_clusters=3"),
        (X[:3], {"n_clusters": 4}, "n_samples=3 should be >= n_clusters=4"),
    ],
    ids=str,
)
def test_bad_input(data, changes, message):
    with pytest.raises(ValueError, match=message):
        DeepDivergenceClustering(**FAST | {"epochs": 2} | changes).fit(data)


def test_too_few_samples_with_a_weight():
    weight = np.where(np.arange(len(X)) < 3, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"a batch has \d samples with a positive weight, fewer than its 3 clusters"):
        make("alone", n_clusters=3).fit(X, sample_weight=weight)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.predict(X[:, :5]), "X has 5 features, but DeepDivergenceClustering is expecting 64 features"),
        (lambda m: m.value_and_gradient(X[:1]), "a batch has 1 samples with a positive weight, fewer than its 2"),
        (lambda m: m.value_and_gradient(X[:3], params=np.zeros(3)), r"params has shape \(3,\); expected"),
        (lambda m: m.partial_fit(X[:1]), "n_samples=1 should be >= n_clusters=2"),
        (lambda m: m.set_params(companion="uco").predict(X), "companion='uco', but this .* was fitted with"),
    ],
)
def test_bad_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call(make("alone", epochs=1).fit(X))


@every_kind
def test_samples_that_are_all_equal(kind):
    """All distances are 0, and so is their median: what is learnt is finite."""
    model = make(kind, epochs=3).fit(np.ones_like(X))
    assert np.isfinite(model.loss_curve_).all()
    assert np.isfinite(model.params_).all()


@pytest.mark.parametrize(("k", "advice"), [(2, "a larger n_init"), (3, "n_clusters=2, a larger n_init")])
def test_the_warning_of_empty_clusters_advises_what_there_is(k, advice):
    """There is no ``init``, and no model of one cluster."""
    message = csrl_core.training.empty_clusters.empty_clusters_message
    labels, model = np.arange(8) % (k - 1), make("alone", n_clusters=k)
    said = message(labels, np.ones(8), k, least=model._fewest_clusters, init=hasattr(model, "init"))
    assert said.endswith(f"mean nothing. Try {advice}")
    with pytest.warns(ConvergenceWarning, match=r"nothing. Try (n_clusters=\d+, )?a larger n_init$"):
        make("alone", epochs=1, n_clusters=k, backend="numpy").fit(np.ones_like(X))


@pytest.mark.parametrize("kind", ["alone", "own layers"])
def test_activations_that_are_not_finite_are_an_error_that_says_so(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(csrl_core.NonFiniteLossError, match="Try a smaller learning_rate, clip_norm, or scaling"):
            make(kind).fit(X * 1e200)
