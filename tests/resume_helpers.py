"""What tests of resumed fits share: data, callbacks with a memory, and a comparison of everything."""

import numpy as np
from sklearn.base import clone

from csrl_core import ClusterModel, TensorizedRBM, callbacks

rng = np.random.default_rng(0)
GROUPS = np.arange(60) % 3
REAL = rng.normal(size=(60, 5)) * 0.5 + rng.normal(size=(3, 5))[GROUPS]
BINARY = (rng.random((60, 6)) < np.array([0.15, 0.5, 0.85])[GROUPS, None]).astype(float)
NOT_COMPARED = {"_skl_callbacks", "_skl_callbacks_to_teardown", "_callback_fit_ctx"}  # scikit-learn's own


class Countdown(callbacks.EpochCallback):
    """Stops a restart after so many epochs of all restarts that it has seen, and one by one from then on."""

    def __init__(self, epochs):
        self.epochs, self.seen = epochs, 0

    def setup(self, estimator, context):
        self.seen = 0

    def on_epoch_end(self, estimator, epoch):
        self.seen += 1
        return self.seen >= self.epochs

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


class EveryEpoch(callbacks.EpochCallback):
    """A checkpoint of every epoch, each in a file of its own."""

    def __init__(self, folder):
        self.folder, self.paths = folder, []

    def on_epoch_end(self, estimator, epoch):
        self.paths.append(self.folder / f"{epoch.restart}-{epoch.epoch}")
        epoch.save_checkpoint(self.paths[-1])


def same(a, b, path=""):
    """Everything that two estimators hold is equal bit for bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for name in a:
            same(a[name], b[name], f"{path}.{name}")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, path
        np.testing.assert_array_equal(a, b, err_msg=path)
    elif not isinstance(a, ClusterModel):
        assert a == b or (a != a and b != b), path


def held(model):
    return {name: value for name, value in vars(model).items() if name not in NOT_COMPARED}


def same_estimators(resumed, whole, X):
    """What they hold, what they answer, and what they go on to learn."""
    same(held(resumed), held(whole))
    for method in ("predict", "transform", "score_samples"):
        same(getattr(resumed, method)(X), getattr(whole, method)(X), method)
    if isinstance(whole, TensorizedRBM):
        same(resumed.log_partition_, whole.log_partition_)
        same(resumed.sample(4, steps=3)[0], whole.sample(4, steps=3)[0])
    if getattr(whole, "solver", "") != "exact":
        for model in (resumed, whole):
            model.partial_fit(X[:20])
        same(held(resumed), held(whole), "after partial_fit")


def saved_copy(model):
    """An independent copy of a fitted estimator, which may learn on."""
    copy = clone(model)
    vars(copy).update({name: own(value) for name, value in held(model).items()})
    return copy


def own(value):
    if isinstance(value, dict):
        return {name: own(entry) for name, entry in value.items()}
    return value.copy() if isinstance(value, (np.ndarray, list)) else value
