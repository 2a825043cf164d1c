"""The Cauchy–Schwarz divergence between clusters, the kernels it is measured with, and what flows back.

Sources: Kampffmeyer, Løkse, Bianchi, Livi, Salberg, Jenssen, Deep divergence-based approach to clustering, arXiv
1902.04981; Trosten, Løkse, Jenssen, Kampffmeyer, Leveraging tensor kernels to reduce objective function mismatch in
deep clustering, arXiv 2001.07026. With soft assignments A (n, k), e_j the corners of their simplex and hidden features
H,

    K_ab = exp(−D_ab / 2σ²),    σ² = 0.15 · median(D), held constant in gradients
    D_cs(A, K) = 2/(k(k − 1)) Σ_{i<j} N_ij / √(N_ii N_jj),    N = Aᵀ K A
    L = D_cs(A, K_H) + 2/(n(n − 1)) Σ_{a<b} A_a · A_b + D_cs(M, K_H),    M_ij = exp(−‖A_i − e_j‖²)

Between vectors D_ab = ‖x_a − x_b‖². Between tensors it is the sum over modes m of ‖P_a − P_b‖²_F, where X is the tensor
laid out as a matrix with mode m along one side, the smaller side along the rows, R of them, and P projects onto the
space of its rows:

    P = Xᵀ G X,   G = (X Xᵀ + εI)⁻¹,   D_ab = Σ_m tr(P_a²) + tr(P_b²) − 2 tr(P_a P_b)

With L Lᵀ = X Xᵀ + εI and V = L⁻¹ X it is P = VᵀV, and tr(P_a P_b) = ‖V_a V_bᵀ‖²_F: no P is ever formed. For a
constant ε and a constant symmetric B, ∂tr(P B)/∂X = 2 G X B (I − P); no eigenvectors are differentiated.

Everywhere: n samples of a batch, n ≥ 2, k ≥ 2 clusters; A, M, logits (n, k), D, K (n, n) symmetric, variance = σ² (1,),
all of one float dtype; G the gradient of a loss with respect to what the function of the same name returns, entry by
entry. Tensors are rows Y (n, d) of ``shape``, ints whose product is d; ridge = ε (modes, n).
"""

import numpy as np

BANDWIDTH = 0.15  # σ² as a part of the median
FLOOR = 1e-9  # of σ² and of N_ij; its square that of N_ii N_jj
RESOLUTION = 16.0  # roundings of its sums below which a distance is 0


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
    """ℓ_i = −log Σ_j A_ij A'_ij, of two views of a sample: they are to lie in one cluster with certainty.

    With q_ij = A_ij A'_ij / Σ_l A_il A'_il both gradients are ∂a = A − q, ∂a' = A' − q. From logits, so that a sum too
    small for a number has its gradient too.

    other : (n, k), logits of the other view; returns (ℓ (n,), ∂logits (n, k), ∂other (n, k)), the gradients of Σ ℓ
    """
    # 1. log A, log A' and log Σ A A'
    a, b = log_softmax(logits), log_softmax(other)
    both = a + b
    most = both.max(axis=1, keepdims=True)
    total = most + np.log(np.exp(both - most).sum(axis=1, keepdims=True))
    # 2. gradients
    q = np.exp(both - total)
    return -total[:, 0], np.exp(a) - q, np.exp(b) - q


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
    """D_cs(A, K) = 2/(k(k − 1)) Σ_{i<j} N_ij / √(N_ii N_jj), N = Aᵀ K A; 1 for clusters that do not differ.

    N_ij is at least 1e-9 and N_ii N_jj at least 1e-18; below a floor the gradient through it is 0. With H = ∂D_cs/∂N,
    symmetric: ∂A = 2 K A H and ∂K = A H Aᵀ.

    returns (value (1,) float64, ∂A (n, k), ∂K (n, n))
    Cost: 4 n² k flops
    """
    # 1. overlaps
    KA = K @ A
    N = (A.T @ KA).astype(np.float64)
    # 2. divergence
    value, H = overlap_ratios(N)
    # 3. back
    H = H.astype(A.dtype)
    return np.array([value]), 2 * KA @ H, A @ H @ A.T


