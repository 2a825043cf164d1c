"""What a run consists of: the data as batches, how to train, and everything that changes while it trains."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from csrl_core.backends import aligned_empty, is_device_array


class Batch(NamedTuple):
    """Samples of one step.

    X : (b, d); target : (b, d); index : (b,) int64, rows in the data; weight : (b,);
    number : the batch's place in its epoch
    """

    X: np.ndarray
    target: np.ndarray
    index: np.ndarray
    weight: np.ndarray
    number: int = 0

    def take(self, rows, number):
        """The batch of the given rows of this one, which holds the whole data."""
        X = _rows(self.X, rows)
        target = X if self.target is self.X else _rows(self.target, rows)
        return Batch(X, target, rows, self.weight[rows], number)


def _rows(array, rows):
    """``array[rows]``, on the host aligned."""
    if not isinstance(array, np.ndarray):
        return array[rows]
    # Rows are known to be there; with mode="raise" NumPy would first write them elsewhere.
    return np.take(array, rows, axis=0, out=aligned_empty((len(rows), *array.shape[1:]), array.dtype), mode="clip")


@dataclass(frozen=True)
class Settings:
    """How to train; the estimators' constructor arguments, resolved."""

    epochs: int
    batch_size: int | None
    optimizer: str
    learning_rate: float
    momentum: float = 0.0
    clip_norm: float | None = None
    tol: float = 0.0
    n_iter_no_change: int = 10
    key: np.ndarray = field(default_factory=lambda: np.zeros(2, np.uint32))

    def hyper(self):
        """(4,) float64, as the optimizer kernels take them."""
        if self.optimizer == "adam":
            return np.array([self.learning_rate, 0.9, 0.999, 1e-8], np.float64)
        return np.array([self.learning_rate, self.momentum, 0.0, 0.0], np.float64)


@dataclass
class Run:
    """One restart: everything that changes while it trains.

    params : (p,); moments : (2, p); state : named arrays; step, epoch : int, done so far;
    loss_curve : list of float, an epoch's mean loss each; best, stale : the stopping rule's memory;
    n_reseeded : int, a total that the objective keeps; stopped : bool, whether no epoch is to follow, however many
    there may be: it converged, settled, or was told to. Whether `Objective.finish` has been done is the caller's affair
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
        """The run with its arrays on a backend; those that are there already are taken as they are."""
        state = {name: backend.hold(array) for name, array in self.state.items()}
        return replace(self, params=backend.hold(self.params), moments=backend.hold(self.moments), state=state)

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

    def take(self, other):
        """Become ``other``, in this run's own arrays."""
        for mine, theirs in zip(self._arrays(), other._arrays(), strict=True):
            mine[...] = theirs
        self.step, self.epoch, self.n_reseeded = other.step, other.epoch, other.n_reseeded
        self.best, self.stale, self.stopped = other.best, other.stale, other.stopped
        del self.loss_curve[other.epoch :]


def as_batch(X, target, weight, shift, backend=None):
    """The `Batch` of all samples of a data set, less the shift, on the backend (None: the host); target may be X."""
    own = np.ascontiguousarray if backend is None else backend.own
    shift = own(shift.astype(X.dtype))
    moved = _less(own(X), shift)
    index = own(np.arange(len(X), dtype=np.int64))
    return Batch(moved, moved if target is X else _less(own(target), shift), index, own(weight))


def _less(array, shift):
    """``array − shift``; on the host aligned."""
    if is_device_array(array):
        return array - shift
    return np.subtract(array, shift, out=aligned_empty(array.shape, array.dtype))
