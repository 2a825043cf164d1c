"""The base class of estimators whose loss belongs to a whole batch, and which find clusters when training ends."""

from abc import abstractmethod

import numpy as np
from sklearn.utils.validation import check_array

from csrl_core import backends
from csrl_core.backends import as_numpy
from csrl_core.callbacks import with_callbacks
from csrl_core.estimators.arguments import TrainingArguments
from csrl_core.estimators.device_input import FLOATS, check_weight
from csrl_core.estimators.fitted import FittedModel, to_device_of
from csrl_core.estimators.fitting import Fit
from csrl_core.estimators.input_checks import check_alignment
from csrl_core.estimators.trained import TrainedEstimator
from csrl_core.training import compiling, persistence, termination, units
from csrl_core.training.batch import BatchObjective
from csrl_core.training.dask import computed
from csrl_core.training.dask.cluster import cluster_for
from csrl_core.training.draws import draw_key
from csrl_core.training.on_disk import loaded
from csrl_core.training.parameters import check_shape
from csrl_core.training.run import as_batch


class FittedBatchModel(FittedModel):
    """A fitted `BatchModel`: features of samples, and what they cost in every cluster."""

    def losses(self, x):
        """Costs (n, k) of the features."""
        L = self.model.costs(self.parameters, self.features(x))
        check_shape(self.model, L, (len(x), self.estimator.n_clusters), "costs")
        return L

    def features(self, x):
        """Features (n, h)."""
        return self.backend.own(self.model.features(self.parameters, x))

    def embed(self, x):
        """Features (n, k, h), the same under every cluster."""
        return self.features(x)[:, None].repeat(self.estimator.n_clusters, axis=1)

    def embed_assigned(self, x):
        """(features (n, h), None)."""
        return self.features(x), None


