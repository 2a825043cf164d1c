"""CUDA twin of ``reference.assign``: assignment of samples to clusters, and the clusters' means.

Everywhere: n samples, d features, k clusters, b rows in a batch; X (n, d), weights (n,) and losses
(n, k) of one float dtype; assign (n,) int64; sums (k, d) float64, totals (k,) float64 and counts
(k,) int64 : Σ w x, Σ w and the number of samples with w > 0 of every cluster; centers (k, d) float64.

Sums over samples: products in the working dtype, converted to float64, summed in float64 within
chunks, the chunks added in order. Chunk bounds depend on shapes alone.
"""

import numpy as np

from ._platform.launch import SHARED_BYTES, THREADS, WARP, active, array, blocks_for, in_place, launch, xp

CHUNK = 1024
CHUNKS = 256  # at most, of sums over clusters: each has k (d + 2) sums of its own in memory
LEAST_ROWS = 32  # of such a chunk


def assign(costs):
    """s_i = argmin_j A[i, j], ties to the lowest j.

    NaN counts as +∞; a row of nothing else gets cluster 0.

    costs : (n, k) float; returns (n,) int64
    Cost: n k comparisons; n k numbers read
    """
    costs = array("costs", costs)
    n, k = costs.shape
    s = xp.empty(n, np.int64)
    group = lanes_for(k)
    launch("assign", "assign", costs.dtype, blocks_for(n * group), costs, s, n, k, group)
    return s


def nearest(X, centers):
    """s_i = argmin_j ‖x_i − c_j‖², ties to the lowest j.

    From differences in float64 and not from ‖x‖² − 2xc + ‖c‖², which loses all digits far from the origin.

    X : (n, d) float; centers : (k, d) float; returns (n,) int64
    Cost: 3 n k d flops; n d numbers read
    """
    X, centers = array("X", X), array("centers", centers, np.float64)
    n, d = X.shape
    s = xp.empty(n, np.int64)
    launch("assign", "nearest", X.dtype, blocks_for(n * WARP), X, centers, s, n, d, len(centers))
    return s


def objective(losses, assign, weights):
    """Σ_i w_i L[i, s_i] and Σ_i w_i.

    losses : (n, k) float; assign : (n,) int64; weights : (n,)
    returns (loss_sum, weight_sum), floats, sums over samples
    Cost: 2 n flops; n numbers of L read, here and there; waits for the device
    """
    losses, assign, weights = array("losses", losses), array("assign", assign, np.int64), array("weights", weights)
    n, k = losses.shape
    if n == 0:
        return 0.0, 0.0
    chunks = -(-n // CHUNK)
    partial, total = xp.empty((chunks, 2), np.float64), xp.empty(2, np.float64)
    blocks = min(chunks, active().max_blocks)
    launch("assign", "objective", losses.dtype, blocks, losses, assign, weights, n, k, CHUNK, partial)
    launch("assign", "add_partials", losses.dtype, 1, partial, chunks, 2, total)
    loss_sum, weight_sum = total.tolist()
    return loss_sum, weight_sum


def cluster_sums(X, assign, weights, k):
    """Σ w x, Σ w and the number of samples with w > 0, of every cluster.

    X : (n, d) float; assign : (n,) int64; weights : (n,); k : int
    returns (sums (k, d) float64, totals (k,) float64, counts (k,) int64), sums over samples
    Cost: 2 n d flops; n d numbers read, at most CHUNKS k d written and read
    """
    X, assign, weights = array("X", X), array("assign", assign, np.int64), array("weights", weights)
    n, d = X.shape
    sums, totals, counts = xp.empty((k, d), np.float64), xp.empty(k, np.float64), xp.empty(k, np.int64)
    rows, chunks, tiles, height, blocks = cut(n, d, k, 1)
    partial = xp.empty((chunks, k, d + 2), np.float64)
    launch(
        *("assign", "cluster_sums", X.dtype, blocks, X, assign, weights, n, d, k, rows, tiles, chunks, height, partial),
        shared=8 * height * THREADS,
    )
    launch("assign", "finish_sums", X.dtype, blocks_for(k * (d + 2)), partial, chunks, k, d, sums, totals, counts)
    return sums, totals, counts


def move(X, index, new, assign, weights, sums, totals, counts):
    """Give the batch its new clusters, and carry what moved from the old sums to the new, in place.

    A cluster that empties gets sums and total exactly 0, whatever rounding has left in them. All that
    leaves a cluster is taken from it before anything enters.

    X : (b, d) float, the batch's rows; index : (b,) int64, their places in ``assign``, distinct;
    new : (b,) int64; assign : (n,) int64; weights : (b,), the batch's
    returns int, how many samples with weight moved
    Cost: 4 moved d flops; waits for the device
    """
    X, index, new, weights = array("X", X), array("index", index), array("new", new), array("weights", weights)
    b, d = X.shape
    k = len(counts)
    old, moved = xp.empty(b, np.int64), xp.zeros(1, np.uint64)
    with in_place(assign=assign, sums=sums, totals=totals, counts=counts) as (assign, sums, totals, counts):
        launch("assign", "relabel", X.dtype, blocks_for(b), index, new, assign, old, weights, b, moved)
        n_moved = int(moved[0])
        if n_moved:
            rows, chunks, tiles, height, blocks = cut(b, d, k, 2)
            partial, delta = xp.empty((chunks, 2, k, d + 2), np.float64), xp.empty((2, k, d + 2), np.float64)
            launch(
                *("assign", "moves", X.dtype, blocks, X, old, new, weights),
                *(b, d, k, rows, tiles, chunks, height, partial),
                shared=2 * 8 * height * THREADS,
            )
            launch("assign", "add_moves", X.dtype, blocks_for(delta.size), partial, chunks, delta.size, delta)
            launch("assign", "finish_move", X.dtype, blocks_for(k * (d + 1)), delta, k, d, sums, totals, counts)
            launch("assign", "finish_counts", X.dtype, blocks_for(k), delta, k, d, counts)
    return n_moved


def means(sums, totals, centers, b):
    """c_j ← (b c_j + sums_j / totals_j) / (b + 1), in place; the means themselves for b = 0.

    A cluster without weight keeps its centre.

    b : int, how many earlier centres the old one stands for
    Cost: 4 k d flops
    """
    sums, totals = array("sums", sums), array("totals", totals)
    with in_place(centers=centers) as (centers,):
        k, d = sums.shape
        launch("assign", "means", np.float64, blocks_for(k * d), sums, totals, centers, k, d, b)


def lanes_for(width):
    """How many lanes of a warp share a row: the power of two that covers it, at most all."""
    return min(WARP, 1 << max(0, width - 1).bit_length())


def cut(n, d, k, sums):
    """(rows of a chunk, chunks, tiles of columns, clusters at a time, blocks), functions of the shape."""
    rows = max(LEAST_ROWS, -(-n // CHUNKS))
    chunks = max(1, -(-n // rows))
    tiles = -(-(d + 2) // THREADS)
    height = max(1, min(k, SHARED_BYTES // (sums * 8 * THREADS)))
    return rows, chunks, tiles, height, min(tiles * chunks * -(-k // height), active().max_blocks)
