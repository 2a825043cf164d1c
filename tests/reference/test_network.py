"""Networks: finite differences, clusters run alone, parts put together, rows without influence, and PyTorch."""

import numpy as np
import pytest

from csrl_core.contract.cases.network import NETWORKS, problem
from csrl_core.reference import network as reference
from csrl_core.reference.layers import BatchNorm, Conv, Dense, Dropout, MaxPool, TransposedConv, UpSample, build

ROWS = 4, 0, 3, 1
every_network = pytest.mark.parametrize("name", NETWORKS)


def back(params, *arguments):
    """(gradient, ∂X) of ``backward``, which is to write every number of it."""
    gradient = np.full_like(params, np.nan)
    return gradient, reference.backward(params, *arguments, gradient)


@every_network
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_finite_differences(name, training):
    built, params, X, bounds, state, draws = problem(name, ROWS, np.float64)
    out, tape, _ = reference.forward(params, built.network, X, bounds, state, training, draws)
    G = np.random.default_rng(0).normal(size=out.shape)
    gradient, dX = back(params, built.network, X, tape, G, bounds, training, draws, True)

    def loss():
        return (G * reference.forward(params, built.network, X, bounds, state, training, draws)[0]).sum()

    for array, own in ((params, gradient), (X, dX)):
        for seed in range(8):  # of many numbers the derivative along some directions is enough
            direction, size = np.random.default_rng(seed).normal(size=array.shape), 1e-6
            array += size * direction
            above = loss()
            array -= 2 * size * direction
            slope = (above - loss()) / (2 * size)
            array += size * direction
            np.testing.assert_allclose((own * direction).sum(), slope, rtol=1e-5, atol=1e-6)


def test_a_network_by_hand():
    built = build([Dense(2, "relu"), Dense(1)], 2, 1)
    params = np.array([1.0, -1, 2, 1, 0, 1, 3, 4, 10])  # W (2, 2), b (2,), W (2, 1), b (1,)
    X, bounds = np.array([[1.0, 1.0], [0.0, -2.0]]), np.array([0, 2])
    out, tape, state = reference.forward(params, built.network, X, bounds, np.empty(0), False, None)
    # x W + b = (3, 1) and (−4, −1), of which the ReLU leaves nothing.
    np.testing.assert_array_equal(out, [[3 * 3 + 4 + 10], [10]])
    np.testing.assert_array_equal(tape, [3, 1, 0, 0, 23, 10])
    gradient, dX = back(params, built.network, X, tape, np.ones((2, 1)), bounds, False, None, True)
    np.testing.assert_array_equal(gradient, [3, 4, 3, 4, 3, 4, 3, 1, 2])
    np.testing.assert_array_equal(dX, [[3 - 4, 6 + 4], [0, 0]])
    assert state.size == 0


@every_network
@pytest.mark.parametrize("training", [True, False])
def test_clusters_are_networks_of_their_own_where_they_share_nothing(name, training):
    layers, shape = NETWORKS[name]
    own = [type(layer)(**{**vars(layer), "shared": False}) if hasattr(layer, "shared") else layer for layer in layers]
    many, one = build(own, shape, 3), build(own, shape, 1)
    _, _, X, bounds, _, draws = problem(name, (5, 2, 4), np.float64)
    random = np.random.default_rng(0)
    params, state = random.normal(size=many.size), random.uniform(1, 2, many.state_size)
    out, tape, new = reference.forward(params, many.network, X, bounds, state, training, draws)
    G = random.normal(size=out.shape)
    gradient, dX = back(params, many.network, X, tape, G, bounds, training, draws, True)
    for j in range(3):
        rows = slice(bounds[j], bounds[j + 1])
        theirs, theirs_state = cluster(params, many.shapes, j), cluster(state, many.state_shapes, j)
        arguments = np.array([0, rows.stop - rows.start]), training, draws._replace(rows=draws.rows[rows])
        alone, kept, after = reference.forward(theirs, one.network, X[rows], arguments[0], theirs_state, *arguments[1:])
        np.testing.assert_allclose(out[rows], alone)
        np.testing.assert_allclose(cluster(new, many.state_shapes, j), after)
        alone_back = back(theirs, one.network, X[rows], kept, G[rows], *arguments, True)
        np.testing.assert_allclose(cluster(gradient, many.shapes, j), alone_back[0], atol=1e-12)
        np.testing.assert_allclose(dX[rows], alone_back[1], atol=1e-12)


