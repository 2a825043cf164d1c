"""Models and options of ``csrl fit`` are found in the estimators' files: nothing else lists them."""

import os
import re
import shutil
import subprocess
import sys
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import IRIS, error_of, listing, run
from sklearn.utils._param_validation import Interval, Options, StrOptions

from csrl_core import TensorizedAutoencoder, TensorizedRBM, TensorizedVAE, estimators
from csrl_core.cli import options
from csrl_core.cli.base import WrongUsage
from csrl_core.cli.options import first_sentence, parameter_texts
from csrl_core.cli.values import Values, values_of

ROOT = Path(__file__).resolve().parents[2]
ESTIMATOR = '''
from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from csrl_core.estimators.arguments import estimator
from csrl_core.estimators.autoencoder import TensorizedAutoencoder
from csrl_core.estimators.base import BaseClusterSpecific


@estimator
class Shrunken(TensorizedAutoencoder, BaseClusterSpecific):
    """An autoencoder of data that is shrunken first.

    Parameters
    ----------
    shrinkage : float or "none", default=0.5
        What X is multiplied with; see ``epochs``. It says more.
    n_rounds : int or None, default=None
        Of nothing.
    pale, dark : bool, default=True and False
    """

    _parameter_constraints = {
        "shrinkage": [StrOptions({"none"}), Interval(Real, 0, 1, closed="neither")],
        "n_rounds": [None, Interval(Integral, 1, None, closed="left")],
        "pale": ["boolean"],
        "dark": ["boolean"],
    }

    shrinkage: float | str = 0.5
    n_rounds: int | None = None
    pale: bool = True
    dark: bool = False
    n_clusters: int = 4
    epochs: int = 7
'''


