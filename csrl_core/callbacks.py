"""Callbacks of scikit-learn 1.9's protocol, and the only place that talks to it.

    TensorizedAutoencoder().set_callbacks(EarlyStopping(), Checkpoint("model.checkpoint")).fit(X)

scikit-learn's own `ProgressBar` (needs rich) and `ScoringMonitor` work as well. A callback of one's own
subclasses `EpochCallback` and overrides `on_epoch_end`. If it remembers earlier epochs it has `state_dict` and
`load_state_dict` as well, so that a resumed fit takes the same decisions.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from sklearn.callback import CallbackSupportMixin, with_callbacks

from csrl_core.file_checks import ModelFileError
from csrl_core.training import Run

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
    run : the `csrl_core.training.Run`; save_checkpoint : function (path, last_only=False) that has a checkpoint
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


class Reporter:
    """Tells an estimator's callbacks about restarts and epochs.

    scikit-learn hands ``metadata`` on to scorers, so what our own callbacks need stands in the estimator's
    ``_epoch`` while it fits. Contexts live until the fit ends: there is one an epoch, never one a batch,
    and none at all without callbacks.
    """

    def __init__(self, estimator, X, y, n_init, epochs, save_checkpoint, fitted):
        self.estimator, self.X, self.y, self.epochs = estimator, X, y, epochs
        self.save_checkpoint, self.fitted = save_checkpoint, fitted
        self.verbose = LogLines(every=0 if estimator.verbose > 1 else 2.0) if estimator.verbose else None
        self.root = self.restart = None
        self._done = 0  # epochs of the restart to begin that an earlier fit has done
        if getattr(estimator, "_skl_callbacks", None):
            self.root = estimator._init_callback_context(max_subtasks=n_init)
            self._begin(self.root)

    @property
    def listening(self):
        """Whether anybody wants to know."""
        return self.root is not None or self.verbose is not None

    def _begin(self, context):
        context.call_on_fit_task_begin(estimator=self.estimator, X=self.X, y=self.y)

    def _end(self, context, attributes=None):
        return context.call_on_fit_task_end(
            estimator=self.estimator, X=self.X, y=self.y, reconstruction_attributes=attributes
        )

    def _callbacks(self):
        return [] if self.root is None else self.estimator._skl_callbacks

    def states(self):
        """What callbacks remember, for a checkpoint: list of {"class": name, "state": dict}.

        Raises
        ------
        TypeError
            JSON cannot hold it.
        """
        found = []
        for callback in self._callbacks():
            name, state = type(callback).__name__, getattr(callback, "state_dict", dict)()
            try:
                json.dumps(state)
            except (TypeError, ValueError) as error:
                raise TypeError(f"{name}.state_dict() gave what JSON cannot hold: {error}") from None
            if state:
                found.append({"class": name, "state": state})
        return found

    def resume(self, run, states, path):
        """Go on where ``run`` stands: callbacks of a class take up the `states` of that class, in their order.

        Raises
        ------
        ModelFileError
            A callback cannot read its state.
        """
        left = list(states)
        for callback in self._callbacks():
            name = type(callback).__name__
            found = next((entry for entry in left if entry["class"] == name), None)
            if found is None:
                continue
            left.remove(found)
            try:
                callback.load_state_dict(found["state"])
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise ModelFileError(f"{path} has a state of {name} that it cannot read: {error!r}") from None
        self._done = run.epoch
        if self.root is not None:  # so that the tasks to come are counted from where they are
            for _ in range(run.restart):
                self.root.subcontext("restart", max_subtasks=self.epochs)

    def begin_restart(self):
        """A restart begins."""
        if self.root is not None:
            self.restart = self.root.subcontext("restart", max_subtasks=self.epochs)
            for _ in range(self._done):
                self.restart.subcontext("epoch")
            self._begin(self.restart)
        self._done = 0

    def after_epoch(self, run, attributes):
        """An epoch has ended, and callbacks may stop the run; ``attributes()`` would give the fitted attributes."""
        wanted = []

        def save_checkpoint(path, last_only=False):
            wanted.append((path, last_only))

        epoch = Epoch(run.restart, run.epoch - 1, self.epochs, run.loss_curve[-1], run, save_checkpoint, self.fitted)
        if self.verbose is not None:
            self.verbose.on_epoch_end(self.estimator, epoch)
        if self.root is None:
            return
        context = self.restart.subcontext("epoch")
        self._begin(context)
        self.estimator._epoch = epoch
        try:
            run.stopped = self._end(context, attributes) or run.stopped
        finally:
            del self.estimator._epoch
        ends = run.stopped or run.epoch >= self.epochs
        for path, last_only in wanted:
            if ends or not last_only:
                self.save_checkpoint(path)

    def end_restart(self):
        """A restart has ended; returns whether callbacks want no other."""
        return self.root is not None and self._end(self.restart)

    def end(self):
        """The fit has ended, and the estimator is fitted."""
        if self.root is not None:
            self._end(self.root, attributes=dict)
