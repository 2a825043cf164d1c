"""Principal components of clusters: the best subspaces of linear autoencoders, and a start for their training.

For a linear autoencoder without penalty the best subspace of a cluster is spanned by its leading principal components
(Eckart & Young 1936). `csrl_core.training.exact` computes them; `component_weights` makes initial weights of them.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh

from csrl_core.training.loop import NonFiniteLossError
from csrl_core.training.on_disk import BLOCK, Samples

CHUNK = BLOCK  # rows of one product; its result does not grow with their number


@dataclass(frozen=True)
class Deviations:
    """Samples less their clusters' centres, as coordinates, in float64; worked out a chunk at a time when needed.

    X : (n, d) array or `Samples`; centers : (k, d) float64; assign : (n,) int; members : (m,) int, the samples
    basis : (d, e) whose coordinates these are, or None; without : (e, r) orthonormal directions that are taken off
    """

    X: np.ndarray | Samples
    centers: np.ndarray
    assign: np.ndarray
    members: np.ndarray
    basis: np.ndarray | None = None
    without: np.ndarray | None = None

    @property
    def shape(self):
        """(m, d or e)."""
        return len(self.members), (self.X if self.basis is None else self.basis).shape[1]

    def chunks(self):
        """Pairs (rows (b, e), members (b,)), all of them in order; as one if there are fewer than columns."""
        m, size = len(self.members), CHUNK if len(self.members) >= self.shape[1] else len(self.members)
        for first in range(0, m, max(1, size)):
            members = self.members[first : first + size]
            yield self.of(self.X[members], self.assign[members]), members

    def of(self, rows, assign):
        """The deviations of rows (b, d) of X. assign : (b,), their clusters"""
        rows = rows.astype(np.float64)
        rows -= self.centers[assign]
        rows = rows if self.basis is None else rows @ self.basis
        return rows if self.without is None else rows - (rows @ self.without) @ self.without.T

    @property
    def elsewhere(self):
        """Whether workers compute sums over the members, if these are more than their columns."""
        return getattr(self.X, "elsewhere", False) and len(self.members) >= self.shape[1]

    def sums(self, function, weights):
        """``function(rows, weights)`` of chunks, one after the other. weights : (n,), of all samples"""
        if not self.elsewhere:
            return (function(rows, weights[members]) for rows, members in self.chunks())
        own, of = np.zeros(len(weights), bool), replace(self, X=None, assign=None, members=None).of
        own[self.members] = True
        return self.X.map(lambda rows, s, w, own: function(of(rows[own], s[own]), w[own]), self.assign, weights, own)


def principal_axes(deviations, weights, h):
    """Orthonormal basis of the leading h-dimensional principal subspace of rows about zero.

    From the eigenvectors of Σ w xxᵀ (d, d) or of the Gram matrix (n, n), whichever is smaller, in float64. If fewer
    than h directions have variance, any orthonormal directions complete the basis. The largest entry of each axis is
    positive.

    deviations : (m, d) float, or `Deviations`, at least one row; h : int, 1 ≤ h ≤ d
    weights : (m,), not all zero; of `Deviations` (n,), of all samples
    returns (d, h) float64, columns in descending order of variance
    Cost: 2 n d min(n, d) flops for the matrix, of the order of min(n, d)³ for its eigenvectors
    """
    if not isinstance(deviations, Deviations):
        (m, d), X = deviations.shape, deviations
        deviations = Deviations(X, np.zeros((1, d)), np.zeros(m, np.int64), np.arange(m))
    return _basis([_leading(deviations, weights, h)], deviations.shape[1], h)


def component_layers(target, weights, assign, centers, widths, shared):
    """Principal components as layers with orthonormal columns; each layer keeps a subspace of the one before.

    With t̃ = t − c_s, S_j = Σ w t̃t̃ᵀ over cluster j, S_w = Σ_j S_j and B the product of the layers before (first: 1),
    layer l holds the leading eigenvectors of Bᵀ S_j B, or of Bᵀ S_w B if clusters share it. If a cluster has too few
    samples for so many directions, eigenvectors of S_w complete them, and after these any orthonormal directions.

    target : (n, d) float array or `Samples`; weights : (n,), not all zero; assign : (n,) int; centers : (k, d) float64
    widths : of the layers, d ≥ h1 ≥ h2 ≥ …; shared : int, how many layers have one copy
    returns list of (k or 1, fan_in, fan_out) float64, the largest entry of each column positive
    Cost: `principal_axes` of every cluster, and of all samples if layers are shared or clusters small
    """
    w, members = weights.astype(np.float64), [np.flatnonzero(assign == j) for j in range(len(centers))]
    everyone = Deviations(target, centers, assign, np.arange(len(target)))
    layers, bases = [], [None] * len(centers)
    for number, h in enumerate(widths):
        if number < shared:
            Q = principal_axes(replace(everyone, basis=bases[0]), w, h)[None]
        else:
            within = [replace(everyone, basis=B) for B in bases]
            Q = np.stack([_cluster_axes(each, w, rows, h) for rows, each in zip(members, within, strict=True)])
        layers.append(Q)
        bases = [q if B is None else B @ q for B, q in zip(bases, np.broadcast_to(Q, (len(bases), *Q.shape[1:])))]
    return layers


def component_weights(layers, reg, n_features):
    """Encoder and decoder weights from principal components: the encoder is B/√(λd), the decoder √(λd) Bᵀ.

    The penalty of a code is λ‖Bᵀx̃‖²/(λd), and the error of its reconstruction (‖x̃‖² − ‖Bᵀx̃‖²)/d. Their sum is
    L[i, j] = ‖x_i − c_j‖²/d for any directions and widths: training starts at the loss of k-means. Without a penalty
    the weights are B and Bᵀ, and the losses those of k subspaces. All m layers share the factor: γ = (λd)^(−1/(2m)).

    layers : list of (copies, fan_in, fan_out), as `component_layers` makes them; reg : float, λ ≥ 0
    returns (encoder, decoder), lists of float64 arrays, the decoder mirrored
    """
    scale = (reg * n_features) ** (-1 / (2 * len(layers))) if reg > 0 else 1.0
    return [scale * Q for Q in layers], [Q.transpose(0, 2, 1) / scale for Q in reversed(layers)]


def _cluster_axes(everyone, weights, members, h):
    """A cluster's own axes, then those of all deviations orthogonal to them, then any orthonormal directions."""
    axes = _leading(replace(everyone, members=members), weights, h)
    if axes.shape[1] == h:
        return _basis([axes], everyone.shape[1], h)
    rest = _leading(replace(everyone, without=axes), weights, h - axes.shape[1], _scatter(everyone, weights))
    return _basis([axes, rest], everyone.shape[1], h)


