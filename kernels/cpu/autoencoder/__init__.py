"""Numba twin of ``reference.autoencoder``: tensorized autoencoders, every cluster with its own encoder and decoder.

Three ways to compute the same, chosen by the shape of the network alone (``regime``):

    "small"   every layer is small: samples innermost, the network in cache     ``autoencoder_blocks``
    "skinny"  many features, few units: features innermost                      ``autoencoder_skinny``
    "wide"    products by NumPy, epilogues around them                          ``kernels.cpu.autoencoder.composed``

Tasks go to the threads of ``pool``; nothing depends on how many there are. Everywhere: n samples, d features, k
clusters, p parameters, h latent dimensions; params (p,), X and target (n, d), centers (k, d), weights (n,), all
of one float dtype; layers (n_layers, 6) int64; assign (n,) int64; reg = λ, a Python float.
"""

import numpy as np
from numba import njit

from .._engine import pool
from .._engine.arrays import plain
from ..assign import CHUNK, cluster_sums, means, move
from ..assign import assign as lowest
from ..dense import LINEAR
from ..optimizer import mean_scale, update_alone
from . import blocks as small
from . import composed, ops, skinny
from .blocks import run_tasks
from .tasks import add_parts, row_tasks, sort_by_cluster

# Where the regimes meet, as ``bench/bench_autoencoder.py --regimes`` found it, which times them against each other:
# of 2000 samples and 4 clusters, "small" wins up to 48 features or so and weights of some 600 entries, "skinny"
# from there on up to 16 units next to the features, "wide" beyond.
SMALL_FEATURES, SMALL_WEIGHTS = 48, 640
SKINNY_FEATURES, SKINNY_UNITS, SKINNY_WEIGHTS = 32, 16, 512
FUSED_PRODUCTS = 1 << 22  # multiplications of a batch up to which one call without threads is faster

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@_jit
def _regime(layers):
    d, last = layers[0, 0], len(layers) - 1
    largest = middle = 0
    for l in range(len(layers)):
        size = layers[l, 0] * layers[l, 1]
        largest = max(largest, size)
        middle += size if 0 < l < last else 0
    if d <= SMALL_FEATURES and largest <= SMALL_WEIGHTS:
        return 0
    narrow = max(layers[0, 1], layers[last, 0]) <= SKINNY_UNITS and middle <= SKINNY_WEIGHTS
    return 1 if d >= SKINNY_FEATURES and narrow and layers[last, 5] == LINEAR else 2


def regime(layers):
    """Which kernels a network gets: "small", "skinny" or "wide". A function of the table of layers."""
    return ("small", "skinny", "wide")[_regime(layers)]


def fused_epoch_applies(layers, n, d, k, batch_size):
    """Whether a trainer should call ``fused_epoch`` rather than compose an epoch.

    n, d, k, batch_size : int; returns bool: the network is small, and a batch too short for threads to pay
    """
    products = min(n, batch_size) * k * int((layers[:, 0] * layers[:, 1]).sum())
    return regime(layers) == "small" and products <= FUSED_PRODUCTS


def losses(params, layers, X, target, centers, reg):
    """L[i, j] = (1/d) ‖g_j(f_j(x_i − c_j)) − (t_i − c_j)‖² + λ ‖f_j(x_i − c_j)‖².

    returns L (n, k), one loss per sample and cluster
    Cost: 2 n Σ_layers k fan_in fan_out flops; memory n k and a block of rows a thread, never n k d
    """
    same = target is X
    params, layers, X, centers = plain(params), plain(layers), plain(X), plain(centers, X.dtype)
    target = X if same else plain(target)
    kind = regime(layers)
    if kind == "wide":
        with pool.single_blas_thread():
            return composed.losses(ops, params, layers, X, target, centers, reg)
    n = len(X)
    L = np.empty((n, len(centers)), X.dtype)
    if kind == "skinny":
        _run_skinny(params, layers, X, target, centers, np.empty(0, np.int64), np.ones(n, X.dtype), reg, True, L, None)
    else:
        order, tasks = np.arange(n), row_tasks(n, _task_size(n))
        _run(params, layers, X, target, centers, order, np.ones(n, X.dtype), reg, order, tasks, True, L, 0)
    return L


def losses_and_gradient(params, layers, X, target, centers, assign, weights, reg):
    """All losses, and the gradient of the assigned column, F = Σ_i w_i L[i, s_i].

    assign : (n,) int64, or None for argmin_j L; weights : (n,)
    returns (L (n, k), assign (n,) int64, gradient (p,)), the gradient a sum over samples
    Cost: that of ``losses``, and 4 n Σ_layers fan_in fan_out flops for the one column that goes back
    """
    same = target is X
    params, layers, X, weights = plain(params), plain(layers), plain(X), plain(weights)
    centers = plain(centers, X.dtype)
    target = X if same else plain(target)
    assign = None if assign is None else plain(assign, np.int64)
    kind = regime(layers)
    if kind == "wide":
        with pool.single_blas_thread():
            return composed.losses_and_gradient(ops, params, layers, X, target, centers, assign, weights, reg)
    n, k = len(X), len(centers)
    L, gradient, every = np.empty((n, k), X.dtype), np.empty_like(params), True
    if assign is None:
        L = losses(params, layers, X, target, centers, reg)
        assign, every = lowest(L), False
    if kind == "skinny":
        _run_skinny(params, layers, X, target, centers, assign, weights, reg, every, L, gradient)
    else:
        order, tasks = sort_by_cluster(np.arange(n), assign, k), row_tasks(n, _task_size(n))
        parts = _run(params, layers, X, target, centers, assign, weights, reg, order, tasks, every, L, len(params))
        add_parts(parts, gradient)
    return L, assign, gradient


