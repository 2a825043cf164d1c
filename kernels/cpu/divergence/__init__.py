"""Numba twin of ``reference.divergence``: the Cauchy–Schwarz divergence, its kernels, and distances of tensors.

Whatever is no larger than (n, n) or (n, k) NumPy does, n being a batch. Distances of vectors are products; those of
tensors are in ``tensors``, with the two forms of their traces in ``projections`` and ``factors``. Arguments are those
of the reference.
"""

import numpy as np

from .._engine import pool
from .._engine.arrays import plain
from . import tensors

BANDWIDTH = 0.15  # σ² as a part of the median
FLOOR = 1e-9  # of σ² and of N_ij; its square that of N_ii N_jj
RESOLUTION = 16.0  # roundings of its sums below which a distance is 0

_FEATURES = 2048  # of a task


# -- assignments -----------------------------------------------------------------------------------------


def soft_assignments(logits):
    """A_ij = exp(a_ij) / Σ_l exp(a_il).

    returns A (n, k)
    """
    E = np.exp(logits - logits.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def soft_assignments_gradient(G, A):
    """∂a_ij = A_ij (G_ij − Σ_l G_il A_il).

    G : (n, k); returns (n, k)
    """
    return A * (G - (G * A).sum(axis=1, keepdims=True))


def invariance(logits, other):
    """ℓ_i = −log Σ_j A_ij A'_ij, of two views of a sample.

    With q_ij = A_ij A'_ij / Σ_l A_il A'_il both gradients are ∂a = A − q, ∂a' = A' − q.

    other : (n, k), logits of the other view; returns (ℓ (n,), ∂logits (n, k), ∂other (n, k)), the gradients of Σ ℓ
    """
    # 1. log A, log A' and log Σ A A'
    a, b = _log_softmax(logits), _log_softmax(other)
    both = a + b
    most = both.max(axis=1, keepdims=True)
    total = most + np.log(np.exp(both - most).sum(axis=1, keepdims=True))
    # 2. gradients
    q = np.exp(both - total)
    return -total[:, 0], np.exp(a) - q, np.exp(b) - q


def _log_softmax(logits):
    a = logits - logits.max(axis=1, keepdims=True)
    return a - np.log(np.exp(a).sum(axis=1, keepdims=True))


def corner_kernel(A):
    """M_ij = exp(−‖A_i − e_j‖²), near 1 where a sample is cluster j's alone.

    returns M (n, k)
    """
    return np.exp(-((A * A).sum(axis=1, keepdims=True) + (1 - 2 * A)))


def corner_kernel_gradient(G, A, M):
    """∂A_ij = 2 (G_ij M_ij − A_ij Σ_l G_il M_il).

    G : (n, k); returns (n, k)
    """
    weights = G * M
    return 2 * (weights - A * weights.sum(axis=1, keepdims=True))


def orthogonality(A):
    """2/(n(n − 1)) Σ_{a<b} A_a · A_b = (‖s‖² − Σ ‖A_a‖²) / (n(n − 1)), s = Σ A_a, and ∂A_a = 2/(n(n − 1)) (s − A_a).

    returns (value (1,) float64, ∂A (n, k))
    """
    n, s = len(A), A.sum(axis=0, dtype=np.float64)
    value = (s @ s - (A.astype(np.float64) ** 2).sum()) / (n * (n - 1))
    return np.array([value]), A.dtype.type(2 / (n * (n - 1))) * (s.astype(A.dtype) - A)


# -- divergence ------------------------------------------------------------------------------------------


def cauchy_schwarz(A, K):
    """D_cs(A, K) = 2/(k(k − 1)) Σ_{i<j} N_ij / √(N_ii N_jj), N = Aᵀ K A; with H = ∂D_cs/∂N: ∂A = 2 K A H, ∂K = A H Aᵀ.

    N_ij is at least 1e-9 and N_ii N_jj at least 1e-18; below a floor the gradient through it is 0.

    returns (value (1,) float64, ∂A (n, k), ∂K (n, n))
    Cost: 4 n² k flops
    """
    with pool.single_blas_thread():
        # 1. overlaps
        KA = K @ A
        N = (A.T @ KA).astype(np.float64)
        # 2. divergence
        value, H = _overlap_ratios(N)
        # 3. back
        H = H.astype(A.dtype)
        return np.array([value]), 2 * KA @ H, A @ H @ A.T


def _overlap_ratios(N):
    """(value, H), of N_ij and N_ji half of their gradient each; N : (k, k) float64."""
    k, d = len(N), np.diagonal(N)
    product = d[:, None] * d
    above, inner = (N > FLOOR) & ~np.eye(k, dtype=bool), product > FLOOR * FLOOR
    root = np.sqrt(np.maximum(product, FLOOR * FLOOR))
    ratio = np.maximum(N, FLOOR) / root
    np.fill_diagonal(ratio, 0)
    H = above / root
    through = (ratio * inner).sum(axis=1)
    np.fill_diagonal(H, -np.divide(through, d, out=np.zeros(k), where=through != 0))
    return ratio.sum() / (k * (k - 1)), H / (k * (k - 1))


# -- kernels ---------------------------------------------------------------------------------------------


def bandwidth(D):
    """σ² = max(0.15 · median of all n² entries of D, 1e-9).

    returns variance (1,)
    """
    return np.maximum(D.dtype.type(BANDWIDTH) * np.median(D), D.dtype.type(FLOOR)).reshape(1)


def gaussian_kernel(D, variance):
    """K = exp(−D / 2σ²).

    returns K (n, n)
    """
    return np.exp(D / (-2 * variance))


def gaussian_kernel_gradient(G, D, K, variance):
    """∂D = −G K / 2σ² for a constant σ², and 0 where D = 0.

    G : (n, n); returns (n, n)
    """
    return np.where(D == 0, D.dtype.type(0), G * K / (-2 * variance))


def distances(X):
    """D_ab = ‖x_a − x_b‖² = x_a·x_a + x_b·x_b − 2 x_a·x_b, of x less the mean, which changes nothing but the rounding.

    X : (n, d) float; returns D (n, n)
    Cost: n² d flops: of a symmetric product BLAS makes half
    """
    X, n = plain(X), len(X)
    parts = pool.blocks(X.shape[1], _FEATURES)

    def products(part):
        own = _centred(X[:, part])
        return own @ own.T

    with pool.single_blas_thread():
        S = sum(pool.parallel(products, parts), np.zeros((n, n)))
    return _from_products(S, X.dtype)


def distances_gradient(G, X):
    """∂x_a = 2 Σ_b (G_ab + G_ba) (x_a − x_b).

    G : (n, n); X : (n, d); returns (n, d)
    Cost: 2 n² d flops
    """
    X, C = plain(X), 2 * _laplacian(G)
    dX = np.empty_like(X)

    def products(part):
        dX[:, part] = C @ _centred(X[:, part])

    with pool.single_blas_thread():
        pool.parallel(products, pool.blocks(X.shape[1], _FEATURES))
    return dX


def _centred(X):
    return X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)


