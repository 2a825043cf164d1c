"""The place that talks to scikit-learn's callback protocol: what a fit tells its callbacks and asks of them."""

import json

from csrl_core.callbacks import Epoch, LogLines
from csrl_core.training.persistence import ModelFileError


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
