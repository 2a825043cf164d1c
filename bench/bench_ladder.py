"""What every faster form of the CPU kernels gains on a whole fit: seconds with it and without it.

    python bench/bench_ladder.py                      # all pieces, rows appended to bench/results/ladder.csv
    python bench/bench_ladder.py --piece fused        # one of them
    python bench/bench_ladder.py --quick              # smoke run, nothing is appended
    python bench/bench_ladder.py --against PATH NAME  # also this checkout beside another: what a commit took away

A fit is warm (compiled, started) and whole: an estimator's ``fit`` on a case of the README, less a shorter one. With
and without take turns in one process; beside another checkout they are processes that take turns. A piece that gains
less than 1.25 times goes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from bench_autoencoder import RATE, REG, SETTINGS, Problem, Setting
from common import append_rows, machine, percentile, print_table

from csrl_core import TensorizedAutoencoder

# The README's cases, and one of many samples: few of a small network are computed in fused epochs or the plain way.
CASES = {setting.name: setting for setting in (*SETTINGS, Setting("lines_3D, many", 3000, 6, 3, (2, 1), None))}
EPOCHS = {"lines_3D": (10, 1010), "lines_3D, many": (10, 210), "MNIST-5": (10, 110), "wide": (1, 3)}


def autoencoder(case, threads):
    """Two fits of a case, functions without arguments, and the epochs between them."""
    setting = CASES[case]
    problem, (few, many) = Problem(setting, np.float32), EPOCHS[case]

    def fit(epochs):
        TensorizedAutoencoder(
            n_clusters=setting.k,
            hidden=setting.hidden,
            activation=setting.activation,
            reg=REG,
            epochs=epochs,
            batch_size=setting.batch,
            learning_rate=RATE,
            init=problem.assign,
            assignment="loss",
            start="uniform",
            n_jobs=threads,
            random_state=0,
        ).fit(problem.X)

    return lambda: fit(few), lambda: fit(many), many - few


def _autoencoder(**changes):
    """Context in which names of ``kernels.cpu.autoencoder`` are others."""

    @contextmanager
    def without():
        from csrl_core.kernels.cpu import autoencoder as kernels

        with ExitStack() as stack:
            for name, value in changes.items():
                stack.enter_context(mock.patch.object(kernels, name, value))
            yield

    return without


@contextmanager
def _one_thread_optimizer():
    from csrl_core.kernels.cpu import optimizer

    with mock.patch.object(optimizer, "_PART", 1 << 40):
        yield


# name → (case, threads, fits, context without it)
PIECES = {
    "fused": ("lines_3D", 1, autoencoder, _autoencoder(fused_epoch_applies=lambda *_: False)),
    "small": (
        *("lines_3D, many", 1, autoencoder),
        _autoencoder(fused_epoch_applies=lambda *_: False, regime=lambda _: "wide"),
    ),
    "skinny": ("MNIST-5", 2, autoencoder, _autoencoder(regime=lambda _: "wide")),
    "skinny, one thread": ("MNIST-5", 1, autoencoder, _autoencoder(regime=lambda _: "wide")),
    "parts of the optimizer's step": ("wide", 2, autoencoder, _one_thread_optimizer),
}
# "small" itself is measured kernel by kernel on both sides: the fused epoch is "small" and one call.
WITH = {"small": _autoencoder(fused_epoch_applies=lambda *_: False)}


@contextmanager
def _as_it_is():
    yield


def epoch_seconds(fits):
    """Seconds an epoch of one pair of fits."""
    few, many, between = fits
    seconds = []
    for fit in (few, many):
        begin = time.perf_counter()
        fit()
        seconds.append(time.perf_counter() - begin)
    return (seconds[1] - seconds[0]) / between


def in_turns(sides, repeats):
    """Sorted times of every side, which take turns; sides : dict of name → function that returns seconds."""
    times = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, side in sides.items():
            seconds = side()
            if repeat:  # the first is compiled for
                times[name].append(seconds)
    return {name: sorted(values) for name, values in times.items()}


def row(piece, case, threads, times):
    """A row of the table, from the sorted times of "with" and "without"."""
    with_, without = times["with"], times["without"]
    return {
        **machine(),
        "piece": piece,
        "case": case,
        "threads": threads,
        "with_min": with_[0],
        "with_p50": percentile(with_, 50),
        "without_min": without[0],
        "without_p50": percentile(without, 50),
        "ratio": percentile(without, 50) / percentile(with_, 50),
        "ratio_min": without[0] / with_[0],
        "repeats": len(with_),
    }


def measure(piece, repeats):
    """The row of one piece."""
    case, threads, make, without = PIECES[piece]
    fits = make(case, threads)

    def side(context):
        def run():
            with context():
                return epoch_seconds(fits)

        return run

    times = in_turns({"with": side(WITH.get(piece, _as_it_is)), "without": side(without)}, repeats)
    return row(piece, case, threads, times) | {"with_commit": "", "without_commit": ""}


def measure_against(path, piece, repeats, cases):
    """Rows of another checkout, "with", beside this one, "without", in processes that take turns."""
    here, there = Path(__file__).parents[1], Path(path).absolute()
    commits = [
        subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=tree, capture_output=True, text=True, check=True
        ).stdout.strip()
        for tree in (there, here)
    ]

    def side(tree, case, threads):
        def run():
            program = [sys.executable, "-P", __file__, "--seconds", case, str(threads)]  # -P: with that tree's benches
            environment = os.environ | {"PYTHONPATH": f"{tree}{os.pathsep}{tree / 'bench'}"}
            done = subprocess.run(program, capture_output=True, text=True, env=environment, check=True)
            return json.loads(done.stdout)

        return run

    rows = []
    for case in cases:
        for threads in (1, 2):
            times = in_turns({"with": side(there, case, threads), "without": side(here, case, threads)}, repeats)
            both = dict(zip(("with_commit", "without_commit"), commits, strict=True))
            rows.append(row(piece, case, threads, times) | both)
    return rows


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smoke run, nothing is appended")
    parser.add_argument("--piece", choices=list(PIECES))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--against", nargs=2, metavar=("PATH", "NAME"), help="another checkout, and what it has more")
    parser.add_argument("--case", choices=list(CASES), help="with --against: this one only")
    parser.add_argument(
        "--seconds", nargs=2, metavar=("CASE", "THREADS"), help="print seconds an epoch and nothing else"
    )
    options = parser.parse_args()
    if options.seconds:
        fits = autoencoder(options.seconds[0], int(options.seconds[1]))
        fits[0]()
        print(json.dumps(min(epoch_seconds(fits) for _ in range(3))))
        return
    repeats = 1 if options.quick else options.repeats
    if options.against:
        rows = measure_against(*options.against, repeats, [options.case] if options.case else list(CASES))
    else:
        names = [options.piece] if options.piece else ["fused"] if options.quick else list(PIECES)
        rows = [measure(piece, repeats) for piece in names]
    print_table(rows, ["piece", "case", "threads", "with_min", "with_p50", "without_min", "without_p50", "ratio"])
    if not options.quick:
        print("appended to", append_rows("ladder", rows))


if __name__ == "__main__":
    main()
