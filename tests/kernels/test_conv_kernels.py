"""CPU kernels of convolutions: which of them takes which way, Winograd's matrices, adjoints, threads, transposes."""

from itertools import product

import numpy as np
import pytest

from csrl_core import backends
from csrl_core.kernels.cpu._engine.jit import jit
from csrl_core.kernels.cpu.conv import columns, lines, rows, tiles, way_of, winograd
from csrl_core.kernels.cpu.conv.transpose import transpose


@jit
def weigh(factors, table, sums, units, x, at, y, to, n, more):
    lines.weighted_sums(factors, table, sums, units, x, at, y, to, n, more)


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape)


def way(c, kernel, stride, m):
    return way_of(columns.plan((c, 20, 20), (10, 10), kernel, stride, 0), m)


def test_many_channels_take_winograds_way():
    assert all(way(16, (r, r), stride, 16) is winograd for r in (3, 4, 5) for stride in (1, 2))
    others = [(16, (3, 3), 3, 16), (15, (3, 3), 1, 16), (16, (3, 3), 2, 15), (16, (3, 4), 1, 16), (64, (2, 2), 1, 64)]
    assert all(way(*layer) is rows for layer in (*others, (64, (6, 6), 1, 64)))


@pytest.mark.parametrize("r", [3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_matrices_filter_a_line_with_few_multiplications(r, stride):
    m = winograd.outputs_of(columns.plan((16, 20, 20), (10, 10), (r, r), stride, 0))
    B, A, G = tiles.matrices(m, r, stride)
    assert len(B) == stride * (m - 1) + r < m * r
    d, w = normal(len(B)), normal(r)
    y = [w @ d[stride * i : stride * i + r] for i in range(m)]
    np.testing.assert_allclose(A.T @ ((G @ w) * (B @ d)), y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 31, 32, 77])
def test_weighted_sums_are_numpys(n):
    x, P, before = normal(3 * n + 1), np.array([[1.5, 0.0, -2.0], [0.0, 3.0, 0.0]]), normal(2 * n + 5)
    table = np.array(
        [7, 1, 2, 2, 3, 1, 0, 0, 2, 1]
    )  # from 1 on: factors from 1 on, of two sums; outputs and inputs in n
    for more in (False, True):
        y = before.copy()
        weigh(np.array([np.nan, 1.5, -2.0, 3.0]), table, 1, (n, n), x, 1, y, 2, n, more)
        sums = (P @ x[1:].reshape(3, n))[::-1].ravel()
        np.testing.assert_allclose(y[2 : 2 + 2 * n], sums + more * before[2 : 2 + 2 * n], rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(np.delete(y, range(2, 2 + 2 * n)), np.delete(before, range(2, 2 + 2 * n)))


@pytest.mark.parametrize("shape", [(3, 5), (8, 8), (9, 21), (32, 5), (16, 40)])
def test_a_transpose_is_numpys(shape):
    A = normal(*shape)
    out = np.empty(A.size)
    transpose(A.reshape(-1), len(A), out)
    np.testing.assert_array_equal(out.reshape(A.shape[::-1]), A.T)


@pytest.mark.parametrize(("r", "stride", "padding"), [(5, 1, 0), (3, 1, 1), (3, 2, 1), (4, 2, 0), (5, 2, 2)])
def test_transposed_convolution_is_the_adjoint_whatever_the_threads(r, stride, padding):
    X, weight, none, backend = normal(40, 16, 13, 11), normal(18, 16, r, r), np.empty(0), backends.get("numba")
    height, width = ((size + 2 * padding - r) // stride + 1 for size in (13, 11))
    more = (13 + 2 * padding - r) % stride  # pixels of the input that no output reaches; as many in both directions
    G = normal(40, 18, height, width)

    def run(n_jobs):
        with backend.threads(n_jobs):
            Y = backend.conv.conv2d(X, weight, none, stride, padding)
            back = backend.conv.conv2d_backward(G, X, weight, stride, padding)
            return Y, *back, backend.conv.transposed_conv2d(G, weight, none, stride, padding, more)

    Y, dW, _, dX, transposed = alone = run(1)
    np.testing.assert_allclose([(X * transposed).sum(), (weight * dW).sum()], (Y * G).sum(), rtol=1e-10)
    np.testing.assert_array_equal(dX, transposed)
    for mine, theirs in zip(alone, run(3), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("r", [3, 4, 5])
def test_few_multiplications_agree_with_the_reference(r, stride, dtype):
    ours, reference = backends.get("numba").conv, backends.get("numpy").conv
    tolerance = {"rtol": 0, "atol": 100 * np.finfo(dtype).eps}

    def check(own, its):
        for mine, theirs in zip(own, its, strict=True):
            np.testing.assert_allclose(mine / np.abs(theirs).max(), theirs / np.abs(theirs).max(), **tolerance)

    weight, bias = normal(19, 17, r, r), normal(19)
    for padding, (h, w) in product(range(r), [(7, 7), (12, 9), (5, 16)]):
        X = normal(21, 17, h, w)
        Y = reference.conv2d(X, weight, bias, stride, padding)
        G, arrays = normal(*Y.shape), [array.astype(dtype) for array in (X, weight, bias)]
        check([ours.conv2d(*arrays, stride, padding)], [Y])
        own = ours.conv2d_backward(G.astype(dtype), *arrays[:2], stride, padding)
        check(own, reference.conv2d_backward(G, X, weight, stride, padding))
        for more in range(stride):
            large = reference.transposed_conv2d(G, weight, normal(17), stride, padding, more)
            arguments = G.astype(dtype), arrays[1], normal(17).astype(dtype), stride, padding, more
            check([ours.transposed_conv2d(*arguments)], [large])
            D = normal(*large.shape)
            own = ours.transposed_conv2d_backward(D.astype(dtype), *arguments[:2], stride, padding)
            check(own, reference.transposed_conv2d_backward(D, G, weight, stride, padding))