def overlap_ratios(N):
    """2/(k(k − 1)) Σ_{i<j} N_ij / √(N_ii N_jj) with floors, and H, each of N_ij and N_ji with half of their gradient.

        H_ij = 1/(k(k − 1)) / √(N_ii N_jj),    H_ii = −1/(k(k − 1)) Σ_{j≠i} N_ij / √(N_ii N_jj) / N_ii

    N : (k, k) float64; returns (value, H (k, k))
    """
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

    The diagonal counts too, and the median of an even number is the mean of the middle two.

    returns variance (1,)
    """
    return np.maximum(D.dtype.type(BANDWIDTH) * np.median(D), D.dtype.type(FLOOR)).reshape(1)


def gaussian_kernel(D, variance):
    """K = exp(−D / 2σ²).

    returns K (n, n)
    """
    return np.exp(D / (-2 * variance))


def gaussian_kernel_gradient(G, D, K, variance):
    """∂D = −G K / 2σ² for a constant σ².

    Samples at distance 0 have a distance whose own gradient is 0, and so they get 0 here: otherwise a σ² at its floor
    would magnify what rounding leaves of it.

    G : (n, n); returns (n, n)
    """
    return np.where(D == 0, D.dtype.type(0), G * K / (-2 * variance))


def distances(X):
    """D_ab = ‖x_a − x_b‖² = x_a·x_a + x_b·x_b − 2 x_a·x_b, of x less the mean, which changes nothing but the rounding.

    X : (n, d) float; returns D (n, n)
    Cost: 2 n² d flops
    """
    X = X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    return from_products(X @ X.T, X.dtype)


def distances_gradient(G, X):
    """∂x_a = 2 Σ_b (G_ab + G_ba) (x_a − x_b).

    G : (n, n); X : (n, d); returns (n, d)
    Cost: 2 n² d flops
    """
    return 2 * (laplacian(G) @ (X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)))


# -- tensors ---------------------------------------------------------------------------------------------


def ridges(Y, shape, eps):
    """ε = eps · tr(X Xᵀ)/R + tiny of every mode and sample; tiny is the smallest normal number, for samples of zeros.

    Y : (n, d); eps : float; returns ridge (modes, n)
    """
    rows = np.array([min(size, Y.shape[1] // size) for size in shape])
    trace = (Y.astype(np.float64) ** 2).sum(axis=1)
    return (eps * trace / rows[:, None]).astype(Y.dtype) + np.finfo(Y.dtype).tiny


def tensor_distances(Y, shape, ridge):
    """D_ab = Σ_m tr(P_a²) + tr(P_b²) − 2 tr(P_a P_b), the traces as ‖V_a V_bᵀ‖²_F.

    Y : (n, d); returns D (n, n)
    Cost: 2 n² Σ R d flops
    """
    S = np.zeros((len(Y), len(Y)))
    for mode in range(len(shape)):
        V, _ = row_space(matricize(Y, shape, mode), ridge[mode])
        flat = V.reshape(-1, V.shape[2])
        for a in range(len(Y)):
            W = V[a] @ flat.T  # V_a V_bᵀ of all b
            S[a] += np.square(W, dtype=np.float64).reshape(len(W), len(Y), -1).sum(axis=(0, 2))
    return from_products(S, Y.dtype)


def tensor_distances_gradient(G, Y, shape, ridge):
    """∂X_a = 2 G X_a B_a (I − P_a) of every mode, B_a = 2 Σ_b (G_ab + G_ba) (P_a − P_b), for a constant ε.

    In V: with Z = V_a B_a − (V_a B_a V_aᵀ) V_a it is 2 L⁻ᵀ Z; V_a B_a = 2 Σ_b C_ab (V_a V_bᵀ) V_b, C of `laplacian`.

    G : (n, n); Y : (n, d); returns (n, d)
    Cost: 4 n² Σ R d flops
    """
    dY, C = np.zeros_like(Y), 2 * laplacian(G)
    for mode in range(len(shape)):
        V, inverse = row_space(matricize(Y, shape, mode), ridge[mode])
        flat = V.reshape(-1, V.shape[2])
        for a in range(len(Y)):
            # 1. V_a B_a
            W = V[a] @ flat.T * C[a].repeat(V.shape[1])
            VB = W @ flat
            # 2. through the projection and the factor
            dX = 2 * inverse[a].T @ (VB - VB @ V[a].T @ V[a])
            dY[a] += tensorize(dX[None], shape, mode)[0].astype(Y.dtype)
    return dY


def matricize(Y, shape, mode):
    """Tensors as matrices with one mode along a side, the smaller side along the rows: X (n, R, d / R)."""
    n, size = len(Y), shape[mode]
    X = np.moveaxis(Y.reshape(n, *shape), 1 + mode, 1).reshape(n, size, -1)
    return X if size <= X.shape[2] else X.transpose(0, 2, 1)


def tensorize(X, shape, mode):
    """The way back of `matricize`: rows (n, d)."""
    n, size, rest = len(X), shape[mode], [*shape[:mode], *shape[mode + 1 :]]
    X = X if X.shape[1] == size else X.transpose(0, 2, 1)
    return np.moveaxis(X.reshape(n, size, *rest), 1, 1 + mode).reshape(n, -1)


def row_space(X, ridge):
    """V = L⁻¹ X with L Lᵀ = X Xᵀ + εI, in float64, since X Xᵀ may be all but singular; what is not finite spreads.

    X : (n, R, m); ridge : (n,); returns (V (n, R, m) in X's dtype, L⁻¹ (n, R, R) float64)
    """
    wide, unit = X.astype(np.float64), np.eye(X.shape[1])
    S = wide @ wide.transpose(0, 2, 1) + ridge[:, None, None].astype(np.float64) * unit
    finite = np.isfinite(S).all(axis=(1, 2))
    inverse = np.linalg.inv(np.linalg.cholesky(np.where(finite[:, None, None], S, unit)))
    inverse[~finite] = np.nan
    return (inverse @ wide).astype(X.dtype), inverse


# -- what they share -------------------------------------------------------------------------------------


def from_products(S, dtype):
    """D_ab = S_aa + S_bb − 2 S_ab of inner products S, 0 where it is below RESOLUTION roundings of S_aa + S_bb.

    returns (n, n) of the dtype
    """
    both = np.diagonal(S)[:, None] + np.diagonal(S)
    found, noise = both - 2 * S, RESOLUTION * np.finfo(dtype).eps * both
    return np.where(found <= noise, 0, found).astype(dtype)


def laplacian(G):
    """C = diag(T 1) − T with T = G + Gᵀ: Σ_b T_ab (x_a − x_b) = (C x)_a, whatever T's diagonal is."""
    T = G + G.T
    return np.diag(T.sum(axis=1)) - T


def log_softmax(logits):
    """Logarithms of `soft_assignments`."""
    a = logits - logits.max(axis=1, keepdims=True)
    return a - np.log(np.exp(a).sum(axis=1, keepdims=True))
