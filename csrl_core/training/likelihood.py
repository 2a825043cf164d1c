"""Assignment by likelihood: every cluster is a Gaussian about its subspace, with its own noise level.

Reconstruction losses cannot be compared between clusters with different noise and different spread. The costs

    A[i, j] = −log π_j + ½ ‖e‖²/σ_j² + ½ (d − h) log σ_j² + ½ zᵀ Σ_j⁻¹ z + ½ log det Σ_j

can: A[i, j] is −log π_j p_j(x_i), less ½ d log 2π, in a mixture of probabilistic principal component analysers
(Tipping & Bishop 1999). Here z (h,) are the coordinates of x − c_j in an ORTHONORMAL basis of the cluster's subspace,
and e is the residual. So no determinant of the basis appears. In any other basis D of the same subspace,
z' = z (D Dᵀ)^-½ has a covariance Σ'_j with log det Σ_j = log det Σ'_j + log det D Dᵀ, and all else is the same.
Σ_j, σ_j² and π_j are computed from the samples assigned, anew at the end of every epoch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from csrl_core.backends import as_numpy
from csrl_core.training.on_disk import mapped

FLOOR = 1e-6  # of the data's mean variance: the least variance of a Gaussian

STATISTICS = ("scatter", "noise", "moment_totals", "moment_counts")  # sums over a cluster's samples, kept in the state


@dataclass(frozen=True)
class Gaussians:
    """The clusters' Gaussians, all float64.

    mixing : (k,), π; noise_variance : (k,), σ²; covariance : (k, h, h), Σ; precision : (k, h, h), Σ⁻¹;
    constant : (k,), the part of the cost that all samples of a cluster share, +∞ for a cluster without weight
    """

    mixing: np.ndarray
    noise_variance: np.ndarray
    covariance: np.ndarray
    precision: np.ndarray
    constant: np.ndarray


def gaussians(scatter, noise, totals, counts, d, floor, orthonormal):
    """Σ_j, σ_j², π_j, the precision and the constant of every cluster.

    A cluster of at most h + 1 samples always lies in its subspace, whatever its noise. It would become a spike that no
    sample leaves. So it gets the variances of all samples together, the same in every direction of its subspace.

    scatter : (k, h, h), Σ w zzᵀ; noise : (k,), Σ w ‖e‖²; totals : (k,), Σ w; counts : (k,), samples with weight
    d : int, features; floor : float, the least variance
    orthonormal : bool; if not, codes have another scale than the data, and their floor is FLOOR of their mean square
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
    """The costs A that assignment minimises instead of the losses: −log π_j p_j(x), up to a constant.

    A rule stores no arrays itself; they are part of a run's state.
    """

    names = ()
    """The names of its arrays."""

    reseeds = True
    """Whether a cluster that is re-seeded with one sample can keep this sample."""

    when = "batch"
    """When training assigns by these costs: "batch", at every batch; "epoch", all samples at an epoch's end; "never",
    only after training, so that batches are assigned by their losses."""

    @abstractmethod
    def state(self, parameters, data, centers, draw):
        """The arrays of the rule before the first pass, a dict."""

    @abstractmethod
    def codes(self, parameters, X, centers, draw):
        """The quantities from which the costs of samples are computed; they do not depend on the assignment."""

    @abstractmethod
    def costs(self, state, codes):
        """A (n, k) of samples. codes : what `codes` returned for these samples."""

    @abstractmethod
    def log_density(self, costs):
        """The log-density log Σ_j π_j p_j(x), (n,) float64, from costs (n, k)."""

    @abstractmethod
    def refresh(self, parameters, state, passes, standing, draw):
        """Update the arrays at the end of an epoch.

        passes : iterable of (codes, assign, weight), together all samples; standing : bool, whether the first
        assignment still stands
        """

    @abstractmethod
    def add_batch(self, state, codes, assign, weight, first):
        """Add a batch of `partial_fit` to the arrays. first : bool, whether it is the first batch."""

    @abstractmethod
    def before_batch(self, parameters, state, draw):
        """Update the arrays before a batch of `partial_fit`."""

    @abstractmethod
    def missing_arrays(self, parameters, state, draw):
        """Arrays that `costs` needs and that the state does not have yet: a dict, often empty."""

    def lacks_arrays(self, state):
        """Whether `missing_arrays` has something to compute."""
        return False

    @abstractmethod
    def finish(self, parameters, state, draw):
        """Update the arrays after the last epoch."""


