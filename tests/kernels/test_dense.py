"""Dense layers: known values, saturation, gradients by central differences. Agreement is in test_verify."""

import numpy as np
import pytest

from csrl_core import backends as backend
from csrl_core.reference import dense as reference

pytestmark = pytest.mark.sensitive


@pytest.fixture(params=["numpy", "numba"])
def kernels(request):
    return backend.get(request.param).dense


def _arguments(seed=0, n=9, fan_in=5, fan_out=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, fan_in)), rng.normal(size=(fan_in, fan_out)), rng.normal(size=fan_out)


def test_layer_table_by_hand():
    table, size = reference.layer_table([(3, 2, 4, "relu", True), (2, 3, 1, "linear", False)])
    assert table.tolist() == [[3, 2, 4, 0, 24, 1], [2, 3, 1, 32, -1, 0]]
    assert size == 38
    params = np.arange(38.0)
    W, b = reference.layer_views(params, table[0], 2)
    np.testing.assert_array_equal(W, [[12, 13], [14, 15], [16, 17]])
    np.testing.assert_array_equal(b, [28, 29])
    W, b = reference.layer_views(params, table[1], 3)  # shared: the one copy for every cluster
    np.testing.assert_array_equal(W, [[32, 33, 34], [35, 36, 37]])
    assert b.size == 0
    W[0, 0] = -1
    assert params[32] == -1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_known_values(kernels, dtype):
    A = np.array([[-2.0, 0.0, 1.5]], dtype)
    exact = {
        "linear": [-2, 0, 1.5],
        "relu": [0, 0, 1.5],
        "leaky_relu": [-0.4, 0, 1.5],
        "tanh": [-0.9640275800758169, 0, 0.9051482536448664],
        "sigmoid": [0.11920292202211755, 0.5, 0.8175744761936437],
    }
    for name, values in exact.items():
        Y = kernels.activate(A, kernels.ACTIVATIONS[name])
        assert Y.dtype == dtype
        np.testing.assert_allclose(Y[0], values, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_full_relative_accuracy(kernels, dtype, name):
    # Near zero tanh x = x to all digits, far below zero σ(x) = eˣ; a few ulps against extended precision.
    sizes = np.concatenate([np.logspace(-8, np.log10(80), 2000), [0.0, 0.3466, 0.3465, 0.6931, 0.6932]])
    A = np.concatenate([sizes, -sizes]).astype(dtype)[None]
    wide = A.astype(np.longdouble)
    exact = np.tanh(wide) if name == "tanh" else 1 / (1 + np.exp(-wide))
    Y = kernels.activate(A, kernels.ACTIVATIONS[name])
    error = np.abs(Y - exact) / np.maximum(np.abs(exact), np.finfo(dtype).tiny)
    assert error.max() <= 4 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes(kernels, dtype):
    A = np.array([[-np.inf, -1e30, 1e30, np.inf, np.nan]], dtype)
    code = kernels.ACTIVATIONS
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(kernels.activate(A, code["tanh"])[0], [-1, -1, 1, 1, np.nan])
        low, lower, *high = kernels.activate(A, code["sigmoid"])[0]
    assert 0 <= low <= np.finfo(dtype).tiny * 4
    assert 0 <= lower <= np.finfo(dtype).tiny * 4
    np.testing.assert_array_equal(high, [1, 1, np.nan])
    np.testing.assert_array_equal(kernels.activate(A, code["relu"])[0], np.array([0, 0, 1e30, np.inf, np.nan], dtype))


def test_forward_by_hand(kernels):
    X, W, b = np.array([[1.0, 2.0]]), np.array([[1.0, -3.0], [0.5, 1.0]]), np.array([1.0, 0.0])
    np.testing.assert_array_equal(kernels.forward(X, W, b, kernels.RELU), [[3, 0]])
    np.testing.assert_array_equal(kernels.forward(X, W, b[:0], kernels.LINEAR), [[2, -1]])


@pytest.mark.parametrize("name", list(reference.ACTIVATIONS))
def test_gradient_by_central_differences(kernels, name):
    X, W, b = _arguments()
    activation = kernels.ACTIVATIONS[name]
    G = np.random.default_rng(1).normal(size=(9, 4))
    assert np.abs(X @ W + b).min() > 1e-3  # away from the kinks
    dW, db, dX = kernels.backward(G, X, kernels.forward(X, W, b, activation), W, activation)

    def value():
        return float((G * kernels.forward(X, W, b, activation)).sum())

    for array, gradient in ((W, dW), (b, db), (X, dX)):
        for index in np.ndindex(array.shape):
            # Truncation h² and rounding eps/h balance near h = eps^(1/3).
            h, at = 6e-6, array[index]
            array[index] = at + h
            above = value()
            array[index] = at - h
            slope = (above - value()) / (2 * h)
            array[index] = at
            assert abs(slope - gradient[index]) < 1e-7 * max(1, np.abs(gradient).max())


def test_backward_is_the_adjoint(kernels):
    # ⟨G, dX·W⟩ = ⟨G Wᵀ, dX⟩ and ⟨G, X·dW⟩ = ⟨XᵀG, dW⟩ for a linear layer, whatever the directions.
    X, W, _ = _arguments()
    rng = np.random.default_rng(2)
    G, step_x, step_w = rng.normal(size=(9, 4)), rng.normal(size=X.shape), rng.normal(size=W.shape)
    dW, db, dX = kernels.backward(G, X, X @ W, W, kernels.LINEAR)
    bound = 100 * np.finfo(float).eps * np.abs(G).sum()
    assert abs((G * (step_x @ W)).sum() - (dX * step_x).sum()) < bound
    assert abs((G * (X @ step_w)).sum() - (dW * step_w).sum()) < bound
    np.testing.assert_allclose(db, G.sum(axis=0), rtol=1e-13)


def test_arguments_are_left_alone(kernels):
    X, W, b = _arguments()
    G, Y = np.ones((9, 4)), np.tanh(X @ W + b)
    arrays = [X, W, b, G, Y]
    for array in arrays:
        array.flags.writeable = False
    kernels.forward(X, W, b, kernels.TANH)
    kernels.backward(G, X, Y, W, kernels.TANH)
    kernels.activate(Y, kernels.TANH)
    kernels.activation_gradient(G, Y, kernels.TANH)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_on_any_number_of_threads(dtype):
    numba = backend.get("numba")
    rng = np.random.default_rng(0)
    X, W, G = (rng.normal(size=shape).astype(dtype) for shape in ((2500, 70), (70, 33), (2500, 33)))
    results = []
    for threads in (1, 2, 7, None):
        if threads is None:  # outside of any context
            Y = numba.dense.forward(X, W, W[0], numba.dense.SIGMOID)
            results.append([Y, *numba.dense.backward(G, X, Y, W, numba.dense.SIGMOID)])
        else:
            with numba.threads(threads):
                Y = numba.dense.forward(X, W, W[0], numba.dense.SIGMOID)
                results.append([Y, *numba.dense.backward(G, X, Y, W, numba.dense.SIGMOID)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
