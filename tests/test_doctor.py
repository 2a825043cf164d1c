"""``csrl doctor``: models, and compiling ahead."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import run
from numba import njit

from csrl_core import doctor, estimators

ROOT = Path(__file__).resolve().parents[1]
# Signatures are what a process has compiled or taken from the cache: what a fit asks for beyond those of warming up,
# an empty cache would have had to compile.
WARM = """
import gc
import sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from csrl_core import TensorizedAutoencoder, TensorizedRBM, doctor, estimators
from csrl_core.training import compiling

def ready():
    compiled = [each for each in gc.get_objects() if isinstance(each, Dispatcher) and each.signatures]
    return [each for each in compiled if each.py_func.__module__.startswith("csrl_core.")]

def signatures():
    return {(each.py_func.__module__, each.py_func.__qualname__, one) for each in ready() for one in each.signatures}

models = {"autoencoder": TensorizedAutoencoder, "rbm": TensorizedRBM}
estimators.ready = lambda: (models, {})
assert doctor.warm(print, ["float64"])
def alone(function):  # not an overload, which is kept in its callers
    return getattr(sys.modules[function.__module__], function.__qualname__, function) is not function

assert not [each.py_func for each in ready() if each.stats.cache_path is None and alone(each.py_func)]
warmed = signatures()
assert len(warmed) > 20
for n, d in ((150, 4), (60, 60), (120, 784)):
    X = np.random.default_rng(1).random((n, d))
    for estimator in (TensorizedAutoencoder(random_state=0), TensorizedRBM(epochs=2, ais_betas=20, random_state=0)):
        for n_clusters in (1, 3):
            estimator.set_params(n_clusters=n_clusters).fit(X).predict(X)
            print(type(estimator).__name__, n_clusters, d, sorted(signatures() - warmed))
assert doctor.warm(print, ["float64"])
"""


def test_models_that_are_found_are_listed_with_those_that_are_not(monkeypatch):
    found, _ = estimators.ready()
    monkeypatch.setattr(estimators, "ready", lambda: (found, {"odd": "odd.py cannot be imported: no"}))
    said = " ".join(run("doctor", code=1).stdout.split())  # columns are as wide as the longest name
    for words in ("✓ autoencoder TensorizedAutoencoder", "✓ rbm", "✗ odd", "odd.py cannot be imported: no"):
        assert words in said, words


def test_an_estimator_that_cannot_be_fitted_is_named_and_the_others_are(monkeypatch):
    class Odd:
        def __init__(self, **arguments):
            pass

        def fit(self, X):
            raise RuntimeError(f"no fit of {X.dtype}")

    fitted = []
    found = {"odd": Odd, "other": type("Other", (), {})}
    monkeypatch.setattr(estimators, "ready", lambda: (found, {"bad": "bad.py cannot be imported: no"}))
    kept = doctor._fit_all_ways
    monkeypatch.setattr(
        doctor, "_fit_all_ways", lambda kind, dtype: kept(kind, dtype) if kind is Odd else fitted.append(dtype)
    )
    said = run("doctor", "--warm", "--dtype", "float32", code=1).stdout.splitlines()
    assert said[:3] == [
        "bad.py cannot be imported: no",
        "Odd: RuntimeError: no fit of float32",
        "Other: all was compiled before",
    ]
    assert fitted == ["float32"]


TWO_FOLDERS = """
import numpy as np
from csrl_core import backends, doctor
kernels = backends.get("numba")
kernels.optimizer.squared_norm(np.ones(3))
kernels.conv.up_sample(np.ones((1, 1, 2, 2)), 2)
print(dict((name, finding) for name, finding, _ in doctor.cache())["kept"])
"""


def test_compiled_files_of_all_folders_are_counted(tmp_path):
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TWO_FOLDERS],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len({path.parent for path in kept}) > 1
    size = sum(path.stat().st_size for path in kept)
    assert said.strip() == f"{len(kept)} files, {size / 2**20:.1f} MiB"


def test_compiled_files_beside_the_kernels_are_counted(tmp_path):
    for name in ("csrl_core", "kernels", "reference"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("", "autoencoder", "rbm"):
        place = tmp_path / "kernels" / "cpu" / folder / "__pycache__"
        place.mkdir(exist_ok=True)
        (place / "a.nbi").write_bytes(bytes(1 << 20))
        (place / "a.pyc").write_bytes(b"is none")
    environment = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "PYTHONPATH")}
    code = "from csrl_core import doctor; print(*[finding for _, finding, _ in doctor.cache()], sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    folders, writable, kept = done.stdout.splitlines()
    assert folders.endswith(f" folders in {tmp_path / 'csrl_core' / 'kernels' / 'cpu'}")
    assert (writable, kept) == ("yes", "3 files, 3.0 MiB")


@pytest.mark.slow
def test_after_warming_up_default_fits_compile_nothing():
    # A function that cannot be cached is an error here: every process would compile it.
    command = [sys.executable, "-W", "ignore", "-W", "error:Cannot cache", "-c", WARM]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    found = [line for line in said if line.endswith("]")]
    assert len(found) == 12
    assert [line.split(maxsplit=3)[3] for line in found] == ["[]"] * 12
    assert sum("all was compiled before" in line for line in said) >= 2


def test_what_was_compiled_is_said(monkeypatch):
    class Compiling:
        def fit(self, X):
            pass

    monkeypatch.setattr(estimators, "ready", lambda: ({"compiling": Compiling}, {}))
    monkeypatch.setattr(doctor, "_fit_all_ways", lambda kind, dtype: njit(fastmath=False)(lambda x: x + 1)(1))
    said = run("doctor", "--warm", "--dtype", "float32").stdout.splitlines()
    assert said[0].startswith("compiling the Numba kernels of Compiling: some seconds, ")
    assert said[1].startswith("Compiling: 1 functions compiled in ")
    assert said[2].startswith("done in ")
