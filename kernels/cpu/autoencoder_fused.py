"""One epoch of the joint algorithm in one call, for networks that live in cache.

For the papers' synthetic sets a whole epoch is a few microseconds of arithmetic, less than it
takes to call the dozen kernels of which it is composed.
"""

import numpy as np
from numba import njit

from .assign import assign as lowest
from .assign import cluster_sums, means, move, objective
from .autoencoder_blocks import run_tasks
from .autoencoder_tasks import add_tasks, cluster_tasks, local_layers
from .optimizer import mean_scale, update

TASK = 1024


@njit(nogil=True, cache=True, error_model="numpy")
def fused_epoch(
    params,
    layers,
    X,
    target,
    weights,
    reg,
    order,
    batch_size,
    assign,
    centers,
    sums,
    totals,
    counts,
    center,
    assign_first,
    running,
    moments,
    rule,
    step,
    hyper,
    clip_norm,
):
    """One epoch of the joint algorithm, everything updated in place; see ``reference.autoencoder``.

    order : (n,) int64; assign : (n,) int64; centers, sums : (k, d) float64; totals : (k,) float64;
    counts : (k,) int64; moments : (2, p); hyper : (4,) float64
    returns (loss_sum, weight_sum, moved)
    Cost: that of ``losses_and_gradient``; the networks and a block of samples stay in the first-level cache
    """
    n, k = len(X), len(centers)
    local, q = local_layers(layers)
    gradient, no_parts = np.empty_like(params), np.empty((0, q), X.dtype)
    L = np.empty((min(n, batch_size), k), X.dtype)
    c = np.zeros((k, X.shape[1]), X.dtype)
    loss_sum = weight_sum = 0.0
    moved = 0
    for b in range((n + batch_size - 1) // batch_size):
        # 1. batch
        index = order[b * batch_size : (b + 1) * batch_size]
        m = len(index)
        x, t = np.empty((m, X.shape[1]), X.dtype), np.empty((m, X.shape[1]), X.dtype)
        w, s = np.empty(m, X.dtype), np.empty(m, np.int64)
        for r in range(m):
            x[r], t[r], w[r], s[r] = X[index[r]], target[index[r]], weights[index[r]], assign[index[r]]
        if center:
            c[:] = centers
        rows = np.arange(m)
        # 2. losses and gradient
        if assign_first:
            tasks = np.array([[-1, 0, m]])
            run_tasks(params, layers, local, x, t, c, w, reg, rows, tasks, 0, 1, True, L[:m], no_parts)
            s = lowest(L[:m])
        by_cluster, tasks = cluster_tasks(rows, s, k, TASK)
        parts = np.empty((len(tasks), q), X.dtype)
        run_tasks(
            params, layers, local, x, t, c, w, reg, by_cluster, tasks, 0, len(tasks), not assign_first, L[:m], parts
        )
        add_tasks(parts, tasks, layers, local, False, gradient)
        batch_loss, batch_weight = objective(L[:m], s, w)
        loss_sum += batch_loss
        weight_sum += batch_weight
        # 3. optimizer step on the mean gradient
        if batch_weight > 0:
            scale = mean_scale(gradient, batch_weight, clip_norm)
            update(params, gradient, scale, moments, rule, step + b + 1, hyper)
        # 4. assignment and centres
        moved += move(t, index, lowest(L[:m]), assign, w, sums, totals, counts)
        means(sums, totals, centers, b if running else 0)
    # 5. sums from scratch
    sums[:], totals[:], counts[:] = cluster_sums(target, assign, weights, k)
    if not running:
        means(sums, totals, centers, 0)
    return loss_sum, weight_sum, moved
