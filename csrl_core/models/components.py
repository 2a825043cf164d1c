"""Principal components of clusters: the best subspaces of linear autoencoders, and a start for their training.

For a linear autoencoder without penalty the best subspace of a cluster is spanned by its leading principal components
(Eckart & Young 1936). `csrl_core.training.exact` computes them; `component_weights` makes initial weights of them.
"""

import numpy as np
from scipy.linalg import eigh

from csrl_core.training.loop import NonFiniteLossError

CHUNK = 8192  # rows of one product; its result does not grow with their number


def principal_axes(X, weights, h):
    """Orthonormal basis of the leading h-dimensional principal subspace of rows about zero.

    From the eigenvectors of Σ w xxᵀ (d, d) or of the Gram matrix (n, n), whichever is smaller, in float64. If fewer
    than h directions have variance, any orthonormal directions complete the basis. The largest entry of each axis is
    positive.

    X : (n, d) float, at least one row; weights : (n,), not all zero; h : int, 1 ≤ h ≤ d
    returns (d, h) float64, columns in descending order of variance
    Cost: 2 n d min(n, d) flops for the matrix, of the order of min(n, d)³ for its eigenvectors
    """
    return _basis([_leading(X, weights, h)], X.shape[1], h)


def component_layers(target, weights, assign, centers, widths, shared):
    """Principal components as layers with orthonormal columns; each layer keeps a subspace of the one before.

    With t̃ = t − c_s, S_j = Σ w t̃t̃ᵀ over cluster j, S_w = Σ_j S_j and B the product of the layers before (first: 1),
    layer l holds the leading eigenvectors of Bᵀ S_j B, or of Bᵀ S_w B if clusters share it. If a cluster has too few
    samples for so many directions, eigenvectors of S_w complete them, and after these any orthonormal directions.

    target : (n, d) float; weights : (n,), not all zero; assign : (n,) int; centers : (k, d) float64
    widths : of the layers, d ≥ h1 ≥ h2 ≥ …; shared : int, how many layers have one copy
    returns list of (k or 1, fan_in, fan_out) float64, the largest entry of each column positive
    Cost: `principal_axes` of every cluster, and of all samples if layers are shared or clusters small; n d float64
    """
    w, members = weights.astype(np.float64), [np.flatnonzero(assign == j) for j in range(len(centers))]
    deviations = target.astype(np.float64)
    for rows, center in zip(members, centers, strict=True):
        deviations[rows] -= center
    layers, bases = [], [None] * len(centers)
    for number, h in enumerate(widths):
        if number < shared:
            Q = principal_axes(_within(deviations, bases[0]), w, h)[None]
        else:
            Q = np.stack([_cluster_axes(deviations, w, rows, B, h) for rows, B in zip(members, bases, strict=True)])
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


def _within(rows, B):
    """Coordinates of rows after the layers so far."""
    return rows if B is None else rows @ B


def _cluster_axes(deviations, weights, members, B, h):
    """A cluster's own axes, then those of all deviations orthogonal to them, then any orthonormal directions."""
    d = deviations.shape[1] if B is None else B.shape[1]
    axes = _leading(_within(deviations[members], B), weights[members], h)
    if axes.shape[1] == h:
        return _basis([axes], d, h)
    rows = _within(deviations, B)
    rest = rows - (rows @ axes) @ axes.T
    return _basis([axes, _leading(rest, weights, h - axes.shape[1], _scatter(rows, weights))], d, h)


def _leading(X, weights, h, scatter=None):
    """Principal axes (d, r ≤ h) of rows about zero, without those whose variance is only rounding.

    scatter : float, Σ w ‖x‖² that sets the scale of rounding; by default that of X
    """
    n, d = X.shape
    scatter = _scatter(X, weights) if scatter is None else scatter
    if not np.isfinite(scatter):
        raise NonFiniteLossError(
            f"the squares of X's deviations from its clusters' centres overflow (the largest deviation is "
            f"{np.abs(X).max():.3g}); scale the data"
        )
    count = min(h, n, d)
    if n >= d:
        S = np.zeros((d, d))
        for first in range(0, n, CHUNK):
            x = _weighted(X[first : first + CHUNK], weights[first : first + CHUNK])
            S += x.T @ x
        values, axes = eigh(S, subset_by_index=[d - count, d - 1])
    elif n:
        x = _weighted(X, weights)
        values, axes = eigh(x @ x.T, subset_by_index=[n - count, n - 1])
        axes = x.T @ (axes / np.sqrt(np.where(values > 0, values, 1.0)))
    else:
        return np.empty((d, 0))
    above_rounding = values > max(n, d) * np.finfo(np.float64).eps * scatter
    return axes[:, above_rounding][:, ::-1]


def _weighted(X, weights):
    return np.sqrt(weights[:, None].astype(np.float64)) * X


def _scatter(X, weights):
    """Σ w ‖x‖²."""
    return float(np.einsum("i,ij,ij->", weights, X, X, dtype=np.float64))


def _basis(axes, d, h):
    """Orthonormal columns (d, h), the first of them ``axes``; the largest entry of each column is positive."""
    padded = np.zeros((d, h))
    stacked = np.hstack(axes)
    padded[:, : stacked.shape[1]] = stacked
    # Q of a Householder factorisation is orthonormal to rounding, and complete, even for columns of zeros.
    Q = np.linalg.qr(padded)[0]
    return Q * np.where(Q[np.abs(Q).argmax(axis=0), np.arange(h)] < 0, -1.0, 1.0)
