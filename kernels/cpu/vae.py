"""Numba twin of ``reference.vae``: random codes, reconstruction and divergence, and what flows back.

Rows are few numbers long in the latent part, which NumPy does; of the output, as long as the data, blocks of rows are
compiled passes, shared out among threads. Arguments are those of the reference.
"""

import numpy as np

from ._engine.arrays import plain
from ._engine.jit import compiled, jit
from ._engine.pool import blocks, parallel
from .dense import exp_parts, squashed
from .rbm.units import SMALL, softplus

BERNOULLI, GAUSSIAN, MSE = range(3)
OUTPUTS = {"bernoulli": BERNOULLI, "gaussian": GAUSSIAN, "mse": MSE}

_NUMBERS = 1 << 16  # of a task


def reparameterise(heads, noise):
    """z = mean + exp(½ logvar) ε.

    returns (m, h)
    """
    mean, logvar = _parts(heads)
    return mean + np.exp(logvar / 2) * _tiled(noise, len(heads))


def losses(A, heads, target, output, variance, reg):
    """ℓ = reconstruction(a, t) + β Σ (mean² + exp(logvar) − 1 − logvar).

    returns (m,)
    Cost: one exponential and one logarithm an output number where it is Bernoulli's
    """
    # 1. reconstruction
    R = _reconstruction(A, target, output, variance)
    # 2. divergence
    mean, logvar = _parts(heads)
    return R + A.dtype.type(reg) * (mean * mean + np.exp(logvar) - 1 - logvar).sum(axis=1)


def output_gradient(A, target, weights, output, variance):
    """∂/∂a of Σ w reconstruction(a, t): w (σ(a) − t), w (a − t)/σ² or w (2/d) (a − t).

    returns (m, d)
    """
    A, target, weights = plain(A), plain(target), plain(weights)
    G, scale = np.empty_like(A), A.dtype.type(_scale(output, variance, A.shape[1]))

    def block(rows):
        if output == BERNOULLI:
            _bernoulli_gradient(A, target, weights, rows.start, rows.stop, G)
        else:
            _gaussian_gradient(A, target, weights, scale, rows.start, rows.stop, G)

    parallel(block, _tasks(A))
    return G


def heads_gradient(G, heads, noise, weights, reg):
    """∂/∂(mean, logvar) of a loss whose gradient with respect to z is G, and of Σ w β times the divergence.

        ∂mean = G + 2 β w mean,    ∂logvar = ½ G exp(½ logvar) ε + β w (exp(logvar) − 1)

    G : (m, h); returns (m, 2 h)
    """
    mean, logvar = _parts(heads)
    w, deviation = heads.dtype.type(reg) * weights[:, None], np.exp(logvar / 2)
    # 1. through the random code
    through = G * deviation * _tiled(noise, len(heads)) / 2
    # 2. divergence
    return np.concatenate([G + 2 * w * mean, through + w * (deviation * deviation - 1)], axis=1)


def log_weights(A, heads, noise, target, output, variance):
    """log p(t | z) + log p(z) − log q(z | x) of z = mean + exp(½ logvar) ε, whose decoding is a.

        log p(z) − log q(z | x) = ½ Σ (logvar + ε² − z²)

    returns (m,)
    """
    _, logvar = _parts(heads)
    Z, E = reparameterise(heads, noise), _tiled(noise, len(heads))
    # 1. log p(t | z)
    L = -_reconstruction(A, target, output if output == BERNOULLI else GAUSSIAN, variance)
    if output != BERNOULLI:
        L = L - A.dtype.type(A.shape[1] / 2 * np.log(2 * np.pi * variance))
    # 2. log p(z) − log q(z | x)
    return L + (logvar + E * E - Z * Z).sum(axis=1) / 2


def _parts(heads):
    h = heads.shape[1] // 2
    return heads[:, :h], heads[:, h:]


def _tiled(array, m):
    return array if len(array) == m else np.tile(array, (m // len(array), 1))


def _scale(output, variance, d):
    return 2 / d if output == MSE else 1 / variance


def _tasks(A):
    return blocks(len(A), max(1, _NUMBERS // A.shape[1]))


def _reconstruction(A, target, output, variance):
    A, target = plain(A), plain(target)
    R, scale = np.empty(len(A), A.dtype), A.dtype.type(_scale(output, variance, A.shape[1]) / 2)

    def block(rows):
        if output == BERNOULLI:
            _bernoulli(A, target, rows.start, rows.stop, np.empty(A.shape[1], A.dtype), R)
        else:
            _gaussian(A, target, scale, rows.start, rows.stop, R)

    parallel(block, _tasks(A))
    return R


# The compiler may add up in lanes: a plain sum waits for every addition, and no sampled bit depends on it.
_in_lanes = compiled(fastmath={"reassoc"})


@jit
def _bernoulli(A, T, first, stop, terms, R):
    """R ← Σ max(a, 0) − a t + log(1 + e^−|a|), the last as the softplus of −|a|; terms : (d,)."""
    number = A.dtype.type
    zero, half, one, small = number(0), number(0.5), number(1), number(SMALL)
    for i in range(first, stop):
        row = i % len(T)
        for l in range(len(terms)):
            a = A[i, l]
            s, q = exp_parts(-abs(a))
            log = softplus(-abs(a), s + s * q, zero, half, one, small)
            terms[l] = log + ((a if a > zero else zero) - a * T[row, l])
        R[i] = _sum(terms)


@_in_lanes
def _sum(values):
    """In float64."""
    total = 0.0
    for i in range(len(values)):
        total += np.float64(values[i])
    return total


@jit
def _bernoulli_gradient(A, T, weights, first, stop, G):
    one = A.dtype.type(1)
    for i in range(first, stop):
        row, w = i % len(T), weights[i]
        for l in range(A.shape[1]):
            G[i, l] = w * (squashed(A[i, l], one) - T[row, l])


@_in_lanes
def _gaussian(A, T, scale, first, stop, R):
    for i in range(first, stop):
        total, row = 0.0, i % len(T)
        for l in range(A.shape[1]):
            difference = A[i, l] - T[row, l]
            total += np.float64(difference * difference)
        R[i] = scale * A.dtype.type(total)


@jit
def _gaussian_gradient(A, T, weights, scale, first, stop, G):
    for i in range(first, stop):
        row, w = i % len(T), weights[i] * scale
        for l in range(A.shape[1]):
            G[i, l] = w * (A[i, l] - T[row, l])