def plain(text):
    """Help without frames, in one line."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


# --------------------------------------------------------------------------- what is found in the estimators


def test_every_estimator_that_needs_no_argument_is_a_model():
    classes, faults = options.models()
    assert faults == {}
    assert {"autoencoder": TensorizedAutoencoder, "rbm": TensorizedRBM, "vae": TensorizedVAE}.items() <= classes.items()
    assert set(estimators.homes()) - {kind.__name__ for kind in classes.values()} == {"ClusterSpecific"}


LAYERS = {"encoder", "decoder", "image_shape"}  # the last is an option of csrl fit itself


@pytest.mark.parametrize(
    ("model", "of_python_alone"),
    [
        *(("autoencoder", LAYERS), ("rbm", set()), ("vae", LAYERS)),
        *((name, LAYERS - {"decoder"}) for name in ("instance", "contrastive_instance", "contrastive")),
    ],
)
def test_every_argument_is_an_option(model, of_python_alone):
    kind = options.models()[0][model]
    assert set(options.arguments_of(kind)) == set(kind._get_param_names()) - of_python_alone
    assert set(options.arguments_of(options.models()[0][model])) <= {each.name for each in options.parameters()}


def shown():
    """Option → (default as the help shows it, panel)."""
    found = {}
    for parameter in options.parameters():
        (info,) = parameter.annotation.__metadata__
        found[parameter.name] = info.show_default, info.rich_help_panel
    return found


def test_the_help_shows_the_estimators_defaults_and_whose_an_option_is():
    found = shown()
    for name, *expected in (
        ("epochs", "auto", "vae: 100", "instance: 60"),
        ("batch_size", "auto", "rbm: 64", "vae: 50"),
        ("center", "yes", "rbm: auto", "vae: no"),
        ("learning_rate", "auto", "vae: 0.001"),
        ("learning_rate_schedule", "constant", "instance: cosine"),
        ("n_clusters", "2"),
        ("hidden", "2,1", "vae: 400,200"),
        ("bias", "no-bias"),
        ("gibbs_steps", "1"),
        ("persistent", "no-persistent"),
    ):
        first, *others = found[name][0].split("; ")
        assert first == expected[0], name
        assert {*expected[1:]} <= {*others}, name
    for name in ("epochs", "batch_size", "learning_rate", "n_clusters"):
        assert found[name][1] is None
    for name, models in (("bias", "autoencoder"), ("gibbs_steps", "rbm"), ("persistent", "rbm")):
        assert found[name][1] == f"Of --model {models}"
    assert {"autoencoder", "vae"} <= {*found["hidden"][1].replace(",", "").split()}
    assert found["random_state"] == (False, None)
    for name, (text, _) in found.items():
        values = [kind().get_params()[name] for kind in options.models()[0].values() if name in kind._get_param_names()]
        for value in values:
            if isinstance(value, (int, float, str)) and not isinstance(value, bool):
                assert (f"{value:g}" if not isinstance(value, str) else value) in text, name


def test_the_help_of_an_option_is_the_first_sentence_of_its_description(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    said = plain(run("fit", "--help").stdout)
    for text in ("Restarts; the one with the lowest final loss", "The same seed gives the same model",
                 "--n-iter-no-change", "0 takes all usable cores"):  # fmt: skip
        assert text in said, text
    assert "None" not in said
    assert "``" not in said


def test_the_section_of_parameters():
    texts = parameter_texts(
        "What.\n\nParameters\n----------\na : int\n    First, ``x``. Second.\nb, c : float, default=1 and 2\n"
        "    Both.\nd : bool\n**e\n    Any.\n\nReturns\n-------\nf : int\n    Not one."
    )
    assert texts == {"a": "First, ``x``. Second.", "b": "Both.", "c": "Both.", "d": "", "e": "Any."}
    assert first_sentence("First, 1.5 of it. Second.") == "First, 1.5 of it."
    assert first_sentence("k. With 1 it is none. More.") == "k. With 1 it is none."
    assert first_sentence("No end") == "No end"


def test_what_constraints_allow():
    at_least_one = Interval(Integral, 1, None, closed="left")
    assert values_of([at_least_one]) == Values(int, 1)
    assert values_of([None, at_least_one]) == Values(int, 0, zero_is_none=True)
    assert values_of([None, Interval(Integral, 0, None, closed="left")]) == Values(int, 0, none=True)
    assert values_of([None, at_least_one, Interval(Integral, None, -1, closed="right")]) == Values(
        int, None, zero_is_none=True
    )
    assert values_of([Interval(Real, 0, None, closed="neither")]) == Values(float)
    assert values_of([StrOptions({"auto"}), at_least_one]) == Values(int, 1, frozenset({"auto"}))
    assert values_of(["boolean", StrOptions({"auto"})]) == Values(flag=True, choices=frozenset({"auto"}))
    assert values_of(["boolean", None]) == Values(flag=True, none=True)
    assert values_of([None, StrOptions({"auto"})]) == Values(choices=frozenset({"auto"}), none=True)
    assert values_of(["array-like"]) == Values(widths=True)
    assert values_of(["random_state"]) == Values(int, 0, none=True)
    assert values_of(["verbose"]) == Values(int, 0)
    assert values_of([Interval(Real, -np.inf, None, closed="left")]) == Values(float)
    for constraints in ("no_validation", [callable], [dict], [], [Options(Real, {1.0})]):
        assert values_of(constraints) is None


def test_what_is_typed_becomes_a_value():
    assert Values(int, 1, frozenset({"auto"})).read("--x", "3") == 3
    assert Values(int, 1, frozenset({"auto"})).read("--x", "auto") == "auto"
    assert Values(widths=True).read("--x", "3,1") == (3, 1)
    assert Values(int, 0, zero_is_none=True).read("--x", 0) is None
    assert Values(flag=True).read("--x", False) is False
    assert Values(int).read("--x", 3.0) == 3
    assert Values(int, 0, none=True).read("--x", "0") == 0
    assert Values(int, 0, none=True).read("--x", "none") is None
    assert [Values(flag=True, choices=frozenset({"auto"})).read("--x", each) for each in ("yes", "no", "auto")] == [
        True, False, "auto",
    ]  # fmt: skip
    with pytest.raises(WrongUsage, match="--x auto: expected yes or no"):
        Values(flag=True).read("--x", "auto")
    with pytest.raises(WrongUsage, match="--x -1: expected an integer of at least 0 or none"):
        Values(int, 0, none=True).read("--x", "-1")
    for unit in (3.5, "3.5"):
        with pytest.raises(WrongUsage, match=r"--x 3\.5: expected an integer"):
            Values(int).read("--x", unit)
    with pytest.raises(WrongUsage, match="--x three: expected an integer or auto"):
        Values(int, 1, frozenset({"auto"})).read("--x", "three")
    with pytest.raises(WrongUsage, match="--x 3;1: expected integers with commas"):
        Values(widths=True).read("--x", "3;1")


def test_one_option_serves_models_that_take_different_values():
    names = Values(choices=frozenset({"auto"}))
    assert (Values(int, 1) | Values(int, 0)).annotation("x") == (int, {"min": 0})
    assert (Values(int, 1) | Values(float)).annotation("x") == (float, {})
    assert (Values(int, 1) | names).annotation("x") == (str, {"metavar": "INTEGER|auto"})
    assert (Values(widths=True) | names).annotation("x") == (str, {"metavar": "auto|W,W,…"})
    assert list((names | Values(choices=frozenset({"a"}))).annotation("x")[0]) == ["a", "auto"]


# ------------------------------------------------------------------------------------- from the command line


def typable(constraints):
    """Pairs (what can be typed after the option, None where nothing is; value) of an argument's constraints."""
    for each in constraints if isinstance(constraints, list) else ():
        if isinstance(each, StrOptions):
            yield from ((word, word) for word in sorted(each.options))
        elif isinstance(each, Interval):
            low, high = each.left, each.right
            number = high if low is None else low if low in each else low + (1 if each.type is Integral else 0.5)
            yield str(number), number if each.type is Integral else float(number)
        elif each == "boolean":
            yield from ((None, True), ("no", False))
        elif each is None:
            yield ("0" if any(isinstance(i, Interval) and 0 not in i for i in constraints) else "none"), None
        elif each == "random_state":
            yield from (("none", None), ("7", 7))
        elif each == "verbose":
            yield "2", 2
        elif each == "array-like" and not any(isinstance(other, StrOptions) for other in constraints):
            yield "5,3", (5, 3)


