"""The training loop, with an objective so small that every number can be checked by hand."""

import numpy as np
import pytest

from csrl_core import NonFiniteLossError
from csrl_core import backends as backend
from csrl_core.training.loop import Objective, Trainer
from csrl_core.training.run import Batch, Run, Settings

KEY = np.array([7, 11], np.uint32)


class Mean(Objective):
    """Σ w ‖x − θ‖²: its minimiser is the weighted mean. Records the batches that it gets."""

    def __init__(self, break_at=None, error=None):
        self.seen, self.break_at, self.error = [], break_at, error

    def start(self, data, restart):
        return Run(np.full(data.X.shape[1], float(restart)), {"last": np.zeros(1)}, restart)

    def step(self, run, batch):
        if run.step == self.break_at:
            raise self.error
        self.seen.append(batch.index.copy())
        run.state["last"][0] = run.step
        residual = run.params - batch.X
        loss = float((batch.weight[:, None] * residual**2).sum())
        return loss, float(batch.weight.sum()), 2 * (batch.weight[:, None] * residual).sum(axis=0), 0


def make(n=10, d=2, weight=None):
    X = np.random.default_rng(0).normal(size=(n, d))
    return Batch(X, X, np.arange(n, dtype=np.int64), np.ones(n) if weight is None else weight)


def settings(**changes):
    return Settings(**{"epochs": 3, "batch_size": None, "optimizer": "sgd", "learning_rate": 0.1, "key": KEY} | changes)


def train(objective, data, run=None, after_epoch=None, **changes):
    trainer = Trainer(objective, data, settings(**changes), backend.get("numpy"))
    run = run or objective.start(data, 0)
    return trainer.train(run, after_epoch)


def test_full_batch_descent_has_its_closed_form():
    data = make()
    run = train(Mean(), data, epochs=5, learning_rate=0.1)
    mean = data.X.mean(axis=0)
    np.testing.assert_allclose(run.params, mean * (1 - 0.8**5), rtol=1e-12)
    assert (run.epoch, run.step, len(run.loss_curve)) == (5, 5, 5)
    np.testing.assert_allclose(run.loss_curve[0], (data.X**2).sum() / 10, rtol=1e-12)


def test_every_epoch_is_a_new_permutation_and_keeps_the_short_batch():
    objective = Mean()
    train(objective, make(n=10), batch_size=4)
    assert [len(index) for index in objective.seen] == [4, 4, 2] * 3
    epochs = [np.concatenate(objective.seen[e * 3 : e * 3 + 3]) for e in range(3)]
    for order in epochs:
        np.testing.assert_array_equal(np.sort(order), np.arange(10))
    assert not np.array_equal(epochs[0], epochs[1])
    again = Mean()
    train(again, make(n=10), batch_size=4)
    np.testing.assert_array_equal(np.concatenate(again.seen), np.concatenate(objective.seen))


def test_full_batch_is_never_permuted():
    objective = Mean()
    train(objective, make(n=6), batch_size=100)
    for index in objective.seen:
        np.testing.assert_array_equal(index, np.arange(6))


def test_weights_make_the_gradient_a_weighted_mean():
    weight = np.array([2.0, 0.0, 1.0, 1.0])
    data = make(n=4, weight=weight)
    run = train(Mean(), data, epochs=1, learning_rate=0.5)
    np.testing.assert_allclose(run.params, np.average(data.X, axis=0, weights=weight), rtol=1e-12)


def test_a_batch_without_weight_changes_nothing():
    data = make(n=4, weight=np.zeros(4))
    run = train(Mean(), data, epochs=2, optimizer="adam")
    assert not run.params.any()
    assert run.loss_curve == [0.0, 0.0]


def test_clipping_bounds_the_global_norm_of_the_mean_gradient():
    data = make(n=4)
    run = train(Mean(), data, epochs=1, learning_rate=1.0, clip_norm=1e-3)
    np.testing.assert_allclose(np.linalg.norm(run.params), 1e-3, rtol=1e-12)


def test_stops_when_nothing_improves():
    run = train(Mean(), make(), epochs=1000, learning_rate=0.4, tol=1e-12, n_iter_no_change=4)
    assert run.stopped
    assert run.epoch < 200
    last, best = run.loss_curve[-4:], min(run.loss_curve[:-4])
    assert all(best - loss <= 1e-12 for loss in last)
    assert run.loss_curve[-6] - run.loss_curve[-5] > 1e-12 or run.loss_curve[-5] - run.loss_curve[-4] > 1e-13


def test_tol_zero_runs_all_epochs():
    assert train(Mean(), make(), epochs=60, learning_rate=0.5).epoch == 60


def test_after_epoch_stops_the_run():
    def after_epoch(run):
        run.stopped = run.epoch == 7

    assert train(Mean(), make(), epochs=50, after_epoch=after_epoch).epoch == 7


def test_divergence_stops_with_epoch_and_advice_and_leaves_finite_parameters():
    objective, data = Mean(), make()
    run = objective.start(data, 0)
    with (
        np.errstate(over="ignore"),
        pytest.raises(NonFiniteLossError, match=r"epoch \d+ of 9999.*smaller learning_rate"),
    ):
        train(objective, data, run, epochs=9999, learning_rate=1e3)
    assert np.isfinite(run.params).all()
    assert len(run.loss_curve) == run.epoch > 1
    assert np.isfinite(run.loss_curve).all()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError("no more")])
def test_an_interrupted_epoch_is_undone_and_replayed_to_the_same_curve(error):
    data = make(n=10)
    whole = train(Mean(), data, epochs=6, batch_size=3, optimizer="adam")
    objective = Mean(break_at=14, error=error)  # the third step of the fourth epoch
    run = objective.start(data, 0)
    with pytest.raises(type(error)):
        train(objective, data, run, epochs=6, batch_size=3, optimizer="adam")
    assert (run.epoch, run.step, len(run.loss_curve)) == (3, 12, 3)
    assert run.state["last"][0] == 11
    train(Mean(), data, run, epochs=6, batch_size=3, optimizer="adam")
    assert run.loss_curve == whole.loss_curve
    np.testing.assert_array_equal(run.params, whole.params)


def test_a_copy_is_independent_and_copy_from_restores_it():
    run = Run(np.ones(3), {"a": np.zeros(2)}, loss_curve=[1.0, 2.0], epoch=2, step=5)
    kept = run.copy()
    run.params += 1
    run.state["a"] += 1
    run.loss_curve.append(3.0)
    run.epoch, run.step = 3, 6
    run.copy_from(kept)
    assert (run.epoch, run.step, run.loss_curve) == (2, 5, [1.0, 2.0])
    np.testing.assert_array_equal(run.params, np.ones(3))
    np.testing.assert_array_equal(run.state["a"], np.zeros(2))


def test_the_optimizers_constants_are_floats_for_any_type_of_argument():
    for optimizer in ("adam", "sgd"):
        chosen = Settings(epochs=1, batch_size=None, optimizer=optimizer, learning_rate=2**70)
        state = chosen.optimizer_state(Run(np.zeros(3), {}))
        assert isinstance(state.learning_rate, float)
        assert state.learning_rate == 2.0**70
