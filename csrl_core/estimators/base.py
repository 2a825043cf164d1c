"""The base class of estimators of the joint assignment objective, with `fit` and `partial_fit`."""

import numpy as np
from sklearn.utils.validation import check_array

from csrl_core import backends
from csrl_core.backends import as_numpy
from csrl_core.callbacks import with_callbacks
from csrl_core.estimators.arguments import SharedArguments
from csrl_core.estimators.device_input import check_weight
from csrl_core.estimators.fitted import to_device_of
from csrl_core.estimators.fitting import Fit
from csrl_core.estimators.input_checks import check_alignment
from csrl_core.estimators.trained import TrainedEstimator
from csrl_core.training import compiling, persistence, sweeps, termination, units
from csrl_core.training.dask import computed
from csrl_core.training.dask.cluster import cluster_for
from csrl_core.training.draws import draw_key
from csrl_core.training.joint import JointAssignment
from csrl_core.training.on_disk import loaded
from csrl_core.training.run import as_batch


class BaseClusterSpecific(SharedArguments, TrainedEstimator):
    """The joint objective as a scikit-learn estimator; a subclass adds its arguments and its model."""

    takes_target = True  # whether `fit` accepts a target other than X

    @with_callbacks
    def fit(self, X, y=None, *, target=None, sample_weight=None, resume=None):
        """Learn clusters and their representations together.

        Parameters
        ----------
        X : array-like (n, d)
        y : ignored
        target : array-like (n, d), optional
            The samples to reconstruct, if not X itself (de-noising: X noisy, target clean).
        sample_weight : array-like (n,), optional
            Non-negative weights, 1 by default.
        resume : path, optional
            A checkpoint of this estimator on the same data, see `csrl_core.callbacks.Checkpoint`. The result is that of
            an uninterrupted fit, bit for bit: the same loss curve, parameters and predictions. Arguments and callbacks
            must be the same as before. Exceptions are ``n_jobs``, ``verbose``, ``random_state`` (the checkpoint's is
            used), ``backend`` (another one rounds differently), and counts that may grow: ``n_init``, and ``epochs``
            in the first restart, with a constant rate. A fit that had used all its epochs then continues; a fit that
            converged, or that a callback stopped, does not.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            An argument is not valid; the message names it.
        NonFiniteLossError
            Training diverged; the estimator keeps the last parameters with a finite loss.

        Warns
        -----
        ConvergenceWarning
            The loss rose, or still fell at the end, ``tol`` was not reached, a cluster has no samples, or a Boltzmann
            machine has learnt next to nothing; the message says what to change.
        """
        self._validate_params()
        with cluster_for(X, target), self._features_of_the_last_fit():
            X, target, weight = self._check_data(X, target, sample_weight, reset=True)
            self._check_enough(weight)
            backend = backends.get(self.backend)
            with termination.raised(), backend.threads(self.n_jobs), compiling.of_fit(self, backend):
                fit = self._new_fit(backend, (X, y, target, weight), resume)
                self._warn(fit, fit.train())
        return self

    def _new_fit(self, backend, given, resume):
        """The `Fit` of checked data, resumed if there is a checkpoint. given : (X, y, target, weight)."""
        X, y, target, weight = given[0], computed(given[1]), *given[2:]
        model = self._model(backend)
        X, target = self._in_memory_if_needed(model, X, target)
        given = X, y, target, weight
        self._supervise(model, y, len(X))
        checkpoint = persistence.read_checkpoint(resume, self, X, self._meaning) if resume is not None else None
        key, shift = checkpoint.key if checkpoint else draw_key(self.random_state), self._shift(model, target, weight)
        self._check_memory(backend, model, X, target, self.batch_size)
        init, batches = self._initial(target, shift, len(X)), self._batches(len(X))
        data = as_batch(X, target, weight, shift, backend)
        unit = units.of_state(checkpoint.run.state) if checkpoint else self._unit(model, data)
        objective = self._objective(model, backend, key, shift, init, batches, unit)
        data = units.scale(data, unit)
        fit = Fit(self, objective, data, self._settings(key, batches), given)
        if checkpoint:
            fit.resume(checkpoint, resume)
        return fit

    def partial_fit(self, X, y=None, *, target=None, sample_weight=None):
        """One optimizer step on a batch. Its samples are added to their clusters; earlier samples keep theirs.

        The first batch sets the initial centres and needs at least ``n_clusters`` rows. ``labels_`` and ``loss_`` are
        those of the batch. Parameters as in `fit`.
        """
        self._validate_params()
        first = not hasattr(self, "params_")
        if not first:
            self._check_fitted()
        X, target, weight = self._check_data(X, target, sample_weight, reset=first)
        X, target = loaded(X, target)
        if first:
            self._check_enough(weight, of_first_batch=True)
        backend = backends.get(self.backend)
        model = self._model(backend)
        self._supervise(model, y, len(X))
        with backend.threads(self.n_jobs):
            if first:
                key, shift = draw_key(self.random_state), self._shift(model, target, weight)
            else:
                key, shift = self._key, as_numpy(self.state_["shift"])
                X, target, weight = (array.astype(self.params_.dtype, copy=False) for array in (X, target, weight))
            self._check_memory(backend, model, X, target, batch_size=None)
            data = as_batch(X, target, weight, shift, backend)
            init = self._initial(target, shift, len(X)) if first else None
            unit = self._unit(model, data) if first else units.of_state(self.state_)
            objective = self._objective(model, backend, key, shift, init, 1, unit)
            data = units.scale(data, unit)
            if first:
                run = objective.start(data, 0)
                for name in ("sums", "totals", "counts"):  # the step below adds the batch
                    run.state[name][...] = 0
            else:
                run = self._fitted_run().on(backend)
                objective.set_layout(self._shapes)
            self._learn_batch(objective, run, data, first, to_device_of(X))
        return self

    def _supervise(self, model, y, n):
        """Give the model the labels y of the n samples of a fit. Most models learn from none."""

    def _check_data(self, X, target, sample_weight, reset):
        check_alignment(X, target=target, sample_weight=sample_weight)
        X = self._check_X(X, reset, accept_large_sparse=False)
        target = self._check_target(target, X)
        weight = check_weight(sample_weight, X)
        return X, target, weight

    @property
    def _by_likelihood(self):
        """Whether samples go to the cluster of the highest likelihood."""
        return self.assignment == "likelihood"

    def _shift(self, model, target, weight):
        """The vector that is subtracted from X, target and centres, so that float32 keeps its digits."""
        if not (model.translation_invariant and self._centred):
            return np.zeros(target.shape[1])
        mean = sweeps.weighted_mean(target, weight)
        # In the data's own dtype, so that X − shift rounds only once.
        return mean.astype(target.dtype).astype(np.float64)

    def _standing_steps(self, model, batches):
        """Optimizer steps during which the first assignment stands. batches : int, in each epoch."""
        epochs = model.standing_epochs if self.standing_epochs == "auto" else self.standing_epochs
        return np.inf if epochs is None else epochs * batches

    def _unit(self, model, data):
        """The unit in which to train (`csrl_core.training.units`); warns of data whose size a model is not made for.

        SGD's step size and the limit of the gradient's norm are in the data's units, so these stay.
        """
        size, free = units.size(data), self.optimizer == "adam" and self.clip_norm is None
        if model.homogeneous and (free or model.minimise is not None):
            unit = units.near(size, data.X.dtype.itemsize)
            if unit != 1:
                return unit
        self._warn_of_size(size)
        return 1.0

    def _objective(self, model, backend, key, shift, init, batches, unit=1.0):
        return JointAssignment(
            model,
            backend,
            n_clusters=self.n_clusters,
            center=self._centred,
            assign_first=self.update == "assign-then-step",
            running=self.center_update == "running",
            init=init if init is None or isinstance(init, str) or init.ndim == 1 else init / unit,
            key=key,
            frame=units.Frame(shift / unit, unit),
            rule=self._rule(model, backend),
            standing_steps=self._standing_steps(model, batches),
        )

    def _rule(self, model, backend):
        return model.likelihood(backend, self.n_features_in_, self._centred) if self._by_likelihood else None

    def _code_width(self):
        """The width h of the codes for the likelihood; None if only the model knows it."""
        return None

    def _state_shapes(self):
        required, optional = super()._state_shapes()
        if self._by_likelihood:
            k, h = self.n_clusters, self._code_width()
            required |= {
                "scatter": ((k, h, h), np.float64),
                "noise": ((k,), np.float64),
                "moment_totals": ((k,), np.float64),
                "moment_counts": ((k,), np.int64),
                "floor": ((1,), np.float64),
            }
        return required, optional

    def _initial(self, target, shift, n):
        """``init``, checked, for the objective: a name, labels (n,), or centres (k, d) less the shift."""
        if isinstance(self.init, str):
            return self.init
        init = as_numpy(self.init)
        if init.ndim == 1:
            return self._check_labels(init, n, "init")
        init = check_array(init, dtype=np.float64, input_name="init")
        if init.shape != (self.n_clusters, target.shape[1]):
            raise ValueError(
                f"init has shape {init.shape}; expected centres of shape "
                f"(n_clusters, n_features) = {(self.n_clusters, target.shape[1])}, or labels of shape ({n},)"
            )
        return init - shift
