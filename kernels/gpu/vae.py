"""CUDA twin of ``reference.vae``: random codes, reconstruction and divergence, and what flows back.

Arguments are those of the reference; every function is one launch.
"""

import numpy as np

from ._platform.launch import array, blocks_for, launch, xp

BERNOULLI, GAUSSIAN, MSE = range(3)
OUTPUTS = {"bernoulli": BERNOULLI, "gaussian": GAUSSIAN, "mse": MSE}

_THREADS = 256  # of the block that a row's sums have


def reparameterise(heads, noise):
    """z = mean + exp(½ logvar) ε.

    returns (m, h)
    Cost: one exponential a number; three read, one written
    """
    heads, noise = array("heads", heads), array("noise", noise)
    m, h = len(heads), heads.shape[1] // 2
    Z = xp.empty((m, h), heads.dtype)
    launch("vae", "reparameterise", heads.dtype, blocks_for(m * h), heads, noise, m, max(len(noise), 1), h, Z)
    return Z


def losses(A, heads, target, output, variance, reg):
    """ℓ = reconstruction(a, t) + β Σ (mean² + exp(logvar) − 1 − logvar).

    returns (m,)
    Cost: two numbers read an output number; one exponential and one logarithm where it is Bernoulli's
    """
    # 1. reconstruction
    # 2. divergence
    scale = _scale(output, variance, A.shape[1]) / 2
    return _rows(A, heads, heads, target, output, scale, reg, False, 0.0)


def output_gradient(A, target, weights, output, variance):
    """∂/∂a of Σ w reconstruction(a, t): w (σ(a) − t), w (a − t)/σ² or w (2/d) (a − t).

    returns (m, d)
    Cost: two numbers read, one written an output number
    """
    A, target, weights = array("A", A), array("target", target), array("weights", weights)
    (m, d), G = A.shape, xp.empty(A.shape, A.dtype)
    arguments = m, max(len(target), 1), d, output, _scale(output, variance, d), G
    launch("vae", "output_gradient", A.dtype, blocks_for(m * d), A, target, weights, *arguments)
    return G


def heads_gradient(G, heads, noise, weights, reg):
    """∂/∂(mean, logvar) of a loss whose gradient with respect to z is G, and of Σ w β times the divergence.

        ∂mean = G + 2 β w mean,    ∂logvar = ½ G exp(½ logvar) ε + β w (exp(logvar) − 1)

    G : (m, h); returns (m, 2 h)
    Cost: four numbers read, two written a number of a code
    """
    G, heads, noise, weights = array("G", G), array("heads", heads), array("noise", noise), array("weights", weights)
    (m, h), out = G.shape, xp.empty(heads.shape, heads.dtype)
    # 1. through the random code
    # 2. divergence
    arguments = m, max(len(noise), 1), h, reg, out
    launch("vae", "heads_gradient", G.dtype, blocks_for(m * h), G, heads, noise, weights, *arguments)
    return out


def log_weights(A, heads, noise, target, output, variance):
    """log p(t | z) + log p(z) − log q(z | x) of z = mean + exp(½ logvar) ε, whose decoding is a.

        log p(z) − log q(z | x) = ½ Σ (logvar + ε² − z²)

    returns (m,)
    Cost: that of ``losses``
    """
    # 1. log p(t | z)
    constant = 0.0 if output == BERNOULLI else -A.shape[1] / 2 * float(np.log(2 * np.pi * variance))
    # 2. log p(z) − log q(z | x)
    code = output if output == BERNOULLI else GAUSSIAN
    return _rows(A, heads, noise, target, code, 0.5 / variance, 0.0, True, constant)


def _rows(A, heads, noise, target, output, scale, reg, weights, constant):
    A, heads, noise, target = array("A", A), array("heads", heads), array("noise", noise), array("target", target)
    (m, d), h, R = A.shape, heads.shape[1] // 2, xp.empty(len(A), A.dtype)
    sizes = m, max(len(target), 1), d, h
    launch(
        *("vae", "rows", A.dtype, blocks_for(m * _THREADS), A, heads, noise, target, *sizes),
        *(output, scale, reg, int(weights), constant, R),
    )
    return R


def _scale(output, variance, d):
    return 2 / d if output == MSE else 1 / variance
