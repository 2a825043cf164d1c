"""The CUDA code of networks on the host: grids, parts of the workspace, groups, launches, what breaking it does."""

import re

import gpu_helpers
import numpy as np
import pytest

from csrl_core.contract import verify
from csrl_core.contract.cases import all_cases
from csrl_core.contract.cases import conv as conv_cases
from csrl_core.contract.cases import network as cases
from csrl_core.kernels.gpu import conv_passes, dense_passes, network
from csrl_core.kernels.gpu._platform import emulator
from csrl_core.kernels.gpu.groups import Groups
from csrl_core.reference import norm as reference_norm

DTYPES = [np.float32, np.float64]
KINDS = ("batch norm of vectors", "convolution", "every kind")


def forward(changes=None, **options):
    """An emulator of one thread order: the cases run in all three."""
    return gpu_helpers.on(("forward",), changes, **options)


def passes(device, name, rows, dtype):
    """Everything that a pass there and back gives, and the output after training."""
    params, layers, X, bounds, state, training, draws = cases._forward(name, rows, True, np.dtype(dtype))
    out, tape, new = device.network.forward(params, layers, X, bounds, state, training, draws)
    G = np.cos(np.arange(out.size, dtype=dtype)).reshape(out.shape)
    gradient = np.full_like(params, np.nan)
    dX = device.network.backward(params, layers, X, tape, G, bounds, training, draws, True, gradient)
    return [tape, new, gradient, dX, device.network.predict(params, layers, X, bounds, state)]


@pytest.mark.sensitive
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_do_not_depend_on_the_grid(name, dtype):
    found = [passes(forward(max_blocks=blocks), name, (40, 0, 9), dtype) for blocks in (1, 5, 1000)]
    for other in found[1:]:
        for mine, theirs in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("rows", [(7, 3, 5), (4, 4, 4), (0, 9, 2), (13,)], ids=str)
@pytest.mark.parametrize("name", ["convolution", "every kind"])
def test_rows_go_through_in_parts_that_fit_the_workspace(monkeypatch, name, rows):
    whole = passes(forward(), name, rows, np.float64)
    for bytes_ in (1, 20_000, 60_000):
        monkeypatch.setattr(conv_passes, "WORKSPACE", bytes_)
        monkeypatch.setattr(network, "WORKSPACE", bytes_)
        for mine, theirs in zip(passes(forward(), name, rows, np.float64), whole, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11)


def test_no_more_columns_than_the_workspace_holds(monkeypatch):
    monkeypatch.setattr(conv_passes, "WORKSPACE", 1 << 16)
    size, run = [], emulator.Emulator.run

    def watched(self, kernel, blocks, arguments, shared):
        if kernel[0] == "conv.columns":
            size.append(arguments[5].nbytes)
        run(self, kernel, blocks, arguments, shared)

    monkeypatch.setattr(emulator.Emulator, "run", watched)
    X, weight, bias, *how = conv_cases._conv(50, 3, 11, 11, 5, 3, 3, 1, 1, 0, np.dtype(np.float32))
    forward().conv.conv2d(X, weight, bias, *how)
    one = 27 * 121 * 4
    assert max(size) <= 1 << 16 and sum(size) == 50 * one and len(size) == -(-50 // ((1 << 16) // (32 * 121 * 4)))


def test_parts_of_groups():
    def parts(begins, most):
        return [(part.first, len(part), part.shares, part.height) for part in Groups(begins, None).parts(most)]

    # Several groups in a part, one batched product where they are equal.
    assert parts([0, 3, 6, 9], 9) == [(0, 9, [(0, 0, 3), (1, 3, 6), (2, 6, 9)], 3)]
    assert parts([0, 3, 6, 9], 7) == [(0, 6, [(0, 0, 3), (1, 3, 6)], 3), (6, 3, [(2, 0, 3)], 0)]
    # A larger group in pieces, an empty one in none; equal ones that are not neighbours are no batch.
    assert parts([0, 5, 5, 7], 2) == [
        (0, 2, [(0, 0, 2)], 0),
        (2, 2, [(0, 0, 2)], 0),
        (4, 1, [(0, 0, 1)], 0),
        (5, 2, [(2, 0, 2)], 0),
    ]
    assert parts([0, 2, 2, 4], 9) == [(0, 4, [(0, 0, 2), (2, 2, 4)], 0)]
    assert parts([0, 0], 3) == []


@pytest.mark.parametrize("rows", [(6, 6, 6, 6), (6, 1, 9, 8)], ids=["equal", "unequal"])
def test_launches_do_not_grow_with_the_clusters(monkeypatch, rows):
    counts, run = [], emulator.Emulator.run

    def counted(self, *launch):
        counts[-1] += 1
        run(self, *launch)

    monkeypatch.setattr(emulator.Emulator, "run", counted)
    for some in (rows[:2], rows):
        counts.append(0)
        passes(forward(), "every kind", some, np.float32)
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_one_cluster_at_a_time_are_the_same(dtype, monkeypatch):
    # Where padding all clusters to the largest would cost more than the launches that it saves.
    padded, original = [], dense_passes.pad
    monkeypatch.setattr(dense_passes, "pad", lambda *a: padded.append(a) or original(*a))
    some = [c for c in all_cases("network") if c.name.startswith(("dense,", "batch norm")) and "three" in c.name]
    for flops, expected in ((dense_passes.LAUNCH_FLOPS, True), (0.0, False)):
        monkeypatch.setattr(dense_passes, "LAUNCH_FLOPS", flops)
        padded.clear()
        assert all(verify.check(case, "emulated", dtype).ok for case in some)
        assert bool(padded) == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [1e3, 1e6])
