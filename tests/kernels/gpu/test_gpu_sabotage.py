"""Kernels broken on purpose, each caught: by the emulator itself, or by agreement with the reference."""

import re

import gpu_helpers
import numpy as np
import pytest
from test_gpu_emulated import activations_differ

from csrl_core.contract import verify
from csrl_core.contract.cases import all_cases
from csrl_core.kernels.gpu._platform import emulator, nvrtc
from csrl_core.kernels.gpu._platform.launch import KernelError, Source


def failures(stem, function, changes, orders=emulator.ORDERS):
    """Where the cases of a function fail with this device code."""
    device = gpu_helpers.on(orders, changes)
    cases = [case for case in all_cases(stem) if case.function == function]
    results = [verify.check(case, device, "float32") for case in cases]
    return [result.where for result in results if not result.ok]


# stem, function, {what stands there: what is put there}, what must be said at least once
BROKEN = {
    "a missing barrier": (
        *("assign", "objective"),
        {"scratch[warp] = value;\n    __syncthreads();": "scratch[warp] = value;"},
        "depends on the order of threads|return",
    ),
    "a divergent barrier": (
        *("optimizer", "squared_norm"),
        {"    __syncthreads();  // the scratch": "    if (warp == 0) __syncthreads();  // the scratch"},
        r"common.h:\d+: divergent barrier: thread 0 waits there, thread 32 (has ended|at line)",
    ),
    "a lane missing from a shuffle": (
        *("assign", "nearest"),
        {"for (int o = WARP / 2; o; o /= 2) distance[m]": "for (int o = 16; o && lane != 5; o /= 2) distance[m]"},
        r"assign.cu:\d+: lane 5 is missing from the shuffle with mask ffffffff: it",
    ),
    "an index one too far": (
        *("philox", "uniform"),
        {"begin + j < width) out[begin + j]": "begin + j <= width) out[begin + j]"},
        "philox.uniform wrote outside of out, 0 bytes past its end|depends on the order",
    ),
    "a last element left out": (
        *("philox", "uniform53"),
        {"GRID_STRIDE(b, (count + 1) / 2)": "GRID_STRIDE(b, count / 2)"},
        "return",
    ),
    "a grid that covers one round only": (
        *("optimizer", "adam"),
        {"i += (i64)gridDim.x * blockDim.x)": "i += (n) + 1)"},
        "params|first|second",
    ),
    "a wrong constant of the generator": ("philox", "bernoulli", {"0xCD9E8D57u": "0xCD9E8D59u"}, "return"),
    "half of a block's number left out": ("philox", "bernoulli", {"k1 ^ (u32)(block >> 32)": "k1"}, "return"),
    "stream and step exchanged": (
        "philox",
        "uniform",
        {"block, substep, step, stream": "block, substep, stream, step"},
        "return",
    ),
    "shared memory that nobody filled": (
        *("assign", "cluster_sums"),
        {"for (int j = 0; j < high - low; j++) running[j * blockDim.x + threadIdx.x] = 0;": ""},
        "return",
    ),
    "ties to the highest": ("assign", "assign", {"other_at < *at": "other_at > *at"}, "return"),
    "an empty cluster that keeps its rounding": (
        *("assign", "move"),
        {"if (left > 0 && counts[j] == left) value = 0;": "if (left > 0 && counts[j] == left) value = 1e-3;"},
        "sums|totals",
    ),
    "all columns from one thread's place": (
        *("assign", "cluster_sums"),
        {"running[(j - low) * blockDim.x + threadIdx.x] += ": "running[(j - low) * blockDim.x] += "},
        "return|depends on the order",
    ),
}


@pytest.mark.parametrize(("stem", "function", "changes", "said"), BROKEN.values(), ids=BROKEN)
def test_broken_device_code_is_caught(stem, function, changes, said):
    found = failures(stem, function, {stem: changes})
    assert found
    assert any(re.search(said, where) for where in found), found


def test_the_missing_barrier_is_right_in_one_order_and_wrong_in_another():
    stem, function, changes, _ = BROKEN["a missing barrier"]
    wrong = [bool(failures(stem, function, {stem: changes}, orders=(order,))) for order in emulator.ORDERS]
    assert any(wrong) and not all(wrong)


