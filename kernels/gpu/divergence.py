"""CUDA twin of ``reference.divergence``: the Cauchy–Schwarz divergence, its kernels, and distances of tensors.

Products are the library's; what stands between them is a launch each. Nothing comes back to the host: the value of a
divergence and σ² are arrays of one number. Arguments are those of the reference.
"""

import numpy as np

from ._platform.launch import array, blocks_for, launch, xp

BANDWIDTH = 0.15  # σ² as a part of the median
FLOOR = 1e-9  # of σ² and of N_ij; its square that of N_ii N_jj
RESOLUTION = 16.0  # roundings of its sums below which a distance is 0
WORKSPACE = 1 << 28  # bytes of the products V_a V_bᵀ of a block of samples a with all b


# -- assignments -----------------------------------------------------------------------------------------


def soft_assignments(logits):
    """A_ij = exp(a_ij) / Σ_l exp(a_il).

    returns A (n, k)
    Cost: one exponential a number
    """
    return _rows("soft_assignments", logits=logits)


def soft_assignments_gradient(G, A):
    """∂a_ij = A_ij (G_ij − Σ_l G_il A_il).

    G : (n, k); returns (n, k)
    Cost: two numbers read twice, one written
    """
    return _rows("soft_assignments_gradient", G=G, A=A)


def invariance(logits, other):
    """ℓ_i = −log Σ_j A_ij A'_ij, of two views of a sample.

    With q_ij = A_ij A'_ij / Σ_l A_il A'_il both gradients are ∂a = A − q, ∂a' = A' − q.

    other : (n, k), logits of the other view; returns (ℓ (n,), ∂logits (n, k), ∂other (n, k)), the gradients of Σ ℓ
    Cost: seven exponentials a number
    """
    logits, other = array("logits", logits), array("other", other)
    (n, k), dlogits, dother = logits.shape, xp.empty(logits.shape, logits.dtype), xp.empty(logits.shape, logits.dtype)
    losses = xp.empty(n, logits.dtype)
    # 1. log A, log A' and log Σ A A'
    # 2. gradients
    launch("divergence", "invariance", logits.dtype, blocks_for(n), logits, other, n, k, losses, dlogits, dother)
    return losses, dlogits, dother


def corner_kernel(A):
    """M_ij = exp(−‖A_i − e_j‖²), near 1 where a sample is cluster j's alone.

    returns M (n, k)
    Cost: one exponential a number
    """
    return _rows("corner_kernel", A=A)


def corner_kernel_gradient(G, A, M):
    """∂A_ij = 2 (G_ij M_ij − A_ij Σ_l G_il M_il).

    G : (n, k); returns (n, k)
    Cost: five numbers read, one written
    """
    return _rows("corner_kernel_gradient", G=G, A=A, M=M)


def orthogonality(A):
    """2/(n(n − 1)) Σ_{a<b} A_a · A_b = (‖s‖² − Σ ‖A_a‖²) / (n(n − 1)), s = Σ A_a, and ∂A_a = 2/(n(n − 1)) (s − A_a).

    returns (value (1,) float64, ∂A (n, k))
    Cost: two numbers read, one written
    """
    A = array("A", A)
    (n, k), sums = A.shape, xp.empty((2, A.shape[1]), np.float64)
    launch("divergence", "cluster_moments", A.dtype, k, A, n, k, sums)
    value, dA = xp.empty(1, np.float64), xp.empty(A.shape, A.dtype)
    launch("divergence", "orthogonality", A.dtype, blocks_for(n * k), A, sums, n, k, value, dA)
    return value, dA


def _rows(kernel, **arrays):
    """Run a kernel with a thread for each row of arrays (n, k) that returns one such."""
    arrays = [array(name, value) for name, value in arrays.items()]
    (n, k), out = arrays[0].shape, xp.empty(arrays[0].shape, arrays[0].dtype)
    launch("divergence", kernel, out.dtype, blocks_for(n), *arrays, n, k, out)
    return out


# -- divergence ------------------------------------------------------------------------------------------


