"""What faster forms of convolution gain on a whole fit of a convolutional TVAE, or of DDC: seconds an epoch without.

    python bench/bench_ladder_vae.py                # all pieces, rows appended to bench/results/ladder_vae.csv
    python bench/bench_ladder_vae.py --piece winograd # one of them
    python bench/bench_ladder_vae.py --quick        # smoke run, nothing is appended

A piece is left out of a copy of the package, by a change of its text. Every copy is a process of its own, which stays;
they take turns, a fit of two epochs less a fit of one each time.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from common import append_rows, machine, percentile, print_table

HOME, CONV = Path(__file__).parents[1], "kernels/cpu/conv"

# name → (case, file, text, what stands there without the piece)
PIECES = {
    "sums in registers": ("conv VAE", f"{CONV}/direct.py", "return geometry[0] * geometry[6] < THIN", "return False"),
    "combing in vectors": ("conv VAE", f"{CONV}/columns.py", "if stride == 2 and width % 2 == 0:", "if stride == -2:"),
    "winograd": ("DDC", f"{CONV}/winograd.py", "return stride <= 2 and", "return stride < 1 and"),
    "winograd, stride 2": ("conv VAE", f"{CONV}/winograd.py", "return stride <= 2 and", "return stride < 2 and"),
}
MODELS = {
    "conv VAE": """TensorizedVAE(
        n_clusters=3, architecture="conv", standing_epochs=0, batch_size=50, tol=0, epochs=epochs, **shared)""",
    "DDC": """DeepDivergenceClustering(
        n_clusters=10, architecture="conv", n_init=1, batch_size=120, tol=0, epochs=epochs, **shared)""",
}

WORKER = """
import sys, time
import numpy as np
from csrl_core import DeepDivergenceClustering, TensorizedVAE
X = np.random.default_rng(0).random((600, 784), dtype=np.float32)
shared = dict(random_state=0, n_jobs=int(sys.argv[1]))
def fit(epochs):
    begin = time.perf_counter()
    MODEL.fit(X)
    return time.perf_counter() - begin
fit(1)
for _ in sys.stdin:
    few = fit(1)
    print(fit(2) - few, flush=True)
"""


def copy_without(piece, folder):
    """A copy of the package without a piece, in a folder."""
    for part in ("csrl_core", "kernels", "reference"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(HOME / part, folder / part, symlinks=True, ignore=ignore)
    _, file, text, other = PIECES[piece]
    before = (folder / file).read_text()
    if text not in before:
        raise SystemExit(f"{file} has no text {text!r}, without which {piece!r} cannot be left out")
    (folder / file).write_text(before.replace(text, other))


def start(tree, case, threads):
    """A worker on a tree's package, warm when it first answers."""
    program = [sys.executable, "-P", "-W", "ignore", "-c", WORKER.replace("MODEL", MODELS[case]), str(threads)]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    return subprocess.Popen(program, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def measure(names, case, threads, repeats):
    """Rows of pieces of one case."""
    with ExitStack() as stack:
        trees = {"with": HOME}
        for name in names:
            trees[name] = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            copy_without(name, trees[name])
        workers = {name: stack.enter_context(start(tree, case, threads)) for name, tree in trees.items()}
        times = {name: [] for name in trees}
        for repeat in range(repeats + 1):
            for name, worker in workers.items():
                worker.stdin.write("\n")
                worker.stdin.flush()
                seconds = float(worker.stdout.readline())
                if repeat:
                    times[name].append(seconds)
        for worker in workers.values():
            worker.stdin.close()
    middle = {name: percentile(sorted(values), 50) for name, values in times.items()}
    return [
        {
            **machine(),
            **{"piece": name, "case": case, "threads": threads},
            **{"with_p50": middle["with"], "without_p50": middle[name], "ratio": middle[name] / middle["with"]},
            "repeats": repeats,
        }
        for name in names
    ]


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smoke run: one piece, nothing is appended")
    parser.add_argument("--piece", choices=list(PIECES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    names = [options.piece] if options.piece else ["winograd"] if options.quick else list(PIECES)
    rows = []
    for threads in [1] if options.quick else options.threads:
        for case in MODELS:
            own = [name for name in names if PIECES[name][0] == case]
            if own:
                rows += measure(own, case, threads, 1 if options.quick else options.repeats)
    print_table(rows, ["piece", "case", "threads", "with_p50", "without_p50", "ratio"])
    if not options.quick:
        print("appended to", append_rows("ladder_vae", rows))


if __name__ == "__main__":
    main()
