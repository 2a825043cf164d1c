"""The variational autoencoder's model: gradients, passes that agree, batch normalisation, probabilistic PCA."""

import numpy as np
import pytest

from csrl_core import backends
from csrl_core.models.architectures import conv_parts, dense_parts, parts
from csrl_core.models.network import Networks
from csrl_core.models.vae import VAEModel
from csrl_core.training.draws import Draw, Use
from csrl_core.training.parameters import Layout, Parameters

KEY = np.array([3, 4], np.uint32)
DENSE = dense_parts(9, (7, 5), 2, 2), 9
SMALL = {
    "heads of their own": DENSE,
    "all of their own": (dense_parts(9, (7, 5), 2, 0), 9),
    "no hidden layers": (dense_parts(9, (), 3, 0), 9),
    "convolutions": (conv_parts((1, 6, 6), (3, 4), 2, 1), 36),
    "batch normalisation": (
        parts(
            ["dense 6 shared", "batch_norm activation=relu shared", "dropout 0.2", "dense 5", "batch_norm"],
            ["dense 8 activation=tanh", "batch_norm shared", "dense 9 shared"],
            9,
            2,
        ),
        9,
    ),
}
OPTIONS = [("bernoulli", False), ("bernoulli", True), ("gaussian", True), ("mse", False)]
everything = [pytest.mark.parametrize("name", SMALL), pytest.mark.parametrize(("output", "centred"), OPTIONS)]


def problem(name, output, centred, k=3, n=8, dtype=np.float64, backend="numpy"):
    """A model, its parameters with state, and the arguments of `losses_and_gradient` without the draw."""
    described, d = SMALL[name]
    random, backend = np.random.default_rng(0), backends.get(backend)
    networks = Networks(described, k)
    model = VAEModel(backend, networks, output, 0.5, 2.0, centred)
    draw = Draw(backend.philox, KEY, use=Use.INITIAL_PARAMETERS)
    layout = Layout(networks.shapes)
    flat = layout.flatten(model.init_parameters(None, k, draw), dtype)
    params = Parameters(layout, flat, networks.initial_state({}, dtype))
    X = random.uniform(size=(n, d)).astype(dtype)
    centers = (random.uniform(size=(k, d)) if centred else np.zeros((k, d))).astype(dtype)
    return model, params, [X, X, centers, random.integers(0, k, n), random.uniform(0.5, 2, n).astype(dtype)]


def training(model, n=8, step=5):
    return Draw(model.philox, KEY, step=step, rows=np.arange(n))


@everything[0]
@everything[1]
def test_gradients_are_finite_differences(name, output, centred):
    model, params, arguments = problem(name, output, centred)
    assign, weights = arguments[3:]
    _, _, gradient = model.losses_and_gradient(params, *arguments, training(model))

    def value():
        state = {key: array.copy() for key, array in params.state.items()}
        L, _, _ = model.losses_and_gradient(params, *arguments, training(model))
        for key, array in state.items():
            params.state[key][...] = array
        return (weights * L[np.arange(len(L)), assign]).sum()

    for seed in range(6):
        direction = np.random.default_rng(seed).normal(size=params.flat.shape)
        params.flat[...] += 1e-6 * direction
        above = value()
        params.flat[...] -= 2e-6 * direction
        slope = (above - value()) / 2e-6
        params.flat[...] += 1e-6 * direction
        np.testing.assert_allclose(gradient @ direction, slope, rtol=2e-5, atol=1e-5)


@everything[0]
@everything[1]
def test_assigned_columns_alone_give_the_same_losses_and_gradient(name, output, centred):
    model, params, arguments = problem(name, output, centred)
    L, _, gradient = model.losses_and_gradient(params, *arguments, training(model))
    alone, _, same = model.losses_and_gradient(params, *arguments, training(model), every=False)
    rows, assign = np.arange(len(L)), arguments[3]
    np.testing.assert_allclose(alone[rows, assign], L[rows, assign], rtol=1e-12)
    np.testing.assert_allclose(same, gradient, rtol=1e-9, atol=1e-12)


@everything[0]
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_backends_agree(name, dtype):
    results = []
    for backend, of in (("numpy", np.float64), ("numpy", dtype), ("numba", dtype)):
        model, params, arguments = problem(name, "bernoulli", False, dtype=of, backend=backend)
        L, _, gradient = model.losses_and_gradient(params, *arguments, training(model))
        Z, bound = (
            model.embed(params, *arguments[:1], arguments[2], None),
            model.log_densities(params, arguments[0], arguments[2], 3, training(model)),
        )
        results.append([L, gradient, Z, bound, *params.state.values()])
    eps = np.finfo(dtype).eps
    for exact, reference, compiled in zip(*results, strict=True):
        budget = 4 * np.abs(reference - exact).max() + 64 * eps * np.abs(exact).max()
        assert np.abs(compiled - exact).max() <= budget