def cauchy_schwarz(A, K):
    """D_cs(A, K) = 2/(k(k − 1)) Σ_{i<j} N_ij / √(N_ii N_jj), N = Aᵀ K A; with H = ∂D_cs/∂N: ∂A = 2 K A H, ∂K = A H Aᵀ.

    N_ij is at least 1e-9 and N_ii N_jj at least 1e-18; below a floor the gradient through it is 0.

    returns (value (1,) float64, ∂A (n, k), ∂K (n, n))
    Cost: 4 n² k flops
    """
    A, K = array("A", A), array("K", K)
    k = A.shape[1]
    # 1. overlaps
    KA = xp.matmul(K, A)
    N = xp.ascontiguousarray(xp.matmul(A.T, KA))
    # 2. divergence
    value, H = xp.empty(1, np.float64), xp.empty((k, k), A.dtype)
    launch("divergence", "overlap_ratios", A.dtype, 1, N, k, FLOOR, value, H)
    # 3. back
    return value, xp.matmul(KA + KA, H), xp.matmul(xp.matmul(A, H), A.T)


# -- kernels ---------------------------------------------------------------------------------------------


def bandwidth(D):
    """σ² = max(0.15 · median of all n² entries of D, 1e-9).

    returns variance (1,)
    Cost: one sort of n² numbers
    """
    D = array("D", D)
    variance = xp.empty(1, D.dtype)
    launch("divergence", "bandwidth", D.dtype, 1, xp.sort(D.reshape(-1)), D.size, BANDWIDTH, FLOOR, variance)
    return variance


def gaussian_kernel(D, variance):
    """K = exp(−D / 2σ²).

    returns K (n, n)
    Cost: one exponential a number
    """
    D, variance = array("D", D), array("variance", variance)
    K = xp.empty(D.shape, D.dtype)
    launch("divergence", "gaussian_kernel", D.dtype, blocks_for(D.size), D, variance, D.size, K)
    return K


def gaussian_kernel_gradient(G, D, K, variance):
    """∂D = −G K / 2σ² for a constant σ², and 0 where D = 0.

    G : (n, n); returns (n, n)
    Cost: three numbers read, one written
    """
    arrays = array("G", G), array("D", D), array("K", K), array("variance", variance)
    out = xp.empty(D.shape, D.dtype)
    launch("divergence", "gaussian_kernel_gradient", D.dtype, blocks_for(D.size), *arrays, D.size, out)
    return out


def distances(X):
    """D_ab = ‖x_a − x_b‖² = x_a·x_a + x_b·x_b − 2 x_a·x_b, of x less the mean, which changes nothing but the rounding.

    X : (n, d) float; returns D (n, n)
    Cost: 2 n² d flops
    """
    X = _centered(X)
    return _from_products(xp.matmul(X, X.T).astype(np.float64), X.dtype)


def distances_gradient(G, X):
    """∂x_a = 2 Σ_b (G_ab + G_ba) (x_a − x_b).

    G : (n, n); X : (n, d); returns (n, d)
    Cost: 2 n² d flops
    """
    return xp.matmul(_laplacian(G), _centered(X))


def _centered(X):
    X = array("X", X)
    (n, d), out = X.shape, xp.empty(X.shape, X.dtype)
    launch("divergence", "center", X.dtype, blocks_for(d), X, n, d, out)
    return out


# -- tensors ---------------------------------------------------------------------------------------------


