"""`csrl_core.divergence`: what it returns, and what it says of bad input."""

import numpy as np
import pytest

import csrl_core
from csrl_core import divergence
from csrl_core.reference import divergence as reference

random = np.random.default_rng(0)
Y = random.normal(size=(6, 3, 4, 5))


@pytest.mark.parametrize("backend", ["numpy", "numba", "emulated"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_and_gradient_of_tensors(backend, dtype):
    G = random.normal(size=(6, 6))
    D, back = divergence.tensor_distances(Y.astype(dtype), eps=1e-4, backend=backend)
    rows = Y.reshape(6, -1)
    ridge = reference.ridges(rows, (3, 4, 5), 1e-4)
    assert D.dtype == back(G).dtype == dtype and back(G).shape == Y.shape
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(D, reference.tensor_distances(rows, (3, 4, 5), ridge), atol=tolerance)
    expected = reference.tensor_distances_gradient(G, rows, (3, 4, 5), ridge).reshape(Y.shape)
    np.testing.assert_allclose(back(G), expected, atol=tolerance * np.abs(expected).max())
    with_array, _ = divergence.tensor_distances(Y.astype(dtype), eps=ridge, backend=backend)
    np.testing.assert_allclose(with_array, D, atol=tolerance)


@pytest.mark.parametrize("distances", [divergence.tensor_distances, divergence.vector_distances])
def test_a_whole_companion_loss_has_the_gradient_of_finite_differences(distances):
    """λ D_cs(A, K) of tensors, σ² and ε held at their values."""
    A = reference.soft_assignments(random.normal(size=(6, 3)))
    ridge = reference.ridges(Y.reshape(6, -1), (3, 4, 5), 1e-3)
    options = {"eps": ridge} if distances is divergence.tensor_distances else {}
    D, back = distances(Y, **options)
    variance = 0.15 * np.median(D)
    K, back_to_D = divergence.gaussian_kernel(D)
    _, _, dK = divergence.cauchy_schwarz(A, K)
    gradient, step = back(back_to_D(dK)), random.normal(size=Y.shape)
    ends = []
    for size in (1e-5, -1e-5):
        D, _ = distances(Y + size * step, **options)
        ends.append(divergence.cauchy_schwarz(A, divergence.gaussian_kernel(D, variance)[0])[0])
    np.testing.assert_allclose((gradient * step).sum(), (ends[0] - ends[1]) / 2e-5, rtol=1e-5)


def test_integers_become_float64_and_it_is_found_by_name():
    D, back = csrl_core.divergence.tensor_distances(np.arange(24).reshape(4, 2, 3) ** 2)
    assert D.dtype == np.float64 and back(np.ones((4, 4))).shape == (4, 2, 3)
    assert "divergence" in csrl_core.__all__


def broken(value):
    array = Y.copy()
    array[1, 2, 0, 3] = value
    return array


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: divergence.tensor_distances(Y[:1]), r"Y has shape \(1, 3, 4, 5\), expected \(n, …\) with n ≥ 2"),
        (lambda: divergence.tensor_distances(Y[:, :0]), r"Y has shape \(6, 0, 4, 5\)"),
        (lambda: divergence.tensor_distances(np.ones(5)), r"Y has shape \(5,\)"),
        (lambda: divergence.tensor_distances([["a"], ["b"]]), "Y has dtype <U1, expected numbers"),
        (lambda: divergence.tensor_distances(broken(np.nan)), r"Y contains nan at \(1, 2, 0, 3\), expected finite"),
        (lambda: divergence.vector_distances(broken(-np.inf)), r"Y contains -inf at \(1, 2, 0, 3\)"),
        (lambda: divergence.tensor_distances(Y, eps=0), "eps=0, expected a number of at least 1e-12"),
        (lambda: divergence.tensor_distances(Y, eps=np.nan), "eps=nan"),
        (lambda: divergence.tensor_distances(Y, eps=np.ones((2, 6))), r"eps has shape \(2, 6\), expected .* \(3, 6\)"),
        (lambda: divergence.tensor_distances(Y, eps=np.zeros((3, 6))), "eps contains 0.0, expected positive"),
        (lambda: divergence.tensor_distances(Y)[1](np.ones((6, 5))), r"G has shape \(6, 5\), expected \(6, 6\)"),
        (lambda: divergence.gaussian_kernel(np.ones((3, 4))), r"D has shape \(3, 4\), expected \(n, n\)"),
        (lambda: divergence.gaussian_kernel(np.ones((3, 3)), 0.0), "variance=0.0, expected a positive number or None"),
        (lambda: divergence.cauchy_schwarz(np.ones((5, 1)), np.eye(5)), r"A has shape \(5, 1\), expected .* k ≥ 2"),
        (lambda: divergence.cauchy_schwarz(np.ones((5, 2)), np.eye(4)), r"K has shape \(4, 4\), expected \(5, 5\)"),
        (lambda: divergence.cauchy_schwarz(np.ones((2, 2)), [[1, np.nan], [0, 1]]), r"K contains nan at \(0, 1\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
