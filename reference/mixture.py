"""Clusters as Gaussians about a subspace each: a mixture of probabilistic principal components.

Source: Tipping, Bishop, Mixtures of probabilistic principal component analysers, Neural Computation 1999.

A sample has, in cluster j, the coordinates z in an orthonormal basis of an h-dimensional subspace through the
cluster's centre, and what is left over, e, with r = ‖e‖². With covariance Σ_j of the coordinates, variance
σ_j² in each of the d − h directions left over, and proportion π_j,

    −log π_j p_j(x) = ½ d log 2π − log π_j + ½ r/σ_j² + ½ (d − h) log σ_j² + ½ zᵀ Σ_j⁻¹ z + ½ log det Σ_j

Everywhere: n samples, k clusters, h coordinates; Z (n, k, h), residuals (n, k), the r of every sample under
every cluster, weights (n,), all of one float dtype; assign (n,) int64.
"""

import numpy as np

CHUNK = 1024


def statistics(Z, residuals, assign, weights):
    """Σ w z zᵀ, Σ w r and Σ w over each cluster's own samples.

    Products in the working dtype, sums in float64: within chunks of ``CHUNK`` rows, the chunks in order.

    Z : (n, k, h) float; residuals : (n, k) float; assign : (n,) int64; weights : (n,) float
    returns (scatter (k, h, h) float64, noise (k,) float64, totals (k,) float64), sums over samples
    Cost: 2 n h² flops
    """
    n, k, h = Z.shape
    scatter, noise, totals = np.zeros((k, h, h)), np.zeros(k), np.zeros(k)
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        s = assign[rows]
        for j in range(k):
            own = s == j
            z, r, w = Z[rows][own, j], residuals[rows][own, j], weights[rows][own]
            # 1. coordinates
            scatter[j] += ((w[:, None] * z)[:, :, None] * z[:, None, :]).sum(axis=0, dtype=np.float64)
            # 2. what is left over
            noise[j] += (w * r).sum(dtype=np.float64)
            # 3. weights
            totals[j] += w.sum(dtype=np.float64)
    return scatter, noise, totals


def costs(Z, residuals, precision, inverse_noise, constant):
    """A[i, j] = ½ r/σ_j² + ½ zᵀ Σ_j⁻¹ z + constant_j.

    With constant_j = −log π_j + ½ (d − h) log σ_j² + ½ log det Σ_j this is −log π_j p_j(x) less ½ d log 2π.

    precision : (k, h, h) float, Σ_j⁻¹; inverse_noise : (k,) float, 1/σ_j²; constant : (k,) float
    returns A (n, k) float, one cost per sample and cluster
    Cost: 2 n k h² flops
    """
    n, k, _ = Z.shape
    A = np.empty((n, k), dtype=Z.dtype)
    half = Z.dtype.type(0.5)
    for j in range(k):
        z = Z[:, j]
        # 1. distance within the subspace
        within = ((z @ precision[j]) * z).sum(axis=1)
        # 2. distance from it
        away = residuals[:, j] * inverse_noise[j]
        # 3. cost
        A[:, j] = half * (within + away) + constant[j]
    return A
