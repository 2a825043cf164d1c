"""The autoencoder of any layers: gradients, torch, the dense model that it must equal, parts of a batch, backends."""

import numpy as np
import pytest

from csrl_core import backends
from csrl_core.models import network_autoencoder
from csrl_core.models.architectures import code_parts, conv_layers
from csrl_core.models.autoencoder import AutoencoderModel
from csrl_core.models.network import Networks
from csrl_core.models.network_autoencoder import NetworkAutoencoderModel
from csrl_core.training.draws import Draw, Use
from csrl_core.training.parameters import Layout, Parameters

KEY = np.array([3, 4], np.uint32)
IMAGE = (1, 6, 6)
NORMALISED = (
    ["conv 4 3 2 1 bias=False shared", "batch_norm activation=relu shared", "dropout 0.2"],
    ["dense 4x3x3", "batch_norm activation=tanh", "up_sample 2", "conv 1 3 1 1 shared"],
)
SMALL = {
    "TAE": code_parts(*conv_layers(IMAGE, (3, 4), 0), IMAGE, 2),
    "PTAE": code_parts(*conv_layers(IMAGE, (3, 4), 2), IMAGE, 2),
    "one shared pair, tanh": code_parts(*conv_layers(IMAGE, (3, 4), 1, "tanh"), IMAGE, 3),
    "all shared": code_parts(*conv_layers(IMAGE, (3,), 2), IMAGE, 2, shared=True),
    "pooling": code_parts(["conv 3 3 padding=1 activation=tanh", "max_pool 2"], ["dense 1x6x6"], IMAGE, 2),
    "batch normalisation": code_parts(*NORMALISED, IMAGE, 2),
}
every_kind = pytest.mark.parametrize("name", SMALL)
both = pytest.mark.parametrize("centred", [True, False])


def problem(parts, centred=True, k=3, n=8, dtype=np.float64, backend="numpy"):
    """A model, its parameters with state, and the arguments of `losses_and_gradient` without the draw."""
    random, backend = np.random.default_rng(0), backends.get(backend)
    networks = Networks(parts, k)
    model = NetworkAutoencoderModel(backend, networks, 0.3, centred)
    draw = Draw(backend.philox, KEY, use=Use.INITIAL_PARAMETERS)
    layout = Layout(networks.shapes)
    flat = layout.flatten(model.init_parameters(None, k, draw), dtype)
    params = Parameters(layout, flat, networks.initial_state({}, dtype))
    X, T = (random.normal(size=(n, 36)).astype(dtype) for _ in range(2))
    centers = (random.normal(size=(k, 36)) if centred else np.zeros((k, 36))).astype(dtype)
    return model, params, [X, T, centers, random.integers(0, k, n), random.uniform(0.5, 2, n).astype(dtype)]


def training(model, n=8, step=5):
    return Draw(backends.get("numpy").philox, KEY, step=step, rows=np.arange(n))


def slope(params, direction, value):
    """The derivative of ``value()`` along a direction of the parameters, by a central difference."""
    params.flat[...] += 1e-6 * direction
    above = value()
    params.flat[...] -= 2e-6 * direction
    below = value()
    params.flat[...] += 1e-6 * direction
    return (above - below) / 2e-6


@every_kind
@both
def test_gradients_are_finite_differences(name, centred):
    model, params, arguments = problem(SMALL[name], centred)
    assign, weights = arguments[3:]
    _, _, gradient = model.losses_and_gradient(params, *arguments, training(model))

    def value():
        L, _, _ = model.losses_and_gradient(params, *arguments, training(model))
        return (weights * L[np.arange(len(L)), assign]).sum()

    for seed in range(6):
        direction = np.random.default_rng(seed).normal(size=params.flat.shape)
        np.testing.assert_allclose(gradient @ direction, slope(params, direction, value), rtol=1e-5, atol=1e-6)


@every_kind
@both
def test_assigned_columns_alone_give_the_same_losses_and_gradient(name, centred):
    model, params, arguments = problem(SMALL[name], centred)
    L, _, gradient = model.losses_and_gradient(params, *arguments, training(model))
    alone, _, same = model.losses_and_gradient(params, *arguments, training(model), every=False)
    rows, assign = np.arange(len(L)), arguments[3]
    np.testing.assert_allclose(alone[rows, assign], L[rows, assign], rtol=1e-12)
    np.testing.assert_allclose(same, gradient, rtol=1e-9, atol=1e-12)


