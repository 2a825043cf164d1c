"""CUDA twin of ``reference.norm``: batch normalisation and dropout, forward and backward.

The functions after the public ones take rows of several groups, each with γ, β and statistics of its own, at once.
Everywhere: n rows, c channels, s positions of a channel (1 where there are no images); X and G (n, c, s); gamma = γ,
beta = β, mean = μ, variance = σ² (c,), all of one float dtype; eps = ε, rate, momentum floats.
"""

import numpy as np

from . import dense, philox
from ._platform.launch import array, blocks_for, launch, xp
from .groups import Groups

CHUNK, CHUNKS = 32, 64  # rows of a chunk of sums at least, and chunks of a group at most
ACROSS = 32  # features of a block of sums, as in norm.cu
NEVER = 1 << 62  # a number of values that no group has


def batch_statistics(X):
    """μ = (1/m) Σ x and σ² = (1/m) Σ (x − μ)² of every channel, over rows and positions; m ≥ 1.

    returns (mean (c,), variance (c,)); sums in float64
    Cost: the input read once
    """
    X = array("X", X)
    c = X.shape[1]
    running, used = xp.zeros((2, 1, c), X.dtype), xp.empty((1, 2, c), X.dtype)
    statistics(X, Groups.one(len(X)), 1, 0.0, running, used)
    return used[0, 0], used[0, 1]


def running_average(running, batch, momentum):
    """(1 − momentum) running + momentum batch, of means or of variances.

    running, batch : (c,) float; returns (c,). Variances of a batch are to be unbiased, m / (m − 1) σ².
    """
    running, batch = array("running", running), array("batch", batch)
    return ((1 - momentum) * running + momentum * batch).astype(running.dtype)


def batch_norm(X, gamma, beta, mean, variance, eps):
    """Y = γ (x − μ) / √(σ² + ε) + β.

    returns (n, c, s)
    Cost: one number read, one written an element
    """
    X, gamma, beta = array("X", X), array("gamma", gamma), array("beta", beta)
    Y = xp.empty(X.shape, X.dtype)
    normalize(X, Groups.one(len(X)), xp.stack([mean, variance])[None], (gamma, beta), eps, dense.LINEAR, Y)
    return Y


def batch_norm_backward(G, X, gamma, mean, variance, eps, coupled):
    """Gradients of a loss with respect to γ, β and the input of ``batch_norm``.

        ∂γ = Σ G x̂,   ∂β = Σ G
        ∂X = γ / √(σ² + ε) · G                                  where μ and σ² are constants
        ∂X = γ / √(σ² + ε) · (G − ∂β/m − x̂ ∂γ/m)                where they are those of X itself (``coupled``)

    coupled : bool; returns (∂γ (c,), ∂β (c,), ∂X (n, c, s)), the first two sums over rows and positions
    Cost: two numbers read twice, one written an element
    """
    G, X, gamma = array("G", G), array("X", X), array("gamma", gamma)
    gradients, dX = xp.empty((2, 1, len(gamma)), X.dtype), xp.empty(X.shape, X.dtype)
    used = xp.stack([mean, variance])[None]
    normalize_back(G, X, Groups.one(len(X)), used, gamma, eps, 1 if coupled else NEVER, gradients, dX)
    return gradients[0, 0], gradients[1, 0], dX


def unit_rows(X):
    """v = x / ‖x‖, on the unit sphere; rows of zeros stay.

    X : (n, d) float; returns (V (n, d), norms (n,)), a norm of 1 instead of 0
    Cost: 3 n d flops
    """
    X = array("X", X)
    (n, d), V, norms = X.shape, xp.empty(X.shape, X.dtype), xp.empty(len(X), X.dtype)
    launch("norm", "unit_rows", X.dtype, blocks_for(n * ACROSS), X, n, d, V, norms)
    return V, norms


def unit_rows_gradient(G, V, norms):
    """∂/∂x of a loss from that with respect to v = x / ‖x‖: (g − v vᵀg) / ‖x‖.

    G, V : (n, d); norms : (n,), of ``unit_rows``; returns (n, d)
    Cost: 5 n d flops
    """
    G, V, norms = array("G", G), array("V", V), array("norms", norms)
    (n, d), dX = V.shape, xp.empty(V.shape, V.dtype)
    launch("norm", "unit_rows_gradient", V.dtype, blocks_for(n * ACROSS), G, V, norms, n, d, dX)
    return dX


