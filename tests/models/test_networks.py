"""Layers as text, names and shapes of parameters, pieces of a part, rows sorted by cluster and back."""

import numpy as np
import pytest

from csrl_core import backends
from csrl_core.models.architectures import code_parts, conv_layers, conv_parts, dense_parts
from csrl_core.models.network import Networks, Part, Pass, Rows, layer, picked
from csrl_core.reference import network as reference
from csrl_core.reference.layers import BatchNorm, Conv, Dense, Dropout, MaxPool, TransposedConv
from csrl_core.training.draws import Draw, Use

KEY = np.array([3, 4], np.uint32)


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("dense 200 activation=leaky_relu", Dense(200, "leaky_relu")),
        ("dense 128x4x4 relu shared", Dense((128, 4, 4), "relu", shared=True)),
        ("conv 32 3 stride=2 padding=1 bias=False", Conv(32, 3, 2, 1, bias=False)),
        ("transposed_conv 1 3 2 1 1", TransposedConv(1, 3, 2, 1, 1)),
        ("max_pool 2", MaxPool(2)),
        ("batch_norm momentum=0.3 shared", BatchNorm(momentum=0.3, shared=True)),
        ("dropout 0.5", Dropout(0.5)),
    ],
)
def test_layers_are_read_from_text(text, record):
    assert layer(text) == record


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no kind of layer; expected one of dense, conv"),
        ("linear 3", "'linear' is no kind of layer"),
        ("dense 3 width=4", "'width=4' is not understood; a dense has units, activation, bias, shared"),
        ("dense 3 units=4", "'units=4' is not understood"),
        ("conv 3", "missing 1 required positional argument: 'kernel'; a conv has channels, kernel"),
    ],
)
def test_text_that_is_no_layer(text, message):
    with pytest.raises(ValueError, match=message):
        layer(text)


def test_names_and_shapes():
    networks = Networks(dense_parts(784, (400, 200), 2, 2), 3)
    assert networks.shapes == {
        "encoder.0.weight": (1, 784, 400),
        "encoder.0.bias": (1, 400),
        "encoder.1.weight": (1, 400, 200),
        "encoder.1.bias": (1, 200),
        "encoder.2.weight": (3, 200, 4),
        "encoder.2.bias": (3, 4),
        "decoder.0.weight": (3, 2, 200),
        "decoder.0.bias": (3, 200),
        "decoder.1.weight": (1, 200, 400),
        "decoder.1.bias": (1, 400),
        "decoder.2.weight": (1, 400, 784),
        "decoder.2.bias": (1, 784),
    }
    convolutional = Networks(conv_parts((1, 28, 28), (32, 64, 128), 2, 3), 3)
    assert convolutional.shapes["encoder.2.weight"] == (1, 128, 64, 3, 3)
    assert convolutional.shapes["encoder.3.weight"] == (3, 128 * 4 * 4, 4)
    assert convolutional.shapes["decoder.0.weight"] == (3, 2, 128 * 4 * 4)
    assert convolutional.shapes["decoder.3.weight"] == (1, 32, 1, 3, 3)
    assert convolutional.output["decoder"] == (1, 28, 28)


@pytest.mark.parametrize("side", range(4, 41))
def test_the_convolutional_form_gives_back_images_of_every_size(side):
    assert Networks(conv_parts((2, side, side), (3, 4), 2, 0), 1).output["decoder"] == (2, side, side)


def test_the_parts_of_an_autoencoder_differ_in_the_code_alone():
    own, other = conv_parts((1, 12, 12), (3, 4), 2, 1), code_parts(*conv_layers((1, 12, 12), (3, 4), 1), (1, 12, 12), 2)
    assert own["decoder"] == other["decoder"]
    assert own["encoder"].layers[:-1] == other["encoder"].layers[:-1]
    assert other["encoder"].layers[-1] == Dense(2)
    _, decoder = conv_layers((1, 12, 12), (3, 4), 3, "sigmoid")
    assert [layer.shared for layer in decoder] == [True, True, True]
    assert [layer.activation for layer in decoder] == ["relu", "relu", "sigmoid"]