def cluster(flat, shapes, j):
    """Cluster j's share of a flat vector."""
    parts, start = [], 0
    for shape in shapes.values():
        size = int(np.prod(shape))
        parts.append(flat[start : start + size].reshape(shape)[j].ravel())
        start += size
    return np.concatenate([np.empty(0), *parts])


@every_network
def test_parts_put_together_are_the_whole(name):
    built, params, X, bounds, state, draws = problem(name, ROWS, np.float64)
    out, tape, new = reference.forward(params, built.network, X, bounds, state, True, draws)
    G = np.random.default_rng(0).normal(size=out.shape)
    whole = back(params, built.network, X, tape, G, bounds, True, draws, True)
    for border in range(len(built.network.layers) + 1):
        first = reference.part(built.network, 0, border)
        second = reference.part(built.network, border, len(built.network.layers))
        between, kept, middle = reference.forward(params, first, X, bounds, state, True, draws)
        end, kept_too, last = reference.forward(params, second, between, bounds, middle, True, draws)
        np.testing.assert_array_equal(end, out)
        np.testing.assert_array_equal(last, new)
        gradient = np.full_like(params, np.nan)
        dY = reference.backward(params, second, between, kept_too, G, bounds, True, draws, True, gradient)
        dX = reference.backward(params, first, X, kept, dY, bounds, True, draws, True, gradient)
        np.testing.assert_allclose(gradient, whole[0], atol=1e-12)
        np.testing.assert_allclose(dX, whole[1], atol=1e-12)


@every_network
def test_after_training_a_row_depends_on_no_other(name):
    built, params, X, bounds, state, _ = problem(name, (4, 3), np.float64)
    out = reference.predict(params, built.network, X, bounds, state)
    for i, alone in ((1, [0, 1, 1]), (5, [0, 0, 1])):
        np.testing.assert_allclose(
            reference.predict(params, built.network, X[i : i + 1], np.array(alone), state)[0], out[i]
        )


def test_batch_normalisation_of_no_row_and_of_one_value_uses_running_statistics():
    built, params, X, bounds, state, draws = problem("batch norm of vectors", (5, 0, 1), np.float64)
    out, _, new = reference.forward(params, built.network, X, bounds, state, True, draws)
    assert np.isfinite(out).all()
    own = slice(0, built.state_size - 16)  # of the layer with statistics for every cluster
    before, after = (s[own].reshape(2, 3, -1) for s in (state, new))
    np.testing.assert_array_equal(after[:, 1:], before[:, 1:])
    assert (after[:, 0] != before[:, 0]).all()


def test_dropout_does_not_depend_on_how_rows_are_batched():
    built = build([Dense(20, "tanh"), Dropout(0.5), Dense(4), Dropout(0.2)], 6, 1)
    random = np.random.default_rng(0)
    params, X = random.normal(size=built.size), random.normal(size=(30, 6))
    _, _, _, _, _, draws = problem("dense", (30,), np.float64)

    def out(rows):
        mine = draws._replace(rows=draws.rows[rows])
        bounds = np.array([0, len(X[rows])])
        return reference.forward(params, built.network, X[rows], bounds, np.empty(0), True, mine)[0]

    whole = out(slice(None))
    np.testing.assert_allclose(np.concatenate([out(slice(0, 7)), out(slice(7, 30))]), whole)
    assert 0.1 < (whole == 0).mean() < 0.3
    # The two layers draw numbers of their own.
    first = reference.part(built.network, 0, 2)
    hidden = reference.forward(params, first, X, np.array([0, 30]), np.empty(0), True, draws)[0]
    assert ((hidden[:, :4] == 0) != (whole == 0)).any()


