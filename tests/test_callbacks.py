"""scikit-learn's callback protocol: ours, theirs, and what they see."""

import logging

import numpy as np
import pytest
from sklearn.callback import ProgressBar, ScoringMonitor

from csrl_core import TensorizedAutoencoder, callbacks, datasets

X, Y = datasets.make_lines_3d(random_state=0)


def make(**changes):
    return TensorizedAutoencoder(**{"n_clusters": 3, "epochs": 8, "random_state": 0} | changes)


def test_history_has_every_epoch_of_every_restart():
    history = callbacks.LossHistory()
    model = make(n_init=2).set_callbacks(history).fit(X)
    assert [(restart, epoch) for restart, epoch, _ in history.history] == [(r, e) for r in range(2) for e in range(8)]
    curves = [[loss for restart, _, loss in history.history if restart == r] for r in range(2)]
    assert model.loss_curve_ in curves


def test_callbacks_do_not_change_the_fit():
    plain = make().fit(X)
    watched = make().set_callbacks(callbacks.LossHistory(), callbacks.LogLines(logger=logging.getLogger("x"))).fit(X)
    np.testing.assert_array_equal(plain.params_, watched.params_)
    assert not [name for name in vars(watched) if "callback" in name and name != "_skl_callbacks"]


def test_early_stopping_stops_each_restart_by_its_own_curve():
    stopping = callbacks.EarlyStopping(patience=5, min_delta=1e-3)
    model = make(epochs=500, learning_rate=0.1).set_callbacks(stopping).fit(X)
    assert 10 < model.n_iter_ < 500
    curve = model.loss_curve_
    assert min(curve[-5:]) >= min(curve[:-5]) - 1e-3
    assert min(curve[-6:-1]) < min(curve[:-6]) - 1e-3, "it should have stopped an epoch earlier"


def test_log_lines_are_plain(capsys, caplog):
    make(epochs=3).set_callbacks(callbacks.LogLines(every=0)).fit(X)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("restart 1, epoch 3/3, loss 0.")
    with caplog.at_level(logging.INFO, "csrl_core.test"):
        logger = logging.getLogger("csrl_core.test")
        make(epochs=2).set_callbacks(callbacks.LogLines(every=0, logger=logger)).fit(X)
    assert [record.getMessage()[:20] for record in caplog.records] == ["restart 1, epoch 1/2", "restart 1, epoch 2/2"]


def test_verbose_writes_lines(capsys):
    make(epochs=3, verbose=2).fit(X)
    assert capsys.readouterr().err.count("\n") == 3
    make(epochs=3).fit(X)
    assert capsys.readouterr().err == ""


def test_scikit_learns_own_callbacks(capsys):
    monitor = ScoringMonitor(scoring="adjusted_rand_score")
    make(epochs=4, learning_rate=0.1).set_callbacks(monitor).fit(X, Y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 4
    assert all(0 <= row["adjusted_rand_score"] <= 1 for row in rows)
    pytest.importorskip("rich")
    make(epochs=2).set_callbacks(ProgressBar()).fit(X)
    assert "100%" in capsys.readouterr().out


def test_a_failing_callback_leaves_the_parameters():
    class Broken(callbacks.LossHistory):
        def on_epoch_end(self, estimator, epoch):
            if epoch.epoch == 3:
                raise RuntimeError("mine")

    model = make().set_callbacks(Broken())
    with pytest.raises(RuntimeError, match="mine"):
        model.fit(X)
    np.testing.assert_array_equal(model.params_, make(epochs=4).fit(X).params_)


@pytest.mark.parametrize(
    ("make_callback", "message"),
    [
        (lambda: callbacks.EarlyStopping(patience=0), "patience=0; expected at least 1"),
        (lambda: callbacks.Checkpoint("c", every=0), "every=0; expected at least 1"),
    ],
)
def test_arguments(make_callback, message):
    with pytest.raises(ValueError, match=message):
        make_callback()
