"""Compiled code on disk: used again, but never after a file has changed that it was made from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from csrl_core.kernels.cpu._engine import freshness, pool

OUTER = """from numba import njit
from .engine.inner import factor

@njit(cache=True)
def scaled(x):
    return factor() * x
"""
INNER = """from numba import njit

@njit(cache=True)
def factor():
    return {}
"""
ASK = "from package.outer import scaled; print(scaled(1), len(scaled.stats.cache_hits))"


def _write(folder, name, text):
    path = folder / "package" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _ask(folder, **environment):
    """The scaled 1, and how often machine code came from disk."""
    paths = os.pathsep.join([str(folder), *sys.path])
    variables = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    said = subprocess.run([sys.executable, "-c", ASK], env=variables, check=True, capture_output=True, text=True)
    return tuple(map(int, said.stdout.split()))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_change_of_an_inner_function_is_noticed(tmp_path, elsewhere):
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache") if elsewhere else ""}
    head = f"from {freshness.__name__} import watch_over\n\nwatch_over(__file__)\n"
    _write(tmp_path, "__init__.py", head)
    _write(tmp_path, "outer.py", OUTER)
    _write(tmp_path, "engine/inner.py", INNER.format(2))
    assert _ask(tmp_path, **environment) == (2, 0)
    assert _ask(tmp_path, **environment) == (2, 1)
    _write(tmp_path, "engine/inner.py", INNER.format(3))
    assert _ask(tmp_path, **environment) == (3, 0)
    assert _ask(tmp_path, **environment) == (3, 1)


def test_kernels_are_watched_over_and_others_are_not():
    folder = Path(pool.__file__).parent.parent
    assert pool._wait_for._cache._impl.locator.get_source_stamp() == freshness.digest(folder)
    assert freshness.caching.CacheImpl._locator_classes[0].from_function(_write, __file__) is None


BITS = """
import hashlib
import numpy as np
from csrl_core import backends
from csrl_core.contract.cases.autoencoder import SKINNY, SMALL, WIDE, arguments

numba, digest = backends.get("numba"), hashlib.sha256()
for shape in (SMALL, SKINNY, WIDE):
    a = arguments(np.float32, *shape)
    X = a["params"], a["layers"], a["X"], a["target"], a["centers"], a["assign"], a["weights"], 0.1
    for array in numba.autoencoder.losses_and_gradient(*X):
        digest.update(array.tobytes())
print(digest.hexdigest())
"""


def test_bits_are_those_of_a_process_that_compiled(tmp_path):
    """A function that another one calls is compiled twice, by itself and within: both must round alike."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run([sys.executable, "-c", BITS], env=environment, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    )
    assert first == second