def test_layers_that_do_not_fit_are_listed_with_their_shapes():
    layers = ["conv 4 3 2 1", "dense 4x3x3", "transposed_conv 1 3 2 1 1"]
    with pytest.raises(
        ValueError, match=r"(?s)decoder's layers do not fit.*has shape \(1, 6, 6\), expected \(1, 8, 8\)"
    ):
        Networks({"decoder": Part(layers, (1, 8, 8), (1, 8, 8))}, 2)
    with pytest.raises(ValueError, match=r"(?s)encoder.*layer 1 does not fit.*input \(1, 4, 4\).*Conv.*→ \(4, 2, 2\)"):
        Networks({"encoder": Part(["conv 4 3 2 1", "max_pool 3"], (1, 4, 4))}, 2)


def test_initial_parameters_are_bounded_by_fan_in():
    networks = Networks({"a": Part(["conv 6 3", "batch_norm", "dense 50", "transposed_conv 4 2"], (2, 9, 9))}, 2)
    named = networks.initial(Draw(backends.get("numpy").philox, KEY, use=Use.INITIAL_PARAMETERS))
    for name, fan_in in {"a.0": 2 * 9, "a.2": 6 * 7 * 7, "a.3": 4 * 4}.items():
        for what in ("weight", "bias"):
            values, bound = np.abs(named[f"{name}.{what}"]), fan_in**-0.5
            assert 0.7 * bound < values.max() <= bound
    assert (named["a.1.weight"] == 1).all()
    assert (named["a.1.bias"] == 0).all()


def test_pieces_and_parts_are_the_networks_of_the_flat_vector():
    """Two parts, cut into three pieces, against each part built alone; dropout's numbers are those of the whole."""
    layers = ["dense 5 tanh shared", "batch_norm shared", "dropout 0.4", "dense 4", "batch_norm", "dropout 0.3"]
    networks = Networks({"first": Part(layers, 3), "second": Part(layers, 4)}, 2)
    random = np.random.default_rng(0)
    sizes = (sum(map(np.prod, shapes.values())) for shapes in (networks.shapes, networks.state_shapes))
    params, state = random.normal(size=next(sizes)), random.uniform(1, 2, next(sizes))
    assert networks.shared("first") == 3
    X, bounds = random.normal(size=(7, 4)), np.array([0, 3, 7])
    draws = reference.Draws(KEY, 9, 1, np.arange(7))
    whole = networks.piece("second")
    out, _, _ = reference.forward(params[whole.params], whole.network, X, bounds, state[whole.state], True, draws)
    begin, end = networks.piece("second", 0, 3), networks.piece("second", 3)
    middle, _, _ = reference.forward(params[begin.params], begin.network, X, bounds, state[begin.state], True, draws)
    last, _, _ = reference.forward(params[end.params], end.network, middle, bounds, state[end.state], True, draws)
    np.testing.assert_array_equal(last, out)
    assert begin.params.stop == end.params.start
    assert end.params.stop == len(params)
    numbers = [networks.piece(name).network.layers[:, reference.NUMBER].tolist() for name in ("first", "second")]
    assert numbers == [list(range(6)), list(range(6, 12))]


def test_rows_of_clusters_and_back():
    own = np.ascontiguousarray
    assign = np.array([2, 0, 2, 0, 0])
    rows, array = Rows.of(assign, 4, own), np.arange(10.0).reshape(5, 2)
    assert rows.bounds.tolist() == [0, 3, 3, 5, 5]
    assert rows.clusters().tolist() == [0, 0, 0, 2, 2]
    np.testing.assert_array_equal(rows.spread(array), array[[1, 3, 4, 0, 2]])
    np.testing.assert_array_equal(rows.gather(rows.spread(array)), array)
    every = Rows.every(5, 4)
    np.testing.assert_array_equal(every.gather(every.spread(array)), 4 * array)
    assert every.alone().tolist() == rows.alone().tolist() == [0, 0, 0, 0, 5]


def test_picked_rows_are_a_pass_of_those_rows():
    networks = Networks({"a": Part(["dense 5 tanh", "dense 3"], 4)}, 2)
    piece, kernels = networks.piece("a"), backends.get("numpy").network
    params = np.random.default_rng(0).normal(size=sum(map(np.prod, networks.shapes.values())))
    X = np.random.default_rng(1).normal(size=(6, 4))
    out, tape, _ = kernels.forward(params, piece.network, X, np.array([0, 3, 6]), params[:0], True, None)
    some = picked(piece, Pass(X, out, tape), np.array([1, 4, 5]))
    alone, kept, _ = kernels.forward(params, piece.network, X[[1, 4, 5]], np.array([0, 1, 3]), params[:0], True, None)
    np.testing.assert_allclose(some.out, alone)
    np.testing.assert_allclose(some.tape, kept)
