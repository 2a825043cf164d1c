"""The loop every objective shares: epochs, batches, optimizer, clipping, stopping, restarts.

It drives any `Objective`; what a loss is, and whether there are clusters at all, is the
objective's affair (`csrl_core.training.joint` holds the joint assignment objective). Everything a run
consists of lies in a `csrl_core.training.run.Run`, in arrays that are changed in place, so that it can be snapshot,
saved at any epoch's end, and continued to the same curve.
"""

from abc import ABC, abstractmethod
from math import isfinite

import numpy as np

from csrl_core.training.draws import Use, stream


class NonFiniteLossError(FloatingPointError):
    """The loss or the parameters became infinite or NaN in training."""


class Objective(ABC):
    """What is minimised. ``state`` holds named arrays that no gradient trains; they may change in place."""

    moves_every_epoch = False
    """Whether `end_of_epoch` has work to do also after an epoch in which nothing moved."""

    loss_falls = True
    """Whether training brings the loss curve down, so that one which still falls is one that wants more epochs."""

    @abstractmethod
    def start(self, data, restart):
        """A new `Run` on ``data`` (a `Batch` of all samples): initial parameters and state."""

    def begin(self, run, data):  # noqa: B027 (a hook that may be left empty)
        """Before a run trains, whether it is new or goes on where another stopped."""

    @abstractmethod
    def step(self, run, batch):
        """Evaluate one batch at the run's parameters, before its step, and move the run's state.

        Returns
        -------
        loss_sum, weight_sum : float
        gradient : (p,), of loss_sum
        moved : int, what changed in the state other than by gradient (0 lets training stop)
        """

    def fused_epoch(self, run, data, settings):
        """A function (order, batch_size) → (loss_sum, weight_sum, moved) that does an epoch in one call, or None."""
        return None

    def end_of_epoch(self, run, data, fused):
        """Put the state in order after an epoch in which it moved; returns what moved by that.

        fused : bool, whether `fused_epoch` did the epoch
        """
        return 0

    def finish(self, run, data):  # noqa: B027
        """After the last epoch of a run."""

    def loss(self, run, data):
        """The objective at the run's parameters."""
        return run.loss_curve[-1] if run.loss_curve else np.inf

    def selection_score(self, run, data):
        """The larger the better, among restarts."""
        return -run.loss_curve[-1] if run.loss_curve else -np.inf


class Optimizer:
    """Applies a backend's update kernel to a run."""

    def __init__(self, backend, settings):
        self.kernel = backend.optimizer
        self.rule = self.kernel.RULES[settings.optimizer]
        self.hyper = settings.hyper()
        self.clip_norm = float(settings.clip_norm or 0.0)

    def apply(self, run, gradient, weight_sum):
        """One step on the mean gradient. A batch without weight changes nothing."""
        if weight_sum <= 0:
            return
        scale = self.kernel.mean_scale(gradient, weight_sum, self.clip_norm)
        self.kernel.update(run.params, gradient, scale, run.moments, self.rule, run.step + 1, self.hyper)