@every_kind
@both
@pytest.mark.parametrize("every", [True, False])
def test_parts_of_a_batch_add_up(name, centred, every, monkeypatch):
    model, params, arguments = problem(SMALL[name], centred)
    assign = arguments[3]
    whole = model.losses_and_gradient(params, *arguments, training(model), every=every)
    free = model.losses_and_gradient(params, *arguments[:3], None, arguments[4], training(model))
    monkeypatch.setattr(network_autoencoder, "ROWS", 3)
    parts = model.losses_and_gradient(params, *arguments, training(model), every=every)
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(parts[1], assign)
    parts = model.losses_and_gradient(params, *arguments[:3], None, arguments[4], training(model))
    np.testing.assert_array_equal(free[1], free[0].argmin(axis=1))
    for one, other in zip(parts, free, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["TAE", "PTAE", "one shared pair, tanh", "all shared", "pooling"])
@both
def test_losses_are_those_of_training_and_agree_with_codes(name, centred):
    model, params, arguments = problem(SMALL[name], centred)
    X, _, centers, assign, _ = arguments
    L = model.losses(params, *arguments[:3], None)
    np.testing.assert_allclose(L, model.losses_and_gradient(params, *arguments, training(model))[0], rtol=1e-12)
    Z, squares = model.codes(params, X, centers, None)
    np.testing.assert_allclose(model.embed(params, X, centers, None), Z, rtol=1e-12)
    own = model.embed_assigned(params, X, centers, assign, None)
    np.testing.assert_allclose(own, Z[np.arange(8), assign], rtol=1e-12)
    decoded = model.decode(params, own, assign, centers, None)
    error = ((X - decoded) ** 2).sum(axis=1)
    np.testing.assert_allclose(squares[np.arange(8), assign], error, rtol=1e-10)
    same = model.losses(params, X, X, centers, None)
    np.testing.assert_allclose(same, squares / 36 + 0.3 * (Z**2).sum(axis=2), rtol=1e-12)


@both
@pytest.mark.parametrize("name", ["TAE", "PTAE"])
def test_torch_has_the_same_losses_and_gradient(name, centred):
    torch = pytest.importorskip("torch")
    from torch.nn import functional

    model, params, (X, T, centers, assign, weights) = problem(SMALL[name], centred)
    L, _, gradient = model.losses_and_gradient(params, X, T, centers, assign, weights, training(model))
    leaves = {key: torch.tensor(view, requires_grad=True) for key, view in params.items()}

    def of(key, j):
        return leaves[key][j if len(leaves[key]) > 1 else 0]

    columns = []
    for j in range(3):
        x, t = (torch.tensor(array - centers[j]) for array in (X, T))
        y = x.reshape(-1, *IMAGE)
        # 6 × 6 is padded by two to 8 × 8, one pixel on every side.
        for l, padding in enumerate((2, 1)):
            weight, bias = of(f"encoder.{l}.weight", j), of(f"encoder.{l}.bias", j)
            y = functional.relu(functional.conv2d(y, weight, bias, stride=2, padding=padding))
        z = y.flatten(1) @ of("encoder.2.weight", j) + of("encoder.2.bias", j)
        y = functional.relu(z @ of("decoder.0.weight", j) + of("decoder.0.bias", j)).reshape(-1, 4, 2, 2)
        for l, padding in ((1, 1), (2, 2)):
            weight, bias = of(f"decoder.{l}.weight", j), of(f"decoder.{l}.bias", j)
            y = functional.conv_transpose2d(y, weight, bias, 2, padding, output_padding=1)
            y = functional.relu(y) if l == 1 else y
        columns.append(((y.flatten(1) - t) ** 2).mean(1) + 0.3 * (z**2).sum(1))
    losses = torch.stack(columns, 1)
    np.testing.assert_allclose(L, losses.detach().numpy(), rtol=1e-10)
    (torch.tensor(weights) * losses[torch.arange(8), torch.tensor(assign)]).sum().backward()
    expected = np.concatenate([leaf.grad.numpy().ravel() for leaf in leaves.values()])
    np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("shared", [0, 1])
