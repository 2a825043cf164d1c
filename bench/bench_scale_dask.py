"""Fits on a Dask cluster of this machine against one process: seconds an epoch, and when more workers would pay.

    python bench/bench_scale_dask.py [--rows 100000 ...] [--features 784] [--hidden 64 10] [--clusters 10]
        [--batch 8192] [--epochs 3] [--workers 1 2] [--partition 8192] [--rounds 1] [--watched]
        [--simulate] [--picture docs/img/scale_workers.png]

Every process computes with one thread. Dask watches its processes less than by default (--watched: as much).
The workers, or this process, make the data partition by partition, with the same numbers, and losses of the last epoch
must agree to rounding. ``epoch_s`` is the median of all epochs but the first of --rounds fits, which take turns;
``ratio`` that of one process over it.

--simulate: measures what a training step is made of (a share's seconds a row, a message's latency and bandwidth, the
sum of two gradients, the optimizer), computes from these how long a step would take with 1 to 1000 workers
(`scale_simulation`), and compares with the steps of the fits.
"""

import argparse
import time
import warnings

import dask
import dask.array as da
import numpy as np
from bench_scale import Clock
from common import append_rows, machine, print_table
from dask import delayed
from distributed import Client, LocalCluster
from scale_simulation import Costs, draw, table
from sklearn.exceptions import ConvergenceWarning

from csrl_core import TensorizedAutoencoder
from csrl_core.training import loop
from csrl_core.training.dask import placement, share, steps

COLUMNS = ["rows", "where", "workers", "start_s", "epoch_s", "rows_s", "ratio", "step_ms", "loss"]
UNWATCHED = {  # what Dask does for its dashboard takes cores from workers that compute on all of them
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
}
FROM = "pays_from", "half_from"  # batches from which all workers are faster than one process, by half their number


class Timed:
    """Context in which calls of a method are timed: ``seconds``, a list."""

    def __init__(self, owner, name):
        self.owner, self.name, self.method, self.seconds = owner, name, getattr(owner, name), []

    def __enter__(self):
        def timed(*args, **options):
            begin = time.perf_counter()
            try:
                return self.method(*args, **options)
            finally:
                self.seconds.append(time.perf_counter() - begin)

        setattr(self.owner, self.name, timed)
        return self

    def __exit__(self, *_):
        setattr(self.owner, self.name, self.method)


def block(number, rows, features, k=10):
    """Partition ``number``: ten Gaussian clusters, float32."""
    centers = 2 * np.random.default_rng(0).standard_normal((k, features), np.float32)
    rng = np.random.default_rng(number + 1)
    return rng.standard_normal((rows, features), np.float32) + centers[rng.integers(0, k, rows)]


def lengths(n, partition):
    """Rows of the partitions."""
    return [min(partition, n - first) for first in range(0, n, partition)]


def spread(n, features, partition):
    """The data as a Dask array."""
    return da.concatenate(
        [
            da.from_delayed(delayed(block)(number, rows, features), (rows, features), np.float32)
            for number, rows in enumerate(lengths(n, partition))
        ]
    )


