"""Fits and callbacks resumed from checkpoints, and checkpoints that are refused."""

import json

import numpy as np
import pytest
import safetensors.numpy
from resume_helpers import BINARY, REAL, Countdown, EveryEpoch, held, same, same_estimators
from sklearn.base import clone

from csrl_core import TensorizedAutoencoder, TensorizedRBM, callbacks
from csrl_core.training.persistence import ModelFileError

FAST = {"n_clusters": 3, "n_hidden": 4, "ais_chains": 8, "ais_betas": 200, "learning_rate": 0.01, "random_state": 0}


def machine_that_converges(**changes):
    return TensorizedRBM(**FAST | {"epochs": 60, "tol": 0.5, "n_iter_no_change": 2, "standing_epochs": 99} | changes)


def autoencoder_of(**changes):
    return TensorizedAutoencoder(**{"n_clusters": 3, "random_state": 0, "learning_rate": 0.05, "epochs": 300} | changes)


@pytest.mark.parametrize("n_init", [1, 2])
def test_a_converged_fit_resumed_has_the_fine_estimate_of_log_z(n_init, tmp_path):
    path = tmp_path / "checkpoint"
    whole = machine_that_converges(n_init=n_init).set_callbacks(callbacks.Checkpoint(path)).fit(BINARY)
    assert whole.n_iter_ < 60
    resumed = machine_that_converges(n_init=n_init).fit(BINARY, resume=path)
    same_estimators(resumed, whole, BINARY)


def test_a_stopped_fit_trains_no_further_epoch_when_resumed(tmp_path):
    path = tmp_path / "checkpoint"
    for order in (1, -1):
        stopping = [callbacks.EarlyStopping(patience=3, min_delta=1e-3), callbacks.Checkpoint(path)][::order]
        whole = autoencoder_of().set_callbacks(*stopping).fit(REAL)
        assert whole.n_iter_ < 300
        for _ in range(2):
            same(held(autoencoder_of().set_callbacks(*stopping).fit(REAL, resume=path)), held(whole))
        more = autoencoder_of(epochs=400).fit(REAL, resume=path)  # not without the callback either
        assert more.loss_curve_ == whole.loss_curve_


@pytest.mark.parametrize("at", [0, 2, 5])
def test_the_gap_of_free_energies_stops_a_resumed_fit_at_the_same_epoch(at, tmp_path, monkeypatch):
    # the smallest gap is that of the second epoch, so with a history that starts later the fit would stop later
    monkeypatch.setattr(TensorizedRBM, "free_energy_gap", lambda self, *data: abs(self.n_iter_ - 2.0))
    gap, saver = callbacks.FreeEnergyGap(BINARY, BINARY, patience=4), EveryEpoch(tmp_path)
    whole = TensorizedRBM(**FAST, epochs=20).set_callbacks(saver, gap).fit(BINARY)
    history = gap.history
    assert [gap for _, _, gap in history] == [1, 0, 1, 2, 3, 4]
    resumed = TensorizedRBM(**FAST, epochs=20).set_callbacks(gap).fit(BINARY, resume=saver.paths[at])
    assert gap.history == history
    same_estimators(resumed, whole, BINARY)


def test_a_stopped_restart_is_written_however_many_epochs_lie_between_two_writes(tmp_path):
    path = tmp_path / "checkpoint"
    stopping = callbacks.EarlyStopping(patience=3, min_delta=1e-3)
    whole = autoencoder_of().set_callbacks(callbacks.Checkpoint(path, every=1000), stopping).fit(REAL)
    history = callbacks.LossHistory()
    same(held(autoencoder_of().set_callbacks(history).fit(REAL, resume=path)), held(whole))
    assert history.history == []  # no epoch is left to train


def test_callbacks_of_one_class_each_get_their_own_state(tmp_path):
    path = tmp_path / "checkpoint"
    first, second = Countdown(100), Countdown(5)
    second.load_state_dict = lambda state: setattr(second, "seen", -state["seen"])
    autoencoder_of(epochs=2).set_callbacks(first, callbacks.Checkpoint(path), second).fit(REAL)
    autoencoder_of(epochs=2).set_callbacks(first, second).fit(REAL, resume=path)
    assert (first.seen, second.seen) == (2, -2)


def test_a_callback_without_a_state_in_the_checkpoint_starts_anew(tmp_path):
    path, countdown = tmp_path / "checkpoint", Countdown(4)
    autoencoder_of(epochs=3).set_callbacks(callbacks.Checkpoint(path)).fit(REAL)
    assert autoencoder_of(epochs=30).set_callbacks(countdown).fit(REAL, resume=path).n_iter_ == 7


