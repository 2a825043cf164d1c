"""Figure 4 in small: what a run measures is what it says, and a rerun makes what is missing."""

import csv

import numpy as np
import pytest
from cli_helpers import error_of
from cli_helpers import run as csrl

from csrl_core import datasets, load, metrics
from csrl_core.experiments import fig4
from csrl_core.experiments.runs import RunTable

pytestmark = pytest.mark.skipif(not datasets.available("mnist"), reason="MNIST is not there")
SMALL = {"repetitions": 1, "epochs": 2, "images": 20}
COMMAND = ("reproduce", "fig4", "--quick", "--jobs", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the command makes, once: the jobs of `SMALL`."""
    folder = tmp_path_factory.mktemp("fig4")
    result = csrl(*COMMAND, "--out", folder)
    assert "6 runs, 0 of them in" in result.output
    return folder


@pytest.fixture
def made(folder):
    return table(folder).runs


def table(folder):
    return RunTable(folder / "fig4-quick-runs.csv", fig4.Run)


def test_all_models_with_and_without_class_information(tmp_path):
    listed = fig4.jobs(tmp_path)
    assert len({job.key for job in listed}) == len(listed) == 2 * 5 * 3
    assert {(job.epochs, job.images) for job in listed} == {(100, 200)}
    assert len({job.path for job in listed}) == 6


def test_images_of_training_and_test_are_different_ones():
    (X, y), (T, t) = fig4.draw_images(3)
    assert np.bincount(y).tolist() == np.bincount(t).tolist() == [200] * 5
    assert 0 <= X.min() < X.max() <= 1
    assert not {row.tobytes() for row in X} & {row.tobytes() for row in T}


def test_a_run_measures_what_it_says(made, folder):
    for job in fig4.jobs(folder, **SMALL):
        run = next(run for run in made if run.key == job.key)
        (_, y), (T, t) = fig4.draw_images(0, 20)
        model = load(job.path)
        assert model.class_information == (job.information == "class information")
        assert model.n_clusters == (1 if job.model == "CL" else 5)
        if job.model != "CL":
            assert pytest.approx(metrics.adjusted_rand_index(y, model.labels_)) == run.ARI
            assert run.ARI_test == pytest.approx(metrics.adjusted_rand_index(t, model.predict(T)))


def test_the_baseline_is_trained(made, folder):
    job = next(job for job in fig4.jobs(folder, **SMALL) if job.model == "CL")
    model = load(job.path)
    assert model.n_steps_ > 0
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_only_what_is_missing_is_made_again(folder):
    jobs = fig4.jobs(folder, **SMALL)
    assert table(folder).without_model(jobs) == []
    jobs[0].path.rename(jobs[0].path.with_suffix(".away"))
    assert table(folder).without_model(jobs) == jobs[:1]
    jobs[0].path.with_suffix(".away").rename(jobs[0].path)


def test_command(folder):
    with (folder / "fig4-quick.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == set(fig4.MODELS)
    assert (folder / "fig4.png").stat().st_size > 20_000
    assert "6 runs, 6 of them in" in csrl(*COMMAND, "--out", folder).output


def test_another_data_set_is_refused(tmp_path):
    result = csrl("reproduce", "fig4", "--data", "iris", "--out", tmp_path, code=2)
    assert "--data iris: fig4 is about mnist" in error_of(result)
