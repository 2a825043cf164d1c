"""A run and its inputs: batches of data, training settings, and all that changes during training."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from csrl_core.backends import is_device_array
from csrl_core.reference.optimizer import METHODS, OptimizerState
from csrl_core.training.on_disk import Samples


class Batch(NamedTuple):
    """The samples of one step.

    X : (b, d); target : (b, d), arrays, or `Samples` where these are all samples of data on disk
    index : (b,) int64, their row numbers in the data; weight : (b,)
    number : int, the batch's position in its epoch
    rows : (b,) int64, row numbers for random numbers, where ``index`` are places in an assignment of some samples only
    """

    X: np.ndarray
    target: np.ndarray
    index: np.ndarray
    weight: np.ndarray
    number: int = 0
    rows: np.ndarray | None = None

    def take(self, rows, number):
        """The batch of the given rows, taken from this batch of all samples."""
        X = self.X[rows]
        target = X if self.target is self.X else self.target[rows]
        return Batch(X, target, rows, self.weight[rows], number)

    def part(self, rows):
        """The batch of some of the rows, a slice."""
        X = self.X[rows]
        target = X if self.target is self.X else self.target[rows]
        own = None if self.rows is None else self.rows[rows]
        return Batch(X, target, self.index[rows], self.weight[rows], self.number, own)


@dataclass(frozen=True)
class Settings:
    """How to train: the estimators' constructor arguments, with "auto" replaced by values.

    decay_steps : int, as of `csrl_core.reference.optimizer.OptimizerState`
    """

    epochs: int
    batch_size: int | None
    optimizer: str
    learning_rate: float
    momentum: float = 0.0
    clip_norm: float | None = None
    tol: float = 0.0
    n_iter_no_change: int = 10
    decay_steps: int = 0
    key: np.ndarray = field(default_factory=lambda: np.zeros(2, np.uint32))

    def optimizer_state(self, run):
        """The optimizer of a run, as kernels take it; its moments are the run's own array."""
        return OptimizerState(
            method=METHODS[self.optimizer],
            moments=run.moments,
            step=run.step,
            learning_rate=float(self.learning_rate),
            momentum=float(self.momentum),
            clip_norm=float(self.clip_norm or 0.0),
            decay_steps=self.decay_steps,
        )


@dataclass
class Run:
    """One restart: all that changes while it trains.

    params : (p,); moments : (2, p), the optimizer's; state : named arrays; step, epoch : int, numbers done so far
    loss_curve : list of float, the mean loss of each epoch, in the data's units (`csrl_core.training.units`)
    best, stale : the lowest loss so far, in the run's unit, and the number of epochs without improvement or change
    n_reseeded : int, empty clusters that were re-seeded so far
    stopped : bool, whether no epoch follows although ``epochs`` would allow it: the run converged, or a callback
    stopped it. It does not say whether `Objective.finish` was called
    """

    params: np.ndarray
    state: dict
    restart: int = 0
    moments: np.ndarray = None
    step: int = 0
    epoch: int = 0
    loss_curve: list = field(default_factory=list)
    best: float = np.inf
    stale: int = 0
    n_reseeded: int = 0
    stopped: bool = False

    def __post_init__(self):
        if self.moments is None:
            self.moments = np.zeros_like(self.params, shape=(2, len(self.params)))

    def on(self, backend):
        """The run with its arrays on a backend; arrays that are there already are not copied."""
        state = {name: backend.own(array) for name, array in self.state.items()}
        return replace(self, params=backend.own(self.params), moments=backend.own(self.moments), state=state)

    def _arrays(self):
        return [self.params, self.moments, *self.state.values()]

    def copy(self):
        """An independent copy."""
        state = {name: array.copy() for name, array in self.state.items()}
        return replace(
            self,
            params=self.params.copy(),
            moments=self.moments.copy(),
            state=state,
            loss_curve=list(self.loss_curve),
        )

    def copy_from(self, other):
        """Copy everything from ``other`` into this run's own arrays."""
        for array, source in zip(self._arrays(), other._arrays(), strict=True):
            array[...] = source
        self.step, self.epoch, self.n_reseeded = other.step, other.epoch, other.n_reseeded
        self.best, self.stale, self.stopped = other.best, other.stale, other.stopped
        del self.loss_curve[other.epoch :]


def as_batch(X, target, weight, shift, backend=None):
    """All samples of a data set as one `Batch`, less the shift, on the backend (None: the host); target may be X.

    `Samples` stay on disk.
    """
    own = np.ascontiguousarray if backend is None else backend.own
    shift = own(shift.astype(X.dtype))
    shifted, index = _shifted(X, shift, own), own(np.arange(len(X), dtype=np.int64))
    return Batch(shifted, shifted if target is X else _shifted(target, shift, own), index, own(weight))


def _shifted(array, shift, own):
    if isinstance(array, Samples):
        return array.changed(
            lambda rows: np.subtract(rows, shift, out=rows)
        )  # rows were read into an array of their own
    return _subtract(own(array), shift)


def _subtract(array, shift):
    """``array − shift``, in the array's dtype."""
    if is_device_array(array):
        return array - shift
    return np.subtract(array, shift, out=np.empty(array.shape, array.dtype))
