"""Divergences and kernels: closed forms, invariances, finite differences with ε and σ² fixed, PyTorch."""

import numpy as np
import pytest
from gradients import differences

from csrl_core.contract.cases.divergence import TENSORS, assignments, tensors
from csrl_core.reference import divergence as reference

random = np.random.default_rng(5)
sizes = pytest.mark.parametrize("n, k", [(2, 2), (7, 3), (12, 4)])
shapes = pytest.mark.parametrize("name", [name for name, (n, shape) in TENSORS.items() if n * np.prod(shape) < 700])


def kernel_of(D, variance):
    return reference.gaussian_kernel(D, np.array([variance]))


# -- known answers ---------------------------------------------------------------------------------------


def test_divergence_of_perfect_clusters_is_the_floor_and_of_uniform_assignments_1():
    labels = np.arange(12) % 3
    A, same = np.eye(3)[labels], labels[:, None] == labels
    value, dA, dK = reference.cauchy_schwarz(A, same.astype(float))
    np.testing.assert_allclose(value, [1e-9 / 16], rtol=1e-12)  # N_ii = 4²
    assert np.abs(dA).max() < 1e-9 and np.abs(dK).max() < 1e-9
    K = kernel_of(reference.distances(random.normal(size=(9, 2))), 0.5)
    value, _, dK = reference.cauchy_schwarz(np.full((9, 4), 0.25), K)
    np.testing.assert_allclose(value, [1], rtol=1e-12)
    np.testing.assert_allclose(dK, 0, atol=1e-15)  # whatever the kernel


def test_divergence_by_hand():
    """K A has the columns (1.75, 1.5, 2) and (.75, 1, 1), so that N = [[3.5, 1.75], [1.75, 1]]."""
    A, K = np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]), np.ones((3, 3))
    K[0, 1] = K[1, 0] = 0.5
    np.testing.assert_allclose(reference.cauchy_schwarz(A, K)[0], [1.75 / np.sqrt(3.5)], rtol=1e-14)


def test_below_a_floor_there_is_no_gradient():
    A, K = np.array([[1.0, 0], [1, 0], [1, 0]]), np.ones((3, 3))
    value, dA, dK = reference.cauchy_schwarz(A, K)  # the second cluster is empty: 1e-9 / √1e-18
    np.testing.assert_array_equal(value, [1])
    assert not dA.any() and not dK.any()


def test_orthogonality_of_certain_assignments_counts_pairs_in_a_cluster():
    A = np.eye(3)[[0, 0, 1, 1, 1, 2]]
    np.testing.assert_allclose(reference.orthogonality(A)[0], [(1 + 3) / 15])
    np.testing.assert_allclose(reference.orthogonality(np.full((5, 4), 0.25))[0], [0.25])


def test_the_corner_kernel_is_that_of_distances_from_corners():
    A = assignments(7, 3, np.float64)["A"]
    expected = np.exp(-((A[:, None] - np.eye(3)) ** 2).sum(axis=2))
    np.testing.assert_allclose(reference.corner_kernel(A), expected, rtol=1e-14)


def test_the_bandwidth_is_of_the_median_with_the_diagonal_and_has_a_floor():
    D = np.array([[0.0, 3, 5], [3, 0, 7], [5, 7, 0]])
    np.testing.assert_allclose(reference.bandwidth(D), [0.15 * 3])  # 0 0 0 3 3 …
    D = np.array([[0.0, 4], [4, 0]])
    np.testing.assert_allclose(reference.bandwidth(D), [0.15 * 2])  # between 0 and 4
    np.testing.assert_array_equal(reference.bandwidth(np.zeros((4, 4))), [1e-9])


def test_invariance_is_of_assignments_and_has_a_gradient_where_they_underflow():
    a = assignments(9, 4, np.float64)
    A, B = (reference.soft_assignments(a[name]) for name in ("logits", "other"))
    losses, _, _ = reference.invariance(a["logits"], a["other"])
    np.testing.assert_allclose(losses, -np.log((A * B).sum(axis=1)), rtol=1e-12)
    # log A = (0, −2000, −2009) and log A' = (−2009, −9, 0), but for less than 2e-4: three products of e⁻²⁰⁰⁹ each.
    far = np.array([[2000.0, 0, -9]])
    losses, dA, dB = reference.invariance(far, -far)
    np.testing.assert_allclose(losses, [2009 - np.log(3)], atol=2e-4)
    np.testing.assert_allclose(dA, [[2 / 3, -1 / 3, -1 / 3]], atol=1e-12)
    np.testing.assert_allclose(dB, [[-1 / 3, -1 / 3, 2 / 3]], atol=2e-4)


