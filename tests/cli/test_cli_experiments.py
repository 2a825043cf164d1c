"""``csrl reproduce``, ``csrl select``, and fitting by likelihood from the command line."""

import csv
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import IRIS, error_of, listing, run

import csrl_core
from csrl_core import TensorizedAutoencoder, datasets
from csrl_core.cli import experiments as cli_experiments


@pytest.fixture
def csrl(tmp_path, monkeypatch):
    """Run a command inside an empty folder; asserts the exit code."""
    monkeypatch.chdir(tmp_path)
    return run


def test_fit_by_likelihood_and_exactly(csrl):
    arguments = ("--assignment", "likelihood", "--solver", "exact", "--reg", "0", "--init", "k-means", "--n-init", "3")
    csrl(*IRIS, "--out", "model", *arguments)
    model = csrl_core.load("model")
    assert (model.assignment, model.solver, model.init, model.n_init) == ("likelihood", "exact", "k-means", 3)
    assert model.predict_proba(datasets.load("iris").data).shape == (150, 3)
    said = error_of(csrl(*IRIS, "--out", "m", "--solver", "exact", code=1))
    assert said == (
        "error: solver='exact' needs reg=0, got reg=0.1: with a penalty a linear model has no minimiser: "
        "the encoder shrinks, the decoder grows"
    )
    csrl(*IRIS, "--out", "m", "--assignment", "posterior", code=2)
    assert "m" not in listing()


def test_select(csrl):
    result = csrl(
        *("select", "data:triangle", "-k", "2-4", "--latent", "1,2", "--backend", "numpy", "--n-init", "5"),
        *("--out", "curve.csv", "--plot", "curve.png"),
    )
    (best,) = (line.split() for line in result.stdout.splitlines() if line.endswith("best"))
    assert best[:2] == ["3", "2"]
    with Path("curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert [row["latent"] for row in rows if row["best"] == "1"] == ["2"]
    assert listing() == ["curve.csv", "curve.png"]


def test_select_held_out_on_a_file(csrl):
    X, y = datasets.make_lines_3d(random_state=0)
    np.savetxt("lines.csv", np.column_stack([X, y]), delimiter=",", header=",".join("abcdefy"), comments="")
    arguments = ("--criterion", "held-out", "--folds", "3", "--backend", "numpy", "--label-column", "y")
    result = csrl("select", "lines.csv", "-k", "1,2,3", *arguments)
    (best,) = (line for line in result.stdout.splitlines() if line.endswith("best"))
    assert best.split()[:2] == ["3", "1"]
    assert "±" in best


def test_fit_from_components(csrl):
    csrl(*IRIS, "--out", "model", "--start", "components", "--init", "k-means")
    X = datasets.load("iris").data
    arguments = {"n_clusters": 3, "random_state": 0, "epochs": 20, "backend": "numpy", "init": "k-means"}
    expected = TensorizedAutoencoder(start="components", **arguments).fit(X)
    np.testing.assert_array_equal(csrl_core.load("model").params_, expected.params_)
    said = error_of(csrl(*IRIS, "--out", "m", "--start", "components", "--hidden", "2,3", code=1))
    assert said.startswith("error: start='components' needs encoder widths that nowhere rise, got hidden=(2, 3)")
    assert "m" not in listing()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--clusters", "three"], 2, "--clusters three: expected ints of at least 1, as in 1-8 or 1,2,4"),
        (["--clusters", "0-2"], 2, "--clusters 0-2: expected ints of at least 1"),
        (["--clusters", "4-2"], 2, "--clusters 4-2: expected ints"),
        (["--latent", "9"], 1, "latent=9 is not below the 5 features of X"),
        (["--table", "table.txt"], 2, "--table table.txt: the suffix is '.txt', expected .csv"),
        (["--out", "m.csv", "--table", "t.csv"], 2, "--out m.csv: a model needs another name"),
        (["--out", "nowhere/model"], 1, "the folder nowhere does not exist"),
        (["--plot", "nowhere/curve.png"], 1, "the folder nowhere does not exist"),
        (["--clusters", "200"], 1, "n_clusters=200 is more than the 150 samples"),
    ],
    ids=lambda value: value[0] + value[1] if isinstance(value, list) else "",
)
def test_wrong_selections(csrl, arguments, code, message):
    assert message in error_of(csrl("select", "data:triangle", "--backend", "numpy", *arguments, code=code))
    assert listing() == []


def test_reproduce(csrl):
    arguments = ("--data", "iris", "--repetitions", "1", "--epochs", "1", "--n-init", "1", "--jobs", "1")
    result = csrl("reproduce", "fig2", "--version", "papers", "--backend", "numpy", "-o", "out", *arguments)
    assert "fig2       28 runs, 0 of them in out/fig2-runs.csv" in result.stdout
    assert "papers, clustering, chosen by the objective" in result.stdout
    pictures = ["fig2-papers-clustering.png", "fig2-papers-de-noising.png"]
    assert sorted(path.name for path in Path("out").iterdir()) == [*pictures, "fig2-runs.csv", "fig2.csv"]
    again = csrl("reproduce", "fig2", "--version", "papers", "--backend", "numpy", "-o", "out", *arguments)
    assert "28 runs, 28 of them" in again.stdout
    assert "--data moons is not of the figure" in error_of(csrl("reproduce", "fig2", "--data", "moons", code=2))
    csrl("reproduce", "fig9", code=2)


def test_reproduce_figure_1(csrl):
    result = csrl("reproduce", "fig1", "--backend", "numpy", "--repetitions", "1", "--n-init", "2")
    assert len([line for line in result.stdout.splitlines() if "mean squared error" in line]) == 12
    assert "fig1-lines_3D.png" in " ".join(path.name for path in Path("csrl-reproduce").iterdir())


def test_help_lists_them(csrl):
    said = csrl("--help").stdout
    assert "reproduce" in said
    assert "select" in said
    assert cli_experiments.reproduce is not None
