"""CUDA twin of ``reference.mixture``: clusters as Gaussians about a subspace each.

Source: Tipping, Bishop, Mixtures of probabilistic principal component analysers, Neural Computation 1999.

Everywhere: n samples, k clusters, h coordinates; Z (n, k, h), the coordinates of every sample in every
cluster's subspace, residuals (n, k), its squared distance from it, weights (n,), all of one float dtype;
assign (n,) int64.
"""

import numpy as np

from ._platform.launch import THREADS, array, blocks_for, launch, xp
from .assign import cut, lanes_for

CHUNK = 1024


def statistics(Z, residuals, assign, weights):
    """Σ w z zᵀ, Σ w r and Σ w over each cluster's own samples.

    Products in the working dtype, sums in float64, within chunks, the chunks in order.

    Z : (n, k, h) float; residuals : (n, k) float; assign : (n,) int64; weights : (n,) float
    returns (scatter (k, h, h) float64, noise (k,) float64, totals (k,) float64), sums over samples
    Cost: 3 n h² flops; n h numbers read
    """
    Z, residuals, weights = array("Z", Z), array("residuals", residuals), array("weights", weights)
    assign = array("assign", assign, np.int64)
    n, k, h = Z.shape
    rows, chunks, tiles, height, blocks = cut(n, h * h, k, 1)
    partial = xp.empty((chunks, k, h * h + 2), np.float64)
    # 1. coordinates
    # 2. what is left over
    # 3. weights
    launch(
        *("mixture", "statistics", Z.dtype, blocks),
        *(Z, residuals, assign, weights, n, k, h, rows, tiles, chunks, height, partial),
        shared=8 * height * THREADS,
    )
    scatter, noise, totals = xp.empty((k, h, h), np.float64), xp.empty(k, np.float64), xp.empty(k, np.float64)
    work = blocks_for(k * (h * h + 2))
    launch("mixture", "finish_statistics", Z.dtype, work, partial, chunks, k, h, scatter, noise, totals)
    return scatter, noise, totals


def costs(Z, residuals, precision, inverse_noise, constant):
    """A[i, j] = ½ r/σ_j² + ½ zᵀ Σ_j⁻¹ z + constant_j.

    With constant_j = −log π_j + ½ (d − h) log σ_j² + ½ log det Σ_j this is −log π_j p_j(x) less ½ d log 2π.

    precision : (k, h, h) float, Σ_j⁻¹; inverse_noise : (k,) float, 1/σ_j²; constant : (k,) float
    returns A (n, k) float, one cost per sample and cluster
    Cost: 2 n k h² flops
    """
    Z, residuals, precision = array("Z", Z), array("residuals", residuals), array("precision", precision)
    inverse_noise, constant = array("inverse_noise", inverse_noise), array("constant", constant)
    n, k, h = Z.shape
    A = xp.empty((n, k), Z.dtype)
    # 1. distance within the subspace
    V = xp.matmul(xp.ascontiguousarray(Z.transpose(1, 0, 2)), precision)
    # 2. distance from it
    # 3. cost
    group = lanes_for(h)
    launch(
        *("mixture", "costs", Z.dtype, blocks_for(n * k * group)),
        *(Z, V, residuals, inverse_noise, constant, A, n, k, h, group),
    )
    return A