def test_a_fused_multiply_add_is_caught():
    # No tolerance could: the bits are compared with those of the Numba twin, made without one.
    fused = {"p = p * r + 1.0f;": "p = fma(p, r, 1.0f);"}
    assert activations_differ(gpu_helpers.on(("forward",), {"dense": fused}), np.float32) > 0
    fused = {"p = p * r + 1.0;": "p = fma(p, r, 1.0);"}
    assert activations_differ(gpu_helpers.on(("forward",), {"dense": fused}), np.float64) > 0


def test_every_compiler_is_told_not_to_fuse():
    assert "--fmad=false" in nvrtc.options("float")
    assert "-ffp-contract=off" in emulator.FLAGS


def test_a_vector_load_from_any_address_is_caught():
    changes = {"optimizer": {"return ((u64)p & 15) == 0;": "return true;"}}
    params = np.ones(101, np.float32)[1:]
    with pytest.raises(KernelError, match=r"optimizer.cu:\d+: the address 0x\w+ is not aligned"):
        gpu_helpers.on(("forward",), changes).optimizer.sgd(
            params, np.ones(100, np.float32), 1.0, params.copy(), 0.1, 0.9
        )


# -- what the emulator sees, on kernels made for it ---------------------------------------------------------


def test_an_index_outside_of_shared_memory():
    text = """
KERNEL outside(double* out, int n) {
    __shared__ double few[8];
    few[threadIdx.x % 8] = 0;
    __syncthreads();
    if (threadIdx.x == 0) out[0] = few[n];
}
"""
    gpu_helpers.run(text, "outside", 1, np.zeros(1), 7)
    with pytest.raises(KernelError, match=r"kernel.cu:6: index 8 is outside of an array of fixed size"):
        gpu_helpers.run(text, "outside", 1, np.zeros(1), 8)


def test_too_little_dynamic_shared_memory():
    text = """
KERNEL reverse(double* out) {
    extern __shared__ double running[];
    running[threadIdx.x] = out[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = running[255 - threadIdx.x];
}
"""
    out = np.arange(256.0)
    gpu_helpers.run(text, "reverse", 1, out, shared=2048)
    np.testing.assert_array_equal(out, np.arange(256.0)[::-1])
    with pytest.raises(KernelError, match="past the end of the 2040 bytes of dynamic shared memory"):
        gpu_helpers.run(text, "reverse", 1, out, shared=2040)


def test_a_write_before_an_array():
    text = "KERNEL before(double* out, int n) { if (threadIdx.x == 0) out[n] = 1; }"
    with pytest.raises(KernelError, match="wrote outside of out, 8 bytes before its start"):
        gpu_helpers.run(text, "before", 1, np.zeros(3), -1)


def test_a_lane_that_a_mask_leaves_out():
    text = """
KERNEL half(double* out) {
    double value = threadIdx.x;
    if (threadIdx.x % 32 < 16) value = __shfl_xor_sync(0x0000ffffu, value, 16);
    out[threadIdx.x] = value;
}
"""
    with pytest.raises(KernelError, match=r"kernel.cu:4: lane 0 reads lane 16, which the mask 0000ffff leaves out"):
        gpu_helpers.run(text, "half", 1, np.zeros(256))


def test_shuffles_and_barriers_do_what_cuda_does():
    text = """
KERNEL exchange(double* out, int* sums) {
    __shared__ int total[8];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int sum = threadIdx.x;
    for (int o = 16; o; o /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, o);
    if (lane == 0) total[warp] = sum;
    __syncthreads();
    if (threadIdx.x < 8) sums[threadIdx.x] = total[7 - threadIdx.x];
    out[threadIdx.x] = __shfl_down_sync(0xffffffffu, (double)threadIdx.x, 30) + __shfl_sync(0xffffffffu, lane, 3);
}
"""
    out, sums = np.zeros(256), np.zeros(8, np.int32)
    gpu_helpers.run(text, "exchange", 1, out, sums)
    lanes = np.arange(256)
    np.testing.assert_array_equal(sums, lanes.reshape(8, 32).sum(axis=1)[::-1])
    np.testing.assert_array_equal(out, np.where(lanes % 32 < 2, lanes + 30, lanes) + 3)


def test_a_parameter_that_is_not_understood():
    with pytest.raises(ValueError, match=r"kernel.cu: parameter 'size_t n' of k is not understood"):
        _ = Source("kernel", "KERNEL k(real* out, size_t n) {}").kernels
