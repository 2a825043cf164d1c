"""The training loop that all objectives share: epochs, batches, optimizer, clipping, stopping.

An `Objective` defines the loss, and whether there are clusters (`csrl_core.training.joint` is the joint assignment
objective). All that changes during training is in a `csrl_core.training.run.Run`, in arrays that are changed in place.
So a run can be copied, saved at the end of any epoch, and continued with the same loss curve.
"""

from abc import ABC, abstractmethod
from math import isfinite

import numpy as np

from csrl_core.training import units
from csrl_core.training.draws import Use, stream


class NonFiniteLossError(FloatingPointError):
    """The loss or the parameters became infinite or NaN during training."""


class Objective(ABC):
    """What training minimises. Methods may change the arrays of a run's ``state`` in place; no gradient trains them."""

    moves_every_epoch = False
    """Whether `end_of_epoch` must also be called after an epoch in which nothing moved."""

    loss_falls = True
    """Whether training lowers the loss. If so, a loss that still falls at the end calls for more epochs."""

    @abstractmethod
    def start(self, data, restart):
        """A new `Run` on ``data`` (a `Batch` of all samples): initial parameters and state."""

    def begin(self, run, data):  # noqa: B027 (a hook that may be left empty)
        """Called before a run trains, both for a new run and for a resumed one."""

    @abstractmethod
    def step(self, run, batch):
        """Evaluate one batch at the run's parameters, before the optimizer's step, and update the run's state.

        Returns
        -------
        loss_sum, weight_sum : float
        gradient : (p,), of loss_sum
        moved : int, how many changes there were that no gradient made (0 lets training stop)
        """

    def fused_epoch(self, run, data, settings):
        """A function (order, batch_size) → (loss_sum, weight_sum, moved) that computes a whole epoch, or None."""
        return None

    def end_of_epoch(self, run, data, fused):
        """Update the state after an epoch in which it changed; returns how much moved here.

        fused : bool, whether the function of `fused_epoch` computed the epoch
        """
        return 0

    def finish(self, run, data):  # noqa: B027
        """Called after the last epoch of a run."""

    def loss(self, run, data):
        """The objective at the run's parameters."""
        return run.loss_curve[-1] if run.loss_curve else np.inf

    def selection_score(self, run, data):
        """The score by which restarts are compared: the larger, the better."""
        return -run.loss_curve[-1] if run.loss_curve else -np.inf


class Optimizer:
    """Updates a run's parameters by a backend's optimizer kernel."""

    def __init__(self, backend, settings):
        self.kernel, self.settings = backend.optimizer, settings

    def apply(self, run, gradient, weight_sum):
        """One optimizer step with the mean gradient; a batch without weight changes nothing."""
        if weight_sum <= 0:
            return
        state = self.settings.optimizer_state(run)
        scale = self.kernel.mean_scale(gradient, weight_sum, state.clip_norm)
        self.kernel.update(run.params, gradient, scale, state)


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
        self.optimizer, self.stepper = Optimizer(backend, settings), objective
        n = len(data.X)
        self.batch_size = n if settings.batch_size is None else min(settings.batch_size, n)

    def train(self, run, after_epoch=None):
        """Train until all epochs are done or the run is stopped, then call the objective's `finish`.

        ``after_epoch(run)`` is called at the end of every epoch and may set ``run.stopped``. It always sees the run
        before `finish`. So do the checkpoints that it writes: a run that is resumed for more epochs has not been
        finished.

        Raises
        ------
        NonFiniteLossError
            The run holds the last parameters with a finite loss.
        KeyboardInterrupt
            The run holds the state of the last whole epoch, as after any other exception.
        """
        self.objective.begin(run, self.data)
        latest, previous, square = run.copy(), run.copy(), units.of_state(run.state) ** 2
        self._fused = self.fused_epoch(run)
        try:
            while run.epoch < self.settings.epochs and not run.stopped:
                loss_sum, weight_sum, moved = self.epoch(run)
                loss = loss_sum / weight_sum if weight_sum > 0 else 0.0
                moved += self._end_epoch(run, loss, moved)
                if not isfinite(loss) or not np.isfinite(run.params).all():
                    raise self._diverged(run, latest, previous, loss)
                run.epoch += 1
                run.loss_curve.append(loss * square)
                run.stopped = self.converged(run, loss, moved)
                # Two snapshots in turn: an interrupt while one is written leaves the other complete.
                previous.copy_from(run)
                latest, previous = previous, latest
                if after_epoch is not None:
                    after_epoch(run)
            self.objective.finish(run, self.data)
        except BaseException as error:
            if not isinstance(error, NonFiniteLossError):
                run.copy_from(latest)
            raise
        return run

    def _end_epoch(self, run, loss, moved):
        """Call the objective's `end_of_epoch` if it has work to do; returns how much moved there."""
        if isfinite(loss) and (moved or run.epoch == 0 or self.objective.moves_every_epoch):
            return self.objective.end_of_epoch(run, self.data, self._fused is not None)
        return 0

    def fused_epoch(self, run):
        """As of `Objective`."""
        return self.objective.fused_epoch(run, self.data, self.settings)

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
            loss, weight, gradient, changed = self.stepper.step(run, batch)
            loss_sum, weight_sum, moved = loss_sum + loss, weight_sum + weight, moved + changed
            if not isfinite(loss):
                break
            self.optimizer.apply(run, gradient, weight)
            run.step += 1
        return loss_sum, weight_sum, moved

    def _order(self, run):
        """The order of the samples in an epoch: a permutation seeded by the step; for full batch that of the data."""
        n = len(self.data.X)
        if self.batch_size >= n:
            return self.data.index
        return self.backend.philox.permutation(n, self.settings.key, stream(Use.PERMUTATION, 0, run.restart), run.step)

    def _batch(self, order, first, number):
        if self.batch_size >= len(order):
            return self.data
        return self.data.take(order[first : first + self.batch_size], number)

    def converged(self, run, loss, moved):
        """Whether in ``n_iter_no_change`` epochs no assignment changed and the best loss did not improve."""
        tol = self.settings.tol
        if tol <= 0:
            return False
        no_better = run.best - loss <= tol * max(1.0, abs(run.best)) if isfinite(run.best) else False
        run.stale = run.stale + 1 if no_better and not moved else 0
        run.best = min(run.best, loss)
        return run.stale >= self.settings.n_iter_no_change

    def _diverged(self, run, latest, previous, loss):
        """The error to raise, after the run was set back to its last finite parameters."""
        epoch = run.epoch
        run.copy_from(latest)
        if not isfinite(self.objective.loss(run, self.data)):
            run.copy_from(previous)
        what = f"the loss became {loss}" if not isfinite(loss) else "the parameters became non-finite"
        return NonFiniteLossError(
            f"{what} in epoch {epoch + 1} of {self.settings.epochs} (restart {run.restart + 1}, "
            f"learning_rate={self.settings.learning_rate:g}, optimizer={self.settings.optimizer!r}). "
            f"Try a smaller learning_rate, clip_norm, or scaling the data; "
            + ("the last finite parameters are kept in the estimator" if epoch else "nothing had been learnt yet")
        )