def _leading(deviations, weights, h, scatter=None):
    """Principal axes (d, r ≤ h) of rows about zero, without those whose variance is only rounding.

    scatter : float, Σ w ‖x‖² that sets the scale of rounding; by default that of these rows
    """
    n, d = deviations.shape
    S, squares = np.zeros((min(n, d), min(n, d))), 0.0
    if deviations.elsewhere:
        for part, product in deviations.sums(_second_moments, weights):
            squares, S = squares + part, S + product
        _check_squares(deviations, squares if scatter is None else scatter)
    else:
        for rows, members in deviations.chunks():
            squares += _squares(rows, weights[members])
            _check_squares(deviations, squares if scatter is None else scatter)
            x = _weighted(rows, weights[members])
            S += x.T @ x if n >= d else x @ x.T
    scatter, count = squares if scatter is None else scatter, min(h, n, d)
    if n >= d:
        values, axes = eigh(S, subset_by_index=[d - count, d - 1])
    elif n:
        values, axes = eigh(S, subset_by_index=[n - count, n - 1])
        axes = x.T @ (axes / np.sqrt(np.where(values > 0, values, 1.0)))
    else:
        return np.empty((d, 0))
    above_rounding = values > max(n, d) * np.finfo(np.float64).eps * scatter
    return axes[:, above_rounding][:, ::-1]


def _second_moments(rows, weights):
    """(Σ w ‖x‖², Σ w xxᵀ) of rows."""
    x = _weighted(rows, weights)
    return _squares(rows, weights), x.T @ x


def _check_squares(deviations, squares):
    if not np.isfinite(squares):
        largest = max(deviations.sums(lambda rows, weights: np.abs(rows).max(initial=0), np.ones(len(deviations.X))))
        raise NonFiniteLossError(
            f"the squares of X's deviations from its clusters' centres overflow (the largest deviation is "
            f"{largest:.3g}); scale the data"
        )


def _weighted(X, weights):
    return np.sqrt(weights[:, None].astype(np.float64)) * X


def _scatter(deviations, weights):
    """Σ w ‖x‖²."""
    return sum(deviations.sums(_squares, weights), 0.0)


def _squares(rows, weights):
    return float(np.einsum("i,ij,ij->", weights, rows, rows, dtype=np.float64))


def _basis(axes, d, h):
    """Orthonormal columns (d, h), the first of them ``axes``; the largest entry of each column is positive."""
    padded = np.zeros((d, h))
    stacked = np.hstack(axes)
    padded[:, : stacked.shape[1]] = stacked
    # Q of a Householder factorisation is orthonormal to rounding, and complete, even for columns of zeros.
    Q = np.linalg.qr(padded)[0]
    return Q * np.where(Q[np.abs(Q).argmax(axis=0), np.arange(h)] < 0, -1.0, 1.0)
