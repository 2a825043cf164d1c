"""Numba twin of ``reference.mixture``: clusters as Gaussians about a subspace each.

Source: Tipping, Bishop, Mixtures of probabilistic principal component analysers, Neural Computation 1999.

Everywhere: n samples, k clusters, h coordinates; Z (n, k, h), the coordinates of every sample in every
cluster's subspace, residuals (n, k), its squared distance from it, weights (n,), all of one float dtype;
assign (n,) int64.
"""

import numpy as np

from ._engine.jit import jit

CHUNK = 1024


def statistics(Z, residuals, assign, weights):
    """Σ w z zᵀ, Σ w r and Σ w over each cluster's own samples.

    Products in the working dtype, sums in float64: within chunks of ``CHUNK`` rows, the chunks in order.

    Z : (n, k, h) float; residuals : (n, k) float; assign : (n,) int64; weights : (n,) float
    returns (scatter (k, h, h) float64, noise (k,) float64, totals (k,) float64), sums over samples
    Cost: 2 n h² flops
    """
    _, k, h = Z.shape
    scatter, noise, totals = np.zeros((k, h, h)), np.zeros(k), np.zeros(k)
    _statistics(Z, residuals, assign, weights, scatter, noise, totals)
    return scatter, noise, totals


@jit
def _statistics(Z, residuals, assign, weights, scatter, noise, totals):
    n, k, h = Z.shape
    for start in range(0, n, CHUNK):
        part, left, weight = np.zeros((k, h, h)), np.zeros(k), np.zeros(k)
        for i in range(start, min(start + CHUNK, n)):
            j, w = assign[i], weights[i]
            # 1. coordinates
            for a in range(h):
                wz = w * Z[i, j, a]
                for b in range(h):
                    part[j, a, b] += np.float64(wz * Z[i, j, b])
            # 2. what is left over
            left[j] += np.float64(w * residuals[i, j])
            # 3. weights
            weight[j] += np.float64(w)
        for j in range(k):
            for a in range(h):
                for b in range(h):
                    scatter[j, a, b] += part[j, a, b]
            noise[j] += left[j]
            totals[j] += weight[j]


def costs(Z, residuals, precision, inverse_noise, constant):
    """A[i, j] = ½ r/σ_j² + ½ zᵀ Σ_j⁻¹ z + constant_j.

    With constant_j = −log π_j + ½ (d − h) log σ_j² + ½ log det Σ_j this is −log π_j p_j(x) less ½ d log 2π.

    precision : (k, h, h) float, Σ_j⁻¹; inverse_noise : (k,) float, 1/σ_j²; constant : (k,) float
    returns A (n, k) float, one cost per sample and cluster
    Cost: 2 n k h² flops
    """
    A = np.empty(Z.shape[:2], Z.dtype)
    _costs(Z, residuals, precision, inverse_noise, constant, A)
    return A


@jit
def _costs(Z, residuals, precision, inverse_noise, constant, A):
    n, k, h = Z.shape
    zero, half = Z.dtype.type(0), Z.dtype.type(0.5)
    for i in range(n):
        for j in range(k):
            # 1. distance within the subspace
            within = zero
            for a in range(h):
                inner = zero
                for b in range(h):
                    inner += precision[j, a, b] * Z[i, j, b]
                within += inner * Z[i, j, a]
            # 2. distance from it
            away = residuals[i, j] * inverse_noise[j]
            # 3. cost
            A[i, j] = half * (within + away) + constant[j]
