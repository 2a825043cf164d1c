"""`InstanceDiscrimination` and its contrastive form: conventions, answers, files, resuming, devices, bad input, use."""

import warnings

import numpy as np
import pytest
from gradients import differences
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import csrl_core
from csrl_core import ContrastiveInstanceDiscrimination, InstanceDiscrimination, callbacks
from csrl_core.training.persistence import ModelFileError

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "repeating rows gives each of them other random numbers, and k-means++ draws rows by their position"
    ),
}
SMALL = {"hidden": (6,), "latent": 3, "epochs": 8, "random_state": 0}


class Given(ContrastiveInstanceDiscrimination):
    """With a background of any width, as the checks know of none."""

    def fit(self, X, y=None, *, sample_weight=None):
        """Normal noise as background, where X is such that one can be made."""
        shape = np.asarray(X).shape
        background = np.random.default_rng(0).normal(size=(10, shape[1])) if len(shape) == 2 and shape[1] else None
        return super().fit(X, y, background=background, sample_weight=sample_weight)


@parametrize_with_checks(
    [
        InstanceDiscrimination(**SMALL),
        InstanceDiscrimination(**SMALL, encoder=["dense 5", "batch_norm relu"], batch_size=None, backend="numpy"),
        Given(**SMALL, background_epochs=1),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def two_kinds(n=120, seed=0):
    """Images of 8 × 8 pixels, rows, and their classes: the left or the right half is bright."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    p = np.where((np.arange(8) < 4) == y[:, None], 0.9, 0.05)
    return (rng.random((n, 8, 8)) < p[:, None]).astype(float).reshape(n, 64), y


X, Y = two_kinds()
BACKGROUND = (np.random.default_rng(5).random((70, 64)) < 0.3).astype(float)
FAST = {"hidden": (16, 8), "channels": (3, 4), "latent": 4, "epochs": 10, "batch_size": 32, "random_state": 0}
FAST |= {"learning_rate": 0.01, "elastic": 5.0, "smoothing": 2.0, "shift": 1.0}
KINDS = {
    "vectors": {},
    "one cluster": {"n_clusters": 1},
    "images": {"image_shape": (8, 8)},
    "conv": {"architecture": "conv"},
    "layers of one's own": {"encoder": ["dense 9", "batch_norm relu", "dropout 0.1"]},
    "discrimination alone": {"decorrelation": 0},
    "constant rate": {"learning_rate_schedule": "constant", "optimizer": "sgd", "noise": 0},
    "background": {"background_temperature": 0.2},
    "backgrounds": {"decorrelate_background": True, "architecture": "conv", "background_epochs": 2},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind, **changes):
    cls = ContrastiveInstanceDiscrimination if kind.startswith("background") else InstanceDiscrimination
    return cls(**FAST | KINDS[kind] | changes)


def beside(kind):
    """Arguments of ``fit``."""
    several = {"background": BACKGROUND, "backgrounds": [BACKGROUND, BACKGROUND[::2]]}
    return {"background": several[kind]} if kind in several else {}


@every_kind
def test_answers_and_files(kind, tmp_path):
    model = make(kind).fit(X, **beside(kind))
    k, rows = model.n_clusters, np.arange(len(X))
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    L, Z = model.cluster_losses(X), model.transform(X)
    assert L.shape == (len(X), k)
    assert Z.shape == (len(X), model.latent)
    np.testing.assert_allclose((Z * Z).sum(axis=1), 1, rtol=1e-12)
    M = model.state_["feature_centers"]
    np.testing.assert_allclose(L, ((Z[:, None] - M) ** 2).sum(axis=2), atol=1e-12)
    np.testing.assert_allclose(model.score_samples(X), -L.min(axis=1))
    np.testing.assert_array_equal(model.transform_all(X), Z[:, None].repeat(k, axis=1))
    for j in range(k):
        np.testing.assert_allclose(M[j], Z[model.labels_ == j].mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(model.cluster_centers_[j], X[model.labels_ == j].mean(axis=0), atol=1e-12)
    bank = model.state_["bank"]
    np.testing.assert_allclose((bank * bank).sum(axis=1), 1, rtol=1e-12)
    assert model.loss_ == model.loss_curve_[-1]
    np.testing.assert_array_equal(
        np.concatenate([view.ravel() for view in model.named_parameters().values()]), model.params_
    )
    for name in ("reconstruct", "inverse_transform", "predict_proba", "gaussians", "sample"):
        assert not hasattr(model, name)
    model.save(tmp_path / "model")
    again = csrl_core.load(tmp_path / "model")
    asked = ["predict", "transform", "score_samples"] + ["background_transform"] * kind.startswith("background")
    for name in asked:
        np.testing.assert_array_equal(getattr(again, name)(X), getattr(model, name)(X))
    assert (len(rows), again.n_iter_) == (120, 10)
    if hasattr(model, "partial_fit"):
        for one in (again, model):
            one.partial_fit(X[:20])
        np.testing.assert_array_equal(again.params_, model.params_)


@every_kind
def test_an_interrupted_fit_resumes_to_the_same_curve(kind, tmp_path):
    arguments = {"epochs": 4, "n_init": 2}
    whole = make(kind, **arguments).fit(X, **beside(kind))

    class Stop(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            if (epoch.restart, epoch.epoch) == (1, 2):
                raise KeyboardInterrupt

    path = tmp_path / "checkpoint"
    interrupted = make(kind, **arguments).set_callbacks(callbacks.Checkpoint(path), Stop())
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X, **beside(kind))
    assert interrupted.predict(X).shape == (120,)  # of what was learnt so far
    resumed = make(kind, **arguments).fit(X, **beside(kind), resume=path)
    assert resumed.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(resumed.params_, whole.params_)
    assert resumed.state_.keys() == whole.state_.keys()
    for name, array in whole.state_.items():
        np.testing.assert_array_equal(resumed.state_[name], array)


@pytest.mark.parametrize("kind", ["vectors", "backgrounds"])
def test_a_bank_is_resumed_on_its_own_data_alone(kind, tmp_path):
    path, given = tmp_path / "checkpoint", beside(kind)
    make(kind, epochs=2).set_callbacks(callbacks.Checkpoint(path)).fit(X, **given)
    with pytest.raises(ModelFileError, match="was made on another X than is given to resume with"):
        make(kind, epochs=2).fit(X[::-1], **given, resume=path)
    with pytest.raises(ModelFileError, match=r"was made on X of shape \(120, 64\)"):
        make(kind, epochs=2).fit(X[:90], **given, resume=path)
    if given:
        with pytest.raises(ModelFileError, match="was made on another target than is given"):
            make(kind, epochs=2).fit(X, background=[1 - BACKGROUND, BACKGROUND], resume=path)
    with pytest.raises(ModelFileError, match=r"made with temperature=1.0, the estimator has temperature=0.5"):
        make(kind, epochs=2, temperature=0.5).fit(X, **given, resume=path)


@every_kind
def test_backends_and_threads_agree_on_a_whole_fit(kind, one_order):
    models = [
        make(kind, epochs=2, backend=name, n_jobs=n_jobs).fit(X[:40], **beside(kind))
        for name, n_jobs in [("numpy", 1), ("numba", 1), ("numba", 2), ("numba", 5), ("emulated", 1)]
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model.labels_, models[0].labels_)
        np.testing.assert_allclose(model.loss_curve_, models[0].loss_curve_, rtol=1e-8)
    for model in models[2:4]:
        np.testing.assert_array_equal(model.params_, models[1].params_)


@pytest.mark.parametrize("kind", ["images", "conv", "backgrounds"])
def test_arrays_of_the_device(kind, cupy, one_order):
    few = X[:40]
    there = {name: [cupy.asarray(each) for each in value] for name, value in beside(kind).items()}
    model = make(kind, epochs=2, backend="cupy").fit(cupy.asarray(few), **there)
    same = make(kind, epochs=2, backend="emulated").fit(few, **beside(kind))
    assert type(model.params_) is type(model.transform(cupy.asarray(few))) is cupy.ndarray
    np.testing.assert_allclose(csrl_core.backends.as_numpy(model.params_), same.params_, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(csrl_core.backends.as_numpy(model.predict(cupy.asarray(few))), same.labels_)
    value, gradient = model.value_and_gradient(cupy.asarray(X[:9]))
    assert type(gradient) is cupy.ndarray
    np.testing.assert_allclose(value, same.value_and_gradient(X[:9])[0], rtol=1e-9)
    if hasattr(model, "partial_fit"):
        model.partial_fit(cupy.asarray(X[:20]))
    model.to_cpu()
    assert type(model.state_["bank"]) is np.ndarray


@every_kind
def test_value_and_gradient_is_one_function(kind):
    model = make(kind, epochs=1).fit(X, **beside(kind))
    index, params = np.array([5, 0, 90, 33, 7, 8]), model.params_.copy()
    before = {name: array.copy() for name, array in model.state_.items()}
    value, own = model.value_and_gradient(X[index], index, params=params)
    some = np.random.default_rng(0).permutation(len(params))[:40]

    def changed(step):
        other = params.copy()
        other[some] += step
        return model.value_and_gradient(X[index], index, params=other)[0]

    steps = np.zeros(40)
    by = differences(lambda: changed(steps), steps)
    np.testing.assert_allclose(own[some], by, rtol=1e-4, atol=1e-6)
    assert model.value_and_gradient(X[index], index)[0] == value
    for name, array in before.items():
        np.testing.assert_array_equal(model.state_[name], array)


@pytest.fixture(scope="module")
def fitted():
    return InstanceDiscrimination(**FAST | {"epochs": 60, "image_shape": (8, 8), "rotation": 5.0}).fit(X)


def test_clusters_are_found(fitted):
    assert adjusted_rand_score(Y, fitted.labels_) > 0.95
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]
    unseen, classes = two_kinds(60, seed=7)
    assert adjusted_rand_score(classes, fitted.predict(unseen)) > 0.9


def test_results_do_not_depend_on_the_other_rows(fitted):
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(fitted.transform(X[order]), fitted.transform(X)[order], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(fitted.transform(X[:1]), fitted.transform(X)[:1], rtol=1e-10, atol=1e-13)


def test_float32_stays_float32():
    model = make("images", epochs=2).fit(X.astype(np.float32))
    assert model.params_.dtype == model.transform(X.astype(np.float32)).dtype == np.float32
    assert model.state_["bank"].dtype == np.float32


def test_images_are_rows():
    rows = make("images", epochs=2).fit(X)
    for images in (X.reshape(-1, 8, 8), X.reshape(-1, 1, 8, 8)):
        model = make("images", epochs=2).fit(images)
        np.testing.assert_array_equal(model.params_, rows.params_)
        np.testing.assert_array_equal(model.predict(images), rows.predict(X))
    given = make("background", image_shape=(8, 8), epochs=2).fit(
        X.reshape(-1, 8, 8), background=BACKGROUND.reshape(-1, 8, 8)
    )
    assert given.background_transform(X).shape == (120, 4)


@pytest.mark.parametrize("kind", ["images", "background"])
def test_weights_of_zero_have_no_effect(kind):
    weight = (np.arange(len(X)) % 3 > 0).astype(float)
    other = np.where(weight[:, None] > 0, X, 1 - X)
    models = [make(kind, epochs=3, noise=0.0).fit(data, sample_weight=weight, **beside(kind)) for data in (X, other)]
    np.testing.assert_allclose(models[0].params_, models[1].params_, rtol=1e-7, atol=1e-10)


def test_partial_fit_learns_and_remembers_what_it_saw():
    model = make("vectors")
    for first in range(0, len(X), 40):
        model.partial_fit(X[first : first + 40])
    assert model.state_["bank"].shape == (120, 4)
    assert model.labels_.shape == (40,)
    assert model.n_steps_ == 3
    for _ in range(20):
        model.partial_fit(X[:40])
    assert adjusted_rand_score(Y, model.predict(X)) > 0.5


def test_features_are_there_before_clusters_are():
    seen = []

    class Look(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            snapshot = epoch.fitted()
            seen.append(snapshot.transform(X))
            with pytest.raises(ValueError, match="clusters are found when training ends"):
                snapshot.predict(X)

    model = make("vectors", epochs=3).set_callbacks(Look()).fit(X)
    assert len(seen) == 3
    np.testing.assert_array_equal(seen[-1], model.transform(X))


@pytest.mark.parametrize("seed", [0, 1])
def test_what_the_background_does_not_have_is_found(seed):
    """Four prototypes, which the background has too, drown what two classes differ in."""
    rng = np.random.default_rng(seed)
    prototypes, y = 2 * rng.normal(size=(4, 10)), np.arange(240) % 2
    background, data = (prototypes[rng.integers(0, 4, n)] + 0.3 * rng.normal(size=(n, 10)) for n in (300, 240))
    data[:, :2] += np.where(y == 1, 1, -1)[:, None]
    arguments = {"hidden": (32,), "latent": 4, "epochs": 40, "batch_size": 32, "learning_rate": 0.01, "random_state": 0}
    alone = InstanceDiscrimination(**arguments).fit(data)
    given = ContrastiveInstanceDiscrimination(**arguments).fit(data, background=background)
    assert adjusted_rand_score(y, alone.labels_) < 0.3
    assert adjusted_rand_score(y, given.labels_) > 0.7


def test_without_a_background_it_is_said_and_is_the_other_estimator():
    with pytest.warns(UserWarning, match="fit got no background, so that this is InstanceDiscrimination"):
        model = ContrastiveInstanceDiscrimination(**FAST).fit(X)
    np.testing.assert_array_equal(model.params_, InstanceDiscrimination(**FAST).fit(X).params_)
    with pytest.raises(ValueError, match="this estimator was fitted without a background"):
        model.background_transform(X)


def test_two_backgrounds_have_an_extractor_each():
    model = make("backgrounds").fit(X, **beside("backgrounds"))
    B = model.state_["background"]
    np.testing.assert_array_equal(model.background_transform(X), B)
    for part in (B[:, :4], B[:, 4:]):
        np.testing.assert_allclose((part * part).sum(axis=1), 1, rtol=1e-12)
    assert np.abs(B[:, :4] - B[:, 4:]).max() > 0.1


# -- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (X, {"latent": 0}, "'latent' .* Got 0"),
        (X, {"temperature": 0}, "'temperature' .* Got 0"),
        (X, {"temperature": -1.0}, "'temperature' .* Got -1.0"),
        (X, {"decorrelation_temperature": 0.0}, "'decorrelation_temperature' .* Got 0.0"),
        (X, {"decorrelation": -0.1}, "'decorrelation' .* Got -0.1"),
        (X, {"momentum": 1}, "'momentum' .* Got 1"),
        (X, {"rotation": 181}, "'rotation' .* Got 181"),
        (X, {"smoothing": 0}, "'smoothing' .* Got 0"),
        (X, {"noise": "much"}, "'noise' .* Got 'much'"),
        (X, {"border": "mirror"}, "'border' .* Got 'mirror'"),
        (X, {"hidden": (0,)}, r"hidden=\(0,\); expected at least 0 numbers, each an int of at least 1"),
        (X, {"encoder": ["lstm 3"]}, "'lstm' is no kind of layer; expected one of dense, conv"),
        (X, {"image_shape": (5, 7)}, r"X has 64 features; expected 35, those of image_shape=\(1, 5, 7\)"),
        (X[:, :35], {"architecture": "conv"}, "X has 35 features, which are no square image of one channel"),
        (X[:, :4], {"architecture": "conv", "channels": (2, 2, 2)}, r"the encoder's layers do not fit"),
        (X, {"encoder": ["dense 4", "batch_norm"], "batch_size": 7}, "a batch has 1 sample, and batch normalisation"),
        (X[:3], {"n_clusters": 4}, "n_samples=3 should be >= n_clusters=4"),
        (X, {"learning_rate_schedule": "step"}, "'learning_rate_schedule' .* Got 'step'"),
    ],
    ids=str,
)
def test_bad_input(data, changes, message):
    with pytest.raises(ValueError, match=message):
        InstanceDiscrimination(**FAST | {"epochs": 2} | changes).fit(data)


@pytest.mark.parametrize(
    ("background", "changes", "message"),
    [
        (BACKGROUND[:, :63], {}, "background has 63 features; expected those of X, 64"),
        ([BACKGROUND, BACKGROUND[:, 1:]], {}, r"background\[1\] has 63 features; expected those of X, 64"),
        (BACKGROUND[:1], {}, "background has 1 samples; expected at least 2"),
        (np.full((5, 64), np.nan), {}, "Input background contains NaN"),
        (BACKGROUND[0], {}, "Expected 2D array, got 1D array instead"),
        (BACKGROUND, {"background_temperature": 0}, "'background_temperature' .* Got 0"),
        (BACKGROUND, {"background_epochs": -1}, "'background_epochs' .* Got -1"),
        (BACKGROUND.reshape(-1, 4, 16), {"image_shape": (8, 8)}, r"background has images of shape \(1, 4, 16\)"),
    ],
    ids=str,
)
def test_bad_backgrounds(background, changes, message):
    with pytest.raises(ValueError, match=message):
        ContrastiveInstanceDiscrimination(**FAST | {"epochs": 1} | changes).fit(X, background=background)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.predict(X[:, :5]), "X has 5 features, but InstanceDiscrimination is expecting 64 features"),
        (lambda m: m.value_and_gradient(X[:3], [0, 0, 1]), r"index has shape \(3,\).*different ints from 0 to 119"),
        (lambda m: m.value_and_gradient(X[:3], [0, 1, 120]), "different ints from 0 to 119"),
        (lambda m: m.value_and_gradient(X[:3], [0, 1]), r"index has shape \(2,\) and dtype int64; expected \(3,\)"),
        (lambda m: m.value_and_gradient(X[:3], params=np.zeros(3)), r"params has shape \(3,\); expected"),
        (lambda m: m.partial_fit(X[:1]), "n_samples=1 should be >= n_clusters=2"),
    ],
)
def test_bad_calls(call, message, fitted):
    with pytest.raises(ValueError, match=message):
        call(fitted)


def test_an_argument_changed_after_the_fit_is_refused():
    model = make("vectors", epochs=1).fit(X)
    with pytest.raises(ValueError, match=r"latent=3, but this InstanceDiscrimination was fitted with latent=4"):
        model.set_params(latent=3).predict(X)


def test_a_rate_that_is_too_large_is_an_error_that_says_so():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(csrl_core.NonFiniteLossError, match="Try a smaller learning_rate"):
            make("vectors", learning_rate=1e200, learning_rate_schedule="constant", optimizer="sgd").fit(X * 1e200)
