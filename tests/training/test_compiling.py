"""What Numba compiles is said once, before it begins, and counted; what is cached is not spoken of."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from csrl_core import ClusterModel, ClusterSpecific, TensorizedAutoencoder
from csrl_core.training import compiling


def new_function():
    """A function that no cache holds, and that calls another one."""
    from numba import njit

    inner = njit(fastmath=False)(lambda x: x + 1)
    return njit(fastmath=False)(lambda x: inner(x) + 1)


def test_the_first_function_is_announced_and_all_are_counted():
    said, function = [], new_function()
    with compiling.announced(said.append, TensorizedAutoencoder) as compiled:
        assert said == []
        assert function(1) == 3
        function(2)
        function(1.0)
    assert said == [
        f"compiling the Numba kernels of TensorizedAutoencoder: about {compiling.SECONDS['autoencoder']} s, once on "
        f"this machine for this version"
    ]
    assert f"about {compiling.SECONDS['conv autoencoder']} s" in compiling.line(
        TensorizedAutoencoder(architecture="conv")
    )
    assert compiled.functions == 4
    assert 0 < compiled.seconds < 60
    with compiling.announced(said.append) as compiled:
        function(3)
    assert (len(said), compiled.functions, compiled.seconds) == (1, 0, 0.0)


def test_afterwards_nobody_listens():
    said = []
    with pytest.raises(ZeroDivisionError), compiling.announced(said.append):
        _ = 1 / 0
    new_function()(1)
    assert said == []


def test_one_line_is_enough():
    outer, inner = [], []
    with compiling.announced(outer.append), compiling.announced(inner.append) as compiled:
        new_function()(1)
    assert (len(outer), inner, compiled.functions) == (1, [], 2)
    with compiling.announced(None), compiling.announced(inner.append):  # who only counts says nothing
        new_function()(1)
    assert len(inner) == 1


class Shifted(ClusterModel):
    """Distances from the centres, by a function of Numba's that no cache holds."""

    def __init__(self):
        self.function = new_function()

    def init_parameters(self, X, n_clusters, draw):
        return {"offset": np.zeros((n_clusters, 1))}

    def losses(self, params, X, target, centers, draw):
        self.function(1)
        return ((X[:, None] - centers) ** 2).sum(axis=2) + params["offset"].T

    def gradient(self, params, X, target, centers, assign, weights, draw):
        return {"offset": np.zeros_like(params["offset"])}

    def embed(self, params, X, centers, draw):
        return (X[:, None] - centers)[..., :1]


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("verbose", [0, 1])
def test_a_verbose_fit_says_it_where_numba_computes(backend, verbose, capsys):
    X = np.random.default_rng(0).normal(size=(20, 3))
    ClusterSpecific(Shifted(), epochs=1, backend=backend, verbose=verbose, random_state=0).fit(X)
    said = "compiling the Numba kernels of ClusterSpecific: some seconds, once on this machine for this version"
    assert (said in capsys.readouterr().err.splitlines()) is (verbose == 1 and backend == "numba")


def test_the_seconds_are_those_of_the_benchmark():
    path = Path(__file__).resolve().parents[2] / "bench" / "results" / "first_fit.csv"
    if not path.exists():
        pytest.skip("bench/bench_first_fit.py has not been run")
    with path.open() as file:
        measured = {row["case"]: float(row["compile_seconds"]) for row in csv.DictReader(file)}  # the last row of each
    for name in compiling.SECONDS:
        case = {"autoencoder": "small", "rbm": "machine"}.get(name, name)
        assert measured[case] / 1.5 < compiling.SECONDS[name] < measured[case] * 1.5, name


def test_no_numba_for_another_backend():
    code = (
        "import sys; from csrl_core.training import compiling\n"
        "with compiling.announced(print, None, 'numpy') as compiled: pass\n"
        "print(compiled.functions, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]
