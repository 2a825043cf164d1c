"""Errors for bad input name the argument, its value and what is expected; the estimator keeps its last fit."""

import os
import signal
import threading

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError

from csrl_core import BackendError, NonFiniteLossError, TensorizedAutoencoder, datasets
from csrl_core import backends as backend

X, Y = datasets.make_lines_3d(random_state=0)


def fit(X=X, *, target=None, sample_weight=None, **changes):
    arguments = {"n_clusters": 3, "epochs": 2, "random_state": 0, "backend": "numpy"} | changes
    return TensorizedAutoencoder(**arguments).fit(X, target=target, sample_weight=sample_weight)


def with_value(value, at=(4, 2)):
    Z = X.copy()
    Z[at] = value
    return Z


@pytest.mark.parametrize(
    ("Z", "message"),
    [
        (with_value(np.nan), "Input X contains NaN"),
        (with_value(np.inf), "Input X contains infinity"),
        (X[:, 0], "Expected 2D array, got 1D array"),
        (X[:, :, None], "Found array with dim 3"),
        (X[:0], "Found array with 0 sample"),
        (X[:, :0], "Found array with 0 feature"),
        (X[:1], r"n_samples=1 should be >= n_clusters=3"),
        (X[:2], r"n_samples=2 should be >= n_clusters=3"),
        (X + 1j, "Complex data not supported"),
        (np.array([["a", "b"]] * 9), "could not convert string to float|dtype"),
        (scipy.sparse.csr_array(X), "Sparse data was passed, but dense data is required|[Ss]parse"),
    ],
    ids=["nan", "inf", "1d", "3d", "empty", "no-features", "one-sample", "k>n", "complex", "text", "sparse"],
)
def test_data(Z, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(Z)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_clusters": 0}, "'n_clusters' parameter .* must be an int in the range .* Got 0"),
        ({"n_clusters": 2.5}, "'n_clusters' .* Got 2.5"),
        ({"epochs": -1}, "'epochs' .* Got -1"),
        ({"batch_size": 0}, "'batch_size' .* Got 0"),
        ({"learning_rate": 0}, "'learning_rate' .* Got 0"),
        ({"learning_rate": -0.1}, "'learning_rate' .* Got -0.1"),
        ({"optimizer": "lbfgs"}, "'optimizer' .* must be a str among .*adam.* Got 'lbfgs'"),
        ({"activation": "swish"}, "'activation' .* must be a str among .*tanh.* Got 'swish'"),
        ({"output_activation": "softmax"}, "'output_activation' .* Got 'softmax'"),
        ({"backend": "jax"}, "'backend' .* must be a str among .*numba.* Got 'jax'"),
        ({"hidden": ()}, r"hidden=\(\); expected at least one width"),
        ({"hidden": (2, 0)}, r"hidden=\(2, 0\); expected at least one width, each an int of at least 1"),
        ({"hidden": (2.0,)}, r"hidden=\(2.0,\); expected"),
        ({"hidden": 3}, "'hidden' .* Got 3"),
        ({"shared": 3}, r"shared=3 layer pairs, but hidden=\(2, 1\) has only 2"),
        ({"shared": -1}, "'shared' .* Got -1"),
        ({"reg": -1}, "'reg' .* Got -1"),
        ({"reg": np.nan}, "'reg' .* Got nan"),
        ({"update": "both"}, "'update' .* Got 'both'"),
        ({"n_init": 0}, "'n_init' .* Got 0"),
        ({"n_jobs": 0}, "'n_jobs' .* Got 0"),
        ({"clip_norm": 0}, "'clip_norm' .* Got 0"),
        ({"init": "forgy"}, "'init' .* Got 'forgy'"),
        ({"init": Y[:5]}, r"init has shape \(5,\) and dtype int64; expected shape \(300,\) and integers"),
        ({"init": Y + 0.5}, r"init has shape \(300,\) and dtype float64; expected"),
        ({"init": Y + 1}, "init range from 1 to 3; expected 0 to 2"),
        ({"init": Y - 1}, "init range from -1 to 1; expected 0 to 2"),
        ({"init": np.zeros((2, 6))}, r"init has shape \(2, 6\); expected centres of shape .* \(3, 6\)"),
        ({"init": np.full((3, 6), np.nan)}, "init contains NaN"),
    ],
    ids=str,
)
def test_arguments(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(**changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": X[:5]}, r"target has shape \(5, 6\); expected that of X, \(300, 6\)"),
        ({"target": X[:, :2]}, r"target has shape \(300, 2\); expected that of X"),
        ({"target": with_value(np.nan)}, "target contains NaN"),
        ({"sample_weight": np.ones(5)}, r"sample_weight.shape == \(5,\), expected \(300,\)"),
        ({"sample_weight": np.full(300, -1.0)}, "Negative values in data passed to `?sample_weight"),
        ({"sample_weight": np.zeros(300)}, "[Ss]ample.?weights?.*zero"),
        ({"sample_weight": np.full(300, np.nan)}, "sample_weight contains NaN"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_arguments_of_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(**arguments)


@pytest.fixture(scope="module")
def model():
    return fit(epochs=5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.predict(X[:, :4]), "X has 4 features, but TensorizedAutoencoder is expecting 6 features"),
        (lambda m: m.predict(with_value(np.nan)), "Input X contains NaN"),
        (lambda m: m.transform(scipy.sparse.csr_array(X)), "[Ss]parse"),
        (lambda m: m.inverse_transform(np.ones((4, 3))), "Z has 3 columns; expected the 1 of the embedding"),
        (lambda m: m.inverse_transform(np.ones((4, 1)), [0, 1]), r"labels has shape \(2,\) .* expected shape \(4,\)"),
        (lambda m: m.inverse_transform(np.ones((2, 1)), [0, 3]), "labels range from 0 to 3; expected 0 to 2"),
        (lambda m: m.inverse_transform(np.ones((2, 1)), [0.0, 1.0]), "dtype float64; expected .* integers"),
        (lambda m: m.value_and_gradient(X, Y[:3]), r"labels has shape \(3,\)"),
        (lambda m: m.value_and_gradient(X, Y, params=np.ones(3)), r"params has shape \(3,\); expected \(84,\)"),
        (
            lambda m: m.value_and_gradient(X, Y, centers=np.ones((2, 6))),
            r"centers has shape \(2, 6\); expected \(3, 6\)",
        ),
        (lambda m: m.value_and_gradient(X, Y, target=X[:2]), r"target has shape \(2, 6\)"),
        (lambda m: m.score(X, sample_weight=-np.ones(300)), "Negative values"),
    ],
)
def test_methods_of_a_fitted_model(model, call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(model)


@pytest.mark.parametrize(
    "method", ["predict", "transform", "transform_all", "cluster_losses", "reconstruct", "score", "score_samples"]
)
def test_unfitted(method):
    with pytest.raises(NotFittedError, match="This TensorizedAutoencoder instance is not fitted yet"):
        getattr(TensorizedAutoencoder(), method)(X)
    with pytest.raises(NotFittedError):
        TensorizedAutoencoder().named_parameters()
    with pytest.raises(NotFittedError):
        TensorizedAutoencoder().save("nowhere")


def test_the_first_batch_needs_k_rows():
    with pytest.raises(ValueError, match=r"first batch has n_samples=2, which should be >= n_clusters=3"):
        TensorizedAutoencoder(n_clusters=3).partial_fit(X[:2])


def test_a_failed_fit_leaves_the_earlier_one():
    model = fit(epochs=5)
    before = model.params_.copy()
    with pytest.raises(ValueError, match="NaN"):
        model.fit(with_value(np.nan))
    np.testing.assert_array_equal(model.params_, before)
    with pytest.raises(ValueError, match="n_samples"):
        model.fit(X[:2, :4])
    np.testing.assert_array_equal(model.params_, before)
    np.testing.assert_array_equal(model.predict(X), model.labels_)


# -- errors in training -------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("batch_size", [None, 50])
def test_a_learning_rate_that_diverges(name, batch_size):
    model = TensorizedAutoencoder(
        n_clusters=3,
        epochs=400,
        learning_rate=1e3,
        optimizer="sgd",
        random_state=0,
        backend=name,
        batch_size=batch_size,
    )
    with pytest.raises(NonFiniteLossError, match=r"in epoch \d+ of 400.*learning_rate=1000.*Try a smaller"):
        model.fit(X)
    if hasattr(model, "params_"):  # with batches even the first epoch may diverge: then there is nothing to keep
        assert np.isfinite(model.params_).all()
        assert np.isfinite(model.loss_)
        assert np.isfinite(model.transform(X)).all()
    else:
        assert batch_size


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_a_partial_fit_that_diverges_changes_nothing():
    model = TensorizedAutoencoder(n_clusters=3, random_state=0).partial_fit(X)
    before, model.learning_rate = model.params_.copy(), 1e308
    model.optimizer = "sgd"
    with pytest.raises(NonFiniteLossError, match="as it was before the call"):
        model.partial_fit(X * 10)
    np.testing.assert_array_equal(model.params_, before)
    assert model.n_steps_ == 1


@pytest.fixture
def control_c():
    """Enable Ctrl-C: a process started in the background ignores it, and would train for ever."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_control_c_leaves_the_last_whole_epoch(name, control_c):
    model = TensorizedAutoencoder(n_clusters=3, epochs=10**8, random_state=0, backend=name)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        model.fit(X)
    assert 0 < model.n_iter_ == len(model.loss_curve_) < 10**8
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    replayed = TensorizedAutoencoder(n_clusters=3, epochs=min(model.n_iter_, 300), random_state=0, backend=name).fit(X)
    assert replayed.loss_curve_ == model.loss_curve_[: replayed.n_iter_]


# -- backends --------------------------------------------------------------------------------------------


def test_an_unknown_backend():
    with pytest.raises(ValueError, match="backend='jax' is unknown; expected 'auto' or one of 'numpy', 'numba'"):
        backend.get("jax")


def test_an_explicit_backend_never_falls_back(monkeypatch):
    monkeypatch.setenv("CXX", "/no/compiler")
    backend.get.cache_clear()
    with pytest.raises(BackendError, match=r"backend='emulated' .*needs a C..17 compiler|backend='emulated' runs on"):
        fit(backend="emulated")


def test_auto_is_numba_and_says_so():
    assert backend.get("auto").name == backend.get().name == "numba"
    assert fit(backend="auto").backend_ == "numba"