class BaseBatchModel(TrainingArguments, TrainedEstimator):
    """A `csrl_core.models.base.BatchModel` as a scikit-learn estimator; a subclass adds its arguments and its model."""

    takes_target = False
    _DESCRIBING = ("n_clusters",)
    _by_likelihood = _centred = False
    _one_space = True

    @with_callbacks
    def fit(self, X, y=None, *, sample_weight=None, resume=None):
        """Learn features of the samples, then cluster these.

        Parameters
        ----------
        X : array-like (n, d)
        y : ignored
        sample_weight : array-like (n,), optional
            Non-negative weights, 1 by default.
        resume : path, optional
            A checkpoint of this estimator on the same data, see `csrl_core.callbacks.Checkpoint`, as for every
            estimator: the result is that of an uninterrupted fit, bit for bit.

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
            The loss rose, or still fell at the end, or a cluster has no samples; the message says what to change.
        """
        return self._fit(X, y, sample_weight, resume)

    def _fit(self, X, y, sample_weight, resume, others=lambda X: ()):
        """`fit`; others : function that gives other arrays (m, d) on which the fit depends, once X is checked."""
        self._validate_params()
        with cluster_for(X), self._features_of_the_last_fit():
            X, weight = self._check_data(X, sample_weight, reset=True)
            self._check_enough(weight)
            others, backend = others(X), backends.get(self.backend)
            with termination.raised(), backend.threads(self.n_jobs), compiling.of_fit(self, backend):
                fit = self._new_fit(backend, (X, y, weight), others, resume)
                self._warn(fit, fit.train())
        return self

    def _new_fit(self, backend, given, others, resume):
        """The `Fit` of checked data, resumed if there is a checkpoint. given : (X, y, weight); others : of `_fit`"""
        X, y, weight = given[0], computed(given[1]), given[2]
        [X] = self._in_memory_if_needed(None, X)
        checkpoint = persistence.read_checkpoint(resume, self, X, self._meaning) if resume is not None else None
        key = checkpoint.key if checkpoint else draw_key(self.random_state)
        self._check_memory(backend, self._model(backend), X, X, self.batch_size)
        model = self._model(backend, X, weight, others if checkpoint is None else (), key)
        objective, batches = BatchObjective(model, backend, self.n_clusters, key), self._batches(len(X))
        given = X, y, np.concatenate(others) if others else X, weight  # for checksums
        data = self._batch(X, weight, backend)
        self._warn_of_size(units.size(data))
        fit = Fit(self, objective, data, self._settings(key, batches), given)
        if checkpoint:
            fit.resume(checkpoint, resume)
        return fit

    @abstractmethod
    def _model(self, backend, X=None, weight=None, others=(), key=None):
        """The `BatchModel`. X, weight, others, key : of a fit that begins, for what depends on them"""

    def _batch(self, X, weight, backend):
        """All samples as one `Batch`."""
        return as_batch(X, X, weight, np.zeros(X.shape[1]), backend)

    def partial_fit(self, X, y=None, *, sample_weight=None):
        """One optimizer step on a batch, which is added to what was seen before. Parameters as in `fit`.

        The first batch needs at least ``n_clusters`` rows, and so does every other, since ``labels_`` are those of the
        batch: its own features are clustered.
        """
        self._validate_params()
        first = not hasattr(self, "params_")
        if not first:
            self._check_fitted()
        X, weight = self._check_data(X, sample_weight, reset=first)
        self._check_enough(weight)
        [X] = loaded(X)
        backend = backends.get(self.backend)
        with backend.threads(self.n_jobs):
            if not first:
                X, weight = (array.astype(self.params_.dtype, copy=False) for array in (X, weight))
            key = draw_key(self.random_state) if first else self._key
            data, model = self._batch(X, weight, backend), self._model(backend, X, weight, (), key)
            self._check_memory(backend, model, X, X, batch_size=None)
            objective = BatchObjective(model, backend, self.n_clusters, key)
            if first:
                run = objective.start(data, 0)
            else:
                run = self._fitted_run().on(backend)
                objective.set_layout(self._shapes)
            self._learn_batch(objective, run, data, first, to_device_of(X))
        return self

    def _check_data(self, X, sample_weight, reset):
        check_alignment(X, sample_weight=sample_weight)
        X = self._check_X(X, reset, accept_large_sparse=False)
        weight = check_weight(sample_weight, X)
        return X, weight

    # Fitted

    def _fitted(self, dtype, params=None, centers=None):
        return FittedBatchModel(self, dtype, params)

    def _rule(self, model, backend):
        return None

    def _has_decoder(self):
        return False

    def _has_likelihood(self):
        raise AttributeError(f"{type(self).__name__} has no likelihood")

    def value_and_gradient(self, X, index=None, *, params=None):
        """The loss of a batch times its number of samples, and its gradient with respect to ``params``.

        For finite differences and `scipy.optimize.minimize`: always the same random numbers, statistics of the batch.

        Parameters
        ----------
        X : array-like (n, d)
        index : array-like (n,) of int, optional
            Which of the training samples these are, by default the first n.
        params : array-like (p,), optional
            Instead of ``params_``.

        Returns
        -------
        value : float
        gradient : ndarray (p,)
        """
        fitted, batch, convert = self._evaluated_batch(X, index, params)
        with fitted.threads():
            value, _, gradient = fitted.model.loss_and_gradient(fitted.parameters, batch, fitted.draw())
        return value, convert(gradient)

    def _evaluated_batch(self, X, index, params):
        """(`FittedBatchModel`, `Batch`, function that brings arrays to X's device), for `value_and_gradient`."""
        self._check_fitted()
        [X] = loaded(self._check_X(X, False))
        convert, params = to_device_of(X), as_numpy(self.params_ if params is None else params)
        params = check_array(params, dtype=FLOATS, ensure_2d=False, input_name="params")
        if params.shape != self.params_.shape:
            raise ValueError(f"params has shape {params.shape}; expected {self.params_.shape}")
        dtype = np.result_type(X.dtype, params.dtype)
        fitted = self._fitted(dtype, params)
        X, own = fitted.backend.own(X, dtype), fitted.backend.own
        index = np.arange(len(X)) if index is None else np.asarray(as_numpy(index))
        state = fitted.parameters.state
        n = min((len(state[name]) for name in fitted.model.of_samples if name in state), default=len(X))
        if index.shape != (len(X),) or index.dtype.kind not in "iu" or index.size > n or not _within(index, n):
            raise ValueError(
                f"index has shape {index.shape} and dtype {index.dtype}; expected ({len(X)},) different ints from 0 to "
                f"{n - 1}, places among the training samples"
            )
        data = self._batch(X, own(np.ones(len(X), dtype)), fitted.backend)
        fitted.rows = own(index.astype(np.int64))
        return fitted, data._replace(index=fitted.rows), convert

    def _state_shapes(self):
        required, _ = super()._state_shapes()
        return {name: required[name] for name in ("assign", "centers", "shift")}, {}


def _within(index, n):
    return index.size == 0 or (index.min() >= 0 and index.max() < n and len(np.unique(index)) == len(index))