def dropout(X, rate, key, stream, step, rows):
    """Y = x [u ≥ rate] / (1 − rate), u of row i and feature f the uniform of element rows[i] · d + f.

    Its own way back: the gradient with respect to the input is ``dropout`` of the gradient, with the same numbers.

    X : (n, d) float; rate : float in [0, 1); rows : (n,) int, on the device or on the host; returns (n, d)
    Cost: a quarter of a block of random words an entry; one number read, one written
    """
    X = array("X", X)
    Y = xp.empty(X.shape, X.dtype)
    drop(X, rate, (key, stream, step), philox._rows(rows, X.shape[1]), Y)
    return Y


# -- rows of several groups ----------------------------------------------------------------------------


def statistics(X, groups, least, momentum, running, used):
    """Means and variances of every group that has ``least`` values a channel, and the running ones moved on.

    running : (2, k, c), in place; used : (k, 2, c), written: what a group normalises with, the running ones where it
    has fewer values
    """
    n, c, s = X.shape
    rows, chunks, blocks = _cut(groups, c * s) if least < NEVER else (1, 0, 0)
    partial = xp.empty(max(1, 2 * chunks * len(groups) * c * s), np.float64)
    shape = groups.device, len(groups), n, c, s
    launch("norm", "moments", X.dtype, blocks, X, *shape, rows, chunks, partial)
    launch(
        *("norm", "finish_moments", X.dtype, blocks_for(32 * len(groups) * c), partial, X, *shape, chunks),
        *(least, 1 - momentum, momentum, running, used),
    )


def normalize(X, groups, used, constants, eps, activation, Y):
    """Y ← act(γ x̂ + β). constants : (γ, β), of k c numbers each; used : (k, 2, c)."""
    shape = groups.device, len(groups), *X.shape
    launch("norm", "normalize", X.dtype, blocks_for(X.size), X, used, *constants, *shape, eps, activation, Y)


def normalize_back(G, X, groups, used, gamma, eps, least, gradients, dX):
    """Gradients of ``normalize``, written; groups of ``least`` values a channel are coupled by their statistics.

    gamma : k c numbers; gradients : (∂γ, ∂β), of k c numbers each
    """
    # 1. scale and shift
    _sums(("norm", "products"), (G, X, used, eps), X.shape, groups, gradients)
    # 2. input
    shape = groups.device, len(groups), *X.shape
    launch(
        *("norm", "normalize_back", X.dtype, blocks_for(X.size)),
        *(G, X, used, gamma, *gradients, *shape, eps, least, dX),
    )


def channel_sums(G, groups, sums):
    """Sums ← Σ G over the rows and positions of every group, in float64 and in fixed order: k c numbers."""
    _sums(("norm", "totals"), (G,), G.shape, groups, (sums, sums))


def drop(X, rate, counter, rows, Y):
    """Y ← X dropped out. counter : (key, stream, step); rows : int64, on the device."""
    (key, stream, step), (n, width) = counter, X.shape
    per_row = philox._blocks_per_row(width, 4)
    numbers = *philox._key(key), stream, step, rows, n, width, per_row
    launch("norm", "dropout", X.dtype, blocks_for(n * per_row), X, rate, 1 / (1 - rate), *numbers, Y)


def _cut(groups, features):
    """(rows of a chunk, chunks of a group, blocks), functions of the shape."""
    rows = max(CHUNK, -(-groups.tallest // CHUNKS))
    chunks = max(1, -(-groups.tallest // rows))
    return rows, chunks, chunks * len(groups) * -(-features // ACROSS)


def _sums(kernel, arguments, shape, groups, sums):
    """Both sums of a kernel over groups and channels, or the second alone where the kernel has one only."""
    (n, c, s), dtype = shape, arguments[0].dtype
    rows, chunks, blocks = _cut(groups, c * s)
    partial = xp.empty(2 * chunks * len(groups) * c * s, np.float64)
    launch(*kernel, dtype, blocks, *arguments, groups.device, len(groups), n, c, s, rows, chunks, partial)
    both = sums[0] is not sums[1]
    launch(
        *("norm", "finish_sums", dtype, blocks_for(32 * len(groups) * c)),
        *(partial, len(groups), c, s, chunks, both, *sums),
    )
