"""``csrl fit`` under Ctrl-C, under kill −9 and in a terminal: nothing learnt is lost."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import IRIS, listing, run

import csrl_core
from csrl_core import TensorizedAutoencoder, datasets
from csrl_core.callbacks import EpochCallback, LogLines
from csrl_core.cli.fit import one_interrupt

ARGUMENTS = {"n_clusters": 3, "random_state": 5, "batch_size": 40, "backend": "numpy"}
FIT = [sys.executable, "-m", "csrl_core.cli", "fit", "data:iris", "--out", "model", "-k", "3", "--seed", "5",
       "--batch-size", "40", "--backend", "numpy"]  # fmt: skip
FOREVER = ["--epochs", "100000000"]
PATIENCE = 60  # seconds after which a process that does not do its part has failed


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def wait_until(condition, process):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def uninterrupted(epochs):
    return TensorizedAutoencoder(epochs=epochs, **ARGUMENTS).fit(datasets.load("iris").data)


def test_ctrl_c_saves_the_last_whole_epoch():
    with subprocess.Popen([*FIT, *FOREVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline().startswith("restart 1, epoch 1/100000000, loss ")
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in errors
    kept = csrl_core.load("model")
    assert f"interrupted: the parameters after epoch {kept.n_iter_} " in said
    assert "model      model" in said
    expected = uninterrupted(kept.n_iter_)
    np.testing.assert_array_equal(kept.params_, expected.params_)
    assert kept.loss_curve_ == expected.loss_curve_


def test_ctrl_c_of_one_machine_is_an_interrupt_too():
    command = [*FIT[:4], "data:iris", "--out", "model", "--model", "rbm", "--visible", "gaussian", "-k", "1", *FOREVER]
    command += ["--checkpoint", "state", "--checkpoint-every", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(Path("state").exists, process)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors
    assert "interrupted: the parameters after epoch " in said
    assert "continue with --resume state" in said
    assert csrl_core.load("model").n_iter_ > 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_other_signals_save_as_ctrl_c_does(name, monkeypatch):
    number = getattr(signal, name)

    def end(self, estimator, epoch):
        if epoch.epoch == 3:
            signal.raise_signal(number)

    monkeypatch.setattr(LogLines, "on_epoch_end", end)
    before = signal.signal(number, signal.SIG_DFL)  # who runs the tests may have it ignored, as nohup does
    try:
        said = run(*FIT[3:], "--checkpoint", "state", "--checkpoint-every", "2", code=128 + number).stdout
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert f"interrupted by {name}: the parameters after epoch 4 (loss " in said
    assert "continue with --resume state" in said
    np.testing.assert_array_equal(csrl_core.load("model").params_, uninterrupted(4).params_)


class Ending(EpochCallback):
    """Sends SIGTERM after the third epoch."""

    def on_epoch_end(self, estimator, epoch):
        if epoch.epoch == 2:
            signal.raise_signal(signal.SIGTERM)


def test_a_signal_ends_a_fit_that_a_program_makes():
    X, model = datasets.load("iris").data, TensorizedAutoencoder(epochs=9, **ARGUMENTS).set_callbacks(Ending())
    with pytest.raises(KeyboardInterrupt) as ended:
        model.fit(X)
    assert (isinstance(ended.value, SystemExit), ended.value.code) == (True, 143)
    np.testing.assert_array_equal(model.params_, uninterrupted(3).params_)
    before, calls = signal.signal(signal.SIGTERM, lambda *_: calls.append(1)), []
    try:
        assert model.fit(X).n_iter_ == 9  # the program's own handler is called, and may let the fit go on
    finally:
        signal.signal(signal.SIGTERM, before)
    assert calls == [1]


def test_ctrl_c_after_the_fit_loses_no_model(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("csrl_core.cli.fit.scores", interrupted)
    run(*IRIS, "--epochs", "2", "--out", "model", code=130)
    assert csrl_core.load("model").n_iter_ == 2


def test_ctrl_c_before_there_is_anything_to_save(monkeypatch):
    def interrupted(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(TensorizedAutoencoder, "fit", interrupted)
    said = run(*IRIS, "--out", "model", code=130).stdout
    assert "interrupted before the first epoch ended; nothing was learnt, and model was not written" in said
    assert listing() == []


def test_an_impatient_ctrl_c_does_not_spoil_the_saving():
    before = signal.getsignal(signal.SIGINT)
    with one_interrupt(grace=PATIENCE):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # raises nothing
    with one_interrupt(grace=0):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            time.sleep(0.01)
    assert signal.getsignal(signal.SIGINT) is before


def test_kill_9_and_resume_give_the_same_curve():
    command = [*FIT, *FOREVER, "--checkpoint", "state", "--checkpoint-every", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(Path("state").exists, process)
        time.sleep(0.05)
        process.kill()
        process.wait(PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert not Path("model").exists()
    from csrl_core.training.persistence import read_checkpoint

    X = datasets.load("iris").data
    estimator = TensorizedAutoencoder(**ARGUMENTS)
    estimator.n_features_in_ = X.shape[1]  # as a fit does before it reads one
    reached = read_checkpoint("state", estimator, X).run.epoch
    assert reached % 7 == 0
    assert reached > 0
    epochs = reached + 30
    run(*FIT[3:], "--epochs", epochs, "--checkpoint", "state", "--resume", "state")
    resumed, expected = csrl_core.load("model"), uninterrupted(epochs)
    assert resumed.loss_curve_ == expected.loss_curve_
    np.testing.assert_array_equal(resumed.params_, expected.params_)
    np.testing.assert_array_equal(resumed.labels_, expected.labels_)


def test_a_checkpoint_is_not_overwritten_by_mistake():
    command = [*FIT[3:], "--epochs", "3", "--checkpoint", "state"]
    run(*command)
    before = Path("state").read_bytes()
    said = run(*command, code=1).stderr
    assert "--checkpoint state exists; --resume state continues it, remove it to start anew" in said
    assert Path("state").read_bytes() == before


def test_resume_with_other_arguments_is_refused():
    run(*FIT[3:], "--epochs", "3", "--checkpoint", "state", "--checkpoint-every", "1")
    result = run(*FIT[3:], "--epochs", "5", "--resume", "state", "--reg", "0.5", code=1)
    assert "state was made with reg=0.1, the estimator has reg=0.5; resume needs the same" in result.stderr


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
def test_a_terminal_gets_a_bar():
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*FIT, "--epochs", "300", "--n-init", "2"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        text=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert b"\x1b[" in shown
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert "restart 2/2" in text
    assert "300/300 epochs, loss " in text
    assert "restart 1, epoch" not in text
    assert "fitted     150 samples" in said
