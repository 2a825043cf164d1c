"""`learning_rate_schedule`: the rate of every step, in the loop, in a fused epoch, in a resumed fit and by restarts."""

from itertools import pairwise

import numpy as np
import pytest
from resume_helpers import BINARY, REAL, EveryEpoch, same_estimators, saved_copy

from csrl_core import TensorizedAutoencoder, TensorizedRBM, callbacks
from csrl_core import backends as backend
from csrl_core.reference.optimizer import OptimizerState, decayed
from csrl_core.training.persistence import ModelFileError

COSINE = {"learning_rate_schedule": "cosine", "random_state": 0}


def autoencoder(**changes):
    return TensorizedAutoencoder(**{"n_clusters": 2, "hidden": (2,), "epochs": 6, "batch_size": 25} | COSINE | changes)


def test_rates_by_hand():
    rates = [decayed(0.2, step, 4) for step in range(5)]
    np.testing.assert_allclose(rates, [0.2, 0.1 * (1 + np.sqrt(0.5)), 0.1, 0.1 * (1 - np.sqrt(0.5)), 0], atol=1e-17)
    assert decayed(0.2, 9, 4) == 0  # beyond the end it does not rise again
    assert decayed(0.3, 17, 0) == 0.3


def test_torch_has_the_same_rates():
    torch = pytest.importorskip("torch", reason="torch, the independent oracle, is not installed")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=37)
    for step in range(37):
        np.testing.assert_allclose(decayed(0.3, step, 37), theirs.get_last_lr()[0], rtol=1e-12)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("name", ["numpy", "numba", "emulated"])
def test_update_takes_the_rate_of_its_step(name):
    kernel, g = backend.get(name).optimizer, np.array([1.0, -2.0])
    for method in (kernel.ADAM, kernel.SGD):
        for step in (0, 3, 9):
            a, b = np.zeros(2), np.zeros(2)
            kernel.update(a, g, 1.0, OptimizerState(method, np.zeros((2, 2)), step, 0.1, decay_steps=10))
            rate = 0.05 * (1 + np.cos(np.pi * step / 10))
            kernel.update(b, g, 1.0, OptimizerState(method, np.zeros((2, 2)), step, rate))
            np.testing.assert_allclose(a, b, rtol=1e-14)


def test_the_last_steps_are_short():
    params = []

    class Steps(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            params.append(epoch.run.params.copy())
            return False

    model = autoencoder(epochs=20, batch_size=None, optimizer="adam").set_callbacks(Steps())
    model.fit(REAL)
    steps = [np.abs(after - before).max() for before, after in pairwise(params)]
    assert steps[-1] < 0.02 * steps[0]  # the last of 20 rates is .6 % of the first
    still = autoencoder(epochs=20, batch_size=None, learning_rate_schedule="constant").fit(REAL)
    assert np.abs(still.params_ - model.params_).max() > 1e-3


@pytest.mark.parametrize("batch_size", [None, 25])
def test_a_fused_epoch_is_the_composed_one(batch_size):
    fused = autoencoder(batch_size=batch_size, backend="numba").fit(REAL)
    composed = autoencoder(batch_size=batch_size, backend="numpy").fit(REAL)
    np.testing.assert_allclose(fused.params_, composed.params_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fused.loss_curve_, composed.loss_curve_, rtol=1e-10)


def machine(**changes):
    return TensorizedRBM(**{"n_hidden": 3, "epochs": 4, "batch_size": 20, "ais_betas": 5, "ais_chains": 3} | changes)


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("make", [autoencoder, machine])
def test_a_resumed_fit_continues_the_curve(tmp_path, make, name):
    X = BINARY if make is machine else REAL
    every = EveryEpoch(tmp_path)
    arguments = COSINE | {"backend": name, "n_init": 2}
    whole = make(**arguments).set_callbacks(every).fit(X)
    for path in every.paths[1::3]:
        same_estimators(make(**arguments).set_callbacks(EveryEpoch(tmp_path)).fit(X, resume=path), saved_copy(whole), X)


def test_more_epochs_would_be_another_curve(tmp_path):
    autoencoder().set_callbacks(callbacks.Checkpoint(tmp_path / "c")).fit(REAL)
    with pytest.raises(ModelFileError, match=r"epochs=6, the estimator has epochs=9; resume needs the same with learn"):
        autoencoder(epochs=9).fit(REAL, resume=tmp_path / "c")
    with pytest.raises(ModelFileError, match=r"learning_rate_schedule='cosine'.*'constant'; resume needs the same"):
        autoencoder(learning_rate_schedule="constant").fit(REAL, resume=tmp_path / "c")


def test_restarts_begin_at_the_full_rate():
    first, second = [], []

    class Params(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            (second if epoch.restart else first).append(epoch.run.params.copy())
            return False

    autoencoder(n_init=2, epochs=5, batch_size=None).set_callbacks(Params()).fit(REAL)
    for params in (first, second):  # the first steps of Adam have the length of the rate
        assert np.abs(params[1] - params[0]).max() > 0.5 * 0.01


def test_partial_fit_does_not_decay():
    decaying, constant = autoencoder(), autoencoder(learning_rate_schedule="constant")
    for start in range(0, 60, 20):
        for model in (decaying, constant):
            model.partial_fit(REAL[start : start + 20])
    np.testing.assert_array_equal(decaying.params_, constant.params_)
    fitted = autoencoder().fit(REAL)
    before = fitted.params_.copy()
    fitted.partial_fit(REAL)
    assert np.abs(fitted.params_ - before).max() > 1e-4


def test_the_exact_solver_has_no_rate():
    models = [
        autoencoder(
            solver="exact", batch_size=None, shared=0, activation="linear", reg=0.0, learning_rate_schedule=schedule
        ).fit(REAL)
        for schedule in ("constant", "cosine")
    ]
    np.testing.assert_array_equal(models[0].params_, models[1].params_)


def test_other_schedules_are_refused():
    with pytest.raises(ValueError, match=r"'learning_rate_schedule' parameter .* must be a str among"):
        autoencoder(learning_rate_schedule="linear").fit(REAL)
