"""What the estimators of all objectives share: settings, memory, warnings, and what a fit leaves in them."""

import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from csrl_core.backends import as_numpy, is_device_array
from csrl_core.callbacks import CallbackSupportMixin
from csrl_core.estimators.answers import FittedMethods
from csrl_core.estimators.fitting import attributes
from csrl_core.training import units
from csrl_core.training.convergence import unconverged_message
from csrl_core.training.empty_clusters import empty_clusters_message
from csrl_core.training.joint import LARGE_BATCH
from csrl_core.training.loop import NonFiniteLossError, Optimizer
from csrl_core.training.on_disk import is_on_disk, loaded
from csrl_core.training.run import Run, Settings


class TrainedEstimator(CallbackSupportMixin, FittedMethods, BaseEstimator):
    """An estimator with the arguments of `csrl_core.estimators.arguments.TrainingArguments`, whatever its objective."""

    _fewest_clusters = 1

    @contextmanager
    def _features_of_the_last_fit(self):
        """Restore the features of the last fit if this fit fails and leaves the parameters of the last."""
        params, names = vars(self).get("params_"), ("n_features_in_", "feature_names_in_", "_other_names", "scaling_")
        before = {name: vars(self)[name] for name in names if name in vars(self)}
        try:
            yield
        except BaseException:
            if vars(self).get("params_") is params:
                for name in names:
                    vars(self).pop(name, None)
                vars(self).update(before)
            raise

    def _warn(self, fit, run):
        messages = self._convergence_messages(fit.objective, run, fit.data, fit.trainer.settings) if run.epoch else ()
        for message in messages:
            warnings.warn(message, ConvergenceWarning, stacklevel=4)

    _made_for_a_size = True
    """Whether starts and step sizes are made for values near 1, so that others call for a warning."""

    def _warn_of_size(self, size):
        message = units.unusual(size, type(self).__name__) if self._made_for_a_size else None
        if message is not None:
            warnings.warn(message, UserWarning, stacklevel=6)

    def _convergence_messages(self, objective, run, data, settings, advice=""):
        """The warnings after a fit: it ended too early, or clusters have no samples (one message for all of them)."""
        empty = empty_clusters_message(
            *(as_numpy(self.labels_), as_numpy(data.weight), self.n_clusters, advice, data.X),
            least=self._fewest_clusters,
            init=hasattr(self, "init"),
        )
        messages = [unconverged_message(run, settings, objective.loss_falls), empty]
        return [message for message in messages if message is not None]

    def _learn_batch(self, objective, run, data, first, convert):
        """The step of `partial_fit`: learn from a batch, and set the fitted attributes.

        first : bool, whether the state already has the batch; convert : brings arrays to the device of the user's X
        """
        loss_sum, weight_sum, gradient = objective.accumulate(run, data, first)
        settings = replace(self._settings(objective.key, batches=1), decay_steps=0)  # it has no last step
        Optimizer(objective.backend, settings).apply(run, gradient, weight_sum)
        if not (np.isfinite(loss_sum) and np.isfinite(run.params).all()):
            raise NonFiniteLossError(
                f"the loss of the batch is {loss_sum} in partial_fit; try a smaller learning_rate than "
                f"{settings.learning_rate:g}, or scale the data. The estimator is as it was before the call"
            )
        run.step, run.epoch = run.step + 1, run.epoch + 1
        run.loss_curve.append(loss_sum / weight_sum * units.of_state(run.state) ** 2)
        self._install(attributes(self, objective, run, data, convert))

    def _fitted_run(self):
        """A run that continues from the fitted attributes, in arrays of its own."""
        run = Run(self.params_, units.in_unit(self.state_), moments=self._moments).copy()
        run.step, run.epoch, run.n_reseeded = self.n_steps_, self.n_iter_, self.n_reseeded_
        run.loss_curve = list(self.loss_curve_)
        return run

    def _check_enough(self, weight, of_first_batch=False):
        """Refuse fewer samples than clusters; samples of weight 0 do not count."""
        n = int((weight > 0).sum())
        if n < self.n_clusters:
            only_weighted = " with a positive sample_weight" if n < len(weight) else ""
            actual, expected = f"n_samples={n}{only_weighted}", f"should be >= n_clusters={self.n_clusters}"
            if of_first_batch:
                raise ValueError(f"the first batch has {actual}, which {expected}: it sets the initial centres")
            raise ValueError(f"{actual} {expected}")

    def _meaning(self, name, value):
        """What the value of an argument stands for, where that does not depend on the data."""
        return value

    def _epochs(self, batches):
        """The number of epochs. batches : int, in each epoch."""
        return self.epochs

    def _batches(self, n):
        """The number of batches in an epoch of n samples."""
        return 1 if self.batch_size is None else -(-n // self.batch_size)

    def _in_memory_if_needed(self, model, *arrays):
        """The samples of a fit, read into memory if each batch is all of them and they are few.

        Raises
        ------
        ValueError
            They are many, and ``model`` cannot learn from parts of a batch.
        """
        X = arrays[0]
        if not is_on_disk(*arrays) or self._batches(len(X)) > 1:
            return arrays
        coupled = getattr(model, "couples_batch", True)
        if not coupled and getattr(X, "on_workers", False) and getattr(model, "minimise", None) is None:
            return arrays
        if X.size <= LARGE_BATCH:
            return loaded(*arrays)
        if coupled:
            raise ValueError(
                f"batch_size={self.batch_size!r} takes all {len(X)} samples at once, which are on disk, and this model "
                f"needs all of a batch in memory; choose a batch_size, or load X"
            )
        return arrays

    def _settings(self, key, batches):
        epochs = self._epochs(batches)
        return Settings(
            epochs=epochs,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            clip_norm=self.clip_norm,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            decay_steps=epochs * batches if self.learning_rate_schedule == "cosine" else 0,
            key=key,
        )

    def _check_memory(self, backend, model, X, target, batch_size):
        """Refuse data that do not fit into the device's memory, before anything is sent to it."""
        if not backend.on_device:
            return
        (n, d), k, itemsize = X.shape, self.n_clusters, X.dtype.itemsize
        data = itemsize * n * (d * (1 if target is X else 2) + 1) + 8 * (2 * n + 2 * k * (d + 1))
        # The user's own arrays stay on the device as well.
        data += itemsize * n * (d * (0 if target is X else 1) + d) * is_device_array(X)

        def of_batch(rows):
            gathered = 0 if rows == n else itemsize * rows * (2 * d + 1)
            return gathered + model.batch_bytes(rows, d, k, itemsize)

        backend.check_memory(data, of_batch, n if batch_size is None else min(n, batch_size))

    def _install(self, attributes):
        vars(self).update(attributes)  # one call: an interrupt leaves all of them or none
