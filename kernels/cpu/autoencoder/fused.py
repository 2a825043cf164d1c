"""A whole epoch of a small network in one call.

For the papers' synthetic sets an epoch is a few microseconds of arithmetic, less than it takes to call the dozen
kernels of which it is composed: 10 times on lines_3D (piece "fused" in bench/results/ladder.csv).
"""

import numpy as np

from .._engine.jit import jit
from ..assign import CHUNK, add_sums, means, move
from ..optimizer import decayed, mean_scale, update_part
from .small import add_parts, run


@jit
def _sort_by_cluster(index, assign, k):
    """The batch's samples sorted by their cluster, stably."""
    place, order = np.zeros(k + 1, np.int64), np.empty(len(index), np.int64)
    for i in index:
        place[assign[i] + 1] += 1
    for j in range(k):
        place[j + 1] += place[j]
    for i in index:
        order[place[assign[i]]] = i
        place[assign[i]] += 1
    return order


@jit
def _lowest(index, L, new):
    """New assignments of the batch's samples, as ``assign.assign`` makes them; rows of L are those of the data."""
    for i in index:
        new[i] = 0
        lowest = np.inf
        for j in range(L.shape[1]):
            if L[i, j] < lowest:
                new[i], lowest = j, L[i, j]


@jit
def _objective(index, L, assign, weights):
    """Σ w L[i, s_i] and Σ w over the batch, chunk by chunk as in ``assign.objective``."""
    loss_sum = weight_sum = 0.0
    for start in range(0, len(index), CHUNK):
        loss = weight = 0.0
        for i in index[start : start + CHUNK]:
            loss += np.float64(weights[i] * L[i, assign[i]])
            weight += np.float64(weights[i])
        loss_sum += loss
        weight_sum += weight
    return loss_sum, weight_sum


@jit
def _move(target, index, new, assign, weights, sums, totals, counts):
    """``assign.move`` for the batch's samples, without gathering those that stay."""
    moved = 0
    for r in range(len(index)):
        i = index[r]
        if new[i] != assign[i]:
            row = slice(i, i + 1)
            moved += move(target[row], index[r : r + 1], new[row], assign, weights[row], sums, totals, counts)
    return moved


@jit
def epoch(network, data, batches, clusters, options, optimizer):
    """``fused_epoch``, its arguments as tuples of plain arrays and numbers: one compiled signature a dtype."""
    (params, layers, reg), (X, target, weights), (order, batch_size) = network, data, batches
    assign, centers, sums, totals, counts = clusters
    center, assign_first, running = options
    method, moments, step, (learning_rate, decay_steps), constants, clip_norm = optimizer
    n, k = len(X), len(centers)
    gradient, none = np.empty_like(params), np.empty((0, len(params)), X.dtype)
    L, new = np.empty((n, k), X.dtype), np.empty(n, np.int64)
    s, c = new if assign_first else assign, np.zeros((k, X.shape[1]), X.dtype)
    loss_sum = weight_sum = 0.0
    moved = 0
    for b in range((n + batch_size - 1) // batch_size):
        # 1. batch
        index = order[b * batch_size : (b + 1) * batch_size]
        for j in range(k if center else 0):
            for f in range(X.shape[1]):
                c[j, f] = centers[j, f]
        # 2. losses and gradient
        tasks = np.empty(((len(index) + CHUNK - 1) // CHUNK, 3), np.int64)
        for t in range(len(tasks)):
            tasks[t, 0], tasks[t, 1], tasks[t, 2] = -1, t * CHUNK, min((t + 1) * CHUNK, len(index))
        rows, parts = index, none
        for turn in range(0 if assign_first else 1, 2):  # one call, which is compiled once
            if turn == 1:
                rows, parts = _sort_by_cluster(index, s, k), np.empty((len(tasks), len(params)), X.dtype)
            every = turn == 0 or not assign_first
            run((params, layers, c, reg), (X, target, weights, s), rows, tasks, every, L, parts)
            if turn == 0:
                _lowest(index, L, new)
        add_parts(parts, gradient)
        _lowest(index, L, new)
        batch_loss, batch_weight = _objective(index, L, s, weights)
        loss_sum += batch_loss
        weight_sum += batch_weight
        # 3. optimizer step on the mean gradient
        if batch_weight > 0:
            scale = mean_scale(gradient, batch_weight, clip_norm)
            rate = decayed(learning_rate, step + b, decay_steps)
            update_part(params, gradient, scale, moments[0], moments[1], method, step + b + 1, (rate, *constants))
        # 4. assignment and centres
        moved += _move(target, index, new, assign, weights, sums, totals, counts)
        means(sums, totals, centers, b if running else 0)
    # 5. sums from scratch
    for j in range(k):
        for f in range(X.shape[1]):
            sums[j, f] = 0
        totals[j] = counts[j] = 0
    add_sums(target, assign, weights, sums, totals, counts, np.zeros((k, X.shape[1])), np.zeros(k))
    if not running:
        means(sums, totals, centers, np.int64(0))
    return loss_sum, weight_sum, moved
