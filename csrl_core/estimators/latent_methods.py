"""What fitted models with codes of distribution N(0, 1) can be asked: samples, traversals, a bound."""

from numbers import Integral

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from csrl_core.backends import as_numpy
from csrl_core.estimators.fitted import to_device_of
from csrl_core.estimators.row_by_row import row_by_row
from csrl_core.estimators.sampling import Sampling
from csrl_core.training.draws import Use, chosen

TAIL = 0.01  # of a normal distribution on either side of a traversal's grid


class LatentMethods(Sampling):
    """Mixin of the methods that `TensorizedVAE` has besides those of every estimator."""

    def sample(self, n_samples=1, cluster=None, *, random_state=None):
        """Draw codes from N(0, 1) and decode them: the means of p(x | z), without its noise.

        Parameters
        ----------
        n_samples : int
        cluster : int, optional
            The cluster whose model decodes. By default a cluster is drawn for every sample, with the clusters' shares
            of the training data as probabilities.
        random_state : int, RandomState or None
            None continues the random numbers of the fit: successive calls differ, and the same program gives the same
            samples when it is run again.

        Returns
        -------
        X : ndarray (n_samples, d), in input space
        labels : ndarray (n_samples,) int64
        """
        self._check_fitted()
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples={n_samples!r}; expected an int of at least 1")
        if cluster is not None:
            self._check_cluster(cluster)
        fitted = self._fitted(self.params_.dtype)
        draw, own = fitted.draw(*self._draw(random_state)), fitted.backend.own
        if cluster is None:
            u = as_numpy(draw.philox.uniform53(*draw.words(Use.SAMPLING, 1), 0, n_samples))
            labels = chosen(u, self._log_mixing())
        else:
            labels = np.full(n_samples, cluster, np.int64)
        rows = own(np.arange(n_samples))
        Z = draw.philox.normal(*draw.words(Use.SAMPLING), 0, rows, self._n_features_out, self.params_.dtype)
        with fitted.threads():
            X = to_device_of(self.params_)(fitted.decode(Z, own(labels)) + fitted.shift)
        return self._input_units(X), labels

    def traverse(self, cluster, grid=10):
        """Decode a grid of codes of one cluster.

        Parameters
        ----------
        cluster : int
        grid : int, or array-like (..., latent)
            An int g: g quantiles of N(0, 1) from 1 % to 99 % in the first two latent dimensions (the first, if there is
            one only), and 0 in the others. Otherwise the codes themselves.

        Returns
        -------
        X : ndarray (g, g, d), or (g, d) for one latent dimension, or (..., d); the first axis is the first dimension
        """
        self._check_fitted()
        self._check_cluster(cluster)
        h, dtype = self._n_features_out, self.params_.dtype
        if isinstance(grid, Integral):
            if grid < 1:
                raise ValueError(f"grid={grid!r}; expected an int of at least 1, or codes")
            points = norm.ppf(np.linspace(TAIL, 1 - TAIL, grid)) if grid > 1 else np.zeros(1)
            axes = np.meshgrid(*[points] * min(h, 2), indexing="ij")
            codes = np.zeros((*axes[0].shape, h), dtype)
            for axis, values in enumerate(axes):
                codes[..., axis] = values
        else:
            codes = np.asarray(as_numpy(grid), dtype)
            if codes.shape[-1:] != (h,) or not np.isfinite(codes).all():
                raise ValueError(f"grid has shape {codes.shape}; expected finite codes of shape (..., {h})")
        X = self.inverse_transform(codes.reshape(-1, h), np.full(codes[..., 0].size, cluster, np.int64))
        return X.reshape(*codes.shape[:-1], -1)

    @row_by_row
    def cluster_bounds(self, X, n_samples=None):
        """The importance-weighted bound of log p_j(x) under every cluster, (n, k) float64.

        Parameters
        ----------
        X : array-like (n, d)
        n_samples : int, optional
            Codes of every sample and cluster, ``bound_samples`` by default. The bound rises with their number, towards
            log p_j(x), whatever the encoder.
        """
        n_samples = self.bound_samples if n_samples is None else n_samples
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples={n_samples!r}; expected an int of at least 1")
        if self.reconstruction_loss == "mse" and self.reg == 0:
            raise ValueError("reconstruction_loss='mse' has a likelihood only with reg > 0, got 0")

        def bounds(fitted, x):
            return fitted.model.log_densities(fitted.parameters, x, fitted.centers, n_samples, fitted.draw())

        return as_numpy(self._map(X, bounds))

    @row_by_row
    def score_samples(self, X, n_samples=None):
        """A lower bound of log Σ_j π_j p_j(x), (n,), by importance sampling; π_j are shares of the training data.

        Of Bernoulli output and values between 0 and 1 it is the mean log-probability of binary samples that are drawn
        with these values as probabilities, at most. ``reconstruction_loss="mse"`` counts as Gaussian with σ² = β d, for
        which its loss is the bound but for constants. With ``center=True`` and Bernoulli output it is
        that of σ(x − c_j).

        Parameters
        ----------
        X, n_samples : as for `cluster_bounds`
        """
        bounds = self.cluster_bounds(X, n_samples)
        return logsumexp(bounds + self._log_mixing(), axis=1)

    def _log_mixing(self):
        """log π_j, (k,) float64."""
        totals = as_numpy(self.state_["totals"])
        with np.errstate(divide="ignore"):
            return np.log(totals / totals.sum())

    def _check_cluster(self, cluster):
        if not isinstance(cluster, Integral) or not 0 <= cluster < self.n_clusters:
            raise ValueError(f"cluster={cluster!r}; expected an int from 0 to {self.n_clusters - 1}")

    def _has_gaussians(self):
        raise AttributeError(f"{type(self).__name__} has no gaussians(): its clusters are networks, not Gaussians")