def ridges(Y, shape, eps):
    """ε = eps · tr(X Xᵀ)/R + tiny of every mode and sample; tiny is the smallest normal number, for samples of zeros.

    Y : (n, d); eps : float; returns ridge (modes, n)
    Cost: the tensors read once
    """
    Y = array("Y", Y)
    (n, d), trace = Y.shape, xp.empty(len(Y), np.float64)
    launch("divergence", "square_sums", Y.dtype, n, Y, n, d, trace)
    ridge, tiny = xp.empty((len(shape), n), Y.dtype), np.finfo(Y.dtype).tiny
    for mode, size in enumerate(shape):
        rows = min(size, d // size)
        launch("divergence", "ridges", Y.dtype, blocks_for(n), trace, n, eps, rows, tiny, ridge[mode])
    return ridge


def tensor_distances(Y, shape, ridge):
    """D_ab = Σ_m tr(P_a²) + tr(P_b²) − 2 tr(P_a P_b), the traces as ‖V_a V_bᵀ‖²_F.

    Y : (n, d); returns D (n, n)
    Cost: 2 n² Σ R d flops; memory ``WORKSPACE``
    """
    Y, ridge = array("Y", Y), array("ridge", ridge)
    n = len(Y)
    S = xp.zeros((n, n), np.float64)
    for mode in range(len(shape)):
        V, _ = _row_space(Y, shape, mode, ridge[mode])
        R = V.shape[1]
        for rows, W in _pairs(V):
            count = rows.stop - rows.start
            launch("divergence", "add_squares", Y.dtype, count * n, W, count, n, R, S[rows])
    return _from_products(S, Y.dtype)


def tensor_distances_gradient(G, Y, shape, ridge):
    """∂X_a = 2 G X_a B_a (I − P_a) of every mode, B_a = 2 Σ_b (G_ab + G_ba) (P_a − P_b), for a constant ε.

    G : (n, n); Y : (n, d); returns (n, d)
    Cost: 4 n² Σ R d flops; memory ``WORKSPACE``
    """
    Y, ridge, C = array("Y", Y), array("ridge", ridge), _laplacian(G)
    n, dY = len(Y), xp.zeros(Y.shape, Y.dtype)
    for mode in range(len(shape)):
        V, inverse = _row_space(Y, shape, mode, ridge[mode])
        R, m = V.shape[1:]
        VB = xp.empty((n, R, m), Y.dtype)
        # 1. V_a B_a
        for rows, W in _pairs(V):
            count = rows.stop - rows.start
            launch("divergence", "scale_pairs", Y.dtype, blocks_for(W.size), W, C[rows], count, n, R)
            VB[rows] = xp.matmul(W, V.reshape(n * R, m)).reshape(count, R, m)
        # 2. through the projection and the factor
        VB -= xp.matmul(xp.matmul(VB, V.transpose(0, 2, 1)), V)
        _add_matrices(xp.matmul((2 * inverse).astype(Y.dtype).transpose(0, 2, 1), VB), shape, mode, dY)
    return dY


def _pairs(V):
    """(samples a, V_a V_bᵀ of these and all b) in blocks that fit the workspace: a slice and (rows R, n R) each."""
    n, R, m = V.shape
    flat, block = V.reshape(n * R, m), max(1, WORKSPACE // (n * R * R * V.dtype.itemsize))
    for first in range(0, n, block):
        rows = slice(first, min(first + block, n))
        yield rows, xp.matmul(flat[rows.start * R : rows.stop * R], flat.T)


def _row_space(Y, shape, mode, ridge):
    """V = L⁻¹ X in the dtype and L⁻¹ in float64, with L Lᵀ = X Xᵀ + εI."""
    X = _matrices(Y, shape, mode).astype(np.float64)
    n, R, _ = X.shape
    S = xp.ascontiguousarray(xp.matmul(X, X.transpose(0, 2, 1)))
    inverse = xp.empty((n, R, R), np.float64)
    launch("divergence", "inverse_root", Y.dtype, n, S, ridge, n, R, inverse)
    return xp.ascontiguousarray(xp.matmul(inverse, X).astype(Y.dtype)), inverse


def _matrices(Y, shape, mode):
    """X (n, R, m), contiguous: one mode along a side, the smaller side along the rows."""
    n, size = len(Y), shape[mode]
    X = xp.moveaxis(Y.reshape(n, *shape), 1 + mode, 1).reshape(n, size, -1)
    return xp.ascontiguousarray(X if size <= X.shape[2] else X.transpose(0, 2, 1))


def _add_matrices(X, shape, mode, Y):
    """Y + matrices laid out as rows again, in place."""
    n, size, rest = len(X), shape[mode], [*shape[:mode], *shape[mode + 1 :]]
    X = X if X.shape[1] == size else X.transpose(0, 2, 1)
    view = Y.reshape(n, *shape)
    view += xp.moveaxis(X.reshape(n, size, *rest), 1, 1 + mode)


# -- what they share -------------------------------------------------------------------------------------


def _from_products(S, dtype):
    """D_ab = S_aa + S_bb − 2 S_ab, 0 where it is below RESOLUTION roundings of S_aa + S_bb."""
    n, D = len(S), xp.empty(S.shape, dtype)
    resolution = RESOLUTION * float(np.finfo(dtype).eps)
    launch("divergence", "from_products", dtype, blocks_for(n * n), array("S", S), n, resolution, D)
    return D


def _laplacian(G):
    """2 (diag(T 1) − T) with T = G + Gᵀ."""
    G = array("G", G)
    C = xp.empty(G.shape, G.dtype)
    launch("divergence", "laplacian", G.dtype, len(G), G, len(G), 2.0, C)
    return C