def test_all_clusters_see_the_same_noise():
    model, params, (X, T, centers, _, weights) = problem("heads of their own", "bernoulli", False)
    for view in params.values():
        view[...] = view[:1]
    L, assign, _ = model.losses_and_gradient(params, X, T, centers, None, weights, training(model))
    np.testing.assert_allclose(L, np.repeat(L[:, :1], 3, axis=1), rtol=1e-12)
    assert not assign.any()  # ties to the lowest


def test_after_training_a_sample_depends_on_no_other_and_the_code_is_the_mean():
    model, params, (X, T, centers, *_) = problem("batch normalisation", "bernoulli", False)
    L = model.losses(params, X, T, centers, None)
    for i in range(3):
        np.testing.assert_allclose(model.losses(params, X[i : i + 1], T[i : i + 1], centers, None)[0], L[i])
    assign = np.array([2, 0, 1, 1, 0, 2, 2, 0])
    Z = model.embed(params, X, centers, None)
    own = model.embed_assigned(params, X, centers, assign, None)
    np.testing.assert_allclose(own, Z[np.arange(8), assign])
    p = model.decode(params, own, assign, centers, None)
    cross_entropy = -(X * np.log(p) + (1 - X) * np.log(1 - p)).sum(axis=1)
    assert (cross_entropy < L[np.arange(8), assign]).all()


def test_running_averages_move_in_training_only():
    model, params, arguments = problem("batch normalisation", "bernoulli", False)
    before = {name: array.copy() for name, array in params.state.items()}
    model.losses(params, *arguments[:3], None)
    fixed = Draw(model.philox, KEY, use=Use.EVALUATION_NOISE, rows=np.arange(8))
    model.value_and_gradient(params, *arguments, None, fixed)
    for name, array in before.items():
        np.testing.assert_array_equal(params.state[name], array)
    model.losses_and_gradient(params, *arguments, training(model))
    assert all((params.state[name] != array).any() for name, array in before.items())


def test_a_batch_of_one_has_no_statistics():
    model, params, arguments = problem("batch normalisation", "bernoulli", False, n=1)
    with pytest.raises(ValueError, match="a batch has 1 sample, and batch normalisation needs at least 2"):
        model.losses_and_gradient(params, *arguments, training(model, 1))


@pytest.mark.parametrize("h", [1, 2])
def test_a_linear_model_with_gaussian_output_reaches_probabilistic_pca(h):
    """D Dᵀ = U (Λ − σ² I)₊ Uᵀ, for X of mean zero, β = ½ and logvar that is the same for all samples."""
    random, d, variance, n = np.random.default_rng(0), 4, 0.3, 40
    X = random.normal(size=(n, d)) * np.array([2.0, 1.2, 0.6, 0.3])
    X = (X - X.mean(axis=0)) @ np.linalg.qr(random.normal(size=(d, d)))[0]
    backend = backends.get("numpy")
    networks = Networks(parts([], [f"dense {d} bias=False"], d, h), 1)
    model = VAEModel(backend, networks, "gaussian", variance, 0.5, False)
    layout = Layout(networks.shapes)
    flat = layout.flatten(model.init_parameters(None, 1, Draw(backend.philox, KEY, use=Use.INITIAL_PARAMETERS)))
    params = Parameters(layout, flat, {})
    # The mean over ε of ½ ‖D ε s‖²/σ² is its value at ε = ± √h e_a in turn: over these signs the loss is exact.
    signs = np.concatenate([np.sqrt(h) * np.eye(h), -np.sqrt(h) * np.eye(h)])
    T, rows = np.repeat(X, len(signs), axis=0), np.tile(signs, (n, 1))
    model.philox = type("Fixed", (), {"normal": staticmethod(lambda *arguments: rows)})
    from scipy.optimize import minimize

    def function(values):
        params.flat[...] = values
        weight = params["encoder.0.weight"]
        weight[..., h:] = 0  # logvar does not depend on x
        draw = Draw(model.philox, KEY, rows=np.arange(len(T)))
        own = np.zeros(len(T), np.int64), np.full(len(T), 1 / len(T))
        L, _, gradient = model.losses_and_gradient(params, T, T, np.zeros((1, d)), *own, draw)
        layout.views(gradient)["encoder.0.weight"][..., h:] = 0
        return L.mean(), gradient

    minimize(function, flat.copy(), jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000})
    values, vectors = np.linalg.eigh(X.T @ X / n)
    values, vectors = values[::-1][:h], vectors[:, ::-1][:, :h]
    D = params["decoder.0.weight"][0]
    expected = (vectors * np.maximum(values - variance, 0)) @ vectors.T
    np.testing.assert_allclose(D.T @ D, expected, atol=1e-4)
    # and the loss is then the mean −log N(x; 0, D Dᵀ + σ² I), but for ½ d log 2π σ²
    covariance = expected + variance * np.eye(d)
    exact = 0.5 * np.trace(np.linalg.solve(covariance, X.T @ X / n)) + 0.5 * np.linalg.slogdet(covariance / variance)[1]
    np.testing.assert_allclose(function(params.flat.copy())[0], exact, rtol=1e-6)
