"""Numba twin of ``reference.autoencoder``: tensorized autoencoders, every cluster with its own encoder and decoder.

The plain form serves every network; two faster ones are chosen by the shape of the network alone (``regime``):

    plain.py    layer after layer, products by BLAS: "wide"
    small.py    every layer is small, and samples are many: samples innermost, the network in cache
    skinny.py   many features, few units: features innermost, reconstructions never kept
    fused.py    a whole epoch of a small network in one call

Tasks go to the threads of ``pool``; nothing depends on how many there are. Everywhere: n samples, d features, k
clusters, p parameters, h latent dimensions; params (p,), X and target (n, d), centers (k, d), weights (n,), all
of one float dtype; layers (n_layers, 6) int64; assign (n,) int64; reg = λ, a Python float.
"""

import numpy as np

from .._engine import pool
from .._engine.arrays import plain as _plain
from ..assign import CHUNK
from ..assign import assign as _lowest
from ..dense import LINEAR
from . import fused, plain, skinny, small

# Where the regimes meet, as ``bench/bench_autoencoder.py --regimes`` found it, which times them against each other.
SMALL_FEATURES, SMALL_WEIGHTS = 48, 640
SMALL_SAMPLES = 1024  # fewer are not worth the four seconds for which "small" is compiled, but in fused epochs
# Rows of 64 features are so long that those of two arrays never begin within as many vectors as a loop takes at a time:
# the compiler looks for that and would add up one by one then, with other last bits.
SKINNY_FEATURES, SKINNY_UNITS, SKINNY_WEIGHTS = 64, 16, 512
SKINNY_LOSSES = 6  # units up to which "skinny" pays for losses alone; else it is not compiled for the likelihood
FUSED_PRODUCTS = 1 << 22  # multiplications of a batch up to which one call without threads is faster


def regime(layers):
    """Which kernels a network gets: "small", "skinny" or "wide". A function of the table of layers."""
    table = layers.tolist()
    d, sizes = table[0][0], [row[0] * row[1] for row in table]
    if d <= SMALL_FEATURES and max(sizes) <= SMALL_WEIGHTS:
        return "small"
    narrow = max(table[0][1], table[-1][0]) <= SKINNY_UNITS and sum(sizes[1:-1]) <= SKINNY_WEIGHTS
    return "skinny" if d >= SKINNY_FEATURES and narrow and table[-1][5] == LINEAR else "wide"


def _kind(layers, n, with_gradient):
    """The regime of one call: few samples of a small network, and losses alone of many units, go the plain way."""
    kind, units = regime(layers), SKINNY_UNITS if with_gradient else SKINNY_LOSSES
    plainly = n < SMALL_SAMPLES if kind == "small" else max(layers[0, 1], layers[-1, 0]) > units
    return "wide" if plainly else kind


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
    X, target, (params, layers, centers) = *_samples(X, target), _network(params, layers, centers, X.dtype)
    kind = _kind(layers, len(X), False)
    if kind == "wide":
        with pool.single_blas_thread():
            return plain.losses(params, layers, X, target, centers, reg)
    L = np.empty((len(X), len(centers)), X.dtype)
    data = X, target, np.ones(len(X), X.dtype), np.zeros(len(X), np.int64)
    _run(kind, (params, layers, centers, float(reg)), data, False, True, L)
    return L


def losses_and_gradient(params, layers, X, target, centers, assign, weights, reg):
    """All losses, and the gradient of the assigned column, F = Σ_i w_i L[i, s_i].

    assign : (n,) int64, or None for argmin_j L; weights : (n,)
    returns (L (n, k), assign (n,) int64, gradient (p,)), the gradient a sum over samples
    Cost: that of ``losses``, and 4 n Σ_layers fan_in fan_out flops for the one column that goes back
    """
    X, target, (params, layers, centers) = *_samples(X, target), _network(params, layers, centers, X.dtype)
    weights, assign = _plain(weights), None if assign is None else _plain(assign, np.int64)
    kind, L = _kind(layers, len(X), True), np.empty((len(X), len(centers)), X.dtype)
    if kind == "wide":
        with pool.single_blas_thread():
            return plain.losses_and_gradient(params, layers, X, target, centers, assign, weights, reg)
    every = assign is not None
    if assign is None:
        L = losses(params, layers, X, target, centers, reg)
        assign = _lowest(L)
    network = params, layers, centers, float(reg)
    return L, assign, _run(kind, network, (X, target, weights, assign), True, every, L)


