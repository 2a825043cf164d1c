"""Fits on disk and in memory against the number of samples: seconds an epoch and peak resident memory.

    python bench/bench_scale.py [--rows 10000 100000 1000000] [--features 784] [--hidden 64 10] [--clusters 10]
        [--batch 8192] [--epochs 2] [--init k-means++] [--in-memory 100000] [--folder DIR]

Files of float32 are made in blocks in a folder for temporary files (or DIR) and removed afterwards. Every fit is a
process of its own, which compiled before; ``resident_mb`` is its peak (ru_maxrss) less what it had before the fit, and
``labels_mb`` what labels, weights and row numbers take of that. With up to --in-memory rows the same fit is made in
memory as well, and its loss curve and labels must be the same. ``read_mb`` is what the process read from files and
devices (rchar of /proc/self/io). bench_scale_dask.py has fits on a cluster and the simulation of many workers.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from common import append_rows, machine, print_table
from sklearn.exceptions import ConvergenceWarning

from csrl_core import TensorizedAutoencoder
from csrl_core.callbacks import EpochCallback
from csrl_core.training import sample_files

BLOCK = 8192
COLUMNS = ["rows", "where", "file_mb", "start_s", "epoch_s", "rows_s", "resident_mb", "labels_mb", "read_mb"]


class Clock(EpochCallback):
    """The times at which epochs end."""

    def __init__(self):
        self.times = []

    def on_epoch_end(self, estimator, epoch):
        """Note the time."""
        self.times.append(time.perf_counter())
        return False


def make_file(path, rows, features, k=10):
    """Ten Gaussian clusters, float32, written block by block."""
    rng = np.random.default_rng(0)
    centers = 2 * rng.standard_normal((k, features), np.float32)
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, header | {"shape": (rows, features)})
        for first in range(0, rows, BLOCK):
            n = min(BLOCK, rows - first)
            block = rng.standard_normal((n, features), np.float32) + centers[rng.integers(0, k, n)]
            file.write(block.data)


def fit(path, arguments, where):
    """Fit once in this process; returns a dict of measurements, the loss curve and a checksum of the labels."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    sample_files.KEPT = 0  # so that small files are read as large ones are
    model = TensorizedAutoencoder(activation="relu", assignment="loss", random_state=0, **arguments)
    small = np.random.default_rng(1).standard_normal((100, np.load(path, mmap_mode="r").shape[1]), np.float32)
    TensorizedAutoencoder(**model.get_params() | {"epochs": 1, "batch_size": 50}).fit(small)
    before, clock = _peak_mb(), Clock()
    model.set_callbacks(clock)
    begin, read = time.perf_counter(), _read_mb()
    model.fit(np.load(path) if where == "memory" else str(path))
    ends = clock.times
    epoch = (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else ends[0] - begin
    n = len(model.labels_)
    return {
        "start_s": round(ends[0] - begin - (epoch if len(ends) > 1 else 0), 2),
        "epoch_s": round(epoch, 3),
        "rows_s": round(n / epoch),
        "resident_mb": round(_peak_mb() - before),
        "labels_mb": round(n * (8 + 4 + 8) / 2**20),
        "read_mb": round(_read_mb() - read),
        "curve": model.loss_curve_,
        "labels": int((model.labels_ * np.arange(1, n + 1)).sum()),
    }


def _peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _read_mb():
    io = Path("/proc/self/io")
    return int(io.read_text().split()[1]) / 2**20 if io.exists() else 0.0


def measure(path, arguments, where):
    """`fit` in a process of its own."""
    command = [sys.executable, __file__, "--fit", str(path), "--where", where, "--arguments", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Measure, print the table, append it to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--features", type=int, default=784)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 10])
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--batch", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--init", default="k-means++")
    parser.add_argument("--in-memory", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    for hidden in ("--fit", "--where", "--arguments"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fit:
        print(json.dumps(fit(Path(given.fit), json.loads(given.arguments), given.where)))
        return
    arguments = {"n_clusters": given.clusters, "hidden": given.hidden, "batch_size": given.batch}
    arguments |= {"epochs": given.epochs, "init": given.init}
    rows = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for n in given.rows:
            path = Path(folder) / "X.npy"
            make_file(path, n, given.features)
            found = {}
            for where in ("disk", "memory") if n <= given.in_memory else ("disk",):
                found[where] = measure(path, arguments, where)
                row = {"rows": n, "features": given.features, "model": f"{given.hidden} k={given.clusters}"}
                row |= {"batch": given.batch, "init": given.init, "where": where}
                row |= {"file_mb": round(path.stat().st_size / 2**20)}
                rows.append(row | {name: found[where][name] for name in COLUMNS if name not in row} | machine())
            if len(found) > 1 and any(found["disk"][same] != found["memory"][same] for same in ("curve", "labels")):
                raise AssertionError(f"{n} rows: the fit on disk differs from that in memory")
    print_table(rows, COLUMNS)
    print(append_rows("scale", rows))


if __name__ == "__main__":
    main()
