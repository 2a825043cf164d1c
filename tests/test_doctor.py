"""``csrl doctor``: models, and compiling ahead."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import run

from csrl_core import doctor, estimators

ROOT = Path(__file__).resolve().parents[1]
AFTERWARDS = """
import numpy as np
from csrl_core import TensorizedAutoencoder, TensorizedRBM, datasets
from csrl_core.training import compiling
for n, d in ((150, 4), (60, 60), (120, 784)):
    X = np.random.default_rng(1).random((n, d))
    for estimator in (TensorizedAutoencoder(random_state=0), TensorizedRBM(epochs=2, random_state=0)):
        for n_clusters in (1, 3):
            with compiling.announced(None) as compiled:
                estimator.set_params(n_clusters=n_clusters).fit(X).predict(X)
            print(type(estimator).__name__, n_clusters, d, compiled.functions)
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


TINY_FIT = """
import numpy as np
from csrl_core import TensorizedAutoencoder, doctor
TensorizedAutoencoder(epochs=1, random_state=0).fit(np.random.default_rng(0).random((60, 4)))
print(dict((name, finding) for name, finding, _ in doctor.cache())["kept"])
"""


def test_compiled_files_of_all_folders_are_counted(tmp_path):
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TINY_FIT],
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
def test_after_warming_up_default_fits_compile_nothing(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}

    def python(*arguments):
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=True, env=environment
        ).stdout.splitlines()

    warm = ["-m", "csrl_core.cli", "doctor", "--warm", "--dtype", "float64"]
    said = python(*warm)
    for name in ("TensorizedAutoencoder", "TensorizedRBM"):
        assert any(line.startswith(f"compiling the Numba kernels of {name}: about ") for line in said)
        assert any(line.startswith(f"{name}: ") and "functions compiled in" in line for line in said)
    found = python("-W", "ignore", "-c", AFTERWARDS)
    assert len(found) == 12
    assert [line.split()[-1] for line in found] == ["0"] * 12
    assert sum("all was compiled before" in line for line in python(*warm)) == len(estimators.ready()[0])
