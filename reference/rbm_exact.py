"""Exact answers for small restricted Boltzmann machines, by enumeration; what sampling is tested against.

With h summed out one by one, a machine of m hidden units is a mixture of 2^m distributions of independent visible
units: its partition function, likelihood, likelihood gradient and joint distribution are finite sums. For one
cluster: W (d, m), a (m,), b (d,), in the cluster's coordinates; see ``rbm``. All in float64.
"""

import numpy as np

from . import rbm

_LOG_2PI = np.log(2 * np.pi)


def states(n_units):
    """All 2^n binary vectors, (2^n, n) float64; the first unit counts most."""
    return (np.arange(2**n_units)[:, None] >> np.arange(n_units)[::-1] & 1).astype(np.float64)


def _log_sum_exp(values):
    top = values.max()
    return top + np.log(np.exp(values - top).sum())


def _log_weights(W, a, b, visible):
    """All h (2^m, m), and the log of what each contributes to Z once v is summed (or integrated) out, (2^m,)."""
    H = states(len(a))
    A = H @ W.T  # (2^m, d)
    if visible == rbm.GAUSSIAN:
        return H, H @ a + A @ b + 0.5 * (A * A).sum(axis=1) + 0.5 * len(b) * _LOG_2PI
    return H, H @ a + rbm.softplus(A + b).sum(axis=1)


def log_partition(W, a, b, visible):
    """log Z = log Σ_h e^{aᵀh} Σ_v e^{(b + W h)ᵀv}; Gaussian: (d/2) log 2π + log Σ_h e^{aᵀh + bᵀW h + ½‖W h‖²}."""
    return _log_sum_exp(_log_weights(W, a, b, visible)[1])


def log_likelihood(W, a, b, V, visible):
    """log p(v) = −F(v) − log Z, (n,)."""
    return -rbm._energy(V, W, a, b, visible) - log_partition(W, a, b, visible)


def likelihood_gradient(W, a, b, V, visible):
    """Gradient of the mean log-likelihood: mean ∂(−F) over the data less its expectation under the model.

    returns (∂W (d, m), ∂a (m,), ∂b (d,))
    """
    H, logs = _log_weights(W, a, b, visible)
    p = np.exp(logs - _log_sum_exp(logs))
    # Given h, visible units are independent: E[v hᵀ] = Σ_h p(h) E[v | h] hᵀ.
    means = rbm._visible_means(H, W, b, visible)
    P = rbm.sigmoid(V @ W + a)
    return (
        V.T @ P / len(V) - (means * p[:, None]).T @ H,
        P.mean(axis=0) - p @ H,
        V.mean(axis=0) - p @ means,
    )


def joint(W, a, b):
    """p(v, h) of binary units, (2^d, 2^m), rows and columns in the order of ``states``."""
    V, H = states(len(b)), states(len(a))
    logs = (V @ b)[:, None] + (H @ a)[None, :] + V @ W @ H.T
    return np.exp(logs - _log_sum_exp(logs))