def test_distances_are_those_of_vectors():
    X = random.normal(size=(9, 4)) + 1000
    expected = ((X[:, None] - X) ** 2).sum(axis=2)
    np.testing.assert_allclose(reference.distances(X), expected, rtol=1e-9, atol=1e-12)


# -- tensors ---------------------------------------------------------------------------------------------


def projections(X, eps):
    """P = Xᵀ (X Xᵀ + εI)⁻¹ X, as written."""
    return X.T @ np.linalg.inv(X @ X.T + eps * np.eye(len(X))) @ X


@shapes
def test_tensor_distances_are_those_of_projections(name):
    n, shape = TENSORS[name]
    a = tensors(n, shape, np.float64)
    D, own = np.zeros((n, n)), reference.tensor_distances(a["Y"], shape, a["ridge"])
    for mode, size in enumerate(shape):
        matrices = np.moveaxis(a["Y"].reshape(n, *shape), 1 + mode, 1).reshape(n, size, -1)
        matrices = matrices if size <= matrices.shape[2] else matrices.transpose(0, 2, 1)
        P = np.array([projections(X, eps) for X, eps in zip(matrices, a["ridge"][mode], strict=True)])
        D += ((P[:, None] - P) ** 2).sum(axis=(2, 3))
    np.testing.assert_allclose(own, D, rtol=1e-7, atol=1e-10)
    assert not np.diagonal(own).any()


@shapes
def test_matrices_of_a_mode_go_back(name):
    n, shape = TENSORS[name]
    Y = tensors(n, shape, np.float64)["Y"]
    for mode in range(len(shape)):
        X = reference.matricize(Y, shape, mode)
        assert X.shape[1] <= X.shape[2]
        np.testing.assert_array_equal(reference.tensorize(X, shape, mode), Y)


def test_with_full_rank_and_no_ridge_it_is_of_orthonormal_bases():
    """D = Σ 2 (R − ‖V_aᵀ V_b‖²_F) with V orthonormal bases of the spaces of rows."""
    shape, n = (3, 4, 5), 6
    Y, D = random.normal(size=(n, 60)), np.zeros((n, n))
    for mode in range(3):
        X = reference.matricize(Y, shape, mode)
        V = [np.linalg.svd(x, full_matrices=False)[2].T for x in X]
        D += [[2 * (X.shape[1] - ((a.T @ b) ** 2).sum()) for b in V] for a in V]
    own = reference.tensor_distances(Y, shape, np.full((3, n), 1e-13))
    np.testing.assert_allclose(own, D, atol=1e-10)


def test_tensors_of_rank_one_in_closed_form():
    """P of x ∘ y ∘ z is a projection on a line in every mode, so D = Σ 2 (1 − cos²) of the other factors' products."""
    factors = [random.normal(size=(5, size)) for size in (3, 4, 6)]
    Y = np.einsum("na,nb,nc->nabc", *factors).reshape(5, -1)
    cos = [(f @ f.T) ** 2 / np.outer((f * f).sum(axis=1), (f * f).sum(axis=1)) for f in factors]
    D = 2 * (1 - cos[1] * cos[2]) + 2 * (1 - cos[0] * cos[2]) + 2 * (1 - cos[0] * cos[1])
    own = reference.tensor_distances(Y, (3, 4, 6), reference.ridges(Y, (3, 4, 6), 1e-10))
    np.testing.assert_allclose(own, D, atol=1e-8)


def test_the_space_of_rows_does_not_change_when_rows_are_mixed():
    shape = (3, 4, 5)
    Y = random.normal(size=(6, *shape))
    mixed = Y.copy()
    for mode in range(3):
        mixing = random.normal(size=(6, shape[mode], shape[mode]))
        rows = np.moveaxis(Y, 1 + mode, 1).reshape(6, shape[mode], -1)
        other = (mixing @ rows).reshape(np.moveaxis(Y, 1 + mode, 1).shape)
        mixed = np.moveaxis(other, 1, 1 + mode).reshape(6, -1)
        V, W = (
            reference.row_space(reference.matricize(array, shape, mode), np.full(6, 1e-12))[0]
            for array in (Y.reshape(6, -1), mixed)
        )
        np.testing.assert_allclose(V.transpose(0, 2, 1) @ V, W.transpose(0, 2, 1) @ W, atol=1e-8)


def test_scale_does_not_matter():
    a = tensors(7, (3, 5, 4), np.float64)
    D = reference.tensor_distances(a["Y"], (3, 5, 4), a["ridge"])
    scaled = a["Y"] * np.geomspace(1e-3, 1e3, 7)[:, None]
    own = reference.tensor_distances(scaled, (3, 5, 4), reference.ridges(scaled, (3, 5, 4), 1e-6))
    np.testing.assert_allclose(own, D, rtol=1e-9, atol=1e-12)


