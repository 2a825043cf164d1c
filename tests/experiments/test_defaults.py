"""``csrl reproduce defaults``: its data sets, its table, and what it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import error_of, listing, run

from csrl_core.cli import experiments as cli_experiments  # noqa: F401 (whose commands these are)
from csrl_core.experiments import defaults
from csrl_core.experiments import defaults_summary as summary
from csrl_core.experiments.defaults_sets import SETS


@pytest.fixture
def csrl(tmp_path, monkeypatch):
    """Run a command inside an empty folder; asserts the exit code."""
    monkeypatch.chdir(tmp_path)
    return run


def test_the_sets_are_many_and_varied():
    assert len(SETS) >= 24
    assert sum(problem.available for problem in SETS.values()) >= 24  # also where no files are there
    sizes = set()
    for name, problem in SETS.items():
        if not problem.available:
            continue
        X, y, k = problem.load(0)
        assert X.dtype == np.float64 and np.isfinite(X).all()
        assert (len(X),) == y.shape and k == len(np.unique(y)) == y.max() + 1 >= 2
        if problem.binary:
            assert X.min() >= 0 and X.max() <= 1
        assert problem.name == name
        sizes.add((X.shape, k))
    assert len(sizes) >= 15


@pytest.mark.parametrize("name", ["Bernoulli, sparse", "Gaussian, stretched", "planes, near", "triangle"])
def test_a_seed_is_a_draw(name):
    problem = SETS[name]
    np.testing.assert_array_equal(problem.load(1)[0], problem.load(1)[0])
    assert np.abs(problem.load(1)[0] - problem.load(2)[0]).max() > 0


def test_a_run_measures_the_model_and_its_start():
    (job,) = defaults.jobs(["parallel_line"], ["TAE"], repetitions=1, backend="numpy")
    made = defaults.make_run(job)
    assert made.key == job.key == ("parallel_line", "TAE", 0)
    assert (made.n, made.d, made.k) == (150, 5, 2)
    assert made.ARI > 0.95 > 0.5 > made.ARI_start
    assert made.ARI_start == pytest.approx(made.ARI_k_means, abs=0.05)
    assert made.smallest >= 70 and made.n_warnings == 0


def test_the_command_makes_what_is_missing(csrl):
    arguments = ("reproduce", "defaults", "--data", "iris", "--model", "TAE", "--jobs", "1", "--backend", "numpy")
    first = csrl(*arguments, "--repetitions", "1")
    assert "1 runs, 0 of them" in first.stdout
    second = csrl(*arguments, "--repetitions", "2")
    assert "2 runs, 1 of them" in second.stdout
    assert "TAE   1 sets: mean ARI 0.9" in second.stdout
    assert "more than 0.05 below its start: nowhere" in second.stdout
    folder = Path("csrl-reproduce")
    assert {"defaults-runs.csv", "defaults.csv", "defaults.md"} <= {path.name for path in folder.iterdir()}
    assert len((folder / "defaults-runs.csv").read_text().splitlines()) == 3
    table = (folder / "defaults.md").read_text().splitlines()
    assert table[0] == "| | n, d, k | k-means | TAE | its start |"
    assert table[2].startswith("| iris | 150, 4, 3 | 0.73 | **0.9")


def test_what_the_command_refuses(csrl):
    said = error_of(csrl("reproduce", "defaults", "--data", "irises", code=2))
    assert "--data 'irises' is not one of 'Bernoulli, two', " in said
    said = error_of(csrl("reproduce", "defaults", "--model", "TVAE", code=2))
    assert "--model 'TVAE' is not one of 'TAE', 'PTAE', 'TRBM'" in said
    said = error_of(csrl("reproduce", "fig2", "--model", "TAE", code=2))
    assert "--model is an option of defaults, not of fig2" in said
    assert listing() in ([], ["csrl-reproduce"])


RUN = defaults.Run(*("a", "TAE", 0, 100, 3, 2), 0.9, 0.5, 0.6, -1.0, 40, 0, 0, 1.0)


def test_the_summary_says_where_it_lost():
    runs = [RUN, replace(RUN, seed=1, ARI=0.8), replace(RUN, data="b", ARI=0.3, smallest=0, n_warnings=2)]
    rows = summary.summarise(runs)
    assert [(row.data, row.seeds, row.ARI, row.lost) for row in rows] == [
        ("a", 2, pytest.approx(0.85), False),
        ("b", 1, pytest.approx(0.3), True),
    ]
    assert rows[0].ARI_se == pytest.approx(0.05)
    text = list(summary.lines(rows))
    assert text[0].startswith(
        "TAE   2 sets: mean ARI 0.575, its start 0.500, k-means 0.600; 1 with an empty cluster, 1 "
    )
    assert text[1].endswith("b (0.30, start 0.50)")
    assert summary.markdown(rows).splitlines()[2:] == [
        "| a | 100, 3, 2 | 0.60 | **0.85** ± 0.05 | 0.50 |",
        "| b | 100, 3, 2 | 0.60 | ~~0.30~~ | 0.50 |",
        "| mean | | 0.600 | 0.575 | 0.500 |",
    ]


def test_the_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    summary.draw(tmp_path / "defaults.png", summary.summarise([RUN, replace(RUN, model="PTAE", ARI=0.4)]))
    assert (tmp_path / "defaults.png").stat().st_size > 1000