def test_a_callback_may_end_all_restarts(tmp_path):
    class One(callbacks.EpochCallback):
        def on_fit_task_end(self, estimator, context):
            return context.task_name == "restart" and context.task_id == 1

    path, history = tmp_path / "checkpoint", callbacks.LossHistory()
    autoencoder_of(epochs=2, n_init=4).set_callbacks(One(), history, callbacks.Checkpoint(path)).fit(REAL)
    assert [row[0] for row in history.history] == [0, 0, 1, 1]
    autoencoder_of(epochs=2, n_init=4).set_callbacks(One(), history).fit(REAL, resume=path)
    assert [row[0] for row in history.history] == [0, 0, 1, 1]


def test_tasks_of_a_resumed_fit_have_the_numbers_of_their_restart_and_epoch(tmp_path):
    class Tasks(callbacks.EpochCallback):
        def setup(self, estimator, context):
            self.seen = []

        def on_fit_task_begin(self, estimator, context):
            self.seen.append((context.task_name, context.task_id))

    tasks, saver = Tasks(), EveryEpoch(tmp_path)
    model = autoencoder_of(epochs=3, n_init=2).set_callbacks(tasks, saver).fit(REAL)
    whole = tasks.seen
    clone(model).set_callbacks(tasks).fit(REAL, resume=saver.paths[3])
    assert tasks.seen == [("fit", 0), ("restart", 1), ("epoch", 1), ("epoch", 2)]
    assert whole[-2:] == tasks.seen[-2:]


# -- refused -------------------------------------------------------------------------------------------------


def test_counts_with_which_a_fit_would_not_have_reached_the_checkpoint_are_refused(tmp_path):
    saver = EveryEpoch(tmp_path)
    model = autoencoder_of(epochs=4, n_init=3).set_callbacks(saver).fit(REAL)
    for point, changes, message in [
        (-1, {"n_init": 2}, "made in restart 3 after epoch 4, the estimator has n_init=2; resume needs at least 3"),
        (2, {"epochs": 2}, "made in restart 1 after epoch 3, the estimator has epochs=2; resume needs at least 3"),
        (5, {"epochs": 9}, "made with epochs=4 in restart 2, the estimator has epochs=9; resume needs the same once"),
    ]:
        with pytest.raises(ModelFileError, match=message):
            autoencoder_of(**{"epochs": 4, "n_init": 3} | changes).fit(REAL, resume=saver.paths[point])
    same(held(autoencoder_of(epochs=4).fit(REAL)), held(autoencoder_of(epochs=4).fit(REAL, resume=saver.paths[2])))
    assert model.n_iter_ == 4


def test_a_state_that_json_cannot_hold_is_named(tmp_path):
    countdown = Countdown(np.int64(3))
    countdown.state_dict = lambda: {"seen": np.arange(3)}
    with pytest.raises(TypeError, match=r"Countdown\.state_dict\(\) returned values that JSON cannot hold: .*ndarray"):
        autoencoder_of(epochs=2).set_callbacks(countdown, callbacks.Checkpoint(tmp_path / "c")).fit(REAL)


def rewrite(path, change):
    with safetensors.safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["csrl_core"])
    change(header)
    header["format"] = 1
    header.pop("digest", None)  # as files were written before they had one
    arrays = safetensors.numpy.load_file(path)
    path.write_bytes(safetensors.numpy.save(arrays, {"csrl_core": json.dumps(header)}))


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([{"class": "LossHistory", "state": {}}], "a state that LossHistory cannot read: KeyError"),
        ([{"class": "LossHistory", "state": {"history": [[0, 1]]}}], "that LossHistory cannot read: ValueError"),
        ([{"class": "LossHistory", "state": 3}], "that LossHistory cannot read: TypeError"),
        ([{"class": "LossHistory"}], r"has callbacks=\[\{'class': 'LossHistory'\}\]; expected a list of their"),
        (5, "has callbacks=5; expected a list of their classes and states"),
    ],
    ids=str,
)
def test_a_damaged_state_is_refused(states, message, tmp_path):
    path, history = tmp_path / "checkpoint", callbacks.LossHistory()
    autoencoder_of(epochs=2).set_callbacks(history, callbacks.Checkpoint(path)).fit(REAL)
    rewrite(path, lambda header: header.update(callbacks=states))
    with pytest.raises(ModelFileError, match=message):
        autoencoder_of(epochs=2).set_callbacks(history).fit(REAL, resume=path)


def test_checkpoints_from_before_callbacks_had_a_state_are_still_read(tmp_path):
    path = tmp_path / "checkpoint"
    whole = machine_that_converges().set_callbacks(callbacks.Checkpoint(path)).fit(BINARY)

    def older(header):
        del header["callbacks"]
        header["run"]["finished"] = header["run"].pop("stopped")

    rewrite(path, older)
    same(held(machine_that_converges().fit(BINARY, resume=path)), held(whole))