def every_value():
    """Of each model the first values of all its arguments, the second ones, and so on: a command takes all of a row."""
    for model, kind in options.models()[0].items():
        values = {name: list(typable(kind._parameter_constraints[name])) for name in options.arguments_of(kind)}
        assert not [name for name, own in values.items() if not own]
        for i in range(max(map(len, values.values()))):
            row = [(name, *own[i]) for name, own in values.items() if i < len(own)]
            yield pytest.param(model, row, id=f"{model}-{i}")


@pytest.mark.parametrize(("model", "row"), list(every_value()))
def test_every_value_of_every_argument_can_be_given(monkeypatch, model, row):
    made, words = [], []
    monkeypatch.setattr("csrl_core.cli.fit.fit", lambda request, estimator, say: made.append((request, estimator)))
    for name, typed, value in row:
        flag = options.flags(name)[0]
        no = isinstance(value, bool) and not value
        words += [flag.replace("--", "--no-", 1)] if no else [flag] if typed is None else [flag, typed]
    run("fit", "--model", model, "-o", "m", *words, "data:iris")
    ((request, estimator),) = made
    assert request.data == "data:iris"
    for name, _, value in row:
        found = getattr(estimator, name)
        assert (name, found, type(found)) == (name, value, type(value))


def test_an_option_that_may_stand_alone():
    assert options.spelled_out(["x", "--center"]) == ["x", "--center=yes"]
    assert options.spelled_out(["--center", "x", "--no-center"]) == ["--center=yes", "x", "--center=no"]
    for unchanged in (["--center", "auto"], ["--center=no", "x"], ["--bias", "x"], ["--", "--center"]):
        assert options.spelled_out(unchanged) == unchanged
    assert "--center alone is yes, --no-center is no" in plain(run("fit", "--help").stdout)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--model", "vae", "--epochs", "some"], 2, "--epochs some: expected an integer"),
        (["--model", "vae", "--epochs", "auto"], 2, "--epochs auto: expected an integer"),
        (["--epochs", "some"], 2, "--epochs some: expected an integer or auto"),
        (["--learning-rate", "fast"], 2, "--learning-rate fast: expected a number or auto"),
        (["--clip-norm", "-1"], 1, "'clip_norm'"),
        (["--verbose", "-1"], 2, None),
        (["--activation", "cubic"], 2, None),
        (["--model", "cluster_specific"], 2, None),
        (["--n-iter-no-change", "0"], 2, None),
        (["--center", "auto"], 2, "--center auto: expected yes or no"),
        (["--model", "rbm", "--center", "maybe"], 2, None),
        (["--seed", "-1"], 2, "--seed -1: expected an integer of at least 0 or none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_values_that_are_none(empty, arguments, code, said):
    result = run(*IRIS, "--out", "m", *arguments, code=code)
    assert said is None or said in error_of(result)
    assert listing() == []


def test_zero_stands_for_none(empty):
    import csrl_core

    run(*IRIS, "--out", "m", "--clip-norm", "0", "--batch-size", "0", "--jobs", "0")
    found = csrl_core.load("m").get_params()
    assert [found[name] for name in ("clip_norm", "batch_size", "n_jobs")] == [None] * 3


# ----------------------------------------------------------------------------------------- a file is added


@pytest.fixture
def package(tmp_path):
    """A copy of the package, to which estimators can be added; ``package(name, text)`` adds one."""
    for folder in ("csrl_core", "kernels", "reference"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 4)))
    return lambda name, text: (tmp_path / "csrl_core" / "estimators" / f"{name}.py").write_text(text)


