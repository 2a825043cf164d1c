"""Seconds of a first import and fit in a fresh process with an empty compilation cache, beside umap-learn's.

    python bench/bench_first_fit.py                       # table, and rows appended to bench/results/first_fit.csv
    python bench/bench_first_fit.py --case small --table 20  # also the functions that took longest to compile
    python bench/bench_first_fit.py --umap PYTHON          # an interpreter that has umap-learn
    python bench/bench_first_fit.py --quick                # smoke run: the small case, no umap, nothing appended

Every fit is a process of its own, so nothing is warm but the file system. "compile" is the time within Numba's compile
events, "self" of a function what is left of it without the functions that it calls, which are compiled within.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec

from common import append_rows, machine, print_table

DATA = {
    "small": "datasets.make_lines_3d(random_state=0)[0]",  # 300 x 6
    "wide": "np.random.default_rng(0).random((1000, 784), dtype=np.float32)",
    "machine": "(np.random.default_rng(0).random((500, 784)) < 0.2).astype(np.float32)",
    "contrastive": "datasets.make_lines_3d(random_state=0)[0]",
    "instance": "datasets.make_lines_3d(random_state=0)[0]",
    "divergence": "datasets.make_lines_3d(random_state=0)[0]",
}
IMAGES = "np.random.default_rng(0).random((500, 784), dtype=np.float32)"  # of all others
MODELS = {
    "small": "TensorizedAutoencoder(n_clusters=3, random_state=0)",
    "wide": "TensorizedAutoencoder(n_clusters=3, hidden=(64, 10), batch_size=256, epochs=5, random_state=0)",
    "machine": "TensorizedRBM(n_clusters=1, n_hidden=256, epochs=1, random_state=0)",
    "vae": "TensorizedVAE(n_clusters=3, epochs=2, standing_epochs=1, random_state=0)",
    "contrastive": "TensorizedContrastive(n_clusters=3, epochs=2, random_state=0)",
    "instance": "InstanceDiscrimination(n_clusters=3, epochs=2, random_state=0)",
    "divergence": "DeepDivergenceClustering(n_clusters=3, epochs=2, random_state=0)",
    "conv autoencoder": "TensorizedAutoencoder(n_clusters=3, architecture='conv', epochs=1, random_state=0)",
    "conv vae": "TensorizedVAE(n_clusters=3, architecture='conv', epochs=2, standing_epochs=1, random_state=0)",
    "conv contrastive": "TensorizedContrastive(n_clusters=3, architecture='conv', epochs=1, random_state=0)",
    "conv instance": "InstanceDiscrimination(n_clusters=3, architecture='conv', epochs=1, random_state=0)",
    "conv divergence": "DeepDivergenceClustering(n_clusters=3, architecture='conv', epochs=1, random_state=0)",
}
BARS = {
    "small": 0.25,
    "machine": 0.4,
    "vae": 0.4,
    "conv vae": 0.4,
}  # of umap-learn's import and first fit on the same data

SAVE = """
import sys
import numpy as np
from csrl_core import datasets
np.save(sys.argv[1], {data})
"""

OURS = """
import json, sys, time
import numpy as np
X = np.load(sys.argv[1])
begin = time.perf_counter()
from numba.core import event
numba_imported = time.perf_counter()

class Compilations(event.Listener):
    def __init__(self):
        self.open, self.functions = [], {{}}
    def on_start(self, started):
        self.open.append([time.perf_counter(), 0.0])
    def on_end(self, ended):
        now = time.perf_counter()
        started, inner = self.open.pop()
        function = ended.data["dispatcher"].py_func
        name = function.__module__.removeprefix("csrl_core.") + "." + function.__qualname__
        found = self.functions.setdefault(name, [0, 0.0, 0.0])
        found[0] += 1
        found[1] += now - started - inner
        found[2] += now - started
        if self.open:
            self.open[-1][1] += now - started

compilations = Compilations()
event.register("numba:compile", compilations)
from csrl_core import {name}
imported = time.perf_counter()
{model}.fit(X)
end = time.perf_counter()
print(json.dumps(dict(seconds=end - begin, imports=imported - begin, functions=compilations.functions)))
"""

UMAP = """
import json, sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
X = np.load(sys.argv[1])
begin = time.perf_counter()
import umap
imported = time.perf_counter()
umap.UMAP().fit(X)
end = time.perf_counter()
print(json.dumps(dict(seconds=end - begin, imports=imported - begin)))
"""


def run(python, program, data, empty_cache=True):
    """What a program prints, a dict, run by itself with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | ({"NUMBA_CACHE_DIR": cache} if empty_cache else {})
        done = subprocess.run(
            [python, "-c", program, data], capture_output=True, text=True, env=environment, check=False
        )
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None


def has_umap(python):
    """Whether an interpreter finds umap-learn."""
    if python == sys.executable:
        return find_spec("umap") is not None
    return (
        shutil.which(python) is not None and not subprocess.run([python, "-c", "import umap"], check=False).returncode
    )


def measure(case, python, table):
    """The row of one case; ``python``: an interpreter with umap-learn, or None."""
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/X.npy"
        run(sys.executable, SAVE.format(data=DATA.get(case, IMAGES)), data, empty_cache=False)
        ours = run(sys.executable, OURS.format(model=MODELS[case], name=MODELS[case].partition("(")[0]), data)
        umap = run(python, UMAP, data) if python else None
    functions = ours["functions"]
    if table:
        rows = [
            {"function": name, "signatures": count, "self": own, "inclusive": total}
            for name, (count, own, total) in sorted(functions.items(), key=lambda item: -item[1][1])
        ]
        print(f"{case}: the longest of {len(rows)} functions")
        print_table(rows[:table], ["function", "signatures", "self", "inclusive"])
        print()
    peer = umap["seconds"] if umap else float("nan")
    return {
        **machine(),
        "case": case,
        "seconds": ours["seconds"],
        "import_seconds": ours["imports"],
        "compile_seconds": sum(own for _, own, _ in functions.values()),
        "functions": len(functions),
        "signatures": sum(count for count, _, _ in functions.values()),
        "umap_seconds": peer,
        "ratio": ours["seconds"] / peer,
        "bar": BARS.get(case, float("nan")),
    }


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smoke run, nothing is appended")
    parser.add_argument("--case", choices=list(MODELS))
    parser.add_argument("--umap", metavar="PYTHON", default=sys.executable, help="interpreter that has umap-learn")
    parser.add_argument("--table", type=int, default=0, metavar="ROWS", help="functions to print, the longest first")
    options = parser.parse_args()
    python = None if options.quick or not has_umap(options.umap) else options.umap
    if python is None and not options.quick:
        print(f"{options.umap} has no umap-learn: nothing to compare with (pip install umap-learn, or --umap PYTHON)")
    cases = [options.case] if options.case else ["small"] if options.quick else list(MODELS)
    rows = [measure(case, python, options.table) for case in cases]
    columns = ["case", "seconds", "import_seconds", "compile_seconds", "functions", "signatures", "umap_seconds"]
    print_table(rows, [*columns, "ratio", "bar"])
    if not options.quick:
        print("appended to", append_rows("first_fit", rows))


if __name__ == "__main__":
    main()
