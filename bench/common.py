"""What benchmarks share: timing in turns, the machine's product rate, and rows of results.

A benchmark validates, warms up, then times. Contestants take turns within one run, so that whatever else the
machine does meets all of them, and rest in between, so that one's waiting threads do not disturb the next.
"""

import csv
import datetime
import os
import platform
import subprocess
import time
import tracemalloc
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

RESULTS = Path(os.environ.get("CSRL_RESULTS") or Path(__file__).parent / "results")


def time_in_turns(contestants, seconds=2.0, rounds=5, rest=0.2):
    """Seconds a call of every contestant.

    contestants : dict of name → (function without arguments, already warm; context to call it in, a function)
    seconds : spent on each in all; returns dict of name → sorted list of times
    """
    times = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, (function, context) in contestants.items():
            time.sleep(rest)
            with context():
                function()  # caches and threads are the previous contestant's
                until = time.perf_counter() + seconds / rounds
                while True:
                    start = time.perf_counter()
                    function()
                    now = time.perf_counter()
                    times[name].append(now - start)
                    if now > until:
                        break
    return {name: sorted(values) for name, values in times.items()}


def percentile(values, percent):
    """Of a sorted list, the nearest rank."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def product_rate(dtype, threads, size=2048, repeats=8):
    """GFLOP/s of this machine's matrix product, the best of several."""
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal((size, size)).astype(dtype) for _ in range(2))
    out = np.empty_like(A)
    best = np.inf
    with threadpool_limits(threads, user_api="blas"):
        for _ in range(repeats):
            start = time.perf_counter()
            np.matmul(A, B, out=out)
            best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def peak_memory(function):
    """Bytes that a call of ``function`` has in use at its peak, beyond what there was before.

    The larger of what Python's allocators see, which is not what compiled code allocates, and (on Linux) of what
    became resident, which is not what a warm process has kept.
    """
    clear_refs, status, resident = Path("/proc/self/clear_refs"), Path("/proc/self/status"), 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        if clear_refs.exists():
            resident = _kilobytes(status, "VmRSS")
            clear_refs.write_text("5")  # the peak starts again
        function()
        traced = tracemalloc.get_traced_memory()[1] - before
        if clear_refs.exists():
            resident = _kilobytes(status, "VmHWM") - resident
        return max(traced, 1024 * resident)
    finally:
        tracemalloc.stop()


def _kilobytes(status, field):
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))


def machine():
    """What a row says about where it was measured."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = lines[0] if lines else model
    git = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("numpy", "numba", "torch")},
        "commit": os.environ.get("CSRL_COMMIT") or git.stdout.strip() or "none",
    }


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def append_rows(name, rows):
    """Append to ``results/<name>.csv``; the first row of a new file is the header."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        if new:
            writer.writeheader()
        writer.writerows(rows)
    return path


def print_table(rows, columns):
    """Rows (dicts) as aligned text."""
    cells = [columns, *([_text(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for number, line in enumerate(cells):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def _text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)
