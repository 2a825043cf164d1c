"""Interrupts of estimators: what arrives is KeyboardInterrupt, what is left is whole."""

import signal
import sys
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from interrupts import interrupt_at

import csrl_core
from csrl_core import TensorizedAutoencoder, TensorizedRBM

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
from bench_interrupts import ACTIONS, MODELS, busy_helpers, can, is_whole, left, measure

PACKAGE = Path(csrl_core.__file__).parent
OURS = tuple(str(path) for folder in (PACKAGE, PACKAGE / "kernels" / "cpu") for path in folder.rglob("*.py"))


@pytest.fixture(autouse=True)
def _quiet():
    alarm = signal.getsignal(signal.SIGALRM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    signal.signal(signal.SIGALRM, alarm)


@pytest.mark.parametrize("name", MODELS)
def test_signals_at_random(name):
    random, model = np.random.default_rng(0), MODELS[name][1]
    for action in ("fit", "partial_fit", "predict", "score_samples", "sample"):
        if can(name, action, deepcopy(model)):
            row = measure(name, action, 3 if action == "fit" else 1, random)
            assert not row.wrong, row


_random = np.random.default_rng(0)
_X, _BITS = _random.random((60, 6)), (_random.random((60, 20)) < 0.5).astype(float)
_MACHINES = {"n_hidden": 4, "epochs": 3, "batch_size": 30, "ais_chains": 2, "ais_betas": 5, "random_state": 0}
_AUTOENCODERS = {"epochs": 3, "init": "k-means++", "random_state": 0}
_BY_LOSS = {"assignment": "loss", "start": "uniform"} | _AUTOENCODERS
SHORT = {
    "fused": (_X, TensorizedAutoencoder(**_BY_LOSS)),
    "composed": (_X, TensorizedAutoencoder(hidden=(64,), batch_size=30, n_init=2, **_BY_LOSS)),
    "exact": (
        _X,
        TensorizedAutoencoder(hidden=(2,), reg=0, assignment="likelihood", solver="exact", **_AUTOENCODERS),
    ),
    "one machine": (_BITS, TensorizedRBM(n_clusters=1, persistent=True, **_MACHINES)),
    "machines": (_BITS, TensorizedRBM(n_clusters=2, persistent=True, **_MACHINES)),
}


@pytest.mark.parametrize("action", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", SHORT)
def test_what_is_learnt_is_whole_wherever_it_is_interrupted(name, action):
    X, template = SHORT[name]
    if not can(name, action, template):
        return
    act = ACTIONS[action]
    fresh = deepcopy(template) if action == "fit" else deepcopy(template).fit(X)
    before, model, replays = left(fresh), deepcopy(fresh), {"X": X}
    act(model, X)
    after, place = left(model), 0
    while True:
        model = deepcopy(fresh)
        where = interrupt_at(place, OURS, lambda: act(model, X))  # noqa: B023
        if where is None:
            break
        whole = is_whole(model, action, before, after, replays)
        assert whole, where
        assert not busy_helpers(), where
        place += 29 + place // 40  # later epochs and restarts repeat the places of the first
    assert place > 100
    assert left(model) == after