def _samples(X, target):
    """Both as kernels are compiled for; one array if they are."""
    same, X = target is X, _plain(X)
    return X, X if same else _plain(target)


def _network(params, layers, centers, dtype):
    return _plain(params), _plain(layers), _plain(centers, dtype)


def _tasks(assign, k):
    """Tasks (j, lo, hi), (n_tasks, 3) int64: samples lo … hi − 1, all of cluster j, in the order of their clusters.

    At most a chunk, in eights, in which they are computed, a cluster's about equally many; enough for several threads.
    Within a task sums are in the working dtype, across tasks in float64, in the tasks' order.

    assign : (n,) int64
    """
    size, tasks, end = min(CHUNK, max(128, len(assign) // 1024 * 128)), [], 0
    for j, count in enumerate(np.bincount(assign, minlength=k).tolist()):
        start, end = end, end + count
        pieces = -(-count // size) or 1
        step = -(-count // (8 * pieces)) * 8 or 1
        tasks += [(j, lo, min(lo + step, end)) for lo in range(start, end, step)]
    return np.array(tasks, np.int64).reshape(len(tasks), 3)


def _run(kind, network, data, with_gradient, every, L):
    """Losses into L, if ``every``, and the gradient (p,), or None: of small and skinny networks, on the pool."""
    (params, layers, centers, _), (X, target, weights, assign) = network, data
    k, gradient = len(centers), np.empty_like(params)
    order = np.argsort(assign.astype(np.int16) if k < 1 << 15 else assign, kind="stable")  # short ones sort faster
    tasks, table, size = _tasks(assign, k), layers, len(params)
    if kind == "skinny":
        (table, size), outer = skinny.one_network(layers), skinny.outer_layers(params, layers, centers)
    parts = np.empty((len(tasks) if with_gradient else 0, size), X.dtype)

    def span(s):
        if kind == "small":
            small.run(network, data, order, tasks[s], every, L, parts[s])
        else:
            skinny.run(network, outer, (X, target, weights), order, tasks[s], every, L, table, parts[s])

    pool.parallel(span, pool.spans(len(tasks)))
    if not with_gradient:
        return None
    if kind == "small":
        small.add_parts(parts, gradient)
    else:
        skinny.add_parts(parts, tasks, layers, table, k, gradient)
    return gradient


def encode(params, layers, X, centers):
    """z_j = f_j(x − c_j) for every cluster.

    returns (n, k, h)
    """
    with pool.single_blas_thread():
        return plain.encode(_plain(params), layers, _plain(X), _plain(centers, X.dtype))


def decode(params, layers, Z, assign, centers):
    """The decoder of each sample's own cluster, in input space: x = g_s(z) + c_s.

    Z : (n, h) float; assign : (n,) int64; returns (n, d)
    """
    with pool.single_blas_thread():
        return plain.decode(_plain(params), layers, _plain(Z), _plain(assign, np.int64), _plain(centers, Z.dtype))


def fused_epoch(params, layers, X, target, weights, reg, order, batch_size, clusters, options, optimizer):
    """One epoch of the joint algorithm, everything updated in place, in one call; see ``reference.autoencoder``.

    order : (n,) int64; clusters : ``assign.Clusters``; options : ``assign.JointOptions``
    optimizer : ``optimizer.OptimizerState``
    returns (loss_sum, weight_sum, moved)
    Cost: that of ``losses_and_gradient``; the networks and a block of samples stay in the first-level cache
    """
    network, data = (params, _plain(layers), float(reg)), (*_samples(X, target), _plain(weights))
    o, batches = optimizer, (_plain(order), int(batch_size))
    rate, constants = (float(o.learning_rate), o.decay_steps), (o.beta1, o.beta2, o.epsilon, o.momentum)
    optimizer = o.method, o.moments, o.step, rate, constants, o.clip_norm
    return fused.epoch(network, data, batches, tuple(clusters), tuple(options), optimizer)
