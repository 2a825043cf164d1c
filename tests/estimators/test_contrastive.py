"""`TensorizedContrastive`: scikit-learn's conventions, what it answers, its files, bad input, and typical use."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import csrl_core
from csrl_core import TensorizedContrastive, callbacks

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "repeating rows gives each of them other random numbers, and samples without weight are negatives too"
    ),
}
SMALL = {"hidden": (6,), "latent": 4, "epochs": 8, "learning_rate": 0.02, "random_state": 0, "init": "k-means"}


@parametrize_with_checks(
    [
        TensorizedContrastive(**SMALL),
        TensorizedContrastive(**SMALL, encoder=("dense 5 activation=tanh",), loss="cosine", assignment="loss"),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def two_kinds(n=90, seed=0):
    """Images of 6 × 6 pixels as rows, and their classes: the left or the right half is bright."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    bright = np.where((np.arange(6) < 3) == y[:, None], 0.8, 0.1)
    return (bright[:, None] + 0.2 * rng.random((n, 6, 6))).reshape(n, 36), y


X, Y = two_kinds()
FAST = {"hidden": (12,), "channels": (3, 4), "latent": 5, "epochs": 8, "batch_size": 32, "random_state": 0}
FAST |= {"learning_rate": 0.01, "elastic": 4.0, "smoothing": 1.5, "shift": 1.0, "standing_epochs": 2}
IMAGES = {"image_shape": (6, 6)}
KINDS = {
    "vectors": {"learning_rate_schedule": "constant"},
    "images": IMAGES,
    "one cluster": {"n_clusters": 1},
    "shared": {"hidden": (12, 8), "shared": 1},
    "conv": {"architecture": "conv", "epochs": 4},
    "layers of one's own": IMAGES | {"encoder": ["conv 4 3 2 1 activation=relu shared", "dropout 0.1"], "epochs": 4},
    "cosine, loss": {"loss": "cosine", "normalize": False, "assignment": "loss"},
    "the paper's": {"negatives": "own", "assignment": "loss"},
    "classes": {"class_information": True},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def fitted():
    return TensorizedContrastive(**FAST | IMAGES).fit(X)


@every_kind
def test_answers_and_files(kind, tmp_path):
    model = TensorizedContrastive(**FAST | KINDS[kind]).fit(X, Y)
    k, width, rows = model.n_clusters, model.latent, np.arange(len(X))
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    L, Z = model.cluster_losses(X), model.transform_all(X)
    np.testing.assert_allclose(model.loss_, L[rows, model.labels_].mean())
    assert L.shape == (len(X), k)
    assert Z.shape == (len(X), k, width)
    np.testing.assert_allclose(model.transform(X), Z[rows, model.labels_], rtol=1e-12)
    if model.normalize:
        np.testing.assert_allclose((Z**2).sum(axis=2), 1)
    for name in ("predict_proba", "reconstruct", "inverse_transform"):
        assert not hasattr(model, name)
    model.save(tmp_path / "model")
    again = csrl_core.load(tmp_path / "model")
    for ask in ("predict", "score_samples", "transform", "cluster_losses"):
        np.testing.assert_array_equal(getattr(again, ask)(X), getattr(model, ask)(X))
    for one in (again, model):
        one.partial_fit(X[:20], Y[:20])
    np.testing.assert_array_equal(again.params_, model.params_)


@every_kind
def test_an_interrupted_fit_resumes_to_the_same_curve(kind, tmp_path):
    arguments = FAST | KINDS[kind] | {"epochs": 5, "n_init": 2}
    whole = TensorizedContrastive(**arguments).fit(X, Y)

    class Stop(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            if (epoch.restart, epoch.epoch) == (1, 3):
                raise KeyboardInterrupt

    interrupted = TensorizedContrastive(**arguments)
    interrupted.set_callbacks(callbacks.Checkpoint(tmp_path / "checkpoint"), Stop())
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X, Y)
    resumed = TensorizedContrastive(**arguments).fit(X, Y, resume=tmp_path / "checkpoint")
    assert resumed.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(resumed.params_, whole.params_)
    for name, array in whole.state_.items():
        np.testing.assert_array_equal(resumed.state_[name], array)


@pytest.mark.sensitive
@every_kind
def test_backends_and_threads_agree_on_a_whole_fit(kind):
    arguments = FAST | KINDS[kind] | {"epochs": 3, "standing_epochs": 1}
    models = [
        TensorizedContrastive(**arguments, backend=name, n_jobs=n_jobs).fit(X, Y)
        for name, n_jobs in [("numpy", 1), ("numba", 1), ("numba", 2)]
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model.labels_, models[0].labels_)
        np.testing.assert_allclose(model.loss_curve_, models[0].loss_curve_, rtol=1e-7)
        np.testing.assert_array_equal(model.params_, models[1].params_)


@pytest.mark.parametrize("kind", ["images", "conv", "the paper's", "classes"])
def test_the_device_code_trains_alike(kind):
    arguments = FAST | KINDS[kind] | {"epochs": 2, "standing_epochs": 1}
    device, host = (
        TensorizedContrastive(**arguments, backend=name).fit(X[:40], Y[:40]) for name in ("emulated", "numpy")
    )
    np.testing.assert_array_equal(device.labels_, host.labels_)
    np.testing.assert_allclose(device.loss_curve_, host.loss_curve_, rtol=1e-8)


@pytest.mark.sensitive
def test_clusters_are_found(fitted):
    assert adjusted_rand_score(Y, fitted.labels_) > 0.95
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]
    assert fitted.n_without_negatives_ == 0


