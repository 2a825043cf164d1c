"""Numba twin of ``reference.norm``: batch normalisation and dropout, forward and backward.

Loops run over all c s features of a row, with a channel's numbers once for each of its positions: so they are vectors'
whatever s is. Sums are in the working dtype over a block of rows, in float64 over positions and blocks. Everywhere: n
rows, c channels, s positions of a channel; X and G (n, c, s); gamma = γ, beta = β, mean = μ, variance = σ² (c,), all of
one float dtype. Functions that a task calls take rows (n, c s).
"""

import numpy as np

from . import philox
from ._engine.arrays import plain
from ._engine.jit import jit
from ._engine.pool import blocks, parallel

NUMBERS, BLOCKS = 1 << 14, 64  # of a task at least, and tasks at most


def batch_statistics(X):
    """μ = (1/m) Σ x and σ² = (1/m) Σ (x − μ)² of every channel, over rows and positions; m ≥ 1.

    returns (mean (c,), variance (c,)); sums in float64
    """
    _, c, s = X.shape
    mean, variance = np.empty(c, X.dtype), np.empty(c, X.dtype)
    statistics_of(_rows(X), s, mean, variance)
    return mean, variance


def running_average(running, batch, momentum):
    """(1 − momentum) running + momentum batch, of means or of variances.

    running, batch : (c,) float; returns (c,). Variances of a batch are to be unbiased, m / (m − 1) σ².
    """
    return ((1 - momentum) * running + momentum * batch).astype(running.dtype)


def batch_norm(X, gamma, beta, mean, variance, eps):
    """Y = γ (x − μ) / √(σ² + ε) + β.

    returns (n, c, s)
    """
    rows, Y = _rows(X), np.empty(X.shape, X.dtype)
    normalize_rows(
        rows, X.shape[2], (plain(gamma), plain(beta), plain(mean), plain(variance)), eps, Y.reshape(rows.shape)
    )
    return Y


def batch_norm_backward(G, X, gamma, mean, variance, eps, coupled):
    """Gradients of a loss with respect to γ, β and the input of ``batch_norm``.

        ∂γ = Σ G x̂,   ∂β = Σ G
        ∂X = γ / √(σ² + ε) · G                                  where μ and σ² are constants
        ∂X = γ / √(σ² + ε) · (G − ∂β/m − x̂ ∂γ/m)                where they are those of X itself (``coupled``)

    coupled : bool; returns (∂γ (c,), ∂β (c,), ∂X (n, c, s)), the first two sums over rows and positions
    """
    rows, dX = _rows(X), np.empty(X.shape, X.dtype)
    dgamma, dbeta = np.empty(X.shape[1], X.dtype), np.empty(X.shape[1], X.dtype)
    constants = plain(gamma), plain(mean), plain(variance)
    normalize_back(_rows(G), rows, X.shape[2], constants, eps, coupled, dgamma, dbeta, dX.reshape(rows.shape))
    return dgamma, dbeta, dX


def dropout(X, rate, key, stream, step, rows):
    """Y = x [u ≥ rate] / (1 − rate), u of row i and feature f the uniform of element rows[i] · d + f.

    Its own way back: the gradient with respect to the input is ``dropout`` of the gradient, with the same numbers.

    X : (n, d) float; rate : float in [0, 1); rows : (n,) int; returns (n, d)
    Cost: a quarter of a block of random words an entry
    """
    X, Y = plain(X), np.empty(X.shape, X.dtype)

    def block(part):
        u = philox.uniform(key, stream, step, 0, rows[part], X.shape[1], X.dtype)
        _keep(X[part], u, X.dtype.type(rate), X.dtype.type(1 / (1 - rate)), Y[part])

    parallel(block, _blocks(*X.shape))
    return Y


# -- rows: what networks call --------------------------------------------------------------------------


def statistics_of(X, s, mean, variance):
    """Mean and variance of every channel of rows (n, c s), written to (c,)."""
    parts, m = _blocks(*X.shape), len(X) * s

    def moment(power, center):
        sums, center = np.zeros((len(parts), X.shape[1]), X.dtype), center.astype(X.dtype).repeat(s)
        parallel(lambda part: _add_powers(X[parts[part]], center, power, sums[part]), range(len(parts)))
        return _of_channels(sums, s) / m

    exact = moment(1, np.zeros(len(mean)))
    mean[:] = exact
    variance[:] = moment(2, exact)


