"""Commands that only read arguments import nothing heavy, whatever is wrong with them."""

import json
import subprocess
import sys

import pytest

from csrl_core.cli import option_cache, options

HEAVY = {"numpy", "scipy", "sklearn", "numba", "safetensors", "matplotlib", "pandas"}


def run_quickly(arguments, folder):
    """(exit code, standard error, heavy modules that were imported)"""
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            f"import sys; sys.argv = {['csrl', *arguments]!r}\n"
            "from csrl_core.cli import main\n"
            "try: main()\n"
            f"finally: print({HEAVY!r} & set(sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    return done.returncode, done.stderr, done.stdout.splitlines()[-1]


WRONG = [
    (["fit", "absent.csv", "-o", "m"], 1, "absent.csv does not exist"),
    (["fit", "data:iris", "-o", "m", "--nonsense"], 2, "No such option: --nonsense"),
    (["predict", "absent", "data:iris", "-o", "p.npy"], 1, "absent: there is no such model file"),
    (["transform", "absent", "data:iris", "-o", "p.npy", "--standardize"], 2, "--standardize is for csrl fit"),
    (["predict", "--nonsense"], 2, "No such option: --nonsense"),
    (["select", "absent.csv"], 1, "absent.csv does not exist"),
    (["select", "data:iris", "--decimal", ";"], 2, "--decimal ;: expected . or ,"),
    (["nonsense"], 2, "No such command 'nonsense'"),
]
# What is only told quickly once the options have been found: values of options of the models.
WRONG_VALUES = [
    (["fit", "-o", "m", "absent.csv"], 1, "absent.csv does not exist"),
    (["fit", "data:iris", "-o", "m", "--epochs", "some"], 2, "--epochs some: expected an integer"),
    (["fit", "data:iris", "-o", "m", "--hidden", "2;1"], 2, "--hidden 2;1: expected integers"),
    (["fit", "data:iris", "-o", "m", "--gibbs-steps", "2"], 2, "--gibbs-steps is an option of --model rbm"),
    (["fit", "data:iris", "-o", "m", "--standardize", "--scale", "minmax"], 2, "would scale twice"),
]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("arguments", "code", "said"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_what_is_wrong_is_told_at_once(arguments, code, said, known, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if known:
        option_cache.write(*options.known())
    returned, error, heavy = run_quickly(arguments, tmp_path)
    assert (returned, heavy) == (code, "set()"), error
    assert said in error


@pytest.mark.parametrize(
    ("arguments", "code", "said"), WRONG_VALUES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_values_are_told_at_once_when_the_options_are_known(arguments, code, said, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    option_cache.write(*options.known())
    returned, error, heavy = run_quickly(arguments, tmp_path)
    assert (returned, heavy) == (code, "set()"), error
    assert said in error


def test_the_cache_holds_what_was_found_and_is_found_anew_when_it_is_old_or_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert option_cache.read() is None
    found = options.known()
    option_cache.write(*found)
    path = tmp_path / "csrl_core" / "options.json"
    assert option_cache.read() == found
    whole = path.read_text()
    for damaged in (
        whole[:-20],
        "[]",
        "{}",
        json.dumps(json.loads(whole) | {"arguments": {"autoencoder": {"epochs": 3}}}),
    ):
        path.write_text(damaged)
        assert option_cache.read() is None
    path.write_text(whole.replace(json.loads(whole)["state"], "another"))
    assert option_cache.read() is None


def test_no_place_for_a_cache_is_no_fault(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    option_cache.write(*options.known())
    assert option_cache.read() is None