def csrl(tmp_path, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "csrl_core.cli", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "300"},
    )
    assert done.returncode == code, done.stderr
    return done


def test_a_new_file_is_a_model_and_its_arguments_are_options(package, tmp_path):
    package("shrunken", ESTIMATOR)
    said = plain(csrl(tmp_path, "fit", "--help").stdout)
    for text in ("|rbm|shrunken|vae", "Of --model shrunken", "Of --model autoencoder", "shrunken: 7",
                 "FLOAT|none", "What X is multiplied with; see --epochs. [default: (0.5)]", "--dark --no-dark",
                 "[default: (2; shrunken: 4)]"):  # fmt: skip
        assert text in said, text
    assert "It says more" not in said
    fit = ["fit", "x.npy", "--model", "shrunken", "--backend", "numpy", "-o", "m", "--epochs", "2"]
    csrl(tmp_path, *fit, "--shrinkage", "none", "--n-rounds", "3", "--dark", "--no-pale", "--hidden", "2,1")
    code = "import csrl_core; m = csrl_core.load('m'); print(type(m).__name__, m.shrinkage, m.n_rounds, m.dark, m.pale)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Shrunken", "none", "3", "True", "False"]
    assert "--shrinkage is an option of --model shrunken, not of --model rbm" in (
        csrl(tmp_path, "fit", "x.npy", "--model", "rbm", "-o", "m", "--shrinkage", "0.5", code=2).stderr
    )
    assert "--gibbs-steps is an option of --model rbm" in csrl(tmp_path, *fit, "--gibbs-steps", "2", code=2).stderr


# Files of estimators that cannot be used → why; all of them stand beside each other in one copy.
FAULTS = {
    "missing": (
        "import nowhere\n\n\nclass A(BaseClusterSpecific):\n    pass\n",
        "missing.py cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
    ),
    "syntax": ("class B(BaseClusterSpecific):\n", "syntax.py cannot be imported: IndentationError: "),
    "own": (
        ESTIMATOR.replace("shrinkage", "embedding").replace("Shrunken", "C"),
        "own.py: its argument embedding has the name of an option that csrl fit has itself",
    ),
    "no_flag": (
        ESTIMATOR.replace("shrinkage", "persistent").replace("Shrunken", "D"),
        "no_flag.py: its argument persistent is no flag, but one in rbm.py",
    ),
    "two": (
        ESTIMATOR.replace("Shrunken", "E") + "\n\nclass F(E, BaseClusterSpecific):\n    pass\n",
        "two.py has two estimators, E and F",
    ),
}


def test_files_that_cannot_be_used_are_named_and_break_nothing_else(package, tmp_path):
    for name, (text, _) in FAULTS.items():
        package(name, text)
    csrl(tmp_path, "fit", "x.npy", "--backend", "numpy", "--epochs", "1", "-o", "m")
    csrl(tmp_path, "predict", "m", "x.npy", "-o", "p.npy")
    assert csrl(tmp_path, "--help").stdout
    said = plain(csrl(tmp_path, "fit", "--help").stdout)
    for name, (_, reason) in FAULTS.items():
        assert f"--model {name} is left out: csrl_core/estimators/{reason}" in said
    said = csrl(tmp_path, "fit", "x.npy", "--model", "missing", "-o", "m2", code=1).stderr
    assert f"error: --model missing cannot be used: csrl_core/estimators/{FAULTS['missing'][1]}" in said
    assert not (tmp_path / "m2").exists()