def _task_size(n):
    """Samples of a task: at most a chunk, and enough tasks for several threads."""
    return min(CHUNK, max(128, n // 1024 * 128))


def _run(params, layers, X, target, centers, assign, weights, reg, order, tasks, every, L, size):
    """Run tasks of small networks on the pool; returns their gradients, each of length ``size``, 0 for none."""
    parts = np.empty((len(tasks) if size else 0, size), X.dtype)
    arguments = params, layers, X, target, centers, assign, weights, float(reg), order, tasks
    pool.parallel(
        lambda span: small.run_tasks(*arguments, span.start, span.stop, every, L, parts), pool.spans(len(tasks))
    )
    return parts


def _run_skinny(params, layers, X, target, centers, assign, weights, reg, every, L, gradient):
    """Losses and gradient (None for none) of skinny networks, in one call that shares its tasks with the helpers."""
    size, function = _task_size(len(X)), skinny.task_function(X.dtype)
    board, seats = pool.summon(-(-len(X) // size))
    gradient = params[:0] if gradient is None else gradient
    arguments = params, layers, X, target, centers, assign, weights, float(reg), size, every, L, gradient
    skinny.run(board, seats, function.address, *arguments)


def encode(params, layers, X, centers):
    """z_j = f_j(x − c_j) for every cluster.

    returns (n, k, h)
    """
    params, X, centers = plain(params), plain(X), plain(centers, X.dtype)
    with pool.single_blas_thread():
        return composed.encode(ops, params, layers, X, centers)


def decode(params, layers, Z, assign, centers):
    """The decoder of each sample's own cluster, in input space: x = g_s(z) + c_s.

    Z : (n, h) float; assign : (n,) int64; returns (n, d)
    """
    params, Z, assign, centers = plain(params), plain(Z), plain(assign, np.int64), plain(centers, Z.dtype)
    with pool.single_blas_thread():
        return composed.decode(ops, params, layers, Z, assign, centers)


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
    """One epoch of the joint algorithm, everything updated in place, in one call; see ``reference.autoencoder``.

    For the papers' synthetic sets an epoch is a few microseconds of arithmetic, less than it takes to call the
    dozen kernels of which it is composed.

    order : (n,) int64; assign : (n,) int64; centers, sums : (k, d) float64; totals : (k,) float64;
    counts : (k,) int64; moments : (2, p); hyper : (4,) float64
    returns (loss_sum, weight_sum, moved)
    Cost: that of ``losses_and_gradient``; the networks and a block of samples stay in the first-level cache
    """
    same = target is X
    X = plain(X)
    return _fused_epoch(
        params,
        plain(layers),
        X,
        X if same else plain(target),
        plain(weights),
        float(reg),
        plain(order),
        int(batch_size),
        assign,
        centers,
        sums,
        totals,
        counts,
        bool(center),
        bool(assign_first),
        bool(running),
        moments,
        int(rule),
        int(step),
        hyper,
        float(clip_norm),
    )


@_jit
def _lowest(index, L, new):
    """New assignments of the batch's samples, as ``assign.assign`` makes them; rows of L are those of the data."""
    for i in index:
        new[i] = 0
        lowest = np.inf
        for j in range(L.shape[1]):
            if L[i, j] < lowest:
                new[i], lowest = j, L[i, j]


@_jit
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


@_jit
def _move(target, index, new, assign, weights, sums, totals, counts):
    """``assign.move`` for the batch's samples, without gathering those that stay."""
    moved = 0
    for r in range(len(index)):
        i = index[r]
        if new[i] != assign[i]:
            row = slice(i, i + 1)
            moved += move(target[row], index[r : r + 1], new[row], assign, weights[row], sums, totals, counts)
    return moved


@_jit
def _fused_epoch(
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
    """The epoch of ``fused_epoch`` on plain arrays: one compiled signature a dtype."""
    n, k = len(X), len(centers)
    gradient, none = np.empty_like(params), np.empty((0, len(params)), X.dtype)
    L, new = np.empty((n, k), X.dtype), np.empty(n, np.int64)
    s = new if assign_first else assign
    c = np.zeros((k, X.shape[1]), X.dtype)
    loss_sum = weight_sum = 0.0
    moved = 0
    for b in range((n + batch_size - 1) // batch_size):
        # 1. batch
        index = order[b * batch_size : (b + 1) * batch_size]
        if center:
            for j in range(k):
                for f in range(X.shape[1]):
                    c[j, f] = centers[j, f]
        # 2. losses and gradient
        rows, tasks, parts = index, row_tasks(len(index), CHUNK), none
        for turn in range(0 if assign_first else 1, 2):  # one call, which is compiled once
            if turn == 1:
                rows = sort_by_cluster(index, s, k)
                parts = np.empty((len(tasks), len(params)), X.dtype)
            every, first = turn == 0 or not assign_first, np.int64(0)
            run_tasks(*(params, layers, X, target, c, s, weights, reg, rows, tasks, first, len(tasks), every, L, parts))
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
            update_alone(params, gradient, scale, moments, rule, step + b + 1, hyper)
        # 4. assignment and centres
        moved += _move(target, index, new, assign, weights, sums, totals, counts)
        means(sums, totals, centers, b if running else 0)
    # 5. sums from scratch
    fresh_sums, fresh_totals, fresh_counts = cluster_sums(target, assign, weights, k)
    for j in range(k):
        for f in range(X.shape[1]):
            sums[j, f] = fresh_sums[j, f]
        totals[j], counts[j] = fresh_totals[j], fresh_counts[j]
    if not running:
        means(sums, totals, centers, np.int64(0))
    return loss_sum, weight_sum, moved