# -- tensors ---------------------------------------------------------------------------------------------


def ridges(Y, shape, eps):
    """ε = eps · tr(X Xᵀ)/R + tiny of every mode and sample; tiny is the smallest normal number, for samples of zeros.

    Y : (n, d); eps : float; returns ridge (modes, n)
    """
    rows = np.array([min(size, Y.shape[1] // size) for size in shape])
    trace = np.square(Y, dtype=np.float64).sum(axis=1)
    return (eps * trace / rows[:, None]).astype(Y.dtype) + np.finfo(Y.dtype).tiny


def tensor_distances(Y, shape, ridge):
    """D_ab = Σ_m tr(P_a²) + tr(P_b²) − 2 tr(P_a P_b), P = VᵀV.

    Y : (n, d); returns D (n, n)
    Cost: of a mode n² R d flops from factors, or n² m²/2 + n R m² from projections, whichever form is taken
    """
    with pool.single_blas_thread():
        return _from_products(tensors.traces(plain(Y), shape, plain(ridge)), Y.dtype)


def tensor_distances_gradient(G, Y, shape, ridge):
    """∂X_a = 2 G X_a B_a (I − P_a) of every mode, B_a = 2 Σ_b (G_ab + G_ba) (P_a − P_b), for a constant ε.

    G : (n, n); Y : (n, d); returns (n, d)
    Cost: of a mode 4 n² R d flops from factors, or n² m² + 3 n R m² from projections
    """
    with pool.single_blas_thread():
        return tensors.gradient(2 * _laplacian(G), plain(Y), shape, plain(ridge))


# -- what they share -------------------------------------------------------------------------------------


def _from_products(S, dtype):
    """D_ab = S_aa + S_bb − 2 S_ab, 0 where it is below RESOLUTION roundings of S_aa + S_bb."""
    both = np.diagonal(S)[:, None] + np.diagonal(S)
    found, noise = both - 2 * S, RESOLUTION * np.finfo(dtype).eps * both
    return np.where(found <= noise, 0, found).astype(dtype)


def _laplacian(G):
    """C = diag(T 1) − T with T = G + Gᵀ."""
    T = G + G.T
    return np.diag(T.sum(axis=1)) - T
