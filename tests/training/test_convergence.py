"""Fits that end before they have converged warn of it; other fits do not."""

import re
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from csrl_core import TensorizedAutoencoder, TensorizedRBM, callbacks, datasets
from csrl_core.training.convergence import SHARE, late_descent, unconverged_message
from csrl_core.training.run import Run, Settings

PAPERS = {"assignment": "loss", "start": "uniform", "init": "k-means++"}


def warnings_of(model, X):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model.fit(X)
    return [warning for warning in warned if warning.category is ConvergenceWarning]


def falling(time_constant, epochs=150, noise=0.0):
    random = np.random.default_rng(0)
    return list(0.1 + np.exp(-np.arange(epochs) / time_constant) + noise * random.standard_normal(epochs))


def test_late_descent_of_falling_losses():
    assert late_descent(falling(60)) > SHARE
    assert late_descent(falling(1e4)) == pytest.approx(0.1, abs=0.02)  # a straight line: a tenth in a tenth
    assert late_descent(falling(60, noise=0.003)) > SHARE
    assert late_descent(falling(20)) < SHARE
    assert late_descent(falling(60)[:19]) == 0  # too few epochs


def test_noise_is_not_a_descent():
    random = np.random.default_rng(0)
    shares = [late_descent(list(1 + 0.1 * random.standard_normal(150))) for _ in range(200)]
    assert sum(share > 0 for share in shares) <= 4
    assert late_descent(list(np.linspace(1, 1.1, 150))) == 0
    assert late_descent([1.0] * 150) == 0


def test_the_warning_of_an_early_end_says_what_to_raise():
    X, _ = datasets.make_lines_3d(random_state=0)
    arguments = {"n_clusters": 3, "hidden": (1,), "random_state": 0, "learning_rate": 0.003}
    (warning,) = warnings_of(TensorizedAutoencoder(**PAPERS | arguments), X)
    message = str(warning.message)
    assert message.startswith("training stopped at epochs=150 before it had converged; the loss was still falling, to ")
    assert message.endswith("Raise epochs, or learning_rate (now 0.003)")
    assert warning.filename == __file__
    assert not warnings_of(TensorizedAutoencoder(**PAPERS | arguments | {"epochs": 3000, "learning_rate": 0.03}), X)


def test_a_loss_that_rose_is_no_early_end():
    X, _ = datasets.make_lines_3d(random_state=0)
    (warning,) = warnings_of(TensorizedAutoencoder(learning_rate=1e9, random_state=0, backend="numpy"), X)
    assert re.fullmatch(
        r"the loss rose from 0\.\S+ to \S+e\+\d+; try a smaller learning_rate than 1e\+09, or scale the data",
        str(warning.message),
    )
    run = Run(np.zeros(1), {})
    run.epoch, run.loss_curve = 100, [1.0, *np.linspace(4, 2, 99)]
    settings = Settings(epochs=100, batch_size=None, optimizer="adam", learning_rate=0.5, clip_norm=None, key=None)
    message = unconverged_message(run, settings, loss_falls=True)
    assert "; the loss was still falling, to 2. Raise epochs" in message


@pytest.mark.parametrize("name", ["lines_3D", "parallel_line", "iris", "wine"])
def test_defaults_converge(name):
    X = datasets.load(name, **({"random_state": 0} if name in ("lines_3D", "parallel_line") else {})).data
    X = X / X.std() if name != "wine" else (X - X.mean(axis=0)) / X.std(axis=0)
    assert not warnings_of(TensorizedAutoencoder(n_clusters=3, random_state=0), X)


def test_tol_that_is_not_reached():
    X, _ = datasets.make_lines_3d(random_state=0)
    model = TensorizedAutoencoder(n_clusters=3, epochs=12, tol=1e-9, random_state=0)
    (warning,) = warnings_of(model, X)
    assert "epochs=12" in str(warning.message)
    assert "tol=1e-09 was not reached: the loss, now" in str(warning.message)
    assert "n_iter_no_change=10 epochs" in str(warning.message)
    model = TensorizedAutoencoder(n_clusters=3, epochs=12, tol=1e9, n_iter_no_change=2, random_state=0)
    assert not warnings_of(model, X)
    assert model.n_iter_ < 12


class StopAt(callbacks.EpochCallback):
    def on_epoch_end(self, estimator, epoch):
        return epoch.run.epoch == 40


def test_no_warning_after_a_callback_stopped_the_fit():
    X, _ = datasets.make_lines_3d(random_state=0)
    model = TensorizedAutoencoder(n_clusters=3, hidden=(1,), random_state=0, learning_rate=0.003, **PAPERS)
    assert not warnings_of(model.set_callbacks(StopAt()), X)
    assert model.n_iter_ == 40


def test_no_warning_for_contrastive_divergence_or_without_epochs():
    X = (np.random.default_rng(0).random((60, 8)) < 0.3).astype(float)
    enough = {"learning_rate": 0.05, "weight_decay": 0.0}  # otherwise it warns that the machine has learnt nothing
    machine = TensorizedRBM(n_clusters=1, n_hidden=3, epochs=40, random_state=0, backend="numpy", **enough)
    assert not warnings_of(machine, X)
    assert not warnings_of(TensorizedAutoencoder(n_clusters=1, epochs=0, random_state=0), X)
