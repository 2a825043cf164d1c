"""Numba twin of ``reference.assign``: assignment of samples to clusters, and the clusters' means.

Everywhere: n samples, d features, k clusters, b rows in a batch; X (n, d), weights (n,) and losses
(n, k) of one float dtype; assign (n,) int64; sums (k, d) float64, totals (k,) float64 and counts
(k,) int64 : Σ w x, Σ w and the number of samples with w > 0 of every cluster; centers (k, d) float64.

Sums over samples: products in the working dtype, converted to float64, summed in float64 within
chunks of ``CHUNK`` rows, the chunks added in order. Chunk bounds depend on n alone.
"""

import numpy as np

from ._engine import pool
from ._engine.arrays import plain
from ._engine.jit import compiled, jit

CHUNK = 1024


def assign(costs):
    """s_i = argmin_j A[i, j], ties to the lowest j.

    NaN counts as +∞; a row of nothing else gets cluster 0.

    costs : (n, k) float; returns (n,) int64
    Cost: n k comparisons
    """
    s = np.empty(len(costs), np.int64)
    _assign(costs, s)
    return s


@jit
def _assign(costs, s):
    n, k = costs.shape
    for i in range(n):
        # 1. lowest cost
        # No comparison with NaN is true, so NaN never becomes the lowest.
        best, lowest = 0, np.inf
        for j in range(k):
            if costs[i, j] < lowest:
                best, lowest = j, costs[i, j]
        s[i] = best


def nearest(X, centers):
    """s_i = argmin_j ‖x_i − c_j‖², ties to the lowest j.

    From differences in float64 and not from ‖x‖² − 2xc + ‖c‖², which loses all digits far from the origin.

    X : (n, d) float; centers : (k, d) float; returns (n,) int64
    Cost: 3 n k d flops
    """
    X, centers, s = plain(X), plain(centers, np.float64), np.empty(len(X), dtype=np.int64)
    pool.parallel(lambda part: _nearest(X[part], centers, np.empty(X.shape[1]), s[part]), pool.blocks(len(X), CHUNK))
    return s


@jit
def _nearest(X, centers, x, s):
    for i in range(len(X)):
        for l in range(len(x)):
            x[l] = X[i, l]
        best, lowest = 0, np.inf
        for j in range(len(centers)):
            # 1. squared distance
            distance = _squared_distance(x, centers[j])
            # 2. lowest cost
            if distance < lowest:
                best, lowest = j, distance
        s[i] = best


# Added up in lanes, for a plain sum waits for every addition; no sampled bit depends on it.
@compiled(fastmath={"contract", "reassoc"})
def _squared_distance(x, y):
    total = 0.0
    for l in range(len(x)):
        difference = x[l] - y[l]
        total += difference * difference
    return total


@jit
def objective(losses, assign, weights):
    """Σ_i w_i L[i, s_i] and Σ_i w_i.

    losses : (n, k) float; assign : (n,) int64; weights : (n,)
    returns (loss_sum, weight_sum), floats, sums over samples
    Cost: 2 n flops
    """
    loss_sum = weight_sum = loss = weight = 0.0
    for i in range(len(losses)):
        if i % CHUNK == 0:
            loss_sum += loss
            weight_sum += weight
            loss = weight = 0.0
        # 1. assigned losses
        assigned = losses[i, assign[i]]
        # 2. sums
        loss += np.float64(weights[i] * assigned)
        weight += np.float64(weights[i])
    return loss_sum + loss, weight_sum + weight


def cluster_sums(X, assign, weights, k):
    """Σ w x, Σ w and the number of samples with w > 0, of every cluster.

    X : (n, d) float; assign : (n,) int64; weights : (n,); k : int
    returns (sums (k, d) float64, totals (k,) float64, counts (k,) int64), sums over samples
    Cost: 2 n d flops
    """
    sums, totals, counts = np.zeros((k, X.shape[1])), np.zeros(k), np.zeros(k, np.int64)
    add_sums(X, assign, weights, sums, totals, counts, np.zeros((k, X.shape[1])), np.zeros(k))
    return sums, totals, counts


@jit
def add_sums(X, assign, weights, sums, totals, counts, part, total):
    """Add what `cluster_sums` returns to sums, totals and counts; part, total : zeros like sums and totals."""
    (n, d), k = X.shape, len(totals)
    for start in range(0, n, CHUNK):
        for i in range(start, min(start + CHUNK, n)):
            j, w = assign[i], weights[i]
            # 1. sums
            for l in range(d):
                part[j, l] += np.float64(w * X[i, l])
            total[j] += np.float64(w)
            # 2. counts
            counts[j] += w > 0
        for j in range(k):
            totals[j] += total[j]
            total[j] = 0
            for l in range(d):
                sums[j, l] += part[j, l]
                part[j, l] = 0


@jit
def move(X, index, new, assign, weights, sums, totals, counts):
    """Give the batch its new clusters, and carry what moved from the old sums to the new, in place.

    A cluster that empties gets sums and total exactly 0, whatever rounding has left in them.

    X : (b, d) float, the batch's rows; index : (b,) int64, their places in ``assign``, distinct;
    new : (b,) int64; assign : (n,) int64; weights : (b,), the batch's
    returns int, how many samples with weight moved
    Cost: 4 moved d flops
    """
    d = X.shape[1]
    moved = 0
    for r in range(len(index)):
        old, j, w = assign[index[r]], new[r], weights[r]
        assign[index[r]] = j
        if old == j or not w > 0:
            continue
        moved += 1
        # 1. from the old cluster into the new one
        totals[old] -= w
        totals[j] += w
        counts[old] -= 1
        counts[j] += 1
        for l in range(d):
            wx = np.float64(w * X[r, l])
            sums[old, l] -= wx
            sums[j, l] += wx
        # 2. an empty cluster is exactly zero
        if counts[old] == 0:
            totals[old] = 0
            for l in range(d):
                sums[old, l] = 0
    return moved


@jit
def means(sums, totals, centers, b):
    """c_j ← (b c_j + sums_j / totals_j) / (b + 1), in place; the means themselves for b = 0.

    A cluster without weight keeps its centre.

    b : int, how many earlier centres the old one stands for
    Cost: 4 k d flops
    """
    # 1. means of the clusters that have weight
    for j in range(len(totals)):
        if totals[j] > 0:
            for l in range(sums.shape[1]):
                centers[j, l] = (b * centers[j, l] + sums[j, l] / totals[j]) / (b + 1)
