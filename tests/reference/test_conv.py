"""Convolution: correlation by SciPy, adjoints, finite differences, cases by hand, and PyTorch."""

import numpy as np
import pytest
from gradients import differences
from scipy.signal import correlate2d

from csrl_core.contract.cases.conv import SIZES
from csrl_core.reference import conv

# A few shapes that differ in everything, small enough for finite differences.
SHAPES = {
    "stride 1": (2, 3, 6, 5, 4, 3, 3, 1, 0, 0),
    "padding": (2, 2, 5, 6, 3, 3, 3, 1, 1, 0),
    "stride 2": (2, 2, 7, 8, 3, 3, 3, 2, 1, 1),
    "stride 3, columns left over": (1, 2, 9, 8, 2, 2, 3, 3, 1, 1),
}
every_shape = pytest.mark.parametrize("shape", [*SHAPES.values(), *SIZES.values()], ids=[*SHAPES, *SIZES])
# torch refuses to convolve no images; of many each is convolved alike.
TORCHS = SHAPES | {name: size for name, size in SIZES.items() if 0 < size[0] < 1000}
torchs_shapes = pytest.mark.parametrize("shape", TORCHS.values(), ids=TORCHS)
small_shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape)


def random_conv(n, c, h, w, o, kh, kw, stride, padding, output_padding):
    """Images, weight, bias, stride and padding of a convolution."""
    return normal(n, c, h, w), normal(o, c, kh, kw), normal(o), stride, padding


@every_shape
def test_convolution_is_scipys_correlation(shape):
    X, weight, bias, stride, padding = random_conv(*shape)
    padded = np.pad(X, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    Y = conv.conv2d(X, weight, bias, stride, padding)
    for i in range(min(len(X), 2)):
        for o in range(len(weight)):
            planes = [correlate2d(padded[i, c], weight[o, c], mode="valid") for c in range(X.shape[1])]
            np.testing.assert_allclose(Y[i, o], sum(planes)[::stride, ::stride] + bias[o], rtol=1e-11, atol=1e-11)


def test_a_convolution_by_hand():
    X = np.arange(9.0).reshape(1, 1, 3, 3)
    weight = np.array([[[[1.0, 2.0], [0.0, -1.0]]]])
    Y = conv.conv2d(X, weight, np.array([10.0]), 1, 0)
    # The first: 0·1 + 1·2 + 3·0 − 4 + 10.
    np.testing.assert_array_equal(Y[0, 0], [[8, 10], [14, 16]])
    np.testing.assert_array_equal(conv.conv2d(X, weight, np.empty(0), 2, 1)[0, 0], [[0, -2], [0, 6]])


def test_a_transposed_convolution_by_hand():
    X, weight = np.array([[[[1.0, 2.0]]]]), np.array([[[[1.0, 10.0, 100.0]]]])
    Y = conv.transposed_conv2d(X, weight, np.array([0.5]), 2, 0, 0)
    np.testing.assert_array_equal(Y[0, 0], [[1.5, 10.5, 102.5, 20.5, 200.5]])
    Y = conv.transposed_conv2d(X, weight, np.empty(0), 2, 0, 1)
    np.testing.assert_array_equal(Y[0, 0], [[1, 10, 102, 20, 200, 0], [0, 0, 0, 0, 0, 0]])


@every_shape
def test_the_transpose_is_the_adjoint(shape):
    small, weight, _, stride, padding = random_conv(*shape)
    G = normal(*conv.conv2d(small, weight, np.empty(0), stride, padding).shape)
    for output_padding in range(stride):  # rows and columns that no output has met
        back = conv.transposed_conv2d(G, weight, np.empty(0), stride, padding, output_padding)
        X = normal(*back.shape)
        Y = conv.conv2d(X, weight, np.empty(0), stride, padding)
        assert Y.shape == G.shape
        np.testing.assert_allclose((back * X).sum(), (G * Y).sum(), rtol=1e-9, atol=1e-9)


@small_shapes
def test_gradients_of_a_convolution_are_finite_differences(shape):
    X, weight, bias, stride, padding = random_conv(*shape)
    G = normal(*conv.conv2d(X, weight, bias, stride, padding).shape)
    expected = [
        differences(lambda: (G * conv.conv2d(X, weight, bias, stride, padding)).sum(), array)
        for array in (weight, bias, X)
    ]
    for got, wanted in zip(conv.conv2d_backward(G, X, weight, stride, padding), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-7)


@small_shapes
def test_gradients_of_a_transposed_convolution_are_finite_differences(shape):
    stride, padding, output_padding = shape[7:]
    small, weight, _, _, _ = random_conv(*shape)
    X = normal(*conv.conv2d(small, weight, np.empty(0), stride, padding).shape)
    bias = normal(weight.shape[1])

    def output():
        return conv.transposed_conv2d(X, weight, bias, stride, padding, output_padding)

    G = normal(*output().shape)
    expected = [differences(lambda: (G * output()).sum(), array) for array in (weight, bias, X)]
    for got, wanted in zip(conv.transposed_conv2d_backward(G, X, weight, stride, padding), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-7)


def test_pooling_by_hand():
    X = np.array([[[[1.0, 5, 2, 0, 9], [3, 4, 2, 2, 9]]]])
    np.testing.assert_array_equal(conv.max_pool(X, 2, 2), [[[[5, 2]]]])
    # The last column fills no window; of three equal pixels the first gets it all.
    back = conv.max_pool_backward(np.array([[[[10.0, 20.0]]]]), X, 2, 2)
    np.testing.assert_array_equal(back, [[[[0, 10, 20, 0, 0], [0, 0, 0, 0, 0]]]])


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (2, 3), (2, 1)])
def test_gradients_of_pooling_are_finite_differences(size, stride):
    X = normal(2, 2, 7, 6)
    G = normal(*conv.max_pool(X, size, stride).shape)
    expected = differences(lambda: (G * conv.max_pool(X, size, stride)).sum(), X)
    np.testing.assert_allclose(conv.max_pool_backward(G, X, size, stride), expected, atol=1e-8)