def test_a_first_value_far_from_the_others_costs_few_digits(dtype, first):
    # Sums are of differences from it, so that the variance may lose m times the rounding of float64, and no more.
    X = np.random.default_rng(0).normal(size=(500, 2, 3)).astype(dtype)
    X[0, 0, 0] = first
    mean, variance = reference_norm.batch_statistics(X.astype(np.float64))
    found = forward().norm.batch_statistics(X)
    own, wide = np.finfo(dtype).eps, np.finfo(np.float64).eps
    np.testing.assert_allclose(found[0], mean, rtol=own, atol=4 * wide * first)
    np.testing.assert_allclose(found[1], variance, rtol=own + 1500 * wide)


def test_dropout_is_the_references_to_the_bit():
    X, rate, *numbers = next(c for c in all_cases("norm") if c.name == "several tasks").arguments(np.dtype(np.float32))
    mine, theirs = forward().norm.dropout(X, rate, *numbers), reference_norm.dropout(X, rate, *numbers)
    np.testing.assert_array_equal(mine, theirs)


def test_not_a_number_is_the_largest_of_its_window():
    X = np.random.default_rng(0).normal(size=(1, 1, 4, 4))
    X[0, 0, 1, 0] = X[0, 0, 1, 1] = np.nan
    Y = forward().conv.max_pool(X, 2, 2)
    assert np.isnan(Y[0, 0, 0, 0]) and np.isnan(Y).sum() == 1
    dX = forward().conv.max_pool_backward(np.ones((1, 1, 2, 2)), X, 2, 2)
    assert dX[0, 0, 1, 0] == 1 and dX[0, 0, :2, :2].sum() == 1


# -- broken on purpose -------------------------------------------------------------------------------------

# stem, function, {what stands there: what is put there}, what must be said at least once
BROKEN = {
    "a window one pixel off": ("conv", "conv2d", {"* stride + v - padding": "* stride + v - padding + 1"}, "return"),
    "a border that is read": (
        *("conv", "conv2d", {"y >= 0 && y < h && left >= 0 && left < w ?": "y >= 0 && y < h && left < w ?"}),
        "return|depends on the order",
    ),
    "the wrong share of the columns": (
        *("conv", "transposed_conv2d", {"(u * kw + v) * next": "(v * kw + u) * next"}),
        "return",
    ),
    "windows past the last one": (
        *("conv", "transposed_conv2d", {"if (xx < ow) sum +=": "sum +="}),
        "return",
    ),
    "ties to the last": ("conv", "max_pool_backward", {"x > *value ||": "x >= *value ||"}, "return"),
    "a window that begins too far": ("conv", "max_pool_backward", {"(int)y % stride": "0"}, "return"),
    "a row left out of the sums": (
        *("norm", "batch_statistics", {"begin + q * rows + warp; i < last": "begin + q * rows + warp; i < last - 1"}),
        "return",
    ),
    "a missing barrier": (
        *("norm", "batch_statistics"),
        {"scratch[1][warp][lane] = second;\n        __syncthreads();": "scratch[1][warp][lane] = second;"},
        "return|depends on the order",
    ),
    "a lane missing from a shuffle": (
        *("norm", "batch_norm_backward"),
        {"o /= 2) sum += __shfl_xor": "o /= 2) if (threadIdx.x % WARP != 5) sum += __shfl_xor"},
        r"norm.cu:\d+: lane 5 is missing from the shuffle",
    ),
    "statistics of the next group": (
        *("network", "forward", {"if (begins[middle] <= i)": "if (begins[middle] < i)"}),
        "return",
    ),
    "a block's number in 32 bits": ("norm", "dropout", {"k1 ^ (u32)(block >> 32)": "k1"}, "return"),
}


@pytest.mark.parametrize(("stem", "function", "changes", "said"), BROKEN.values(), ids=BROKEN)
def test_broken_device_code_is_caught(stem, function, changes, said):
    stems = ("norm", "network", "conv") if stem == "network" else (stem,)
    device = gpu_helpers.on(changes=dict.fromkeys(stems, changes))
    results = (verify.check(case, device, "float32") for case in all_cases(stem) if case.function == function)
    found = [result.where for result in results if not result.ok]
    assert any(re.search(said, where) for where in found), found
