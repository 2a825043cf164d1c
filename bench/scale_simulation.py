"""How long a data-parallel training step takes with many workers, from what its parts cost on one."""

from heapq import heappop, heappush
from itertools import pairwise
from typing import NamedTuple

import numpy as np

BATCHES = [2**13, 2**15, 2**17, 2**19, 2**21]
WORKERS = [1, 2, 3, 4, 8, 10, 16, 32, 64, 100, 128, 256, 512, 1000]


class Costs(NamedTuple):
    """What a step is made of.

    row_s : seconds that a worker computes for a row of the batch; latency_s : of a call without content, there and back
    bandwidth : bytes a second between client and workers, all together; add_s : seconds to add two gradients
    update_s : of the optimizer; parameter_bytes : of the parameters, and of a gradient
    share_rows : least rows of a batch that are a share
    """

    row_s: float
    latency_s: float
    bandwidth: float
    add_s: float
    update_s: float
    parameter_bytes: int
    share_rows: int


def nodes_of(first, stop):
    """Number of nodes of the binary tree of additions that cover leaves first to stop: gradients a worker sends."""
    count = 0
    while first < stop:
        size = first & -first or 1 << (stop - first).bit_length() - 1
        while size > stop - first:
            size //= 2
        first, count = first + size, count + 1
    return count


def step_seconds(cost, batch, workers):
    """Seconds of a step: parameters go out to one worker after the other, gradients come in as they are ready.

    The client's link carries one message at a time in each direction; a worker begins when it has the parameters.
    """
    shares = max(1, batch // cost.share_rows)
    bounds = np.linspace(0, shares, min(workers, shares) + 1).round().astype(int)
    rows, message = batch / shares, cost.parameter_bytes / cost.bandwidth
    ready, sent = [], 0.0
    for first, stop in pairwise(bounds.tolist()):
        sent += message
        nodes = nodes_of(first, stop)
        computed = (stop - first) * rows * cost.row_s + (stop - first - nodes) * cost.add_s
        heappush(ready, (sent + cost.latency_s + computed, nodes))
    free, leaves = 0.0, 0
    while ready:
        at, nodes = heappop(ready)
        free, leaves = max(free, at) + nodes * message, leaves + nodes
    return free + (leaves - 1) * cost.add_s + cost.update_s


def pays_from(cost, workers, times=1.0):
    """The least batch, a power of two, of which all workers have a share and a step is so many times as fast as in one
    process, or faster; None above 2³⁰."""
    for power in range(8, 31):
        batch = 2**power
        one = batch * cost.row_s + cost.update_s
        if batch // cost.share_rows >= workers and one > times * step_seconds(cost, batch, workers):
            return batch
    return None


def table(cost, measured):
    """Rows of the simulation, beside measured steps. measured : rows with batch, workers (0: one process), step_ms"""
    known = {(found["batch"], found["workers"]): found["step_ms"] for found in measured}
    rows = []
    for batch in sorted({*BATCHES, *(batch for batch, _ in known)}):
        one = batch * cost.row_s + cost.update_s
        for workers in WORKERS:
            step, found = step_seconds(cost, batch, workers), known.get((batch, workers))
            row = {"batch": batch, "workers": workers, "step_ms": round(1000 * step, 1), "faster": round(one / step, 2)}
            row |= {"measured_ms": found or "", "measured_faster": round(known[batch, 0] / found, 2) if found else ""}
            row |= {"one_process_ms": round(1000 * one, 1), "pays_from": pays_from(cost, workers) or ""}
            row |= {"half_from": pays_from(cost, workers, workers / 2) or ""}
            rows.append(row | {name: f"{value:.4g}" for name, value in cost._asdict().items()})
    return rows


def draw(cost, rows, path):
    """Picture of how much faster a step is than in one process, against workers, a line for each batch size."""
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    workers = [*(2**power for power in range(10)), 1000]  # others send more gradients: the lines would be rugged
    ax.plot(workers, workers, color="0.8", linestyle="--", label="as many times as workers")
    for batch in sorted({row["batch"] for row in rows}):
        one = batch * cost.row_s + cost.update_s
        [line] = ax.plot(workers, [one / step_seconds(cost, batch, w) for w in workers], label=f"batch {batch:,}")
        points = [row for row in rows if row["batch"] == batch and row["measured_faster"]]
        if points:
            at = [[row[name] for row in points] for name in ("workers", "measured_faster")]
            ax.plot(*at, "o", color=line.get_color(), label="measured, this batch")
    ax.axhline(1, color="0.5", linewidth=0.8)
    ax.set(xscale="log", yscale="log", xlabel="workers of one thread", ylabel="steps a second, one process = 1")
    ax.set_title(f"Simulated step: {cost.row_s * 1e6:.0f} µs a row, {cost.latency_s * 1e3:.1f} ms and "
                 f"{cost.bandwidth / 1e9:.1f} GB/s a message,\n{cost.parameter_bytes / 2**20:.0f} MB of parameters",
                 fontsize=9)  # fmt: skip
    ax.set_ylim(0.5, 150)
    ax.legend(fontsize=8)
    fig.savefig(path, dpi=120)
