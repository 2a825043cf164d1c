"""``csrl doctor``: models, and compiling ahead."""

import os
import subprocess
import sys

import pytest
from cli_helpers import run

from csrl_core import doctor, estimators

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
    said = run("doctor", code=1).stdout
    for words in ("✓ autoencoder  TensorizedAutoencoder", "✓ rbm", "✗ odd", "odd.py cannot be imported: no"):
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
    assert sum("all was compiled before" in line for line in python(*warm)) == 2
