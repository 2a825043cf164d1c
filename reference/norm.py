"""Batch normalisation and dropout, forward and backward.

Batch normalisation (Ioffe, Szegedy, arXiv 1502.03167): with mean μ and variance σ² of a channel over the rows and
positions of a batch,

    x̂ = (x − μ) / √(σ² + ε),   y = γ x̂ + β

In training μ and σ² are those of the batch itself (σ² the mean square, not divided by m − 1), so that rows are coupled;
afterwards they are running averages, kept beside the parameters.

Dropout (Srivastava et al., JMLR 2014): an entry is 0 with probability ``rate``, else it is divided by 1 − rate.

Everywhere: n rows, c channels, s positions of a channel (1 where there are no images), m = n s values a channel; X and
G (n, c, s); gamma = γ, beta = β, mean = μ, variance = σ² (c,), all of one float dtype; eps = ε, rate, momentum floats.
"""

import numpy as np

from . import philox


def batch_statistics(X):
    """μ = (1/m) Σ x and σ² = (1/m) Σ (x − μ)² of every channel, over rows and positions; m ≥ 1.

    returns (mean (c,), variance (c,)); sums in float64
    """
    # 1. mean
    mean = X.mean(axis=(0, 2), dtype=np.float64)
    # 2. variance
    variance = ((X - mean[:, None]) ** 2).mean(axis=(0, 2))
    return mean.astype(X.dtype), variance.astype(X.dtype)


def running_average(running, batch, momentum):
    """(1 − momentum) running + momentum batch, of means or of variances.

    running, batch : (c,) float; returns (c,). Variances of a batch are to be unbiased, m / (m − 1) σ².
    """
    return ((1 - momentum) * running + momentum * batch).astype(running.dtype)


def batch_norm(X, gamma, beta, mean, variance, eps):
    """Y = γ (x − μ) / √(σ² + ε) + β.

    returns (n, c, s)
    """
    # 1. normalise
    normalised = (X - mean[:, None]) * inverse_deviation(variance, eps)[:, None]
    # 2. scale and shift
    return gamma[:, None] * normalised + beta[:, None]


def batch_norm_backward(G, X, gamma, mean, variance, eps, coupled):
    """Gradients of a loss with respect to γ, β and the input of ``batch_norm``.

        ∂γ = Σ G x̂,   ∂β = Σ G
        ∂X = γ / √(σ² + ε) · G                                  where μ and σ² are constants
        ∂X = γ / √(σ² + ε) · (G − ∂β/m − x̂ ∂γ/m)                where they are those of X itself (``coupled``)

    coupled : bool; returns (∂γ (c,), ∂β (c,), ∂X (n, c, s)), the first two sums over rows and positions
    """
    deviation = inverse_deviation(variance, eps)[:, None]
    normalised = (X - mean[:, None]) * deviation
    # 1. scale and shift
    dgamma, dbeta = (G * normalised).sum(axis=(0, 2), dtype=np.float64), G.sum(axis=(0, 2), dtype=np.float64)
    dgamma, dbeta = dgamma.astype(X.dtype), dbeta.astype(X.dtype)
    # 2. input
    if coupled:
        m = X.shape[0] * X.shape[2]
        G = G - (dbeta[:, None] + normalised * dgamma[:, None]) / X.dtype.type(max(m, 1))
    return dgamma, dbeta, gamma[:, None] * deviation * G


def inverse_deviation(variance, eps):
    """1 / √(σ² + ε), (c,)."""
    return (1 / np.sqrt(variance + variance.dtype.type(eps))).astype(variance.dtype)


def dropout(X, rate, key, stream, step, rows):
    """Y = x [u ≥ rate] / (1 − rate), u of row i and feature f the uniform of element rows[i] · d + f.

    Its own way back: the gradient with respect to the input is ``dropout`` of the gradient, with the same numbers.

    X : (n, d) float; rate : float in [0, 1); rows : (n,) int; returns (n, d)
    Cost: a quarter of a block of random words an entry
    """
    # 1. random numbers
    kept = philox.uniform(key, stream, step, 0, rows, X.shape[1], X.dtype) >= rate
    # 2. what is kept, so much larger that the mean stays
    return np.where(kept, X * X.dtype.type(1 / (1 - rate)), 0).astype(X.dtype)


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
