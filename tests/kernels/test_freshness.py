"""Compiled code on disk: used again, but never after a file has changed that it was made from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from csrl_core.kernels.cpu._engine import freshness, kept, waiting

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
# Each question is asked by a process of its own, that of a fork: what all of them import is imported once.
ASK = """
import os, sys, traceback
from pathlib import Path
from {home} import watch_over

folder, inner = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, str(folder))

def ask():
    child = os.fork()
    if not child:
        try:
            from package.outer import scaled
            print(scaled(1), len(scaled.stats.cache_hits), flush=True)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.waitpid(child, 0)

for factor in (2, 2, 3, 3):
    (folder / "package" / "engine" / "inner.py").write_text(inner.format(factor))
    ask()
"""


def _write(folder, name, text):
    path = folder / "package" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_change_of_an_inner_function_is_noticed(tmp_path, elsewhere):
    head = f"from {freshness.__name__} import watch_over\n\nwatch_over(__file__)\n"
    _write(tmp_path, "__init__.py", head)
    _write(tmp_path, "outer.py", OUTER)
    _write(tmp_path, "engine/inner.py", "")
    said = subprocess.run(
        [sys.executable, "-c", ASK.format(home=freshness.__name__), str(tmp_path), INNER],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": str(tmp_path / "cache") if elsewhere else "",
        },
        check=True,
        capture_output=True,
        text=True,
    )
    # The scaled 1, and how often machine code came from disk.
    assert said.stdout.split("\n")[:-1] == ["2 0", "2 1", "3 0", "3 1"], said.stderr


def test_kernels_are_watched_over_and_others_are_not():
    folder = Path(freshness.__file__).parent.parent
    assert waiting.wait_for._cache._impl.locator.get_source_stamp() == freshness.digest(folder)
    assert freshness.caching.CacheImpl._locator_classes[0].from_function(_write, __file__) is None


BITS = """
import hashlib
import numpy as np
from csrl_core import backends
from csrl_core.contract.cases.autoencoder import SMALL, WIDE, arguments

numba, digest = backends.get("numba"), hashlib.sha256()
for shape in (SMALL, WIDE):  # of the skinny regime much more would be compiled
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


def test_without_a_folder_that_can_be_written_a_temporary_one_serves(tmp_path):
    _write(tmp_path, "__init__.py", f"from {freshness.__name__} import watch_over\n\nwatch_over(__file__)\n")
    _write(tmp_path, "outer.py", OUTER)
    _write(tmp_path, "engine/inner.py", INNER.format(2))
    for name in ("__pycache__", "engine/__pycache__"):
        _write(tmp_path, name, "a file where the folder would be")
    environment = {**os.environ, "NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": os.devnull, "TMPDIR": str(tmp_path)}
    environment |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "PYTHONDONTWRITEBYTECODE": "1"}
    asked = [sys.executable, "-c", "from package.outer import scaled; print(scaled(1))"]
    ended = subprocess.run(asked, env=environment, check=True, capture_output=True, text=True)
    assert ended.stdout == "2\n"
    assert ended.stderr.count("csrl_core: no folder for compiled kernels can be written") == 1
    assert "NUMBA_CACHE_DIR=FOLDER keeps them" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


@pytest.mark.parametrize("damage", [lambda whole: whole[:-9], lambda whole: b"", lambda whole: whole[:40] + b"?" * 60])
def test_a_damaged_file_is_removed_and_written_anew(tmp_path, damage, monkeypatch):
    monkeypatch.setattr(kept, "STAMPS", {"ours"})
    file, key, entry = kept.CheckedFile(str(tmp_path), "function", "ours"), ("signature",), list(range(99))
    file.save(key, entry)
    data, index = sorted(tmp_path.iterdir())
    assert (data.suffix, index.suffix, file.load(key)) == (".nbc", ".nbi", entry)
    for path in (index, data):
        path.write_bytes(damage(path.read_bytes()))
        assert file.load(key) is None
        assert not path.exists()
        file.save(key, entry)
        assert file.load(key) == entry


def test_a_folder_that_cannot_be_written_any_more_costs_no_fit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kept, "STAMPS", {"ours"})
    file = kept.CheckedFile(str(tmp_path / "gone"), "function", "ours")
    for _ in range(2):
        file.save("key", 1)
        assert file.load("key") is None
    assert capsys.readouterr().err.count("cannot be kept in") == 1


def test_files_of_others_are_as_numba_has_them(tmp_path):
    ours, theirs = (
        kind(str(tmp_path), "function", "theirs") for kind in (kept.CheckedFile, kept.CheckedFile.__mro__[1])
    )
    for one, other in ((ours, theirs), (theirs, ours)):
        one.save("key", [1, 2])
        assert other.load("key") == [1, 2]
    next(tmp_path.glob("*.nbi")).write_bytes(b"")
    with pytest.raises(EOFError):
        ours.load("key")