class Trainer:
    """Trains runs of one objective on one data set.

    Parameters
    ----------
    objective : Objective
    data : Batch
        All samples.
    settings : Settings
    backend : Backend
    """

    def __init__(self, objective, data, settings, backend):
        self.objective, self.data, self.settings, self.backend = objective, data, settings, backend
        self.optimizer = Optimizer(backend, settings)
        n = len(data.X)
        self.batch_size = n if settings.batch_size is None else min(settings.batch_size, n)

    def train(self, run, after_epoch=None):
        """Epochs until there are enough of them or the run is stopped, then the objective's `finish`.

        ``after_epoch(run)`` is called at every epoch's end and may set ``run.stopped``. What it sees, a checkpoint
        too, is before `finish`: a run that trains on, with more epochs, has never been finished.

        Raises
        ------
        NonFiniteLossError
            The run holds the last parameters whose loss was finite.
        KeyboardInterrupt
            The run holds the state of the last whole epoch (as after any other exception).
        """
        self.objective.begin(run, self.data)
        latest, previous = run.copy(), run.copy()
        self._fused = self.objective.fused_epoch(run, self.data, self.settings)
        try:
            while run.epoch < self.settings.epochs and not run.stopped:
                loss_sum, weight_sum, moved = self.epoch(run)
                loss = loss_sum / weight_sum if weight_sum > 0 else 0.0
                moved += self._end_epoch(run, loss, moved)
                if not isfinite(loss) or not np.isfinite(run.params).all():
                    raise self._diverged(run, latest, previous, loss)
                run.epoch += 1
                run.loss_curve.append(loss)
                run.stopped = self.converged(run, loss, moved)
                # Two snapshots that change places: an interrupt while one is written leaves the other whole.
                previous.take(run)
                latest, previous = previous, latest
                if after_epoch is not None:
                    after_epoch(run)
            self.objective.finish(run, self.data)
        except BaseException as error:
            if not isinstance(error, NonFiniteLossError):
                run.take(latest)
            raise
        return run

    def _end_epoch(self, run, loss, moved):
        """The objective's end of an epoch, where there is something to do; returns what moved by that."""
        if isfinite(loss) and (moved or run.epoch == 0 or self.objective.moves_every_epoch):
            return self.objective.end_of_epoch(run, self.data, self._fused is not None)
        return 0

    def epoch(self, run):
        """All batches once; returns (loss_sum, weight_sum, moved)."""
        order = self._order(run)
        if self._fused is not None:
            sums = self._fused(order, self.batch_size)
            run.step += -(-len(order) // self.batch_size)
            return sums
        loss_sum, weight_sum, moved = 0.0, 0.0, 0
        for number, first in enumerate(range(0, len(order), self.batch_size)):
            batch = self._batch(order, first, number)
            loss, weight, gradient, changed = self.objective.step(run, batch)
            loss_sum, weight_sum, moved = loss_sum + loss, weight_sum + weight, moved + changed
            if not isfinite(loss):
                break
            self.optimizer.apply(run, gradient, weight)
            run.step += 1
        return loss_sum, weight_sum, moved

    def _order(self, run):
        """The epoch's order: a permutation seeded by the step, or the data's own for full batch."""
        n = len(self.data.X)
        if self.batch_size >= n:
            return self.data.index
        return self.backend.philox.permutation(n, self.settings.key, stream(Use.PERMUTATION, 0, run.restart), run.step)

    def _batch(self, order, first, number):
        if self.batch_size >= len(order):
            return self.data
        return self.data.take(order[first : first + self.batch_size], number)

    def converged(self, run, loss, moved):
        """Whether for ``n_iter_no_change`` epochs no assignment changed and the best loss stood."""
        tol = self.settings.tol
        if tol <= 0:
            return False
        stood = run.best - loss <= tol * max(1.0, abs(run.best)) if isfinite(run.best) else False
        run.stale = run.stale + 1 if stood and not moved else 0
        run.best = min(run.best, loss)
        return run.stale >= self.settings.n_iter_no_change

    def _diverged(self, run, latest, previous, loss):
        epoch = run.epoch
        run.take(latest)
        if not isfinite(self.objective.loss(run, self.data)):
            run.take(previous)
        what = f"the loss became {loss}" if not isfinite(loss) else "the parameters became non-finite"
        return NonFiniteLossError(
            f"{what} in epoch {epoch + 1} of {self.settings.epochs} (restart {run.restart + 1}, "
            f"learning_rate={self.settings.learning_rate:g}, optimizer={self.settings.optimizer!r}). "
            f"Try a smaller learning_rate, clip_norm, or scaling the data; "
            + ("the last finite parameters are kept in the estimator" if epoch else "nothing had been learnt yet")
        )
