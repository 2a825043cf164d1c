"""Damaged and forged models, checkpoints and data files: does any crash the process, or give an answer?

    python bench/fuzz_files.py --count 100000 --seed 0 --keep folder

Case i of a seed is always the same file. Cases run in a process of their own; when it dies or hangs, the file is kept
and the next process goes on behind it. Wanted are no crash, no exception but the one that names the file, and no
answer from a damaged file: bytes of a model, a checkpoint, a gzipped file or an NPZ file that are not what was written
are noticed. A forged file has a right checksum, and plain IDX, CSV and NPY files have none: these must not crash.
Exit code 1 where there is a finding.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path

SECONDS = 120  # that a case may take
MEMORY = 16 << 30  # bytes of address space
ROWS, FEATURES = 24, 5


def make_files(folder):
    """Write the files to be damaged; returns their names, each with what kind of file it is."""
    import numpy as np

    from csrl_core import TensorizedAutoencoder, TensorizedRBM
    from csrl_core.callbacks import Checkpoint, EpochCallback

    class Stop(EpochCallback):
        """Leave the checkpoint of a fit that is under way in its last restart."""

        def on_epoch_end(self, estimator, epoch):
            if (epoch.restart, epoch.epoch) == (estimator.n_init - 1, 1):
                raise InterruptedError

    def keep(model, rows, name):
        model.fit(rows).save(folder / f"m-{name}")
        with suppress(InterruptedError):
            model.set_callbacks(Checkpoint(folder / f"c-{name}"), Stop()).fit(rows)
        files.update({f"m-{name}": "model", f"c-{name}": "checkpoint"})

    X, B = data()
    autoencoders = {
        "loss": {"hidden": (3, 2), "bias": True},
        "shared": {"hidden": (3, 2), "shared": 1, "activation": "relu"},
        "likelihood": {"hidden": (2,), "assignment": "likelihood"},
    }
    fixed = {"n_clusters": 2, "epochs": 3, "random_state": 0, "n_jobs": 1}
    machines = {"n_hidden": 4, "batch_size": 10, "ais_betas": 5, "ais_chains": 3} | fixed
    files = {}
    for name, arguments in autoencoders.items():
        keep(TensorizedAutoencoder(**arguments, **fixed), X, name)
    for name, arguments in {"persistent": {"persistent": True, "n_chains": 3}, "cd": {"assignment": "cd"}}.items():
        keep(TensorizedRBM(**arguments, **machines, n_init=2), B, name)
    TensorizedRBM(**machines | {"n_clusters": 1}).fit(B).save(folder / "m-single")
    files["m-single"] = "model"
    images = bytes([0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2]) + bytes(range(24))
    table = "\n".join([",".join("abcde"), *(",".join(map(str, row)) for row in X.tolist())]).encode()
    np.save(folder / "d.npy", X)
    np.savez(folder / "d.npz", X=X)
    np.savez_compressed(folder / "e.npz", X=X, y=np.arange(3))
    for name, contents in {"d-idx": images, "d.csv": table}.items():
        (folder / name).write_bytes(contents)
        (folder / f"{name}.gz").write_bytes(gzip.compress(contents, mtime=0))
    return files | dict.fromkeys(("d-idx", "d-idx.gz", "d.csv", "d.csv.gz", "d.npy", "d.npz", "e.npz"), "data")


def data():
    """X (n, d) float64 in two clusters, and binary B float32."""
    import numpy as np

    random = np.random.RandomState(0)
    X = random.rand(ROWS, FEATURES) + 4 * (np.arange(ROWS) % 2)[:, None]
    return X, (random.rand(ROWS, FEATURES) < 0.2 + 0.6 * (np.arange(ROWS) % 2)[:, None]).astype(np.float32)


def mutate(folder, files, seed, number):
    """(name of the file, whether its checksum was made right again, its bytes) of a case."""
    import numpy as np
    from fuzz_mutations import damaged, forged, parts_of

    rng = np.random.default_rng([seed, number])
    name = sorted(files)[int(rng.integers(len(files)))]
    if files[name] != "data" and rng.random() < 0.5:
        return name, True, forged(*parts_of(folder / name), rng)
    return name, False, damaged((folder / name).read_bytes(), rng)


def read(path, kind, original):
    """What a file says, as arrays and plain values, after it has answered everything it can be asked."""
    if kind == "data":
        return _read_data(path, original.name)
    X, B = data()
    return _ask_model(path, X, B) if kind == "model" else _resume(path, original, X, B)


def _read_data(path, name):
    from csrl_core.cli import files as cli_files
    from csrl_core.cli.data import open_npy
    from csrl_core.datasets.readers import read_idx, read_table

    if "idx" in name:
        return [read_idx(path)]
    if name.endswith(".npy"):
        X = open_npy(path)
        for _ in cli_files.row_chunks(X) if X is not None else ():
            pass
    X, columns = read_table(path)
    return [X, *([] if name.endswith("npz") else columns)]


def _ask_model(path, X, B):
    import numpy as np

    import csrl_core

    model = csrl_core.load(path)
    found = [model.params_, model.labels_, model.loss_curve_, model._moments, *model.state_.values()]
    found += [vars(model)[name] for name in ("loss_", "n_iter_", "n_steps_", "n_reseeded_", "_key", "_shapes")]
    found += [model.cluster_centers_, model.get_params()]
    rows = (X if type(model).__name__ == "TensorizedAutoencoder" else B).astype(model.params_.dtype)
    rows = np.resize(rows, (len(rows), model.n_features_in_))
    for ask in (model.predict, model.cluster_losses, model.transform_all, model.score_samples):
        found.append(ask(rows))
    if hasattr(model, "sample"):
        found += model.sample(3, steps=2)
    model.inverse_transform(model.transform(rows[:3]))
    if not hasattr(model, "solver") or model.solver == "gradient":
        try:
            model.partial_fit(rows)
        except ValueError as error:  # a forged n_chains is refused when chains are to go on
            if "persistent chains to go on with have shape" not in str(error):
                raise
    return found


def _resume(path, original, X, B):
    from fuzz_mutations import parts_of

    from csrl_core import TensorizedAutoencoder, TensorizedRBM

    header, _ = parts_of(original)
    cls = {"TensorizedAutoencoder": TensorizedAutoencoder, "TensorizedRBM": TensorizedRBM}[header["class"]]
    model = cls(**header["arguments"]).fit(X if cls is TensorizedAutoencoder else B, resume=path)
    return [model.params_, model.labels_, model.loss_curve_, *model.state_.values()]


def same(one, other):
    """Whether two readings are alike, to the bit."""
    import numpy as np

    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (np.ndarray, float)):
        one, other = np.asarray(one), np.asarray(other)
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return one == other


def work(folder, files, seed, first, stop):
    """Do cases one by one and tell of each: its number before, what became of it after."""
    import resource

    from csrl_core.datasets.readers import DataFileError
    from csrl_core.training.persistence import ModelFileError

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    checked = {"d-idx.gz", "d.csv.gz", "d.npz", "e.npz"} | {name for name in files if files[name] != "data"}
    wanted = {name: read(folder / name, kind, folder / name) for name, kind in files.items()}
    for number in range(first, stop):
        print(number, flush=True)
        name, right, contents = mutate(folder, files, seed, number)
        suffix = "".join(Path(name).suffixes)
        path = folder / f"case-{os.getpid()}{suffix}"
        path.write_bytes(contents)
        refusal = DataFileError if files[name] == "data" else ModelFileError
        try:
            found = read(path, files[name], folder / name)
        except refusal:
            outcome = "refused"
        except FloatingPointError as error:  # a forged file may hold numbers with which training diverges
            outcome = "diverged" if right else f"{type(error).__name__}: {error}"
        except BaseException as error:  # whatever it is, it is a finding
            outcome = f"{type(error).__name__}: {error}"
        else:
            alike = same(found, wanted[name])
            outcome = (
                "harmless" if alike else "answered" if right or name not in checked else "ANSWER OF A DAMAGED FILE"
            )
        print(f"{files[name]} {'forged' if right else 'damaged'}\t{outcome[:500]!r}", flush=True)


def run(count, seed, keep):
    """Do ``count`` cases; returns (Counter of what became of them, list of findings)."""
    counts, findings, first = Counter(), [], 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = make_files(folder)
        try:
            while first < count:
                first = _watch(folder, files, seed, first, count, counts, findings)
        except KeyboardInterrupt:
            print("interrupted: the rest is left out")
        for number, what in findings:
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                name, _, contents = mutate(folder, files, seed, number)
                (keep / f"{seed}-{number}-{name}").write_bytes(contents)
            counts[f"finding: {what[:60]}"] += 1
    return counts, findings


def _watch(folder, files, seed, first, stop, counts, findings):
    """Start a process on the cases from ``first`` on; returns where the next one is to begin."""
    import selectors

    arguments = [str(folder), json.dumps(files), str(seed), str(first), str(stop)]
    begun, hangs = None, False
    with subprocess.Popen(
        [sys.executable, __file__, "--work", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=SECONDS if begun is not None else 10 * SECONDS):
                process.kill()  # what is left to read says which case it was
                hangs = True
            line = process.stdout.readline()
            if not line:
                break
            if not line.endswith("\n"):  # of a process that died while it wrote
                continue
            if line.strip().isdigit():
                begun = int(line)
                continue
            kind, outcome = line.rstrip("\n").split("\t")
            outcome = outcome[1:-1]
            counts[
                f"{kind}: {outcome if outcome in ('refused', 'harmless', 'answered', 'diverged') else 'FINDING'}"
            ] += 1
            if outcome not in ("refused", "harmless", "answered", "diverged"):
                findings.append((begun, outcome))
        code, said = process.wait(), process.stderr.read()
    if code == 0:
        return stop
    if begun is None:
        raise RuntimeError(f"the process of the cases cannot start:\n{said}")
    findings.append((begun, f"no end after {SECONDS} s" if hangs else f"the process ended with {code}: {said[-300:]}"))
    return begun + 1


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files of findings")
    arguments = parser.parse_args()
    counts, findings = run(arguments.count, arguments.seed, arguments.keep)
    for what, times in sorted(counts.items()):
        print(f"{times:8d}  {what}")
    for number, what in findings[:50]:
        print(f"case {number}: {what}")
    return int(bool(findings))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(Path(sys.argv[2]), json.loads(sys.argv[3]), *map(int, sys.argv[4:]))
    else:
        sys.exit(main())
