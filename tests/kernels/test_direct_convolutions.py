"""CPU kernels of convolutions of few channels: sums over lines in registers, and which convolutions they serve."""

import numpy as np
import pytest
from numba import njit

from csrl_core import backends
from csrl_core.kernels.cpu.conv import columns, direct, rows, way_of
from csrl_core.kernels.cpu.conv.lanes import add_dots, lanes, multiply_lines


def normal(*shape, dtype=np.float64):
    return np.random.default_rng(shape).normal(size=shape).astype(dtype)


@njit
def lines_long(like):
    return lanes(like)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("targets", "terms", "lines", "width"), [(1, 1, 1, 1), (8, 9, 2, 16), (11, 25, 5, 37), (3, 2, 4, 7)]
)
def test_lines_are_multiplied_wherever_they_lie_and_nothing_else_is_written(dtype, targets, terms, lines, width):
    weights, values = normal(targets, terms, dtype=dtype), normal(60 * width, dtype=dtype)
    starts = np.random.default_rng(0).integers(0, 20 * width, terms)
    begin, step = normal(targets, dtype=dtype), width + 1
    goals = 3 + np.arange(targets)[::-1] * lines * step
    before = normal(goals.max() + lines * step + 50, dtype=dtype)
    expected, more = before.copy(), before.copy()
    for y in range(lines):
        met = np.stack([values[s + 2 * y : s + 2 * y + width] for s in starts])
        sums = begin[:, None] + weights @ met
        for goal, total in zip(goals, sums, strict=True):
            own = slice(goal + y * step, goal + y * step + width)
            expected[own], more[own] = total, before[own] + total
    for out, added in ((expected, False), (more, True)):
        got, turned = before.copy(), np.ascontiguousarray(weights.T).reshape(-1)
        for flat, steps in ((weights.reshape(-1), (terms, 1)), (turned, (1, targets))):
            got = before.copy()
            multiply_lines(flat, steps, values, starts, got, goals, (2, step), (lines, width), begin, added)
            np.testing.assert_allclose(got, out, rtol=0, atol=50 * np.finfo(dtype).eps * np.abs(out).max())
            untouched = expected == before
            np.testing.assert_array_equal(got[untouched], before[untouched])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("count", "places", "lines", "width"), [(1, 1, 1, 1), (4, 5, 3, 16), (7, 13, 4, 35)])
def test_dots_are_those_of_lines(dtype, count, places, lines, width):
    A, B = normal(count * lines * width, dtype=dtype), normal(60 * width, dtype=dtype)
    starts = np.random.default_rng(1).integers(0, 20 * width, places)
    sums = np.zeros(count * places * lines_long(np.zeros(1, dtype)), dtype)
    for _ in range(2):  # added to what there is
        add_dots(A, B, starts, sums, (lines * width, width, 3), (count, lines, width))
    met = np.stack([np.concatenate([B[s + 3 * y : s + 3 * y + width] for y in range(lines)]) for s in starts])
    expected = 2 * A.reshape(count, -1).astype(float) @ met.T.astype(float)
    got = sums.reshape(count, places, -1).astype(float).sum(axis=-1)
    np.testing.assert_allclose(got, expected, rtol=0, atol=100 * np.finfo(dtype).eps * np.abs(expected).max())


def test_few_channels_go_directly():
    def way(c, kernel, stride=1, m=32):
        return way_of(columns.plan((c, 20, 20), (10, 10), kernel, stride, 0), m)

    assert all(
        way(c, kernel) is direct for c, kernel in [(1, (3, 3)), (1, (5, 5)), (3, (7, 7)), (7, (3, 3)), (1, (9, 1))]
    )
    assert all(way(c, kernel) is rows for c, kernel in [(8, (3, 3)), (12, (2, 2)), (1, (1, 24))])


SHAPES = [  # c, m, h, w, kernel, stride, padding
    (1, 32, 28, 28, (5, 5), 2, 2),
    (1, 3, 33, 18, (5, 5), 1, 0),
    (3, 7, 11, 9, (3, 3), 2, 1),
    (2, 5, 9, 13, (4, 3), 3, 2),
    (1, 1, 5, 5, (1, 1), 1, 0),
    (7, 10, 12, 37, (3, 3), 1, 1),
    (2, 6, 10, 10, (2, 2), 3, 0),  # pixels that no output meets
    (1, 13, 40, 39, (7, 5), 2, 3),
]


@pytest.mark.sensitive
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_direct_convolutions_agree_with_the_reference_whatever_the_threads(shape, dtype):
    c, m, h, w, kernel, stride, padding = shape
    X, weight, bias = normal(37, c, h, w, dtype=dtype), normal(m, c, *kernel, dtype=dtype), normal(m, dtype=dtype)

    def run(name, kind, n_jobs=1):
        conv, (x, W, b) = backends.get(name).conv, (array.astype(kind) for array in (X, weight, bias))
        none = np.empty(0, kind)
        with backends.get(name).threads(n_jobs):
            Y = conv.conv2d(x, W, b, stride, padding)
            G = normal(*Y.shape).astype(dtype).astype(kind)
            T = conv.transposed_conv2d(G, W, none, stride, padding, 0)
            turned = conv.transposed_conv2d_backward(normal(*T.shape).astype(dtype).astype(kind), G, W, stride, padding)
            return Y, *conv.conv2d_backward(G, x, W, stride, padding), T, *turned

    expected, got = run("numpy", np.float64), run("numba", dtype)
    terms = got[0].size // m  # of the longest sum, a weight's gradient; those of the reference are rounded as well
    for own, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=2 * terms**0.5 * np.finfo(dtype).eps * np.abs(other).max())
    for own, other in zip(got, run("numba", dtype, 3), strict=True):
        np.testing.assert_array_equal(own, other)
