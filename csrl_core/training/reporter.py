"""Calls of a fit to its callbacks, by scikit-learn's callback protocol."""

import json
import time

from csrl_core.callbacks import Epoch, LogLines, ending
from csrl_core.training.on_disk import is_on_disk
from csrl_core.training.persistence import ModelFileError


class Reporter:
    """Calls an estimator's callbacks at the start and end of the fit, of restarts and of epochs.

    Contexts live until the fit ends. So there is one for each epoch, never one for each batch, and none without
    callbacks.
    """

    def __init__(self, estimator, X, y, n_init, epochs, save_checkpoint, fitted):
        self.estimator, self.X, self.y, self.epochs = estimator, X, y, epochs
        self.save_checkpoint, self.fitted = save_checkpoint, fitted
        self.verbose = LogLines(every=0 if estimator.verbose > 1 else 2.0) if estimator.verbose else None
        self.root = self.restart = self._begun = None
        self._done = 0  # epochs of the next restart that an earlier fit has done
        if getattr(estimator, "_skl_callbacks", None):
            self.root = estimator._init_callback_context(max_subtasks=n_init)
            self._begin(self.root)

    @property
    def needed(self):
        """Whether there are callbacks or log lines, so that epochs must be reported."""
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
        """The states of all callbacks, for a checkpoint: list of {"class": name, "state": dict}.

        Raises
        ------
        TypeError
            A state cannot be written as JSON.
        """
        states = []
        for callback in self._callbacks():
            name, state = type(callback).__name__, getattr(callback, "state_dict", dict)()
            try:
                json.dumps(state)
            except (TypeError, ValueError) as error:
                raise TypeError(f"{name}.state_dict() returned values that JSON cannot hold: {error}") from None
            if state:
                states.append({"class": name, "state": state})
        return states

    def resume(self, run, states, path):
        """Continue with ``run``: callbacks load the states of their class, in order.

        Raises
        ------
        ModelFileError
            A callback cannot read its state.
        """
        remaining = list(states)
        for callback in self._callbacks():
            name = type(callback).__name__
            entry = next((entry for entry in remaining if entry["class"] == name), None)
            if entry is None:
                continue
            remaining.remove(entry)
            try:
                callback.load_state_dict(entry["state"])
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise ModelFileError(f"{path} has a state that {name} cannot read: {error!r}") from None
        self._done = run.epoch
        if self.root is not None:  # so that later tasks have the numbers that they have in an uninterrupted fit
            for _ in range(run.restart):
                self.root.subcontext("restart", max_subtasks=self.epochs)

    def begin_restart(self):
        """Report the start of a restart."""
        self._begun = time.perf_counter()
        if self.root is not None:
            self.restart = self.root.subcontext("restart", max_subtasks=self.epochs)
            for _ in range(self._done):
                self.restart.subcontext("epoch")
            self._begin(self.restart)
        self._done = 0

    def after_epoch(self, run, attributes):
        """Report the end of an epoch; callbacks may stop the run. attributes : function that gives the fitted ones."""
        requests = []

        def save_checkpoint(path, last_only=False):
            requests.append((path, last_only))

        epoch = Epoch(
            *(run.restart, run.epoch - 1, self.epochs, run.loss_curve[-1], run, save_checkpoint, self.fitted),
            self._speed(),
        )
        if self.verbose is not None:
            self.verbose.on_epoch_end(self.estimator, epoch)
        if self.root is None:
            return
        context = self.restart.subcontext("epoch")
        self._begin(context)
        with ending(self.estimator, epoch):
            run.stopped = self._end(context, attributes) or run.stopped
        ends = run.stopped or run.epoch >= self.epochs
        for path, last_only in requests:
            if ends or not last_only:
                self.save_checkpoint(path)

    def _speed(self):
        """Rows a second since the last epoch ended, where they are read from disk."""
        before, self._begun = self._begun, time.perf_counter()
        return len(self.X) / (self._begun - before) if is_on_disk(self.X) else None

    def end_restart(self):
        """Report the end of a restart; returns whether a callback stops the fit here."""
        return self.root is not None and self._end(self.restart)

    def end(self):
        """Report the end of the fit; the estimator is fitted."""
        if self.root is not None:
            self._end(self.root, attributes=dict)
