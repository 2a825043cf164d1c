"""What every faster form of the machines' CPU kernels gains: seconds an epoch with it and without it.

    python bench/bench_ladder_rbm.py                     # all pieces, rows appended to bench/results/ladder_rbm.csv
    python bench/bench_ladder_rbm.py --case PCD-1        # one case of bench_rbm.py
    python bench/bench_ladder_rbm.py --against PATH NAME # also a checkout's kernels, with what they have more
    python bench/bench_ladder_rbm.py --quick             # smoke run, nothing is appended

A piece is left out of a copy of ``kernels/cpu``, by a change of its text, and the copy imported beside the kernels
themselves; all take turns in one process, epoch by epoch as ``bench_rbm.Ours`` makes them: chains, losses, gradient and
update. "with" is what stands in this checkout, or in the other one; "without" the copy, or this checkout.
"""

import argparse
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Machine code of copies belongs to names that no other process knows.
os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="csrl-ladder-")

from bench_ladder import row
from bench_rbm import SETTINGS, Ours, Problem
from common import append_rows, print_table, time_in_turns

KERNELS = Path(__file__).resolve().parents[1] / "kernels" / "cpu"
# piece → (file, what stands there, what stands there without it)
PIECES = {
    "sparse": ("rbm/products.py", "SPARSE, SPARSE_BITS = 0.25, 0.15", "SPARSE, SPARSE_BITS = -1.0, -1.0"),
    "subsets": ("rbm/products.py", "return BLAS if others else SUBSETS", "return BLAS"),
    "sparse and subsets": ("rbm/products.py", "if len(A) < SEVERAL:", "if len(A) >= 0:"),
    "parts of the optimizer's step": ("optimizer.py", "_PART = 1 << 16", "_PART = 1 << 40"),
    "disjoint": ("_engine/disjoint.py", 'argument.add_attribute("noalias")', "pass"),
}


class Kernels:
    """A folder like ``kernels/cpu``, imported by another name: what `Ours` takes for a backend."""

    def __init__(self, folder, name, like):
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.rbm, self.optimizer = (importlib.import_module(f"{name}.{stem}") for stem in ("rbm", "optimizer"))
        flat = not (folder / "_engine").exists()
        self.threads = importlib.import_module(f"{name}.pool" if flat else f"{name}._engine.pool").threads
        self.xp, self.own = like.xp, like.own


def without(piece, parent):
    """A copy of the kernels without a piece, its folder."""
    folder, (file, old, new) = Path(parent) / piece.replace(" ", "_"), PIECES[piece]
    shutil.copytree(KERNELS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / file).read_text()
    if old not in text:
        raise SystemExit(f"{file} says nothing of {piece}: {old!r} is not in it")
    (folder / file).write_text(text.replace(old, new))
    return folder


def measure(setting, threads, folders, seconds):
    """Sorted seconds an epoch of this checkout ("") and of the kernels in every folder, dict of name → list."""
    problem, everything = Problem(setting), {}
    for name, folder in {"": None, **folders}.items():
        everything[name] = ours = Ours(problem, threads)
        if folder is not None:
            ours.backend = Kernels(folder, f"kernels_{name.replace(' ', '_')}_{threads}", ours.backend)
    for ours in everything.values():
        with ours.context():
            for _ in range(5):
                ours.epoch()
    return time_in_turns({name: (ours.epoch, ours.context) for name, ours in everything.items()}, seconds, 3)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=[s.name for s in SETTINGS])
    parser.add_argument("--against", nargs=2, metavar=("PATH", "NAME"))
    parser.add_argument("--seconds", type=float, default=3.0, help="spent on each")
    parser.add_argument("--threads", type=int, choices=(1, 2))
    parser.add_argument("--quick", action="store_true", help="smoke run, nothing is appended")
    options, rows = parser.parse_args(), []
    for setting in SETTINGS if options.case is None else [s for s in SETTINGS if s.name == options.case]:
        for threads in (options.threads,) if options.threads else (1, 2):
            with tempfile.TemporaryDirectory() as parent:
                pieces = ["sparse"] if options.quick else list(PIECES)
                folders = {piece: without(piece, parent) for piece in pieces}
                if options.against:
                    path, other = Path(options.against[0]), options.against[1]
                    folders[other] = path / "kernels" / "cpu"
                times = measure(setting, threads, folders, 0.1 if options.quick else options.seconds)
            here = times.pop("")
            for name, found in times.items():
                with_, without_ = (found, here) if options.against and name == options.against[1] else (here, found)
                rows.append(row(name, setting.title(), threads, {"with": with_, "without": without_}))
    print_table(rows, ["piece", "case", "threads", "with_min", "with_p50", "without_min", "without_p50", "ratio"])
    if not options.quick:
        print("appended to", append_rows("ladder_rbm", rows))


if __name__ == "__main__":
    main()