def test_a_square_matrix_of_full_rank_says_nothing():
    Y = random.normal(size=(5, 9))
    assert reference.tensor_distances(Y, (3, 3), np.full((2, 5), 1e-14)).max() < 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dead_channels_have_no_gradient_and_samples_of_zeros_a_finite_one(dtype):
    a = tensors(8, (4, 3, 5), dtype, dead=(1, 2))
    D = reference.tensor_distances(a["Y"], (4, 3, 5), a["ridge"])
    dY = reference.tensor_distances_gradient(a["G"], a["Y"], (4, 3, 5), a["ridge"]).reshape(8, 4, 15)
    assert np.isfinite(D).all() and np.isfinite(dY).all() and not dY[-1].any()
    assert not dY[:, [1, 2]].any() and np.abs(dY[:-1, [0, 3]]).min(axis=2).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_block_has_distance_0_and_no_gradient(dtype):
    for shape in ((50,), (6, 5, 5), (3, 40)):
        Y = np.repeat(random.normal(size=(1, np.prod(shape))).astype(dtype) * 30, 12, axis=0)
        ridge = reference.ridges(Y, shape, 1e-6)
        for D, back in (
            (reference.distances(Y), lambda G, Y=Y: reference.distances_gradient(G, Y)),
            (
                reference.tensor_distances(Y, shape, ridge),
                lambda G, Y=Y, shape=shape, ridge=ridge: reference.tensor_distances_gradient(G, Y, shape, ridge),
            ),
        ):
            variance = reference.bandwidth(D)
            K = reference.gaussian_kernel(D, variance)
            assert not D.any() and (K == 1).all() and variance == dtype(1e-9)
            _, _, dK = reference.cauchy_schwarz(assignments(12, 3, dtype)["A"], K)
            assert not back(reference.gaussian_kernel_gradient(dK, D, K, variance)).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_spreads(bad):
    a = tensors(5, (3, 2, 4), np.float64)
    a["Y"][2, 3] = bad
    with np.errstate(invalid="ignore"):
        ridge = reference.ridges(a["Y"], (3, 2, 4), 1e-6)
        for D in (reference.tensor_distances(a["Y"], (3, 2, 4), ridge), reference.distances(a["Y"])):
            assert np.isnan(D[2]).all() and np.isnan(D[:, 2]).all()
            K = reference.gaussian_kernel(D, reference.bandwidth(D))
            assert np.isnan(reference.cauchy_schwarz(assignments(5, 2, np.float64)["A"], K)[0]).all()


# -- gradients -------------------------------------------------------------------------------------------


@sizes
def test_gradients_of_the_three_terms_are_finite_differences(n, k):
    a = assignments(n, k, np.float64)
    A, K = a["A"], a["K"]
    _, dA, dK = reference.cauchy_schwarz(A, K)
    np.testing.assert_allclose(dA, differences(lambda: reference.cauchy_schwarz(A, K)[0][0], A), rtol=1e-5, atol=1e-9)
    symmetric = differences(lambda: reference.cauchy_schwarz(A, (K + K.T) / 2)[0][0], K)
    np.testing.assert_allclose(dK, symmetric, rtol=1e-5, atol=1e-9)
    dA = reference.orthogonality(A)[1]
    np.testing.assert_allclose(dA, differences(lambda: reference.orthogonality(A)[0][0], A), rtol=1e-6, atol=1e-9)
    G = a["of A"]
    dA = reference.corner_kernel_gradient(G, A, reference.corner_kernel(A))
    np.testing.assert_allclose(dA, differences(lambda: (G * reference.corner_kernel(A)).sum(), A), rtol=1e-6, atol=1e-9)


@sizes
def test_gradients_of_assignments_are_finite_differences(n, k):
    a = assignments(n, k, np.float64)
    logits, other, G = a["logits"], a["other"], a["of A"]
    own = reference.soft_assignments_gradient(G, reference.soft_assignments(logits))
    expected = differences(lambda: (G * reference.soft_assignments(logits)).sum(), logits)
    np.testing.assert_allclose(own, expected, rtol=1e-6, atol=1e-9)
    _, own, theirs = reference.invariance(logits, other)
    for gradient, array in ((own, logits), (theirs, other)):
        expected = differences(lambda: reference.invariance(logits, other)[0].sum(), array)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)


