"""Fits that end before they have converged say so, and no others."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from csrl_core import TensorizedAutoencoder, TensorizedRBM, callbacks, datasets
from csrl_core.training.convergence import SHARE, late_descent

PAPERS = {"assignment": "loss", "start": "uniform", "init": "k-means++"}


def said(model, X):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model.fit(X)
    return [warning for warning in warned if warning.category is ConvergenceWarning]


def falling(time_constant, epochs=150, noise=0.0):
    random = np.random.default_rng(0)
    return list(0.1 + np.exp(-np.arange(epochs) / time_constant) + noise * random.standard_normal(epochs))


def test_what_still_falls_and_what_does_not():
    assert late_descent(falling(60)) > SHARE
    assert late_descent(falling(1e4)) == pytest.approx(0.1, abs=0.02)  # a straight line: a tenth in a tenth
    assert late_descent(falling(60, noise=0.003)) > SHARE
    assert late_descent(falling(20)) < SHARE
    assert late_descent(falling(60)[:19]) == 0  # too few to tell


def test_noise_does_not_fall():
    random = np.random.default_rng(0)
    shares = [late_descent(list(1 + 0.1 * random.standard_normal(150))) for _ in range(200)]
    assert sum(share > 0 for share in shares) <= 4
    assert late_descent(list(np.linspace(1, 1.1, 150))) == 0
    assert late_descent([1.0] * 150) == 0


def test_a_fit_that_ends_too_early_says_what_to_raise():
    X, _ = datasets.make_lines_3d(random_state=0)
    arguments = {"n_clusters": 3, "hidden": (1,), "random_state": 0, "learning_rate": 0.003}
    (warning,) = said(TensorizedAutoencoder(**PAPERS | arguments), X)
    message = str(warning.message)
    assert message.startswith("training stopped at epochs=150 before it had converged; the loss was still falling, to ")
    assert message.endswith("Raise epochs, or learning_rate (now 0.003)")
    assert warning.filename == __file__
    assert not said(TensorizedAutoencoder(**PAPERS | arguments | {"epochs": 3000, "learning_rate": 0.03}), X)


@pytest.mark.parametrize("name", ["lines_3D", "parallel_line", "iris", "wine"])
def test_defaults_converge(name):
    X = datasets.load(name, **({"random_state": 0} if name in ("lines_3D", "parallel_line") else {})).data
    X = X / X.std() if name != "wine" else (X - X.mean(axis=0)) / X.std(axis=0)
    assert not said(TensorizedAutoencoder(n_clusters=3, random_state=0), X)


def test_tol_that_is_not_reached():
    X, _ = datasets.make_lines_3d(random_state=0)
    model = TensorizedAutoencoder(n_clusters=3, epochs=12, tol=1e-9, random_state=0)
    (warning,) = said(model, X)
    assert "epochs=12" in str(warning.message)
    assert "tol=1e-09 was not reached: the loss, now" in str(warning.message)
    assert "n_iter_no_change=10 epochs" in str(warning.message)
    model = TensorizedAutoencoder(n_clusters=3, epochs=12, tol=1e9, n_iter_no_change=2, random_state=0)
    assert not said(model, X)
    assert model.n_iter_ < 12


class StopAt(callbacks.EpochCallback):
    def on_epoch_end(self, estimator, epoch):
        return epoch.run.epoch == 40


def test_who_stopped_it_knows():
    X, _ = datasets.make_lines_3d(random_state=0)
    model = TensorizedAutoencoder(n_clusters=3, hidden=(1,), random_state=0, learning_rate=0.003, **PAPERS)
    assert not said(model.set_callbacks(StopAt()), X)
    assert model.n_iter_ == 40


def test_contrastive_divergence_says_nothing_of_its_end():
    X = (np.random.default_rng(0).random((60, 8)) < 0.3).astype(float)
    taught = {"learning_rate": 0.05, "weight_decay": 0.0}  # or it warns that it has learnt nothing
    assert not said(TensorizedRBM(n_clusters=1, n_hidden=3, epochs=40, random_state=0, backend="numpy", **taught), X)
    assert not said(TensorizedAutoencoder(n_clusters=1, epochs=0, random_state=0), X)
