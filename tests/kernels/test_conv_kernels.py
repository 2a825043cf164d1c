"""CPU kernels of convolutions: which of them takes which way, Winograd's matrices, adjoints, threads, transposes."""

import numpy as np
import pytest

from csrl_core import backends
from csrl_core.kernels.cpu.conv import columns, rows, tiles, way_of, winograd
from csrl_core.kernels.cpu.conv.transpose import transpose


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape)


def way(c, kernel, stride, m):
    return way_of(columns.plan((c, 20, 20), (10, 10), kernel, stride, 0), m)


def test_many_channels_and_stride_one_take_winograds_way():
    assert all(way(16, (r, r), 1, 16) is winograd for r in (3, 4, 5))
    others = [(16, (3, 3), 2, 16), (15, (3, 3), 1, 16), (16, (3, 3), 1, 15), (16, (3, 4), 1, 16), (64, (2, 2), 1, 64)]
    assert all(way(*layer) is rows for layer in (*others, (64, (6, 6), 1, 64)))


@pytest.mark.parametrize("r", [3, 4, 5])
def test_transforms_are_minimal_filtering_of_a_line(r):
    m, d, w = 7 - r, normal(6, 4), normal(r, 4)
    v, y = np.empty((6, 4)), np.full((4, 4), np.nan)
    tiles.times_bt(*d, *v)
    tiles.times_at(m, *((tiles.weight_matrix(r) @ w) * v), *y)
    np.testing.assert_allclose(y[:m], [(w * d[i : i + r]).sum(axis=0) for i in range(m)], rtol=1e-12, atol=1e-12)
    # the adjoints: ⟨Bᵀ d, g⟩ = ⟨d, B g⟩ and ⟨Aᵀ x, z⟩ = ⟨x, A z⟩
    g, z, back, x = normal(6, 4) + 1, normal(m, 4), np.empty((6, 4)), np.empty((6, 4))
    tiles.times_b(*g, *back)
    np.testing.assert_allclose((v * g).sum(), (d * back).sum())
    tiles.times_a(m, *z[np.minimum(np.arange(4), m - 1)], *x)
    np.testing.assert_allclose((y[:m] * z).sum(), ((tiles.weight_matrix(r) @ w) * v * x).sum())


@pytest.mark.parametrize("shape", [(3, 5), (8, 8), (9, 21), (32, 5), (16, 40)])
def test_a_transpose_is_numpys(shape):
    A = normal(*shape)
    out = np.empty(A.size)
    transpose(A.reshape(-1), len(A), out)
    np.testing.assert_array_equal(out.reshape(A.shape[::-1]), A.T)


@pytest.mark.parametrize(("r", "padding"), [(5, 0), (3, 1)])
def test_transposed_convolution_is_the_adjoint_whatever_the_threads(r, padding):
    X, weight, none, backend = normal(40, 16, 13, 11), normal(18, 16, r, r), np.empty(0), backends.get("numba")
    G = normal(40, 18, 14 + 2 * padding - r, 12 + 2 * padding - r)

    def run(n_jobs):
        with backend.threads(n_jobs):
            Y, back = (
                backend.conv.conv2d(X, weight, none, 1, padding),
                backend.conv.conv2d_backward(G, X, weight, 1, padding),
            )
            return Y, *back, backend.conv.transposed_conv2d(G, weight, none, 1, padding, 0)

    Y, dW, _, dX, transposed = alone = run(1)
    np.testing.assert_allclose([(X * transposed).sum(), (weight * dW).sum()], (Y * G).sum(), rtol=1e-10)
    np.testing.assert_array_equal(dX, transposed)
    for mine, theirs in zip(alone, run(3), strict=True):
        np.testing.assert_array_equal(mine, theirs)
