"""Callbacks by scikit-learn 1.9's callback protocol.

    TensorizedAutoencoder().set_callbacks(EarlyStopping(), Checkpoint("model.checkpoint")).fit(X)

scikit-learn's own `ProgressBar` (needs rich) and `ScoringMonitor` work as well. To write your own callback, subclass
`EpochCallback` and override `on_epoch_end`. If it stores anything about earlier epochs, override `state_dict` and
`load_state_dict` too, so that a resumed fit makes the same decisions.
"""

import logging
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

from sklearn.callback import CallbackSupportMixin, with_callbacks

from csrl_core.training.run import Run

__all__ = [
    "CallbackSupportMixin",
    "Checkpoint",
    "EarlyStopping",
    "EpochCallback",
    "FreeEnergyGap",
    "LogLines",
    "LossHistory",
    "with_callbacks",
]


@dataclass(frozen=True)
class Epoch:
    """What a callback gets at the end of an epoch.

    restart, epoch : int, from 0; epochs : int, most epochs of a restart; loss : float, the epoch's mean
    run : `csrl_core.training.run.Run`
    save_checkpoint : function (path, last_only=False) that requests a checkpoint. It is written after all callbacks
    were called, so that it contains their decisions; with ``last_only`` only if no epoch follows
    fitted : function without arguments that returns the estimator in its present state. It shares the run's arrays,
    which training goes on changing, and has all methods that need no ``labels_``
    rows_per_second : float, of this epoch, where samples are read from disk; else None
    """

    restart: int
    epoch: int
    epochs: int
    loss: float
    run: Run
    save_checkpoint: Callable
    fitted: Callable
    rows_per_second: float | None = None

    @property
    def progress(self):
        """The loss, and the speed where samples are read from disk, as a line says them."""
        speed = "" if self.rows_per_second is None else f", {self.rows_per_second:,.0f} rows/s"
        return f"loss {self.loss:.6g}{speed}"


@contextmanager
def ending(estimator, epoch):
    """Within this context an estimator's callbacks find an `Epoch`: scikit-learn passes ``metadata`` on to scorers."""
    estimator._epoch = epoch
    try:
        yield
    finally:
        del estimator._epoch


class EpochCallback:
    """Base class of callbacks that act at the end of every epoch."""

    def setup(self, estimator, context):
        """Called before the fit."""

    def teardown(self, estimator, context):
        """Called after the fit, even if it failed."""

    def on_fit_task_begin(self, estimator, context):
        """Called at the start of the fit, of each restart and of each epoch."""

    def on_fit_task_end(self, estimator, context):
        """Called at the end of the fit, of each restart and of each epoch; True stops the loop of such tasks."""
        return context.task_name == "epoch" and self.on_epoch_end(estimator, estimator._epoch)

    def on_epoch_end(self, estimator, epoch):
        """Called at the end of an epoch (see `Epoch`); True stops the restart, also for a fit resumed from here."""
        return False

    def state_dict(self):
        """The callback's state for checkpoints, a dict that JSON can hold."""
        return {}

    def load_state_dict(self, state):
        """Load a state that `state_dict` returned, after a round trip through JSON; called after `setup`."""


class EarlyStopping(EpochCallback):
    """Stop a restart when its loss has not improved for some epochs.

    Parameters
    ----------
    patience : int
        Epochs without improvement.
    min_delta : float
        The least decrease of the best loss that counts as an improvement.
    """

    def __init__(self, patience=10, min_delta=0.0):
        if patience < 1:
            raise ValueError(f"patience={patience!r}; expected at least 1")
        self.patience, self.min_delta = patience, min_delta

    def on_epoch_end(self, estimator, epoch):
        """Compare the last ``patience`` losses with the best loss before them, both from the run's loss curve."""
        curve = epoch.run.loss_curve
        if len(curve) <= self.patience:
            return False
        return min(curve[-self.patience :]) >= min(curve[: -self.patience]) - self.min_delta


