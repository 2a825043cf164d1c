"""Assignment by likelihood: every cluster is a Gaussian about its subspace, with a noise level of its own.

Reconstruction losses of clusters with different noise and different spread are not on one scale. The cost

    A[i, j] = −log π_j + ½ ‖e‖²/σ_j² + ½ (d − h) log σ_j² + ½ zᵀ Σ_j⁻¹ z + ½ log det Σ_j

is: it is −log π_j p_j(x_i), less ½ d log 2π, in a mixture of probabilistic principal component analysers
(Tipping & Bishop 1999). Here z (h,) are the coordinates of x − c_j in an ORTHONORMAL basis of the cluster's
subspace and e is what they leave over, so that no determinant of the basis appears; in any other basis D of
the same subspace, z' = z (D Dᵀ)^-½ has a covariance Σ'_j with log det Σ_j = log det Σ'_j + log det D Dᵀ, and
all else is the same. Σ_j, σ_j² and π_j are those of the samples assigned, refreshed at every epoch's end.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from csrl_core.backends import as_numpy

FLOOR = 1e-6  # of the data's mean variance: no variance of a Gaussian falls below it

MOMENTS = ("scatter", "noise", "moment_totals", "moment_counts")


@dataclass(frozen=True)
class Gaussians:
    """The clusters' Gaussians, all float64.

    mixing : (k,), π; noise_variance : (k,), σ²; covariance : (k, h, h), Σ; precision : (k, h, h), Σ⁻¹;
    constant : (k,), what every sample of a cluster pays, +∞ for a cluster without weight
    """

    mixing: np.ndarray
    noise_variance: np.ndarray
    covariance: np.ndarray
    precision: np.ndarray
    constant: np.ndarray


def gaussians(scatter, noise, totals, counts, d, floor, orthonormal):
    """Σ_j, σ_j², π_j and what follows from them.

    A cluster of no more than h + 1 samples lies in its subspace whatever its noise is: it would become a spike that
    nothing leaves. It gets the variances of all samples, the same in every direction of its subspace.

    scatter : (k, h, h), Σ w zzᵀ; noise : (k,), Σ w ‖e‖²; totals : (k,), Σ w; counts : (k,), samples with weight
    d : int, features; floor : float, the least variance
    orthonormal : bool; else codes are on a scale of their own, and their floor is FLOOR of their mean square
    returns Gaussians
    """
    h = scatter.shape[1]
    weight = totals.sum()
    spread = np.trace(scatter, axis1=1, axis2=2)
    # 1. variances, and those of all clusters together for the small ones
    own = np.where(totals > 0, totals, 1.0)
    covariance, variance = scatter / own[:, None, None], noise / (own * (d - h))
    small = counts <= h + 1
    pooled = spread.sum() / (h * weight)
    covariance[small], variance[small] = pooled * np.eye(h), noise.sum() / (weight * (d - h))
    # 2. floors; eigenvalues in orthonormal coordinates do not depend on the basis
    least = floor if orthonormal else (FLOOR * pooled or 1.0)
    variance = np.maximum(variance, floor)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, least)
    covariance, precision = ((vectors * x[:, None, :]) @ vectors.transpose(0, 2, 1) for x in (values, 1 / values))
    # 3. constants
    mixing = totals / weight
    with np.errstate(divide="ignore"):
        constant = 0.5 * (d - h) * np.log(variance) + 0.5 * np.log(values).sum(axis=1) - np.log(mixing)
    return Gaussians(mixing, variance, covariance, precision, constant)


class Rule(ABC):
    """What assignment minimises where that is not the loss: costs A that are −log π_j p_j(x), up to a constant.

    A rule keeps nothing itself; its arrays are part of a run's state.
    """

    names = ()
    """Those of its arrays."""

    reseeds = True
    """Whether a cluster that is re-seeded with one sample could keep it."""

    @abstractmethod
    def state(self, parameters, data, centers, draw):
        """Its arrays before the first pass, a dict."""

    @abstractmethod
    def codes(self, parameters, X, centers, draw):
        """What the costs of samples are computed from, whatever the assignment is."""

    @abstractmethod
    def costs(self, state, codes):
        """A (n, k) of samples as `codes` gave them."""

    @abstractmethod
    def log_density(self, costs):
        """The log-density log Σ_j π_j p_j(x) (n,) float64, of costs (n, k)."""

    @abstractmethod
    def refresh(self, parameters, state, passes, standing, draw):
        """Bring its arrays up to date at an epoch's end.

        passes : iterable of (codes, assign, weight) of all samples; standing : bool, whether the assignment stands
        """

    @abstractmethod
    def add_batch(self, state, codes, assign, weight, alone):
        """Take a batch of `partial_fit` into account. alone : bool, whether it is the first."""

    @abstractmethod
    def before_batch(self, parameters, state, draw):
        """Bring its arrays up to date before a batch of `partial_fit`."""

    @abstractmethod
    def ready(self, parameters, state, draw):
        """What costs need and the state does not know yet: a dict of arrays, often empty."""

    @abstractmethod
    def finish(self, parameters, state, draw):
        """Bring its arrays up to date for good, after the last epoch."""


class Likelihood(Rule):
    """The rule ``assignment="likelihood"`` of models with codes: a Gaussian about every cluster's subspace.

    Its part of a run's state: scatter (k, h, h), noise (k,), moment_totals (k,) float64 and moment_counts (k,)
    int64 of the last full pass; floor (1,), the least variance.

    model : ClusterModel with a method ``codes``; kernel : a backend's ``mixture``; n_features : d; own : brings an
    array to that backend
    """

    names = (*MOMENTS, "floor")

    def __init__(self, model, kernel, n_features, own=np.ascontiguousarray):
        self.model, self.kernel, self.d, self.own = model, kernel, n_features, own

    def state(self, parameters, data, centers, draw):
        """Moments of nothing, and the floor."""
        Z, _ = self.codes(parameters, data.X[:1], centers, draw)
        (_, k, h), X, w = Z.shape, data.X, data.weight.astype(np.float64)
        mean = w @ X / w.sum()
        squares = np.concatenate([((rows - mean) ** 2).mean(axis=1) for rows in np.array_split(X, 1 + len(X) // 8192)])
        variance = float(w @ squares / w.sum())
        state = {
            "scatter": np.zeros((k, h, h)),
            "noise": np.zeros(k),
            "moment_totals": np.zeros(k),
            "moment_counts": np.zeros(k, np.int64),
            "floor": np.array([FLOOR * variance or FLOOR]),  # constant data have no scale: any floor serves
        }
        return {name: self.own(array) for name, array in state.items()}

    def codes(self, parameters, X, centers, draw):
        """(Z (n, k, h), residuals (n, k)) as the model gives them, contiguous and checked."""
        Z, residuals = self.model.codes(parameters, X, centers, draw)
        shape = (len(X), len(centers))
        if np.ndim(Z) != 3 or np.shape(Z)[:2] != shape or np.shape(residuals) != shape:
            raise ValueError(
                f"{type(self.model).__name__}.codes returned shapes {np.shape(Z)} and {np.shape(residuals)}; "
                f"expected (n, k, h) and (n, k) with (n, k) = {shape}"
            )
        if not 1 <= np.shape(Z)[2] < self.d:
            raise ValueError(
                f"assignment='likelihood' needs a latent width of at least 1 and below the number of features; "
                f"the model has {np.shape(Z)[2]}, X has {self.d} features"
            )
        return self.own(Z, X.dtype), self.own(residuals, X.dtype)

    def refresh(self, parameters, state, passes, standing, draw):
        """Moments of all samples, from nothing."""
        self._clear(state)
        for codes, assign, weight in passes:
            self._add(state, codes, assign, weight)

    def add_batch(self, state, codes, assign, weight, alone):
        """Moments grow by the batch; those of the first one's first assignment were its own."""
        if alone:
            self._clear(state)
        self._add(state, codes, assign, weight)

    def before_batch(self, parameters, state, draw):
        """Nothing: moments follow the samples."""

    def ready(self, parameters, state, draw):
        """Nothing is ever lacking."""
        return {}

    def finish(self, parameters, state, draw):
        """Nothing: the last epoch's end has done it."""

    def _clear(self, state):
        for name in MOMENTS:
            state[name][...] = 0

    def _add(self, state, codes, assign, weight):
        parts = self.kernel.moments(*codes, assign, weight)
        for name, part in zip(MOMENTS, parts):
            state[name] += part
        state["moment_counts"] += np.bincount(assign[weight > 0], minlength=len(state["moment_counts"]))

    def gaussians(self, state):
        """The `Gaussians` of a state."""
        moments = (as_numpy(state[name]) for name in MOMENTS)
        return gaussians(*moments, self.d, float(state["floor"][0]), self.model.orthonormal_codes)

    def costs(self, state, codes):
        """A (n, k) of samples as `codes` gave them, less the ½ d log 2π that all clusters share."""
        h, known = codes[0].shape[2], state["scatter"].shape[1]
        if h != known:
            raise ValueError(
                f"{type(self.model).__name__}.codes gave codes of width {h}; those it was fitted with had {known}"
            )
        clusters = self.gaussians(state)
        arrays = (clusters.precision, 1 / clusters.noise_variance, clusters.constant)
        return self.kernel.costs(*codes, *(self.own(array, codes[0].dtype) for array in arrays))

    def log_density(self, costs):
        """The log-density of the mixture, with the constant that all clusters share."""
        return log_sum(costs) - 0.5 * self.d * np.log(2 * np.pi)