@both
def test_a_kernel_of_the_size_of_the_image_is_a_dense_layer(shared, centred):
    """Loss and gradient are those of the linear model d → 4 → 2 → 4 → d with the kernels as its matrices."""
    word = " shared" if shared else ""
    layers = [f"conv 4 6 bias=False{word}"], ["dense 4 bias=False", f"transposed_conv 1 6 bias=False{word}"]
    model, params, arguments = problem(code_parts(*layers, IMAGE, 2), centred)
    params["encoder.1.bias"][...] = 0
    dense = AutoencoderModel(backends.get("numpy"), 36, 3, (4, 2), shared, "linear", "linear", False, 0.3)

    def matrices(named):
        """(encoder, encoder, decoder, decoder) as the dense model has them: (copies, fan_in, fan_out)."""
        first, last = named["encoder.0.weight"], named["decoder.1.weight"]
        first = first.reshape(len(first), 4, 36).swapaxes(1, 2)
        return first, named["encoder.1.weight"], named["decoder.0.weight"], last.reshape(len(last), 4, 36)

    names = [f"{half}.{l}.weight" for half in ("encoder", "decoder") for l in (0, 1)]
    same = dict(zip(names, matrices(params), strict=True))
    layout = Layout({name: array.shape for name, array in same.items()})
    twin = Parameters(layout, layout.flatten(same))
    L, _, gradient = model.losses_and_gradient(params, *arguments, training(model))
    expected, _, its = dense.losses_and_gradient(twin, *arguments, None)
    np.testing.assert_allclose(L, expected, rtol=1e-11)
    own = matrices(params.layout.views(gradient))
    for ours, theirs in zip(own, layout.views(its).values(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        model.embed(params, *arguments[:1], arguments[2], None),
        dense.embed(twin, *arguments[:1], arguments[2], None),
        rtol=1e-11,
    )


@every_kind
@pytest.mark.parametrize("backend", ["numba", "emulated"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_backends_agree(name, backend, dtype):
    if "network" in backends.get("emulated").missing:
        pytest.skip("the device code of the stem network is not there")
    results = []
    for which, of in (("numpy", np.float64), ("numpy", dtype), (backend, dtype)):
        model, params, arguments = problem(SMALL[name], dtype=of, backend=which)
        L, _, gradient = model.losses_and_gradient(params, *arguments, training(model))
        codes = model.codes(params, *arguments[:1], arguments[2], None)
        results.append([L, gradient, *codes, *params.state.values()])
    eps = np.finfo(dtype).eps
    for exact, reference, other in zip(*results, strict=True):
        budget = 4 * np.abs(reference - exact).max() + 64 * eps * np.abs(exact).max()
        assert np.abs(other - exact).max() <= budget


def test_running_averages_move_in_training_only():
    model, params, arguments = problem(SMALL["batch normalisation"])
    before = {name: array.copy() for name, array in params.state.items()}
    model.losses(params, *arguments[:3], None)
    fixed = Draw(backends.get("numpy").philox, KEY, use=Use.EVALUATION_NOISE, rows=np.arange(8))
    model.value_and_gradient(params, *arguments, None, fixed)
    for name, array in before.items():
        np.testing.assert_array_equal(params.state[name], array)
    model.losses_and_gradient(params, *arguments, training(model))
    assert all((params.state[name] != array).any() for name, array in before.items())


def test_after_training_a_sample_depends_on_no_other():
    model, params, (X, T, centers, *_) = problem(SMALL["batch normalisation"])
    L = model.losses(params, X, T, centers, None)
    for i in range(3):
        np.testing.assert_allclose(model.losses(params, X[i : i + 1], T[i : i + 1], centers, None)[0], L[i])


def test_a_batch_of_one_has_no_statistics():
    layers = ["dense 4", "batch_norm"], ["dense 36"]
    model, params, arguments = problem(code_parts(*layers, 36, 2), n=1)
    with pytest.raises(ValueError, match="a batch has 1 sample, and batch normalisation needs at least 2"):
        model.losses_and_gradient(params, *arguments, training(model, 1))