def fit(X, arguments, owner):
    """Fit; returns a dict of measurements. owner : class whose method ``step`` is a training step"""
    model = TensorizedAutoencoder(activation="relu", assignment="loss", random_state=0, n_jobs=1, **arguments)
    clock, begin = Clock(), time.perf_counter()
    with Timed(owner, "step") as timed:
        model.set_callbacks(clock).fit(X)
    epochs, n = np.diff(clock.times), len(model.labels_)
    steady = timed.seconds[len(timed.seconds) // len(clock.times) :]
    return {"start": clock.times[0] - begin - np.median(epochs), "epochs": epochs, "steps": steady, "n": n} | {
        "loss": float(model.loss_curve_[-1])
    }


class Echo:
    """An actor that sends back what it gets."""

    def back(self, array):
        """The array."""
        return array


def message_costs(client, parameters):
    """(seconds of a call without content, bytes a second): of an actor on a worker, median and slope of 30 calls."""
    actor = client.submit(Echo, actor=True).result()
    times = []
    with steps.directly(client):
        for array in np.zeros(1, np.float32), np.zeros(parameters, np.float32):
            seconds = []
            for _ in range(30):
                begin = time.perf_counter()
                actor.back(array).result()
                seconds.append(time.perf_counter() - begin)
            times.append(float(np.median(seconds)))
    return times[0], 2 * 4 * parameters / (times[1] - times[0])


def costs(client, arguments, features):
    """The `Costs` of a step, measured in this process and with a worker."""
    found = {}

    class Kept(loop.Optimizer):
        def apply(self, run, gradient, weight_sum):
            found["gradient"] = gradient
            return super().apply(run, gradient, weight_sum)

    X = block(0, 4 * placement.ROWS, features)
    plain, loop.Optimizer = loop.Optimizer, Kept
    one_share = arguments | {"batch_size": placement.ROWS}
    try:
        with Timed(Kept, "apply") as applied, Timed(steps.JointAssignment, "step") as stepped:
            fit(X, one_share, steps.JointAssignment)
    finally:
        loop.Optimizer = plain
    a, b = found["gradient"], found["gradient"].copy()
    adds = Timed(share, "added_up")
    with adds:
        for _ in range(20):
            share.added_up({(0, 0): a, (0, 1): b}, 2)  # into a
    latency, bandwidth = message_costs(client, len(a))
    row_s, update_s, add_s = (float(np.median(timed.seconds)) for timed in (stepped, applied, adds))
    return Costs(row_s / placement.ROWS, latency, bandwidth, add_s, update_s, 4 * len(a), placement.ROWS)


def measure(rows, given, arguments):
    """Rows of measurements: one process, then each number of workers."""
    sizes, found = (rows, given.features, given.partition), {number: [] for number in (0, *given.workers)}
    for _ in range(given.rounds):
        X = np.concatenate([block(i, n, given.features) for i, n in enumerate(lengths(rows, given.partition))])
        found[0].append(fit(X, arguments, steps.JointAssignment))
        del X
        for workers in given.workers:
            options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
            with LocalCluster(**options) as cluster, Client(cluster) as client:
                found[workers].append(fit(client.persist(spread(*sizes)), arguments, steps.Shares))
    one = np.median([fitted["epochs"] for fitted in found[0]])
    return [row(rows, given, workers, fits, one, found[0][0]["loss"]) for workers, fits in found.items()]


def row(rows, given, workers, fits, one, loss):
    """A row of the table. fits : of so many workers, 0 for one process; one, loss : of one process"""
    if not np.allclose([fitted["loss"] for fitted in fits], loss, rtol=1e-4):
        raise AssertionError(f"{rows} rows, {workers} workers: loss {fits[0]['loss']}, in one process {loss}")
    epoch = np.median([fitted["epochs"] for fitted in fits])
    return {
        "rows": rows,
        "features": given.features,
        "model": f"{given.hidden} k={given.clusters}",
        "batch": given.batch,
        "partition": given.partition,
        "rounds": given.rounds,
        "where": ("dask, watched" if given.watched else "dask") if workers else "one process",
        "workers": workers,
        "start_s": round(np.median([fitted["start"] for fitted in fits]), 2),
        "epoch_s": round(epoch, 3),
        "rows_s": round(fits[0]["n"] / epoch),
        "ratio": round(one / epoch, 2),
        "step_ms": round(1000 * float(np.median([fitted["steps"] for fitted in fits])), 1),
        "loss": fits[0]["loss"],
    } | machine()


def main():
    """Measure, print the tables, append them to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000])
    parser.add_argument("--features", type=int, default=784)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 10])
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--batch", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--partition", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--watched", action="store_true", help="let Dask watch its processes as it does by default")
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--picture")
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    dask.config.set({} if given.watched else UNWATCHED)
    arguments = {"n_clusters": given.clusters, "hidden": given.hidden, "batch_size": given.batch}
    arguments |= {"epochs": given.epochs, "init": "k-means++"}
    fit(block(0, 200, given.features), arguments | {"epochs": 2, "batch_size": 50}, steps.JointAssignment)  # compiles
    rows = [found for n in given.rows for found in measure(n, given, arguments)]
    if rows:
        print_table(rows, COLUMNS)
        print(append_rows("scale_dask", rows))
    if not given.simulate:
        return
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        cost = costs(client, arguments, given.features)
    simulated = [found | machine() for found in table(cost, rows)]
    print(cost)
    print_table(simulated, ["batch", "workers", "step_ms", "faster", "measured_ms", "measured_faster", *FROM])
    print(append_rows("scale_simulation", simulated))
    if given.picture:
        draw(cost, simulated, given.picture)


if __name__ == "__main__":
    main()
