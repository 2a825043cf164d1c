"""Every CUDA kernel against the device's own ceilings, and epochs against torch and against the CPU.

    python bench/bench_gpu.py            # tables, and rows appended to bench/results/gpu.csv
    python bench/bench_gpu.py --quick    # small arrays, nothing appended
    python bench/bench_gpu.py --verified # csrl verify has just passed: it is not run again

Ceilings are measured in the same run: a large copy (bytes a second) and a large product (operations a second).
A kernel's bytes and operations are what it must at least move and do. Before anything is timed, every kernel is
compared with the reference. Times are the device's, between two events.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from bench_gpu_epochs import epochs, machines
from common import append_rows, machine, percentile, print_table

from csrl_core import BackendError
from csrl_core import backends as backend
from csrl_core.contract import verify

try:
    import torch
except ImportError:
    torch = None

KEY = np.array([7, 11], np.uint32)


@dataclass(frozen=True)
class Entry:
    """One kernel at work: what it is called on, what it must move and do, and torch's way of the same."""

    name: str
    call: Callable
    bytes: float
    operations: float = 0.0
    peer: Callable | None = None


def entries(b, n, d, k, p, peers):
    """The kernels on n samples, d features, k clusters, p parameters, in float32."""
    xp, f4 = b.xp, 4
    rng = np.random.default_rng(0)
    X = b.own(rng.standard_normal((n, d), np.float32))
    costs, w = b.own(rng.standard_normal((n, k), np.float32)), xp.ones(n, np.float32)
    s, rows = b.own(rng.integers(0, k, n)), b.own(np.arange(n))
    centers, probability = b.own(rng.standard_normal((k, d))), xp.full((n, d), 0.3, np.float32)
    weight, bias = b.own(rng.standard_normal((d, d), np.float32)), xp.zeros(d, np.float32)
    params, gradient, m, v = (b.own(rng.random(p, np.float32)) for _ in range(4))
    sums, totals, counts = b.assign.cluster_sums(X, s, w, k)
    other = (s + (rows % 10 == 0)) % k  # one sample in ten moves, there and back
    turns = [other, s.copy()]

    def move():
        turns.reverse()
        return b.assign.move(X, rows, turns[0], s, w, sums, totals, counts)

    t = {}
    if peers:
        t = {
            name: torch.as_tensor(a, device="cuda")
            for name, a in {"X": X, "costs": costs, "s": s, "W": weight, "bias": bias}.items()
        }
        theta = torch.as_tensor(params, device="cuda").clone().requires_grad_()
        theta.grad = torch.as_tensor(gradient, device="cuda").clone()
        adam = torch.optim.Adam([theta], fused=True)
        zeros = torch.zeros((k, d), device="cuda")
        half = torch.full((n, d), 0.3, device="cuda")

    # The signs of the data under machines of d hidden units, and for each of these n / 100 chains.
    machines = b.own((0.05 * rng.standard_normal(k * d * d + k * d + d)).astype(np.float32))
    nothing, betas = xp.zeros((k, d), np.float32), b.own(np.linspace(0, 1, 11))
    bits = (X > 0).astype(np.float32)
    chains, hidden = (b.own((rng.random((k, n // 100 + 1, d)) < 0.5).astype(np.float32)) for _ in range(2))
    divergence = machines, bits, nothing, s, w, 0, 1

    def peer(function):
        return function if peers else None

    draw = KEY, 1, 2, 3
    return [
        Entry("philox.uniform", lambda: b.philox.uniform(*draw, rows, d, np.float32), f4 * n * d, 0,
              peer(lambda: torch.rand((n, d), device="cuda"))),
        Entry("philox.normal", lambda: b.philox.normal(*draw, rows, d, np.float32), f4 * n * d, 0,
              peer(lambda: torch.randn((n, d), device="cuda"))),
        Entry("philox.bernoulli", lambda: b.philox.bernoulli(probability, *draw, rows), 2 * f4 * n * d, 0,
              peer(lambda: torch.bernoulli(half))),
        Entry("assign.assign", lambda: b.assign.assign(costs), n * (f4 * k + 8), 0,
              peer(lambda: t["costs"].argmin(1))),
        Entry("assign.nearest", lambda: b.assign.nearest(X, centers), f4 * n * d, 3.0 * n * d * k),
        Entry("assign.objective", lambda: b.assign.objective(costs, s, w), n * (2 * f4 + 8)),
        Entry("assign.cluster_sums", lambda: b.assign.cluster_sums(X, s, w, k), f4 * n * d, 0,
              peer(lambda: zeros.zero_().index_add_(0, t["s"], t["X"]))),
        Entry("assign.move", move, n * 16 + 0.1 * f4 * n * d),
        Entry("dense.activate tanh", lambda: b.dense.activate(X, 3), 2 * f4 * n * d, 0, peer(lambda: t["X"].tanh())),
        Entry("dense.activate sigmoid", lambda: b.dense.activate(X, 4), 2 * f4 * n * d, 0,
              peer(lambda: t["X"].sigmoid())),
        Entry("dense.activation_gradient", lambda: b.dense.activation_gradient(X, probability, 3), 3 * f4 * n * d),
        Entry("dense.forward", lambda: b.dense.forward(X, weight, bias, 0), 0, 2.0 * n * d * d,
              peer(lambda: t["X"] @ t["W"])),
        Entry("dense.backward", lambda: b.dense.backward(X, X, probability, weight, 0), 0, 4.0 * n * d * d),
        Entry("optimizer.squared_norm", lambda: b.optimizer.squared_norm(gradient), f4 * p),
        Entry("optimizer.adam", lambda: b.optimizer.adam(params, gradient, 0.1, m, v, 3, 1e-3, 0.9, 0.999, 1e-8),
              7 * f4 * p, 0, peer(lambda: adam.step())),
        Entry("optimizer.sgd", lambda: b.optimizer.sgd(params, gradient, 0.1, v, 1e-3, 0.9), 5 * f4 * p),
        Entry("rbm.bernoulli_units", lambda: b.rbm.bernoulli_units(X, bias, *draw, rows, d, 0), 2 * f4 * n * d, 0,
              peer(lambda: torch.bernoulli((t["X"] + t["bias"]).sigmoid()))),
        Entry("rbm.gaussian_units", lambda: b.rbm.gaussian_units(X, bias, *draw, rows, d, 0), 2 * f4 * n * d, 0,
              peer(lambda: t["X"] + t["bias"] + torch.randn_like(t["X"]))),
        Entry("rbm.free_energy", lambda: b.rbm.free_energy(machines, bits, nothing, 0), 0, 2.0 * n * k * d * d),
        Entry("rbm.gibbs", lambda: b.rbm.gibbs(machines, k, bits, s, 0, 1, *draw, rows), 0, 4.0 * n * d * d),
        Entry("rbm.energy_gradient", lambda: b.rbm.energy_gradient(machines, k, bits, s, w, 0), 0, 4.0 * n * d * d),
        Entry("rbm.mean_field_losses", lambda: b.rbm.mean_field_losses(machines, bits, nothing, 0, 1), 0,
              6.0 * n * k * d * d),
        Entry("rbm.losses_and_gradient", lambda: b.rbm.losses_and_gradient(*divergence, True, *draw[:3], rows), 0,
              (6.0 * k + 4) * n * d * d),
        Entry("rbm.losses_and_gradient, own", lambda: b.rbm.losses_and_gradient(*divergence, False, *draw[:3], rows), 0,
              10.0 * n * d * d),
        Entry("rbm.persistent_losses_and_gradient",
              lambda: b.rbm.persistent_losses_and_gradient(*divergence[:6], chains, hidden, 1, *draw[:3]), 0,
              2.0 * (k + 1) * n * d * d + 6.0 * chains.shape[0] * chains.shape[1] * d * d),
        Entry("rbm.ais", lambda: b.rbm.ais(machines, nothing, 0, betas, chains.shape[1], *draw[:3]), 0,
              (4.0 * len(betas) - 6) * chains.shape[0] * chains.shape[1] * d * d),
    ]  # fmt: skip


def seconds_on_device(cupy, function, budget):
    """Sorted times of a call, between two events on the stream."""
    function()
    begin, end, times = cupy.cuda.Event(), cupy.cuda.Event(), []
    until = time.perf_counter() + budget
    while time.perf_counter() < until or len(times) < 3:
        begin.record()
        function()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) / 1e3)
    return sorted(times)


def seconds_of_torch(function, budget):
    """Likewise, on torch's stream."""
    function()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times, until = [], time.perf_counter() + budget
    while time.perf_counter() < until or len(times) < 3:
        begin.record()
        function()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return sorted(times)


def ceilings(cupy, size, budget):
    """(bytes a second of a copy, operations a second of a product in float32), the best of several."""
    source, target = cupy.ones(size**2, np.float32), cupy.empty(size**2, np.float32)

    def copy():
        target[...] = source

    copied = 2 * source.nbytes / seconds_on_device(cupy, copy, budget)[0]
    A = cupy.ones((size // 2, size // 2), np.float32)
    return copied, 2.0 * (size // 2) ** 3 / seconds_on_device(cupy, lambda: cupy.matmul(A, A), budget)[0]


def kernels(b, quick):
    """Rows of all kernels."""
    cupy, budget = b.xp, 0.05 if quick else 0.5
    peers = torch is not None and torch.cuda.is_available()
    bandwidth, rate = ceilings(cupy, 2048 if quick else 16384, budget)
    print(f"ceilings: copy {bandwidth / 1e9:.0f} GB/s, product {rate / 1e12:.1f} TFLOP/s in float32\n")
    sizes = (4096, 64, 10, 1 << 16) if quick else (1 << 20, 256, 10, 1 << 27)
    rows = []
    for entry in entries(b, *sizes, peers):
        times = seconds_on_device(cupy, entry.call, budget)
        median = percentile(times, 50)
        achieved = entry.bytes / median
        theirs = percentile(seconds_of_torch(entry.peer, budget), 50) if entry.peer else float("nan")
        rows.append(
            {
                **machine(),
                "device": device_name(),
                "kernel": entry.name,
                "gbytes": entry.bytes / 1e9,
                "gflop": entry.operations / 1e9,
                "p20": percentile(times, 20),
                "p50": median,
                "p80": percentile(times, 80),
                "gbytes_s": achieved / 1e9,
                "of_copy": achieved / bandwidth,
                "of_product": entry.operations / median / rate,
                "torch_over_ours": theirs / median,
            }
        )
    return rows


def device_name():
    """What the driver calls the device."""
    from csrl_core.kernels.gpu._platform import device

    return dict(device.describe())["device"]


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small arrays, nothing appended")
    parser.add_argument("--verified", action="store_true", help="do not compare kernels with the reference first")
    arguments = parser.parse_args()
    quick = arguments.quick
    try:
        b = backend.get("cupy")
    except BackendError as error:
        print(f"nothing to measure here: {error}")
        return
    failed = [] if arguments.verified else [str(result) for result in verify.verify([b]) if not result.ok]
    if failed:
        raise SystemExit("wrong before it is fast:\n" + "\n".join(failed))
    rows = kernels(b, quick)
    print_table(rows, ["kernel", "gbytes", "gflop", "p50", "gbytes_s", "of_copy", "of_product", "torch_over_ours"])
    print()
    if not quick:
        print(str(append_rows("gpu", rows)), flush=True)
    more = epochs(b, quick, torch) + machines(b, quick, torch)
    print_table(more, ["case", "backend", "p20", "p50", "p80", "over_cupy"])
    if not quick:
        print(append_rows("gpu_epochs", [{**machine(), "device": device_name(), **row} for row in more]))


if __name__ == "__main__":
    main()
