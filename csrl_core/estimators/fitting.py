"""One fit: runs of one objective on one data set, what callbacks and checkpoints see of them, and what is kept."""

from copy import copy
from dataclasses import replace
from functools import cached_property

import numpy as np

from csrl_core.estimators.fitted import home_of
from csrl_core.training import persistence
from csrl_core.training.exact import ExactSolver
from csrl_core.training.file_checks import data_digest
from csrl_core.training.loop import Trainer
from csrl_core.training.reporter import Reporter


class Fit:
    """A fit of an estimator.

    estimator : `BaseClusterSpecific`; objective : JointAssignment; data : Batch of all samples
    given : (X, y, target, weight) as the user gave them, checked; checkpoint : `persistence.CheckpointState` or None
    """

    def __init__(self, estimator, objective, data, settings, given):
        self.estimator, self.objective, self.data, self.given = estimator, objective, data, given
        solver = ExactSolver if objective.model.minimise else Trainer
        self.trainer = solver(objective, data, settings, objective.backend)
        self.home = home_of(given[0])
        self.run = self.best = None
        self.best_score, self.first = -np.inf, 0
        self.reporter = Reporter(
            estimator, *given[:2], estimator.n_init, settings.epochs, self.save_checkpoint, self.snapshot
        )

    @cached_property
    def digest(self):
        """Checksums of what was given: taken once, and only where a checkpoint needs them."""
        X, _, target, weight = self.given
        return data_digest(X, target, weight)

    def resume(self, checkpoint, path):
        """Begin where a checkpoint stands."""
        objective, backend = self.objective, self.objective.backend
        if checkpoint.data is not None:
            persistence.check_data(path, checkpoint.data, self.digest)
        persistence.check_counts(path, checkpoint, self.estimator, self.trainer.settings.epochs)
        objective.set_layout(checkpoint.shapes)
        self.run, self.first = checkpoint.run.on(backend), checkpoint.run.restart
        self.best, self.best_score = checkpoint.best and checkpoint.best.on(backend), checkpoint.best_score
        objective.check_data(self.run, self.data, path)
        self.reporter.resume(self.run, checkpoint.callbacks, path)

    def train(self):
        """All restarts; the best is installed in the estimator, also what there is when it is interrupted.

        Returns
        -------
        run : Run, the best
        """
        after_epoch = (lambda run: self.reporter.after_epoch(run, self.attributes)) if self.reporter.listening else None
        n_init = self.estimator.n_init
        try:
            for restart in range(self.first, n_init):
                self.reporter.begin_restart()
                if self.run is None or self.run.restart != restart:
                    self.run = self.objective.start(self.data, restart)
                self.trainer.train(self.run, after_epoch)
                enough = self.reporter.end_restart()
                score = self.objective.selection_score(self.run, self.data) if n_init > 1 else 0.0
                if self.best is None or score > self.best_score:
                    self.best, self.best_score = self.run, score
                if enough:
                    break
            self.run = self.best
            self.estimator._install(self.attributes())
        except BaseException:
            # Nothing learnt is lost: the best run so far, or the one that was stopped.
            kept = self.best if self.best is not None else self.run
            if kept is not None and kept.epoch:
                self.estimator._install(self.attributes(kept))
            raise
        self.reporter.end()
        return self.run

    def save_checkpoint(self, path):
        """Write what training needs to go on from here."""
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
        """A copy of the estimator that is fitted as the run stands, in the run's own arrays."""
        fitted = copy(self.estimator)
        fitted._install(learnt(self.estimator, self.objective, self.run))
        return fitted

    def attributes(self, run=None):
        """Everything that a fit leaves, as a dict."""
        return attributes(self.estimator, self.objective, run or self.run, self.data, self.home)


def attributes(estimator, objective, run, data, home):
    """Everything that a fit leaves, as a dict; home : where arrays go, a function of an array."""
    state = {name: array.copy() for name, array in run.state.items()}
    if objective.running:
        objective.backend.assign.means(state["sums"], state["totals"], state["centers"], 0)
    labels, loss = objective.final(replace(run, state=state), data)
    return learnt(estimator, objective, run) | {
        "params_": home(run.params.copy()),
        "state_": {name: home(array) for name, array in state.items()},
        "labels_": home(labels),
        "loss_": loss,
        "cluster_centers_": home((state["centers"] + state["shift"]).astype(run.params.dtype)),
        "_moments": home(run.moments.copy()),
    }


def learnt(estimator, objective, run):
    """Of the fitted attributes those that a run has at any time, in its own arrays."""
    return {
        "params_": run.params,
        "state_": run.state,
        "loss_curve_": list(run.loss_curve),
        "n_iter_": run.epoch,
        "n_steps_": run.step,
        "n_reseeded_": run.n_reseeded,
        "backend_": objective.backend.name,
        "_key": objective.key,
        "_shapes": objective.layout.shapes,
        "_fitted_as": estimator._description(),
    }
