"""Methods of fitted estimators: clusters, embeddings, reconstructions, scores.

They work in chunks of rows, so that data may be larger than memory (a memory map, files).
"""

from collections.abc import Mapping

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted

from csrl_core import backends
from csrl_core.backends import as_numpy, is_device_array
from csrl_core.estimators import saved
from csrl_core.estimators.checks import Checks
from csrl_core.estimators.device_input import FLOATS, check_beside
from csrl_core.estimators.fitted import FittedModel, to_device_of
from csrl_core.estimators.row_by_row import row_by_row
from csrl_core.training.likelihood import responsibilities
from csrl_core.training.on_disk import loaded
from csrl_core.training.parameters import Layout, check_shape
from csrl_core.training.passes import CHUNK
from csrl_core.training.run import as_batch


class FittedMethods(ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, Checks):
    """Mixin of the fitted estimator's methods (scikit-learn's mixins are its bases because they wrap `transform`)."""

    _loss_name = "loss"  # what the curve's axis says
    _one_space = False  # whether all clusters have the same embedding
    _numbered = False  # whether what a model says of a sample depends on the sample's number among all
    _first_row = 0  # number of the first sample that is given

    def _fitted(self, dtype, params=None, centers=None):
        """The `FittedModel` with the fitted parameters (or others) in one dtype."""
        return FittedModel(self, dtype, params, centers)

    def _has_decoder(self):
        """Whether the model has a method ``decode``."""
        return True

    def _has_likelihood(self):
        if not self._by_likelihood:
            raise AttributeError(
                f"{type(self).__name__} has a likelihood only with assignment='likelihood', not {self.assignment!r}"
            )
        return True

    def _has_gaussians(self):
        return self._has_likelihood()

    def _map(self, X, function):
        """``function(fitted, x)`` of every chunk x of the validated, shifted X, concatenated."""
        self._check_fitted()
        return self._map_checked(self._check_X(X, False), function)

    def _map_checked(self, X, function):
        """`_map` of data that have been checked."""
        fitted = self._fitted(X.dtype)
        to_device_of_X = fitted.backend.own if is_device_array(X) else as_numpy
        result = None
        with fitted.threads():
            for first in range(0, len(X), CHUNK):
                rows = slice(first, first + CHUNK)
                fitted.rows = fitted.backend.own(self._first_row + np.arange(first, min(first + CHUNK, len(X))))
                part = to_device_of_X(function(fitted, fitted.backend.own(X[rows]) - fitted.shift))
                if result is None:
                    result = np.empty_like(part, shape=(len(X), *part.shape[1:]), order="C")
                result[rows] = part
        return result

    def _complete(self, dtype):
        """Compute what a fit that was stopped has not, before others answer. dtype : of the samples"""
        fitted = self._fitted(dtype)
        with fitted.threads():
            fitted.complete()

    @row_by_row
    def cluster_losses(self, X):
        """L (n, k): the loss of every sample under every cluster's model."""
        return self._map(X, lambda fitted, x: fitted.losses(x))

    @row_by_row
    def predict(self, X):
        """The cluster of every sample, (n,) int64: lowest loss or highest likelihood; the first of equal clusters."""
        return self._map(X, lambda fitted, x: fitted.assign(x))

    @row_by_row
    def transform(self, X):
        """The embedding of every sample under its assigned cluster, (n, latent)."""
        return self._map(X, lambda fitted, x: fitted.embed_assigned(x)[0])

    @row_by_row
    def transform_all(self, X):
        """The embedding of every sample under every cluster, (n, k, latent)."""
        return self._map(X, lambda fitted, x: fitted.embed(x))

    @available_if(lambda estimator: estimator._has_decoder())
    @row_by_row
    def reconstruct(self, X):
        """The reconstruction of every sample by its assigned cluster's model, in input space, (n, d)."""
        return self._input_units(
            self._map(X, lambda fitted, x: fitted.decode(*fitted.embed_assigned(x)) + fitted.shift)
        )

    @available_if(lambda estimator: estimator._has_decoder())
    @row_by_row(beside=("labels",))
    def inverse_transform(self, Z, labels=None):
        """Decode embeddings into input space, (n, d).

        Parameters
        ----------
        Z : array-like (n, latent)
        labels : array-like (n,) of int, optional
            The cluster of each row, as `predict` gives it. An embedding alone does not tell which cluster it belongs
            to. Without labels every cluster decodes it, and the result is the decoding nearest to the centre of the
            cluster that decoded it.
        """
        self._check_fitted()
        Z, to_device_of_Z = self._check_embedding(Z)
        if Z.shape[1] != self._n_features_out:
            raise ValueError(f"Z has {Z.shape[1]} columns; expected the {self._n_features_out} of the embedding")
        fitted = self._fitted(Z.dtype)
        with fitted.threads():
            own = fitted.backend.own
            if labels is not None:
                labels = own(self._check_labels(labels, len(Z)))
                return self._input_units(to_device_of_Z(fitted.decode(Z, labels) + fitted.shift))
            means = own(self.state_["centers"])
            X = best = None
            for j in range(self.n_clusters):
                decoded = fitted.decode(Z, np.full_like(Z, j, shape=(len(Z),), dtype=np.int64))
                # In float64 the squares of float32 do not overflow; if those of float64 do, the first cluster stays.
                distance = np.sum((decoded - means[j]) ** 2, axis=1, dtype=np.float64)
                if j == 0:
                    X, best = decoded.copy(), distance
                    continue
                nearer = distance < best
                X[nearer], best[nearer] = decoded[nearer], distance[nearer]
            return self._input_units(to_device_of_Z(X + fitted.shift))

    def _check_embedding(self, Z):
        """Z on the backend, and the function that brings results to Z's device."""
        if is_device_array(Z):
            return check_beside(self, Z, Z, "Z"), to_device_of(Z)
        Z = check_array(Z, dtype=FLOATS, order="C", input_name="Z")
        return backends.get(self.backend).own(Z), as_numpy

    @available_if(lambda estimator: estimator._has_likelihood())
    @row_by_row
    def predict_proba(self, X):
        """The probability of every cluster, π_j p_j(x) / Σ_l π_l p_l(x), (n, k). Only with assignment by likelihood."""
        return self._map(X, lambda fitted, x: responsibilities(fitted.costs(x)))

    @available_if(lambda estimator: estimator._has_gaussians())
    def gaussians(self):
        """π, σ² and Σ of the clusters (`csrl_core.training.likelihood.Gaussians`), with assignment by likelihood."""
        self._check_fitted()
        return self._fitted(self.params_.dtype).rule.gaussians(self.state_)

    @row_by_row
    def score_samples(self, X):
        """Scores (n,), the larger the better: log Σ_j π_j p_j(x) with assignment by likelihood, else −min_j L."""
        if self._by_likelihood:
            return self._map(X, lambda fitted, x: fitted.rule.log_density(fitted.costs(x)))
        return -self.cluster_losses(X).min(axis=1)

    def score(self, X, y=None, sample_weight=None):
        """The (weighted) mean of `score_samples`; y is ignored."""
        scores = as_numpy(self.score_samples(X)).astype(np.float64)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(as_numpy(sample_weight), scores[:, None], ensure_non_negative=True)
        return float(np.average(scores, weights=sample_weight))

    def named_parameters(self):
        """Dict of name → view into ``params_``, cluster axis first, in the order in which ``params_`` holds them."""
        self._check_fitted()
        return Layout(self._shapes).views(self.params_)

    def value_and_gradient(self, X, labels, *, target=None, params=None, centers=None):
        """Σ_i L[i, labels_i], not divided by n, and its gradient with respect to ``params``.

        For finite differences and `scipy.optimize.minimize`. Computed in the wider dtype of X and params.

        Parameters
        ----------
        X : array-like (n, d)
        labels : array-like (n,) of int
        target : array-like (n, d), optional
        params : array-like (p,), optional
            Instead of ``params_``.
        centers : array-like (k, d), optional
            Instead of ``cluster_centers_`` (or of zeros, with ``center=False``).

        Returns
        -------
        value : float
        gradient : ndarray (p,)
        """
        self._check_fitted()
        [X] = loaded(self._check_X(X, False))
        to_device_of_X = to_device_of(X)
        params = as_numpy(self.params_ if params is None else params)
        params = check_array(params, dtype=FLOATS, ensure_2d=False, input_name="params")
        if params.shape != self.params_.shape:
            raise ValueError(f"params has shape {params.shape}; expected {self.params_.shape}")
        dtype = np.result_type(X.dtype, params.dtype)
        X = X.astype(dtype, copy=False)
        [target] = loaded(self._check_target(target, X))
        labels = self._check_labels(labels, len(X))
        if centers is not None:
            centers = check_array(as_numpy(centers), dtype=np.float64, input_name="centers")
            if centers.shape != self.cluster_centers_.shape:
                raise ValueError(f"centers has shape {centers.shape}; expected {self.cluster_centers_.shape}")
            centers = centers - as_numpy(self.state_["shift"])
        fitted = self._fitted(dtype, params, centers)
        data = as_batch(X, target, np.ones(len(X), dtype), fitted.shift, fitted.backend)
        labels = fitted.backend.own(labels)
        with fitted.threads():
            L, gradient = self._values_and_gradient(fitted, data, labels)
            value, _ = fitted.backend.assign.objective(fitted.backend.own(L, dtype), labels, data.weight)
        if isinstance(gradient, Mapping):
            gradient = fitted.parameters.layout.flatten(gradient, dtype, "gradient")
        return value, to_device_of_X(gradient)

    def _values_and_gradient(self, fitted, data, labels):
        """(L, gradient) of the assigned column, as one function of the parameters of ``fitted``."""
        own = self._fitted(data.X.dtype)  # with the estimator's own parameters
        fitted.rows, shape = data.index, (len(data.X), self.n_clusters)
        L, gradient = fitted.model.value_and_gradient(
            fitted.parameters,
            *(data.X, data.target, fitted.centers, labels, data.weight),
            *((own.parameters, own.centers), fitted.draw()),
        )
        check_shape(fitted.model, L, shape, "value_and_gradient")
        return L, gradient

    def save(self, path):
        """Write the fitted estimator to a safetensors file, atomically; `csrl_core.load` reads it.

        Raises
        ------
        OSError
            The folder cannot be written or is full; an older file at ``path`` stays as it was.
        ValueError
            An argument is not valid, or was changed since the fit.
        """
        self._check_fitted()
        self._validate_params()  # a file is read only with arguments that are valid
        saved.write_model(path, self)

    @property
    def _n_features_out(self):
        fitted = self._fitted(self.params_.dtype)
        with fitted.threads():
            fitted.rows = fitted.backend.own(np.arange(1))
            return fitted.embed(np.zeros_like(fitted.shift, shape=(1, self.n_features_in_))).shape[2]

    def to_cpu(self):
        """Bring attributes that were fitted on CuPy arrays to the host; returns the estimator itself.

        ``backend`` stays as it is; after ``set_params(backend="auto")`` the estimator computes on the host. An
        estimator from `csrl_core.load` is always on the host.
        """
        check_is_fitted(self)
        for name, value in vars(self).items():
            if is_device_array(value):
                setattr(self, name, as_numpy(value))
        self.state_ = {name: as_numpy(array) for name, array in self.state_.items()}
        return self
