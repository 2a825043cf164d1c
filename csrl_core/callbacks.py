"""Callbacks of scikit-learn 1.9's protocol.

    TensorizedAutoencoder().set_callbacks(EarlyStopping(), Checkpoint("model.checkpoint")).fit(X)

scikit-learn's own `ProgressBar` (needs rich) and `ScoringMonitor` work as well. A callback of one's own
subclasses `EpochCallback` and overrides `on_epoch_end`. If it remembers earlier epochs it has `state_dict` and
`load_state_dict` as well, so that a resumed fit takes the same decisions.
"""

import logging
import sys
import time
from collections.abc import Callable
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
    """What an epoch's end looks like to a callback.

    restart, epoch : int, from 0; epochs : int, how many there may be; loss : float, the epoch's mean;
    run : the `csrl_core.training.loop.Run`; save_checkpoint : function (path, last_only=False) that has a checkpoint
    written once every callback has been called, so that it has what all of them decided (with ``last_only`` if no
    epoch follows); fitted : function of nothing, the estimator as it is now, in arrays that go on changing: it
    answers all that needs no labels
    """

    restart: int
    epoch: int
    epochs: int
    loss: float
    run: Run
    save_checkpoint: Callable
    fitted: Callable


class EpochCallback:
    """A callback of scikit-learn's protocol that acts at the end of every epoch."""

    def setup(self, estimator, context):
        """Before the fit."""

    def teardown(self, estimator, context):
        """After the fit, also after one that failed."""

    def on_fit_task_begin(self, estimator, context):
        """At the beginning of the fit, of each restart, of each epoch."""

    def on_fit_task_end(self, estimator, context):
        """At the end of the same; True stops the loop the task belongs to."""
        return context.task_name == "epoch" and self.on_epoch_end(estimator, estimator._epoch)

    def on_epoch_end(self, estimator, epoch):
        """At the end of an epoch (see `Epoch`); True stops the restart, for a fit resumed from here as well."""
        return False

    def state_dict(self):
        """What it remembers of earlier epochs, for checkpoints: a dict that JSON can hold."""
        return {}

    def load_state_dict(self, state):
        """Go on with what `state_dict` gave, as JSON gives it back; after `setup`, in a resumed fit."""


class EarlyStopping(EpochCallback):
    """Stop a restart when its loss has not improved for some epochs.

    Parameters
    ----------
    patience : int
        Epochs without improvement.
    min_delta : float
        The least decrease of the best loss that counts.
    """

    def __init__(self, patience=10, min_delta=0.0):
        if patience < 1:
            raise ValueError(f"patience={patience!r}; expected at least 1")
        self.patience, self.min_delta = patience, min_delta

    def on_epoch_end(self, estimator, epoch):
        """Compare with the best loss more than ``patience`` epochs ago; all it knows is the run's own curve."""
        curve = epoch.run.loss_curve
        if len(curve) <= self.patience:
            return False
        return min(curve[-self.patience :]) >= min(curve[: -self.patience]) - self.min_delta


class FreeEnergyGap(EpochCallback):
    """Stop a restart of a Boltzmann machine that begins to overfit, as the free energy of held-out samples tells.

    Contrastive divergence has no loss to go by. The free energy of samples held out, less that of as many trained on,
    does: it grows when the machine fits the one but not the other.

    Parameters
    ----------
    X_train : array-like (n, d)
        Samples trained on; some hundreds do.
    X_valid : array-like (n', d)
        Samples held out.
    patience : int
        Epochs in a row with a gap above the smallest so far by more than ``min_delta``.
    min_delta : float
        In nats a sample.

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
        """Begin a new list."""
        if not hasattr(estimator, "free_energy_gap"):
            raise ValueError(f"FreeEnergyGap is for Boltzmann machines; {type(estimator).__name__} has no free energy")
        self.history = []

    def on_epoch_end(self, estimator, epoch):
        """Add a row, and compare with the smallest gap of the restart."""
        gap = epoch.fitted().free_energy_gap(self.X_train, self.X_valid)
        self.history.append((epoch.restart, epoch.epoch, gap))
        gaps = [row[2] for row in self.history if row[0] == epoch.restart]
        return len(gaps) > self.patience and min(gaps[-self.patience :]) > min(gaps) + self.min_delta

    def state_dict(self):
        """The history."""
        return {"history": self.history}

    def load_state_dict(self, state):
        """Go on with a history."""
        self.history = _rows(state["history"])


class LossHistory(EpochCallback):
    """Keep (restart, epoch, loss) of every epoch of every restart, in ``history``."""

    def __init__(self):
        self.history = []

    def setup(self, estimator, context):
        """Begin a new list."""
        self.history = []

    def on_epoch_end(self, estimator, epoch):
        """Add a row."""
        self.history.append((epoch.restart, epoch.epoch, epoch.loss))
        return False

    def state_dict(self):
        """The history."""
        return {"history": self.history}

    def load_state_dict(self, state):
        """Go on with a history."""
        self.history = _rows(state["history"])


def _rows(history):
    """A list of (restart, epoch, number), out of what JSON makes of it."""
    return [(int(restart), int(epoch), float(number)) for restart, epoch, number in history]


class LogLines(EpochCallback):
    """A plain line every so many seconds, and for the last epoch: for jobs without a terminal.

    Parameters
    ----------
    every : float
        Seconds between lines, 0 for every epoch.
    logger : logging.Logger, optional
        Where lines go; standard error if None.
    """

    def __init__(self, every=2.0, logger=None):
        self.every, self.logger = every, logger
        self._last = 0.0

    def setup(self, estimator, context):
        """Begin with the first epoch."""
        self._last = 0.0

    def on_epoch_end(self, estimator, epoch):
        """Write a line if it is time."""
        now = time.monotonic()
        if now - self._last >= self.every or epoch.epoch + 1 == epoch.epochs:
            self._last = now
            line = f"restart {epoch.restart + 1}, epoch {epoch.epoch + 1}/{epoch.epochs}, loss {epoch.loss:.6g}"
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
        The file; replaced atomically, so that it is whole whenever the process dies.
    every : int
        Epochs between two writes; the last epoch of a restart is written in any case.
    """

    def __init__(self, path, every=1):
        if every < 1:
            raise ValueError(f"every={every!r}; expected at least 1 epoch")
        self.path, self.every = path, every

    def on_epoch_end(self, estimator, epoch):
        """Write if it is time."""
        epoch.save_checkpoint(self.path, last_only=(epoch.epoch + 1) % self.every != 0)
        return False