class SummedRule(Rule):
    """A rule whose arrays are sums over clusters' samples, kept up to date at every epoch's end and by every batch."""

    sums = ()
    """The names of the arrays that are sums."""

    def refresh(self, parameters, state, passes, standing, draw):
        """Compute the sums of all samples anew."""
        self._clear(state)
        for codes, assign, weight in passes:
            self._add(state, codes, assign, weight)

    def add_batch(self, state, codes, assign, weight, first):
        """Add the batch to the sums; before the first batch those of its initial assignment are removed."""
        if first:
            self._clear(state)
        self._add(state, codes, assign, weight)

    def before_batch(self, parameters, state, draw):
        """Do nothing: `add_batch` keeps the sums up to date."""

    def missing_arrays(self, parameters, state, draw):
        """An empty dict: the state has all arrays."""
        return {}

    def finish(self, parameters, state, draw):
        """Do nothing: the end of the last epoch has updated the sums."""

    def _clear(self, state):
        for name in self.sums:
            state[name][...] = 0

    @abstractmethod
    def _add(self, state, codes, assign, weight):
        """Add samples to the sums."""


class Likelihood(SummedRule):
    """The rule of ``assignment="likelihood"`` for models with codes: a Gaussian about every cluster's subspace.

    Its arrays in a run's state: scatter (k, h, h), noise (k,), moment_totals (k,) float64 and moment_counts (k,) int64,
    all of the last full pass; floor (1,), the least variance.

    model : ClusterModel with a method ``codes``; kernel : a backend's ``mixture``; n_features : d
    own : function that brings an array to that backend
    """

    names, sums = (*STATISTICS, "floor"), STATISTICS

    def __init__(self, model, kernel, n_features, own=np.ascontiguousarray):
        self.model, self.kernel, self.d, self.own = model, kernel, n_features, own

    def state(self, parameters, data, centers, draw):
        """Statistics of no sample, which are zero, and the floor."""
        Z, _ = self.codes(parameters, data.X[:1], centers, draw)
        (_, k, h), X, w = Z.shape, data.X, data.weight.astype(np.float64)
        mean = sum(mapped(X, lambda x, own: own @ x, w)) / w.sum()
        squares = np.concatenate(list(mapped(X, lambda x: ((x - mean) ** 2).mean(axis=1))))
        variance = float(w @ squares / w.sum())
        state = {
            "scatter": np.zeros((k, h, h)),
            "noise": np.zeros(k),
            "moment_totals": np.zeros(k),
            "moment_counts": np.zeros(k, np.int64),
            "floor": np.array([FLOOR * variance or FLOOR]),  # constant data have no scale: any floor will do
        }
        return {name: self.own(array) for name, array in state.items()}

    def codes(self, parameters, X, centers, draw):
        """(Z (n, k, h), residuals (n, k)) of the model, checked and contiguous."""
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

    def _add(self, state, codes, assign, weight):
        parts = self.kernel.statistics(*codes, assign, weight)
        for name, part in zip(STATISTICS, parts):
            state[name] += part
        state["moment_counts"] += np.bincount(assign[weight > 0], minlength=len(state["moment_counts"]))

    def gaussians(self, state):
        """The `Gaussians` that the statistics of a state give."""
        statistics = (as_numpy(state[name]) for name in STATISTICS)
        return gaussians(*statistics, self.d, float(state["floor"][0]), self.model.orthonormal_codes)

    def costs(self, state, codes):
        """A (n, k) of samples, less the ½ d log 2π that all clusters share. codes : what `codes` returned."""
        h, fitted_width = codes[0].shape[2], state["scatter"].shape[1]
        if h != fitted_width:
            raise ValueError(
                f"{type(self.model).__name__}.codes returned codes of width {h}; in the fit they had {fitted_width}"
            )
        clusters = self.gaussians(state)
        arrays = (clusters.precision, 1 / clusters.noise_variance, clusters.constant)
        return self.kernel.costs(*codes, *(self.own(array, codes[0].dtype) for array in arrays))

    def log_density(self, costs):
        """The log-density of the mixture; includes the constant that `costs` leaves out."""
        return log_sum(costs) - 0.5 * self.d * np.log(2 * np.pi)


def log_sum(costs):
    """log Σ_j exp(−A[i, j]), (n,) float64."""
    return logsumexp(-as_numpy(costs).astype(np.float64), axis=1)


def responsibilities(costs):
    """π_j p_j(x) / Σ_l π_l p_l(x), (n, k) in the dtype of the costs."""
    joint = -as_numpy(costs).astype(np.float64)
    return np.exp(joint - logsumexp(joint, axis=1, keepdims=True)).astype(costs.dtype)


def orthonormal_decoder(weights, biases, k):
    """The affine subspace of a linear decoder's outputs in every cluster: an orthonormal basis and an offset.

    D is the product of the layers from the narrowest on. The basis is the orthonormal one nearest to D, (D Dᵀ)^-½ D.
    It changes smoothly with the parameters, so that codes after a step agree with statistics from before it.

    weights : list of (k or 1, fan_in, fan_out), in order of application; biases : list of (k or 1, fan_out) or None
    returns (basis (k, h, d), offset (k, d)) float64: the affine subspace is c_j + offset_j + span(basis_j), with the
    offset orthogonal to the basis; NaN where parameters are not finite
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