def test_gradients_of_kernel_and_distances_are_finite_differences():
    a, X = assignments(7, 3, np.float64), random.normal(size=(7, 4))
    G, D = a["G"], a["D"]
    own = reference.gaussian_kernel_gradient(G, D, kernel_of(D, 0.4), np.array([0.4]))
    expected = differences(lambda: (G * kernel_of(D, 0.4)).sum(), D)
    np.testing.assert_allclose(own, np.where(D == 0, 0, expected), rtol=1e-6, atol=1e-9)
    expected = differences(lambda: (G * reference.distances(X)).sum(), X)
    np.testing.assert_allclose(reference.distances_gradient(G, X), expected, rtol=1e-6, atol=1e-8)


@shapes
def test_gradients_of_tensor_distances_are_finite_differences_with_ridges_fixed(name):
    n, shape = TENSORS[name]
    a = tensors(n, shape, np.float64)
    ridge = 0.05 * np.abs(a["ridge"]) * 1e6  # large enough for a gradient through the ridge to be seen
    own = reference.tensor_distances_gradient(a["G"], a["Y"], shape, ridge)
    expected = differences(lambda: (a["G"] * reference.tensor_distances(a["Y"], shape, ridge)).sum(), a["Y"])
    np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-6 * np.abs(own).max())


# -- torch -----------------------------------------------------------------------------------------------


def test_every_term_is_that_of_torch():
    """Of logits and features at once, as deep divergence-based clustering adds them up."""
    torch = pytest.importorskip("torch")
    a, H = assignments(12, 3, np.float64), random.normal(size=(12, 5))
    logits, other, features = (torch.tensor(x, requires_grad=True) for x in (a["logits"], a["other"], H))
    A = torch.softmax(logits, dim=1)
    D = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    variance = 0.15 * torch.quantile(D.detach().flatten(), 0.5)
    K = torch.exp(-D / (2 * variance))
    M = torch.exp(-((A[:, None] - torch.eye(3, dtype=torch.float64)) ** 2).sum(dim=2))

    def divergence(A):
        N = A.T @ K @ A
        root = torch.clamp(torch.outer(N.diagonal(), N.diagonal()), min=1e-18).sqrt()
        return torch.triu(torch.clamp(N, min=1e-9) / root, diagonal=1).sum() * 2 / 6

    pairs = torch.triu(A @ A.T, diagonal=1).sum() * 2 / (12 * 11)
    views = -torch.log((A * torch.softmax(other, dim=1)).sum(dim=1)).sum()
    terms = divergence(A), pairs, divergence(M), views
    sum(terms).backward()

    own = reference.soft_assignments(a["logits"])
    D = reference.distances(H)
    variance = reference.bandwidth(D)
    K, M = reference.gaussian_kernel(D, variance), reference.corner_kernel(own)
    (first, dA, dK), (second, dA2), (third, dM, dK3) = (
        reference.cauchy_schwarz(own, K),
        reference.orthogonality(own),
        reference.cauchy_schwarz(M, K),
    )
    losses, dlogits, dother = reference.invariance(a["logits"], a["other"])
    values = first[0], second[0], third[0], losses.sum()
    np.testing.assert_allclose(values, [term.item() for term in terms], rtol=1e-10)
    dA = dA + dA2 + reference.corner_kernel_gradient(dM, own, M)
    back = reference.soft_assignments_gradient(dA, own) + dlogits
    np.testing.assert_allclose(back, logits.grad, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dother, other.grad, rtol=1e-9, atol=1e-12)
    dH = reference.distances_gradient(reference.gaussian_kernel_gradient(dK + dK3, D, K, variance), H)
    np.testing.assert_allclose(dH, features.grad, rtol=1e-8, atol=1e-12)


@shapes
def test_tensor_distances_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    n, shape = TENSORS[name]
    a = tensors(n, shape, np.float64)
    Y, D = torch.tensor(a["Y"], requires_grad=True), 0
    for mode, size in enumerate(shape):
        X = torch.movedim(Y.reshape(n, *shape), 1 + mode, 1).reshape(n, size, -1)
        X = X if size <= X.shape[2] else X.transpose(1, 2)
        eps = torch.tensor(a["ridge"][mode])[:, None, None] * torch.eye(X.shape[1], dtype=torch.float64)
        P = X.transpose(1, 2) @ torch.linalg.solve(X @ X.transpose(1, 2) + eps, X)
        D = D + ((P[:, None] - P) ** 2).sum(dim=(2, 3))
    (torch.tensor(a["G"]) * D).sum().backward()
    own = reference.tensor_distances(a["Y"], shape, a["ridge"])
    np.testing.assert_allclose(own, D.detach(), rtol=1e-7, atol=1e-10)
    own = reference.tensor_distances_gradient(a["G"], a["Y"], shape, a["ridge"])
    np.testing.assert_allclose(own, Y.grad, rtol=1e-6, atol=1e-7 * np.abs(own).max())
