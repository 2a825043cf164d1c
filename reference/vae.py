"""The variational autoencoder's own part: random codes, reconstruction and divergence, and what flows back.

Source: Kingma, Welling, Auto-encoding variational Bayes, arXiv 1312.6114; tensorized in Sabanayagam, Al-Dabooni, Esser,
arXiv 2412.03471. For a target t, with networks of a cluster or of all (see ``network``),

    (mean, logvar) = encoder(x),   z = mean + exp(½ logvar) ε,   a = decoder(z)
    ℓ = reconstruction(a, t) + β Σ (mean² + exp(logvar) − 1 − logvar)

With β = ½ the sum is KL(N(mean, exp(logvar)) ‖ N(0, 1)), and ℓ the negative evidence lower bound.

Rows: a batch under every cluster has one row for each sample and cluster, while targets and noise are the samples'. So
``target`` and ``noise`` may have fewer rows than the others, q where they have m, a multiple of q: row i belongs to
sample i mod q. Clusters that share their noise are compared under common random numbers.

Everywhere: m rows, d features, h latent dimensions; heads (m, 2 h), means and then log-variances, A = a (m, d), the
decoder's output, Z (m, h), target (q, d), noise = ε (q, h), weights (m,), all of one float dtype; output BERNOULLI,
GAUSSIAN or MSE, variance = σ² and reg = β floats.
"""

import numpy as np

from .sigmoid import sigmoid

BERNOULLI, GAUSSIAN, MSE = range(3)
OUTPUTS = {"bernoulli": BERNOULLI, "gaussian": GAUSSIAN, "mse": MSE}


def reparameterise(heads, noise):
    """z = mean + exp(½ logvar) ε.

    returns (m, h)
    """
    mean, logvar = parts(heads)
    return mean + np.exp(logvar / 2) * tiled(noise, len(heads))


def losses(A, heads, target, output, variance, reg):
    """ℓ = reconstruction(a, t) + β Σ (mean² + exp(logvar) − 1 − logvar).

    returns (m,)
    Cost: one exponential and one logarithm an output number where it is Bernoulli's
    """
    # 1. reconstruction
    R = reconstruction(A, target, output, variance)
    # 2. divergence
    mean, logvar = parts(heads)
    return R + A.dtype.type(reg) * (mean * mean + np.exp(logvar) - 1 - logvar).sum(axis=1)


def reconstruction(A, target, output, variance):
    """Bernoulli: Σ log(1 + eᵃ) − a t, of logits; Gaussian: ½ Σ (a − t)² / σ²; MSE: (1/d) Σ (a − t)².

    returns (m,)
    """
    T = tiled(target, len(A))
    if output == BERNOULLI:
        return (np.maximum(A, 0) - A * T + np.log1p(np.exp(-np.abs(A)))).sum(axis=1)
    return A.dtype.type(scale(output, variance, A.shape[1]) / 2) * ((A - T) ** 2).sum(axis=1)


def output_gradient(A, target, weights, output, variance):
    """∂/∂a of Σ w reconstruction(a, t): w (σ(a) − t), w (a − t)/σ² or w (2/d) (a − t).

    returns (m, d)
    """
    T, w = tiled(target, len(A)), weights[:, None]
    if output == BERNOULLI:
        return w * (sigmoid(A) - T)
    return w * A.dtype.type(scale(output, variance, A.shape[1])) * (A - T)


def heads_gradient(G, heads, noise, weights, reg):
    """∂/∂(mean, logvar) of a loss whose gradient with respect to z is G, and of Σ w β times the divergence.

        ∂mean = G + 2 β w mean,    ∂logvar = ½ G exp(½ logvar) ε + β w (exp(logvar) − 1)

    G : (m, h); returns (m, 2 h)
    """
    mean, logvar = parts(heads)
    w, deviation = heads.dtype.type(reg) * weights[:, None], np.exp(logvar / 2)
    # 1. through the random code
    through = G * deviation * tiled(noise, len(heads)) / 2
    # 2. divergence
    return np.concatenate([G + 2 * w * mean, through + w * (deviation * deviation - 1)], axis=1)


def log_weights(A, heads, noise, target, output, variance):
    """log p(t | z) + log p(z) − log q(z | x) of z = mean + exp(½ logvar) ε, whose decoding is a.

    The mean of exp(log_weights) over independent ε estimates p(t) without bias, and its logarithm is a lower bound in
    the mean (Burda, Grosse, Salakhutdinov, Importance weighted autoencoders, arXiv 1509.00519). With q's log-density
    taken at ε,

        log p(z) − log q(z | x) = ½ Σ (logvar + ε² − z²)

    and log p(t | z) = −reconstruction for Bernoulli, less ½ d log 2π σ² otherwise; MSE is taken as Gaussian here.

    returns (m,)
    """
    _, logvar = parts(heads)
    Z, E = reparameterise(heads, noise), tiled(noise, len(heads))
    # 1. log p(t | z)
    L = -reconstruction(A, target, output if output == BERNOULLI else GAUSSIAN, variance)
    if output != BERNOULLI:
        L = L - A.dtype.type(A.shape[1] / 2 * np.log(2 * np.pi * variance))
    # 2. log p(z) − log q(z | x)
    return L + (logvar + E * E - Z * Z).sum(axis=1) / 2


def parts(heads):
    """Means and log-variances, (m, h) each."""
    h = heads.shape[1] // 2
    return heads[:, :h], heads[:, h:]


def tiled(array, m):
    """Rows of samples, repeated for every cluster: (m, …)."""
    return array if len(array) == m else np.tile(array, (m // len(array), 1))


def scale(output, variance, d):
    """What the reconstruction's gradient multiplies a − t by: 1/σ² or 2/d, a float."""
    return 2 / d if output == MSE else 1 / variance