def normalize_rows(X, s, constants, eps, Y):
    """Y ← γ (x − μ) / √(σ² + ε) + β of rows (n, c s). constants : (γ, β, μ, σ²)"""
    gamma, beta, mean, variance = constants
    scale, mean, beta = (each.repeat(s) for each in (gamma * _inverse(variance, eps), mean, beta))
    parallel(lambda part: _normalize(X[part], scale, mean, beta, Y[part]), _blocks(*X.shape))


def normalize_back(G, X, s, constants, eps, coupled, dgamma, dbeta, dX):
    """Gradients of ``normalize_rows``, written to dgamma, dbeta and dX. constants : (γ, μ, σ²)"""
    (gamma, mean, variance), parts = constants, _blocks(*X.shape)
    inverse, center = _inverse(variance, eps), mean.repeat(s)
    sums = np.zeros((len(parts), 2, X.shape[1]), X.dtype)
    parallel(lambda part: _add_products(G[parts[part]], X[parts[part]], center, sums[part]), range(len(parts)))
    dgamma[:], dbeta[:] = _of_channels(sums[:, 0], s) * inverse, _of_channels(sums[:, 1], s)
    share = dgamma.dtype.type(1 / max(len(X) * s, 1) if coupled else 0)
    scale, slope, shift = (each.repeat(s) for each in (gamma * inverse, share * dgamma * inverse, share * dbeta))
    parallel(lambda part: _normalize_back(G[part], X[part], center, scale, slope, shift, dX[part]), parts)


@jit
def _add_powers(X, center, power, sums):
    """Sums + Σ (x − center)^power of every feature, power 1 or 2."""
    for i in range(len(X)):
        x = X[i]
        if power == 1:
            for f in range(len(x)):
                sums[f] += x[f] - center[f]
        else:
            for f in range(len(x)):
                sums[f] += (x[f] - center[f]) * (x[f] - center[f])


@jit
def _add_products(G, X, center, sums):
    """sums[0] + Σ G (x − μ) and sums[1] + Σ G of every feature."""
    products, totals = sums[0], sums[1]
    for i in range(len(X)):
        g, x = G[i], X[i]
        for f in range(len(x)):
            products[f] += g[f] * (x[f] - center[f])
            totals[f] += g[f]


@jit
def _normalize(X, scale, mean, shift, Y):
    for i in range(len(X)):
        x, y = X[i], Y[i]
        for f in range(len(x)):
            y[f] = scale[f] * (x[f] - mean[f]) + shift[f]


@jit
def _normalize_back(G, X, mean, scale, slope, shift, dX):
    """∂X ← γ / √(σ² + ε) (G − ∂β/m − x̂ ∂γ/m)."""
    for i in range(len(X)):
        g, x, dx = G[i], X[i], dX[i]
        for f in range(len(x)):
            dx[f] = scale[f] * (g[f] - shift[f] - slope[f] * (x[f] - mean[f]))


def _inverse(variance, eps):
    return (1 / np.sqrt(variance + variance.dtype.type(eps))).astype(variance.dtype)


def _of_channels(sums, s):
    """Sums of channels (c,) float64, of those of blocks and features (blocks, c s)."""
    return sums.sum(axis=0, dtype=np.float64).reshape(-1, s).sum(axis=1)


def unit_rows(X):
    """v = x / ‖x‖, on the unit sphere; rows of zeros stay.

    X : (n, d) float; returns (V (n, d), norms (n,)), a norm of 1 instead of 0
    Cost: 3 n d flops
    """
    norms = np.sqrt((X * X).sum(axis=1))
    norms = np.where(norms > 0, norms, X.dtype.type(1))
    return X / norms[:, None], norms


def unit_rows_gradient(G, V, norms):
    """∂/∂x of a loss from that with respect to v = x / ‖x‖: (g − v vᵀg) / ‖x‖.

    G, V : (n, d); norms : (n,), of ``unit_rows``; returns (n, d)
    Cost: 5 n d flops
    """
    return (G - V * (V * G).sum(axis=1, keepdims=True)) / norms[:, None]


@jit
def _keep(X, u, rate, scale, Y):
    zero = X.dtype.type(0)
    for i in range(len(X)):
        for f in range(X.shape[1]):
            Y[i, f] = scale * X[i, f] if u[i, f] >= rate else zero


def _rows(X):
    X = plain(X)
    return X.reshape(len(X), X.shape[1] * X.shape[2])


def _blocks(n, width):
    return blocks(n, max(1, NUMBERS // max(width, 1), -(-n // BLOCKS)))