class FreeEnergyGap(EpochCallback):
    """Stop a restart when a Boltzmann machine begins to overfit, by the free energy of held-out samples.

    The loss of contrastive divergence does not show overfitting. The mean free energy of held-out samples less that of
    training samples does: it grows when the machine fits the training samples but not the others.

    Parameters
    ----------
    X_train : array-like (n, d)
        Training samples; some hundreds are enough.
    X_valid : array-like (n', d)
        Held-out samples.
    patience : int
        Successive epochs in which the gap exceeds its minimum so far by more than ``min_delta``.
    min_delta : float
        In nats per sample.

    Attributes
    ----------
    history : list of (restart, epoch, gap)
    """

    def __init__(self, X_train, X_valid, patience=5, min_delta=0.0):
        if patience < 1:
            raise ValueError(f"patience={patience!r}; expected at least 1")
        self.X_train, self.X_valid, self.patience, self.min_delta = X_train, X_valid, patience, min_delta
        self.history = []

    def setup(self, estimator, context):
        """Start with an empty history."""
        if not hasattr(estimator, "free_energy_gap"):
            raise ValueError(f"FreeEnergyGap is for Boltzmann machines; {type(estimator).__name__} has no free energy")
        self.history = []

    def on_epoch_end(self, estimator, epoch):
        """Add a row to the history, and compare with the smallest gap of the restart."""
        gap = epoch.fitted().free_energy_gap(self.X_train, self.X_valid)
        self.history.append((epoch.restart, epoch.epoch, gap))
        gaps = [row[2] for row in self.history if row[0] == epoch.restart]
        return len(gaps) > self.patience and min(gaps[-self.patience :]) > min(gaps) + self.min_delta

    def state_dict(self):
        """The history, as a dict."""
        return {"history": self.history}

    def load_state_dict(self, state):
        """Continue a history."""
        self.history = _rows(state["history"])


class LossHistory(EpochCallback):
    """Keep (restart, epoch, loss) of every epoch of every restart, in ``history``."""

    def __init__(self):
        self.history = []

    def setup(self, estimator, context):
        """Start with an empty history."""
        self.history = []

    def on_epoch_end(self, estimator, epoch):
        """Add a row to the history."""
        self.history.append((epoch.restart, epoch.epoch, epoch.loss))
        return False

    def state_dict(self):
        """The history, as a dict."""
        return {"history": self.history}

    def load_state_dict(self, state):
        """Continue a history."""
        self.history = _rows(state["history"])


def _rows(history):
    """A history (list of (restart, epoch, number)) from its JSON form."""
    return [(int(restart), int(epoch), float(number)) for restart, epoch, number in history]


class LogLines(EpochCallback):
    """Write a plain line every few seconds, and for the last epoch: for jobs without a terminal.

    Parameters
    ----------
    every : float
        Seconds between lines, 0 for every epoch.
    logger : logging.Logger, optional
        The logger that gets the lines; None: standard error.
    """

    def __init__(self, every=2.0, logger=None):
        self.every, self.logger = every, logger
        self._last = 0.0

    def setup(self, estimator, context):
        """Reset the time, so that the first epoch writes a line."""
        self._last = 0.0

    def on_epoch_end(self, estimator, epoch):
        """Write a line if enough time has passed."""
        now = time.monotonic()
        if now - self._last >= self.every or epoch.epoch + 1 == epoch.epochs:
            self._last = now
            line = f"restart {epoch.restart + 1}, epoch {epoch.epoch + 1}/{epoch.epochs}, {epoch.progress}"
            if self.logger is None:
                print(line, file=sys.stderr, flush=True)
            else:
                self.logger.log(logging.INFO, line)
        return False


class Checkpoint(EpochCallback):
    """Save the whole state of training at epoch boundaries; ``fit(X, resume=path)`` continues it.

    Parameters
    ----------
    path : str or path-like
        The file. It is replaced atomically, so that it is complete at any time.
    every : int
        Epochs between two checkpoints; the last epoch of a restart is always saved.
    """

    def __init__(self, path, every=1):
        if every < 1:
            raise ValueError(f"every={every!r}; expected at least 1 epoch")
        self.path, self.every = path, every

    def on_epoch_end(self, estimator, epoch):
        """Request a checkpoint in every ``every``-th epoch, and in the last one."""
        epoch.save_checkpoint(self.path, last_only=(epoch.epoch + 1) % self.every != 0)
        return False