def log_sum(costs):
    """log Σ_j exp(−A[i, j]), (n,) float64."""
    return logsumexp(-as_numpy(costs).astype(np.float64), axis=1)


def responsibilities(costs):
    """π_j p_j(x) / Σ_l π_l p_l(x), (n, k) in the dtype of the costs."""
    joint = -as_numpy(costs).astype(np.float64)
    return np.exp(joint - logsumexp(joint, axis=1, keepdims=True)).astype(costs.dtype)


def orthonormal_decoder(weights, biases, k):
    """An orthonormal basis of what a linear decoder can reach in every cluster, and where that lies.

    The basis is the one nearest to the decoder's own, (D Dᵀ)^-½ D with D the product of the layers from the
    narrowest on: it moves smoothly with the parameters, so that codes after a step fit moments from before it.

    weights : list of (k or 1, fan_in, fan_out), in order of application; biases : list of (k or 1, fan_out) or None
    returns (basis (k, h, d), offset (k, d)) float64: the affine subspace is c_j + offset_j + span(basis_j), with the
    offset at right angles to the basis; NaN where parameters are not finite
    """
    widths = [W.shape[1] for W in weights]
    h, d = min(widths), weights[-1].shape[2]
    if not all(np.isfinite(array).all() for array in (*weights, *biases) if array is not None):
        return np.full((k, h, d), np.nan), np.full((k, d), np.nan)
    narrowest = len(widths) - 1 - int(np.argmin(widths[::-1]))
    D, offset = None, np.zeros((1, 1, widths[0]))
    for number, (W, b) in enumerate(zip(weights, biases)):
        W = np.asarray(W, dtype=np.float64)
        offset = offset @ W
        if b is not None:
            offset = offset + np.asarray(b, np.float64)[:, None]
        if number >= narrowest:
            D = W if D is None else D @ W
    U, _, Vt = np.linalg.svd(D, full_matrices=False)
    basis = np.broadcast_to(U @ Vt, (k, h, d))
    offset = offset - (offset @ basis.transpose(0, 2, 1)) @ basis
    return basis, offset[:, 0]
