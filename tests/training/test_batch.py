"""A `BatchModel` in the same loop: gradients, state, random numbers, and resuming a run."""

import numpy as np
import pytest

from csrl_core import BatchModel, backends
from csrl_core.training.batch import BatchObjective
from csrl_core.training.loop import Trainer
from csrl_core.training.run import Batch, Settings

KEY = np.array([1, 2], np.uint32)
X = np.random.default_rng(0).normal([1.0, -2.0, 0.5], size=(40, 3))


class Decorrelated(BatchModel):
    """‖mean over the batch of x + ε − b‖² + the squared correlation of codes: samples are coupled. Counts its steps."""

    def init_parameters(self, X, n_clusters, draw):
        return {"offset": np.zeros((1, X.shape[1])), "weight": draw.normal((n_clusters, X.shape[1]))}

    def init_state(self, params, data, assign, centers, draw):
        return {} if "bank" in params.state else {"bank": np.zeros(len(data.X)), "steps": np.zeros(1, np.int64)}

    def value(self, params, X):
        a, b = (X - params["offset"]) @ params["weight"].T, (X - params["offset"]).mean(axis=0)
        return float(b @ b + (a[:, 0] * a[:, 1]).mean() ** 2)

    def loss_and_gradient(self, params, batch, draw):
        noisy = batch.X + draw.normal(batch.X.shape, 0.01)
        x, W, n = noisy - params["offset"], params["weight"], len(noisy)
        a, b = x @ W.T, x.mean(axis=0)
        c = (a[:, 0] * a[:, 1]).mean()
        weight = 2 * c / n * np.stack([a[:, 1] @ x, a[:, 0] @ x])
        offset = -2 * b - 2 * c / n * (a[:, 1].sum() * W[0] + a[:, 0].sum() * W[1])
        params.state["bank"][batch.index] = a[:, 0]
        params.state["steps"][0] += 1
        return n * float(b @ b + c**2), float(n), {"offset": n * offset[None], "weight": n * weight}


def trainer(epochs, name="numpy", **changes):
    data = Batch(X, X, np.arange(len(X)), np.ones(len(X)))
    settings = Settings(**{"epochs": epochs, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.05} | changes)
    backend = backends.get(name)
    return Trainer(BatchObjective(Decorrelated(), backend, 2, KEY), data, settings, backend)


def test_it_learns():
    made = trainer(80)
    run = made.train(made.objective.start(made.data, 0))
    params = made.objective.parameters(run)
    np.testing.assert_allclose(params["offset"][0], X.mean(axis=0), atol=0.1)
    assert Decorrelated().value(params, X) < 1e-2
    assert run.state["steps"][0] == run.step == 80 * 3
    assert (run.state["bank"] != 0).all()


def test_its_gradient_is_that_of_the_loss():
    made = trainer(1)
    run = made.objective.start(made.data, 0)
    _, _, gradient, _ = made.objective.step(run, made.data)
    for i in range(len(run.params)):
        ends = []
        for sign in (1, -1):
            moved = run.copy()
            moved.params[i] += sign * 1e-6
            ends.append(made.objective.step(moved, made.data)[0])
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-6, gradient[i], rtol=1e-5, atol=1e-6)


def test_a_resumed_run_has_the_same_curve():
    whole, half = trainer(6), trainer(3)
    expected = whole.train(whole.objective.start(whole.data, 0))
    run = half.train(half.objective.start(half.data, 0))
    rest = trainer(6)
    rest.objective.start(rest.data, 0)
    run = rest.train(run)
    np.testing.assert_array_equal(run.params, expected.params)
    np.testing.assert_array_equal(run.state["bank"], expected.state["bank"])
    assert run.loss_curve == expected.loss_curve


def test_it_stops_when_nothing_improves():
    made = trainer(200, tol=1e9, n_iter_no_change=3)
    assert made.train(made.objective.start(made.data, 0)).epoch == 4


def test_a_wrong_gradient_is_named(monkeypatch):
    monkeypatch.setattr(Decorrelated, "loss_and_gradient", lambda *a: (1.0, 1.0, np.zeros(2)))
    made = trainer(1)
    with pytest.raises(ValueError, match=r"Decorrelated.loss_and_gradient's gradient returned shape \(2,\); expected"):
        made.train(made.objective.start(made.data, 0))