def test_results_do_not_depend_on_the_other_rows(fitted):
    some = np.random.default_rng(0).permutation(len(X))[:50]
    for name in ("cluster_losses", "score_samples", "transform"):
        np.testing.assert_allclose(getattr(fitted, name)(X[some]), getattr(fitted, name)(X)[some], rtol=1e-9)


def test_float32_stays_float32():
    model = TensorizedContrastive(**FAST | IMAGES).fit(X.astype(np.float32))
    assert model.params_.dtype == model.transform(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("kind", ["images", "layers of one's own", "cosine, loss"])
def test_value_and_gradient_is_one_function(kind):
    model = TensorizedContrastive(**FAST | KINDS[kind] | {"epochs": 1}).fit(X)
    value, gradient = model.value_and_gradient(X, Y)
    assert value == model.value_and_gradient(X, Y)[0]
    direction = np.random.default_rng(0).normal(size=gradient.shape)
    up, _ = model.value_and_gradient(X, Y, params=model.params_ + 1e-6 * direction)
    down, _ = model.value_and_gradient(X, Y, params=model.params_ - 1e-6 * direction)
    np.testing.assert_allclose((up - down) / 2e-6, gradient @ direction, rtol=1e-4)


def test_images_are_rows():
    arguments = FAST | {"architecture": "conv", "epochs": 2}
    rows = TensorizedContrastive(**arguments).fit(X)
    model = TensorizedContrastive(**arguments).fit(X.reshape(-1, 6, 6))
    np.testing.assert_array_equal(model.params_, rows.params_)
    np.testing.assert_array_equal(model.predict(X.reshape(-1, 6, 6)), rows.predict(X))


def test_labels_are_used_only_when_wanted_and_only_for_positives():
    plain, given = (TensorizedContrastive(**FAST | {"epochs": 2}).fit(X, y) for y in (None, Y))
    np.testing.assert_array_equal(plain.params_, given.params_)
    informed = [
        TensorizedContrastive(**FAST | {"epochs": 2, "class_information": True}).fit(X, y) for y in (Y, 1 - Y, 7 * Y)
    ]
    assert np.abs(informed[0].params_ - plain.params_).max() > 1e-3
    for other in informed[1:]:  # names of classes mean nothing, and may have gaps
        np.testing.assert_allclose(other.loss_curve_, informed[0].loss_curve_, rtol=0.3)
    np.testing.assert_array_equal(informed[2].params_, informed[0].params_)


def test_samples_of_unknown_class_are_changed_instead():
    half = np.where(np.arange(len(X)) % 3, Y, -1)
    arguments = FAST | IMAGES | {"class_information": True, "epochs": 2}
    model, none = (TensorizedContrastive(**arguments).fit(X, y) for y in (half, np.full(len(X), -1)))
    plain = TensorizedContrastive(**arguments | {"class_information": False}).fit(X)
    np.testing.assert_array_equal(none.params_, plain.params_)
    assert np.abs(model.params_ - plain.params_).max() > 1e-3


@pytest.mark.parametrize(("schedule", "epochs", "standing"), [("cosine", 5, 2), ("constant", 7, 5)])
def test_the_first_assignment_stands_for_a_part_of_the_epochs(schedule, epochs, standing):
    arguments = FAST | {"backend": "numpy", "init": np.arange(len(X)) // 2 % 2, "epochs": epochs}
    arguments |= {"learning_rate_schedule": schedule}
    auto, given, more = (
        TensorizedContrastive(**arguments | {"standing_epochs": number}).fit(X)
        for number in ("auto", standing, standing + 1)
    )
    assert auto.loss_curve_ == given.loss_curve_ != more.loss_curve_


def test_partial_fit_learns():
    model = TensorizedContrastive(**FAST | IMAGES)
    for _ in range(10):
        for first in range(0, len(X), 30):
            model.partial_fit(X[first : first + 30])
    assert model.n_steps_ == 30
    assert adjusted_rand_score(Y, model.predict(X)) > 0.9


def test_the_defaults_are_bounded_and_the_bare_loss_is_not():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*no lower bound")
        for changes in ({}, {"normalize": False}, {"normalize": False, "loss": "cosine", "reg": 0}):
            model = TensorizedContrastive(**FAST | changes | {"epochs": 60, "learning_rate": 0.05}).fit(X)
            assert min(model.loss_curve_) >= -2 - 1 / 3
    bare = TensorizedContrastive(**FAST | {"normalize": False, "reg": 0, "epochs": 60, "learning_rate": 0.05})
    with pytest.warns(ConvergenceWarning, match="normalize=False and reg=0 has no lower bound"):
        bare.fit(X)
    assert min(bare.loss_curve_) < -100


def test_a_cluster_that_has_all_samples_has_no_negatives_and_says_so():
    labels = np.zeros(len(X), int)
    model = TensorizedContrastive(**FAST | {"init": labels, "standing_epochs": 3, "epochs": 2})
    model.fit(X)
    assert model.n_without_negatives_ > 0
    assert np.isfinite(model.loss_curve_).all()


# -- bad input --------------------------------------------------------------------------------------------

ONE = np.where(np.arange(len(X)) == 4, 5, Y)


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        ((X, Y), {"latent": 0}, "'latent' .* Got 0"),
        ((X, Y), {"loss": "margin"}, "'loss' .* Got 'margin'"),
        ((X, Y), {"negatives": "all"}, "'negatives' .* Got 'all'"),
        ((X, Y), {"assignment": "likelihood"}, "'assignment' .* Got 'likelihood'"),
        ((X, Y), {"reg": -1}, "'reg' .* Got -1"),
        ((X, Y), {"noise": -0.1}, "'noise' .* Got -0.1"),
        ((X, Y), {"border": "mirror"}, "'border' .* Got 'mirror'"),
        ((X, Y), {"hidden": (0,)}, r"hidden=\(0,\); expected at least 0 numbers, each an int of at least 1"),
        ((X, Y), {"shared": 2}, "shared=2, but there are only 1"),
        ((X, Y), {"encoder": ["dense 3"], "shared": 1}, "shared=1, but encoder is given: their layers say 'shared'"),
        ((X, Y), {"encoder": ["lstm 3"]}, "'lstm' is no kind of layer; expected one of dense, conv"),
        ((X, Y), {"center": True}, "center=True, but contrastive encoders see the samples themselves; expected False"),
        (
            (X, Y),
            {"negatives": "own", "assignment": "loss", "update": "assign-then-step"},
            "expected update='step-then-assign', got 'assign-then-step'",
        ),
        ((X, Y), {"image_shape": (5, 7)}, r"X has 36 features; expected 35, those of image_shape=\(1, 5, 7\)"),
        ((X, Y), {"image_shape": (6,)}, r"image_shape=\(6,\); expected at least 2 numbers"),
        ((X[:, :35], Y), {"architecture": "conv"}, "X has 35 features, which are no square image of one channel"),
        ((X, None), {"class_information": True}, "class_information=True needs y, the classes of the samples"),
        ((X, Y[:-1]), {"class_information": True}, "y has 89 labels; expected 90"),
        ((X, ONE), {"class_information": True}, "class 5 has one sample, which has no positive; mark .* not known"),
        ((X[:1], Y[:1]), {}, "n_samples=1 should be >= n_clusters=2"),
    ],
)
def test_bad_input(data, changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        TensorizedContrastive(**FAST | {"epochs": 2} | changes).fit(*data)


def test_a_target_is_refused():
    with pytest.raises(ValueError, match="target is given, but contrastive encoders have nothing to reconstruct"):
        TensorizedContrastive(**FAST).fit(X, target=X)


def test_an_argument_changed_after_the_fit_is_refused(fitted):
    other = TensorizedContrastive(**FAST | {"epochs": 1}).fit(X)
    with pytest.raises(ValueError, match="latent=3, but this TensorizedContrastive was fitted with latent=5"):
        other.set_params(latent=3).predict(X)
