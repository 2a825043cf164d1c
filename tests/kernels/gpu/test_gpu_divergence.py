"""The CUDA code of divergences on the host: grids, parts of the workspace, and what breaking it does."""

import gpu_helpers
import numpy as np
import pytest

from csrl_core.contract import verify
from csrl_core.contract.cases import all_cases
from csrl_core.contract.cases.divergence import assignments, tensors
from csrl_core.kernels.gpu import divergence

SHAPE = (6, 5, 5)


def results(device, dtype):
    """Everything that sums, of a batch."""
    a, t, own = assignments(37, 11, dtype), tensors(13, SHAPE, dtype), device.divergence
    return [
        own.distances(t["Y"]),
        own.bandwidth(a["D"]),
        *own.cauchy_schwarz(a["A"], a["K"]),
        *own.orthogonality(a["A"]),
        own.tensor_distances(t["Y"], SHAPE, t["ridge"]),
        own.tensor_distances_gradient(t["G"], t["Y"], SHAPE, t["ridge"]),
    ]


@pytest.mark.sensitive
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_do_not_depend_on_the_grid(dtype):
    found = [results(gpu_helpers.on(("forward",), max_blocks=blocks), dtype) for blocks in (1, 5, 1000)]
    for other in found[1:]:
        for mine, theirs in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_pairs_go_through_in_parts_that_fit_the_workspace(monkeypatch):
    whole = results(gpu_helpers.on(("forward",)), np.float64)
    for bytes_ in (1, 13 * 36 * 8 * 3):
        monkeypatch.setattr(divergence, "WORKSPACE", bytes_)
        for mine, theirs in zip(results(gpu_helpers.on(("forward",)), np.float64), whole, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11)


FAULTS = {
    "no barrier before a row is scaled": (
        "tensor_distances",
        {"__syncthreads();  // every thread has read it": ""},
    ),
    "no barrier after a row is scaled": (
        "tensor_distances",
        {
            "s[r * R + c] *= scale;\n            __syncthreads();": "s[r * R + c] *= scale;",
        },
    ),
    "half of the gradient of the diagonal": ("cauchy_schwarz", {"-through / own": "-through / (2 * own)"}),
    "the lower of the middle two": ("bandwidth", {"sorted[size / 2]": "sorted[(size - 1) / 2]"}),
    "a gradient at distance 0": ("gaussian_kernel_gradient", {"D[e] == 0 ? (real)0 : ": ""}),
    "no mean taken off": ("distances", {"X[i * d + l] - mean": "X[i * d + l]"}),
    "the other sample's factor": ("tensor_distances_gradient", {"row / R * n + column / R": "column / R"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault):
    function, changes = FAULTS[fault]
    device = gpu_helpers.on(changes={"divergence": changes})
    cases = [case for case in all_cases("divergence") if case.function == function]
    assert all(verify.check(case, gpu_helpers.on(), np.float32).ok for case in cases[:2])
    assert not all(verify.check(case, device, dtype).ok for case in cases for dtype in (np.float32, np.float64))