def test_up_sampling_by_hand_and_its_adjoint():
    X = np.array([[[[1.0, 2.0]]]])
    np.testing.assert_array_equal(conv.up_sample(X, 2), [[[[1, 1, 2, 2], [1, 1, 2, 2]]]])
    X, G = normal(2, 3, 4, 5), normal(2, 3, 12, 15)
    np.testing.assert_allclose((conv.up_sample(X, 3) * G).sum(), (X * conv.up_sample_backward(G, 3)).sum())


@torchs_shapes
def test_torch_agrees_on_convolutions(shape):
    torch = pytest.importorskip("torch")
    X, weight, bias, stride, padding = (
        torch.tensor(a, requires_grad=True) if isinstance(a, np.ndarray) else a for a in random_conv(*shape)
    )
    numbers = [a.detach().numpy() for a in (X, weight, bias)]
    Y = torch.nn.functional.conv2d(X, weight, bias, stride, padding)
    G = normal(*Y.shape)
    Y.backward(torch.tensor(G))
    np.testing.assert_allclose(conv.conv2d(*numbers, stride, padding), Y.detach(), rtol=1e-10, atol=1e-10)
    got = conv.conv2d_backward(G, *numbers[:2], stride, padding)
    for own, theirs in zip(got, (weight.grad, bias.grad, X.grad), strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-10, atol=1e-10)


@torchs_shapes
def test_torch_agrees_on_transposed_convolutions(shape):
    torch = pytest.importorskip("torch")
    stride, padding, output_padding = shape[7:]
    small, weight, _, _, _ = random_conv(*shape)
    X, bias = normal(*conv.conv2d(small, weight, np.empty(0), stride, padding).shape), normal(weight.shape[1])
    x, w, b = (torch.tensor(a, requires_grad=True) for a in (X, weight, bias))
    Y = torch.nn.functional.conv_transpose2d(x, w, b, stride, padding, output_padding)
    G = normal(*Y.shape)
    Y.backward(torch.tensor(G))
    ours = conv.transposed_conv2d(X, weight, bias, stride, padding, output_padding)
    np.testing.assert_allclose(ours, Y.detach(), rtol=1e-10, atol=1e-10)
    got = conv.transposed_conv2d_backward(G, X, weight, stride, padding)
    for own, theirs in zip(got, (w.grad, b.grad, x.grad), strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (2, 3), (2, 1)])
def test_torch_agrees_on_pooling(size, stride):
    torch = pytest.importorskip("torch")
    # With ties: torch gives a window's gradient to its first largest pixel too.
    X = np.maximum(normal(3, 4, 9, 8), 0)
    x = torch.tensor(X, requires_grad=True)
    Y = torch.nn.functional.max_pool2d(x, size, stride)
    G = normal(*Y.shape)
    Y.backward(torch.tensor(G))
    np.testing.assert_array_equal(conv.max_pool(X, size, stride), Y.detach())
    np.testing.assert_allclose(conv.max_pool_backward(G, X, size, stride), x.grad)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_stay(dtype):
    X, weight, bias, stride, padding = (
        a.astype(dtype) if isinstance(a, np.ndarray) else a for a in random_conv(*SHAPES["stride 2"])
    )
    Y = conv.conv2d(X, weight, bias, stride, padding)
    back = conv.transposed_conv2d(Y, weight, bias[:0], stride, padding, 0)
    pooled, grown = conv.max_pool(X, 2, 2), conv.up_sample(X, 2)
    arrays = [Y, back, pooled, grown, conv.max_pool_backward(pooled, X, 2, 2), conv.up_sample_backward(grown, 2)]
    arrays += conv.conv2d_backward(Y, X, weight, stride, padding)
    arrays += conv.transposed_conv2d_backward(back, Y, weight, stride, padding)
    assert {array.dtype.name for array in arrays} == {dtype}
