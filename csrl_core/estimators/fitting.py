"""One fit: all restarts of an objective on a data set, with callbacks and checkpoints, and the fitted attributes."""

from copy import copy
from dataclasses import replace
from functools import cached_property

import numpy as np

from csrl_core.estimators.fitted import to_device_of
from csrl_core.training import persistence, units
from csrl_core.training.exact import ExactSolver
from csrl_core.training.file_checks import data_digest
from csrl_core.training.loop import Trainer
from csrl_core.training.reporter import Reporter


class Fit:
    """A fit of an estimator.

    estimator : `TrainedEstimator`; objective : JointAssignment or BatchObjective; data : Batch of all samples
    given : (X, y, target, weight) as the user gave them, checked
    """

    def __init__(self, estimator, objective, data, settings, given):
        self.estimator, self.objective, self.data, self.given = estimator, objective, data, given
        self.trainer = _solver(objective, data)(objective, data, settings, objective.backend)
        self.to_device_of_X = to_device_of(given[0])
        self.run = self.best = None
        self.best_score, self.first = -np.inf, 0
        self.reporter = Reporter(
            estimator, *given[:2], estimator.n_init, settings.epochs, self.save_checkpoint, self.snapshot
        )

    @cached_property
    def digest(self):
        """Checksums of the given data, computed once, and only if a checkpoint needs them."""
        X, _, target, weight = self.given
        return data_digest(X, target, weight)

    def resume(self, checkpoint, path):
        """Continue from a checkpoint. checkpoint : `persistence.CheckpointState`; path : of its file, for messages."""
        objective, backend = self.objective, self.objective.backend
        if checkpoint.data is not None:
            persistence.check_data(path, checkpoint.data, self.digest)
        given = self.estimator._meaning("epochs", self.estimator.epochs)
        persistence.check_counts(path, checkpoint, self.estimator, self.trainer.settings.epochs, given)
        objective.set_layout(checkpoint.shapes)
        self.run, self.first = checkpoint.run.on(backend), checkpoint.run.restart
        self.best, self.best_score = checkpoint.best and checkpoint.best.on(backend), checkpoint.best_score
        objective.check_data(self.run, self.data, path)
        self.reporter.resume(self.run, checkpoint.callbacks, path)

    def train(self):
        """Train all restarts and give the estimator the attributes of the best; after an interrupt the best so far.

        Returns
        -------
        run : Run, the best
        """
        after_epoch = (lambda run: self.reporter.after_epoch(run, self.attributes)) if self.reporter.needed else None
        n_init = self.estimator.n_init
        try:
            for restart in range(self.first, n_init):
                self.reporter.begin_restart()
                if self.run is None or self.run.restart != restart:
                    self.run = self.objective.start(self.data, restart)
                self.trainer.train(self.run, after_epoch)
                stop = self.reporter.end_restart()
                score = self.objective.selection_score(self.run, self.data) if n_init > 1 else 0.0
                if self.best is None or score > self.best_score:
                    self.best, self.best_score = self.run, score
                if stop:
                    break
            self.run = self.best
            self.estimator._install(self.attributes())
        except BaseException:
            # Keep what was learnt: the best run so far, or the one that was interrupted.
            kept = self.best if self.best is not None else self.run
            if kept is not None and kept.epoch:
                self.estimator._install(self.attributes(kept, at_once=True))
            raise
        self.reporter.end()
        return self.run

    def save_checkpoint(self, path):
        """Write a checkpoint of the present state."""
        state = persistence.CheckpointState(
            self.objective.key,
            self.objective.layout.shapes,
            self.run,
            self.best,
            self.best_score,
            self.estimator.epochs,
            self.reporter.states(),
            self.digest,
        )
        persistence.write_checkpoint(path, self.estimator, state)

    def snapshot(self):
        """A copy of the estimator, fitted with the present run's own arrays."""
        fitted = copy(self.estimator)
        fitted._install(attributes_without_labels(self.estimator, self.objective, self.run))
        return fitted

    def attributes(self, run=None, at_once=False):
        """All fitted attributes, as a dict. at_once : bool, without what takes long, after an interrupt"""
        return attributes(self.estimator, self.objective, run or self.run, self.data, self.to_device_of_X, at_once)


def _solver(objective, data):
    """The class that trains the runs."""
    if getattr(objective.model, "minimise", None):
        return ExactSolver
    if getattr(data.X, "on_workers", False):
        from csrl_core.training.dask import steps

        if steps.applies(objective, data):
            return steps.DaskTrainer
    return Trainer


def attributes(estimator, objective, run, data, convert, at_once=False):
    """All fitted attributes, as a dict. convert : function that brings an array to the device of the user's X."""
    state = {name: array.copy() for name, array in run.state.items()}
    if objective.running:
        objective.backend.assign.means(state["sums"], state["totals"], state["centers"], 0)
    labels, loss = (objective.known if at_once else objective.final)(replace(run, state=state), data)
    unit, state = units.of_state(state), units.given_back(state)
    return attributes_without_labels(estimator, objective, run) | {
        "params_": convert(run.params.copy()),
        "state_": {name: convert(array) for name, array in state.items()},
        "labels_": convert(labels),
        "loss_": loss * unit**2,
        "cluster_centers_": convert((state["centers"] + state["shift"]).astype(run.params.dtype)),
        "_moments": convert(run.moments.copy()),
    }


def attributes_without_labels(estimator, objective, run):
    """The fitted attributes that need no pass over the data, in the run's own arrays (copies in another unit)."""
    return {
        "params_": run.params,
        "state_": units.given_back(run.state),
        "loss_curve_": list(run.loss_curve),
        "n_iter_": run.epoch,
        "n_steps_": run.step,
        "n_reseeded_": run.n_reseeded,
        "backend_": objective.backend.name,
        "_key": objective.key,
        "_shapes": objective.layout.shapes,
        "_fitted_as": estimator._description(),
    }