def test_torch_agrees_on_a_whole_network():
    torch = pytest.importorskip("torch")
    layers = [
        Conv(5, 3, 1, 1, "leaky_relu"),
        BatchNorm("relu", momentum=0.2),
        MaxPool(2),
        Conv(7, 3, 2, 1, bias=False),
        UpSample(2),
        TransposedConv(3, 3, 2, 1, 1, "tanh"),
        Dense(6, "sigmoid"),
    ]
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(2, 5, 3, 1, 1),
        torch.nn.LeakyReLU(0.2),
        torch.nn.BatchNorm2d(5, momentum=0.2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(5, 7, 3, 2, 1, bias=False),
        torch.nn.UpsamplingNearest2d(scale_factor=2),
        torch.nn.ConvTranspose2d(7, 3, 3, 2, 1, 1),
        torch.nn.Tanh(),
        torch.nn.Flatten(),
        torch.nn.Linear(3 * 8 * 8, 6),
        torch.nn.Sigmoid(),
    ).double()
    built = build(layers, (2, 8, 8), 1)
    dense = list(theirs)[-2]
    flat = [p.detach().T if p is dense.weight else p.detach() for p in theirs.parameters()]
    params = np.concatenate([p.numpy().ravel() for p in flat])
    X = np.random.default_rng(0).normal(size=(9, 2 * 8 * 8))
    state, bounds = np.concatenate([np.zeros(5), np.ones(5)]), np.array([0, 9])
    out, tape, new = reference.forward(params, built.network, X, bounds, state, True, None)
    x = torch.tensor(X.reshape(9, 2, 8, 8), requires_grad=True)
    Y = theirs(x)
    np.testing.assert_allclose(out, Y.detach(), rtol=1e-10)
    np.testing.assert_allclose(new, torch.cat([theirs[2].running_mean, theirs[2].running_var]), rtol=1e-10)
    G = np.random.default_rng(1).normal(size=out.shape)
    Y.backward(torch.tensor(G))
    gradient, dX = back(params, built.network, X, tape, G, bounds, True, None, True)
    wanted = [p.grad.T if p is dense.weight else p.grad for p in theirs.parameters()]
    np.testing.assert_allclose(gradient, np.concatenate([p.numpy().ravel() for p in wanted]), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(dX, x.grad.numpy().reshape(9, -1), rtol=1e-9, atol=1e-11)


def test_shapes_are_worked_out():
    built = build(
        [
            Conv(32, 3, 2, 1),
            Conv(64, 3, 2, 1, shared=True),
            Dense((64, 8, 8), bias=False),
            TransposedConv(1, 3, 2, 1, 1),
        ],
        (1, 32, 32),
        3,
        output=(1, 16, 16),
    )
    assert list(built.shapes.items()) == [
        ("0.weight", (3, 32, 1, 3, 3)),
        ("0.bias", (3, 32)),
        ("1.weight", (1, 64, 32, 3, 3)),
        ("1.bias", (1, 64)),
        ("2.weight", (3, 64 * 8 * 8, 64 * 8 * 8)),
        ("3.weight", (3, 64, 1, 3, 3)),
        ("3.bias", (3, 1)),
    ]
    assert built.size == sum(int(np.prod(shape)) for shape in built.shapes.values())
    after = build([BatchNorm(), Dense(2)], 5, 3, after=built)
    assert after.network.layers[0, reference.WEIGHT] == built.size
    assert after.network.layers[:, reference.NUMBER].tolist() == [4, 5]
    assert after.state_shapes == {"0.mean": (3, 5), "0.variance": (3, 5)}


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [Conv(4, 3), Conv(5, 7)],
            r"layer 1 does not fit: of an input of shape \(4, 6, 6\) nothing is left(.|\n)*input",
        ),
        ([TransposedConv(4, 3, 2, 1, 2)], "output_padding=2 must be below stride=2"),
        ([Conv(4, 3, 0)], "stride=0 must be at least 1"),
        ([Conv(4, 3, padding=-1)], "padding=-1 must be at least 0"),
        ([Dropout(1.0)], r"rate=1.0 must be in \[0, 1\)"),
        ([Dense(3, "gelu")], "activation='gelu' is unknown; expected one of linear, relu"),
        ([Conv(4, 3)], r"has shape \(4, 6, 6\), expected \(1, 8, 8\)(.|\n)*input \(1, 8, 8\)(.|\n)*0 Conv"),
    ],
)
def test_what_does_not_fit_is_said_with_all_shapes(layers, message):
    with pytest.raises(ValueError, match=message):
        build(layers, (1, 8, 8), 2, output=(1, 8, 8))
