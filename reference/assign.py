"""Assignment of samples to clusters, and the clusters' means.

Everywhere: n samples, d features, k clusters, b rows in a batch; X (n, d), weights (n,) and losses
(n, k) of one float dtype; assign (n,) int64; sums (k, d) float64, totals (k,) float64 and counts
(k,) int64 : Σ w x, Σ w and the number of samples with w > 0 of every cluster; centers (k, d) float64.

Sums over samples: products in the working dtype, converted to float64, summed in float64 within
chunks of ``CHUNK`` rows, the chunks added in order. Chunk bounds depend on n alone.
"""

from typing import NamedTuple

import numpy as np

CHUNK = 1024


class Clusters(NamedTuple):
    """The state of the joint algorithm's assignment; all arrays change in place."""

    assign: np.ndarray
    centers: np.ndarray
    sums: np.ndarray
    totals: np.ndarray
    counts: np.ndarray


class JointOptions(NamedTuple):
    """How the joint algorithm goes.

    center : bool, whether centres are subtracted; assign_first : bool, assignment before the gradient rather than
    after; running : bool, the authors' running centres
    """

    center: bool
    assign_first: bool
    running: bool


def assign(costs):
    """s_i = argmin_j A[i, j], ties to the lowest j.

    NaN counts as +∞; a row of nothing else gets cluster 0.

    costs : (n, k) float; returns (n,) int64
    Cost: n k comparisons
    """
    # 1. lowest cost
    return np.argmin(np.where(np.isnan(costs), np.inf, costs), axis=1).astype(np.int64)


def nearest(X, centers):
    """s_i = argmin_j ‖x_i − c_j‖², ties to the lowest j.

    From differences in float64 and not from ‖x‖² − 2xc + ‖c‖², which loses all digits far from the origin.

    X : (n, d) float; centers : (k, d) float; returns (n,) int64
    Cost: 3 n k d flops, memory n d
    """
    distances = np.empty((len(X), len(centers)))
    for j, c in enumerate(centers):
        # 1. squared distance
        difference = X.astype(np.float64) - c.astype(np.float64)
        distances[:, j] = (difference * difference).sum(axis=1)
    # 2. lowest cost
    return assign(distances)


def objective(losses, assign, weights):
    """Σ_i w_i L[i, s_i] and Σ_i w_i.

    losses : (n, k) float; assign : (n,) int64; weights : (n,)
    returns (loss_sum, weight_sum), floats, sums over samples
    Cost: 2 n flops
    """
    loss_sum = weight_sum = 0.0
    for start in range(0, len(losses), CHUNK):
        rows = slice(start, start + CHUNK)
        # 1. assigned losses
        assigned = np.take_along_axis(losses[rows], assign[rows, None], axis=1)[:, 0]
        # 2. sums
        loss_sum += float((weights[rows] * assigned).sum(dtype=np.float64))
        weight_sum += float(weights[rows].sum(dtype=np.float64))
    return loss_sum, weight_sum


def cluster_sums(X, assign, weights, k):
    """Σ w x, Σ w and the number of samples with w > 0, of every cluster.

    X : (n, d) float; assign : (n,) int64; weights : (n,); k : int
    returns (sums (k, d) float64, totals (k,) float64, counts (k,) int64), sums over samples
    Cost: 2 n d flops
    """
    sums, totals, counts = np.zeros((k, X.shape[1])), np.zeros(k), np.zeros(k, dtype=np.int64)
    for start in range(0, len(X), CHUNK):
        rows = slice(start, start + CHUNK)
        x, s, w = X[rows], assign[rows], weights[rows]
        for j in range(k):
            own = s == j
            # 1. sums
            sums[j] += (w[own, None] * x[own]).sum(axis=0, dtype=np.float64)
            totals[j] += w[own].sum(dtype=np.float64)
            # 2. counts
            counts[j] += np.count_nonzero(w[own] > 0)
    return sums, totals, counts


def move(X, index, new, assign, weights, sums, totals, counts):
    """Give the batch its new clusters, and carry what moved from the old sums to the new, in place.

    A cluster that empties gets sums and total exactly 0, whatever rounding has left in them.

    X : (b, d) float, the batch's rows; index : (b,) int64, their places in ``assign``, distinct;
    new : (b,) int64; assign : (n,) int64; weights : (b,), the batch's
    returns int, how many samples with weight moved
    Cost: 4 moved d flops
    """
    moved = np.flatnonzero(assign[index] != new)
    for r in moved:
        i, j, w = index[r], new[r], weights[r]
        old, assign[i] = assign[i], j
        if w > 0:
            wx = (w * X[r]).astype(np.float64)
            # 1. out of the old cluster
            sums[old] -= wx
            totals[old] -= w
            counts[old] -= 1
            # 2. an empty cluster is exactly zero
            if counts[old] == 0:
                sums[old] = totals[old] = 0
            # 3. into the new cluster
            sums[j] += wx
            totals[j] += w
            counts[j] += 1
    return int(np.count_nonzero(weights[moved] > 0))


def means(sums, totals, centers, b):
    """c_j ← (b c_j + sums_j / totals_j) / (b + 1), in place; the means themselves for b = 0.

    A cluster without weight keeps its centre.

    b : int, how many earlier centres the old one stands for
    Cost: 4 k d flops
    """
    # 1. means of the clusters that have weight
    own = totals > 0
    centers[own] = (b * centers[own] + sums[own] / totals[own, None]) / (b + 1)
