"""Threads of our own beside Numba's ``prange``: microseconds of a call that shares tasks out, and seconds of compiling.

    python bench/bench_threads.py            # table, and rows appended to bench/results/threads.csv
    python bench/bench_threads.py --quick    # smoke run, nothing appended

A call shares out eight products of (rows × 784) and (784 × 256), as a step of one machine does: one task is one call
of the same compiled function, by `pool.parallel`, or by a loop that ``prange`` cuts. With no rows only the sharing
out is left. "compile" is what a process waits for the first call of each, of which the loop's comes on top. "beside":
other processes that work all the time meanwhile, at the lowest priority.
"""

import argparse
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext

import numba
import numpy as np
from common import append_rows, machine, percentile, print_table, time_in_turns
from numba import njit, prange
from threadpoolctl import threadpool_limits

from csrl_core import backends
from csrl_core.kernels.cpu._engine import pool

TASKS, ROWS, SHAPE = 8, (0, 4, 16, 64), (784, 256)


@njit(nogil=True)
def product(A, B, out):
    """One task."""
    if len(A):
        np.dot(A, B, out)


@njit(parallel=True, nogil=True)
def loop(A, B, out):
    """All tasks."""
    for t in prange(len(A)):
        product(A[t], B, out[t])


def first_calls():
    """Seconds until the first call of both returns, one after the other."""
    A, B = np.ones((1, 1, 1), np.float32), np.ones((1, 1), np.float32)
    times = [time.perf_counter()]
    product(A[0], B, A[0].copy())
    times.append(time.perf_counter())
    loop(A, B, A.copy())
    times.append(time.perf_counter())
    return np.diff(times)


@contextmanager
def others(count):
    """So many processes that work all the time."""
    spin = "import os\nos.nice(19)\nwhile True: pass"
    processes = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(rows, threads, seconds):
    """Microseconds of both, which do the same."""
    random = np.random.default_rng(0)
    A, B = random.random((TASKS, rows, SHAPE[0]), np.float32), random.random(SHAPE, np.float32)
    ours, theirs = (np.zeros((TASKS, rows, SHAPE[1]), np.float32) for _ in range(2))
    numba.set_num_threads(threads)

    def shared():
        pool.parallel(lambda t: product(A[t], B, ours[t]), range(TASKS))

    def cut():
        loop(A, B, theirs)

    contexts = {
        "own threads": (shared, lambda: backends.get("numba").threads(threads)),
        "prange": (cut, lambda: threadpool_limits(1, user_api="blas")),
        "one thread": (lambda: [product(A[t], B, ours[t]) for t in range(TASKS)], nullcontext),
    }
    with threadpool_limits(1, user_api="blas"):
        times = time_in_turns(contexts, seconds)
    np.testing.assert_array_equal(ours, theirs)
    return {name: 1e6 * percentile(values, 50) for name, values in times.items()}


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smoke run, nothing appended")
    parser.add_argument("--seconds", type=float, default=2.0, help="spent on each contestant")
    options, rows = parser.parse_args(), []
    task, everything = first_calls()
    cases = [(beside, count) for beside in (0, 1) for count in (ROWS[:2] if options.quick else ROWS)]
    for beside, count in cases:
        with others(beside):
            us = measure(count, 2, 0.1 if options.quick else options.seconds)
        rows.append(
            {
                **{
                    "tasks": TASKS,
                    "rows of a task": count,
                    "threads": 2,
                    "beside": beside,
                    "layer": numba.threading_layer(),
                },
                **{f"{name} us": round(value, 2) for name, value in us.items()},
                "prange / own": round(us["prange"] / us["own threads"], 3),
                **{"compile task s": round(task, 2), "compile loop s": round(everything, 2)},
                **machine(),
            }
        )
    print_table(rows, [name for name in rows[0] if name not in machine()])
    if not options.quick:
        print("appended to", append_rows("threads", rows))


if __name__ == "__main__":
    main()
