"""Figure 3 in small: what a run measures is what it says, and a rerun makes what is missing."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from cli_helpers import error_of
from cli_helpers import run as csrl

from csrl_core import datasets, load, metrics
from csrl_core.experiments import fig3, fig3_summary
from csrl_core.experiments.runs import RunTable

pytestmark = pytest.mark.skipif(not datasets.available("mnist"), reason="MNIST is not there")
SMALL = {"versions": ("ours",), "sets": ("mnist",), "repetitions": 2, "epochs": 2, "images": 20}
COMMAND = ("reproduce", "fig3", "--quick", "--version", "ours", "--data", "mnist", "--jobs", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the command makes, once: the first repetition of `SMALL`."""
    folder = tmp_path_factory.mktemp("fig3")
    assert "2 runs, 0 of them in" in csrl(*COMMAND, "--out", folder).output
    return folder


@pytest.fixture(scope="module")
def made(folder):
    return fig3_summary.complete(table(folder), fig3.jobs(folder, **SMALL), n_processes=1)


def table(folder):
    return RunTable(folder / "fig3-quick-runs.csv", fig3.Run)


def test_all_versions_sets_repetitions_and_models(tmp_path):
    listed = fig3.jobs(tmp_path, ("papers", "ours"), ("mnist", "fashion_mnist"))
    assert len({job.key for job in listed}) == len(listed) == 2 * 2 * 5 * 2
    assert {(job.version, job.epochs) for job in listed} == {("papers", 200), ("ours", 100)}
    assert {job.images for job in listed} == {200}


def test_images_of_training_and_test_are_different_ones():
    (X, y), (T, t) = fig3.draw_images("mnist", 3)
    assert [np.bincount(y)[[0, 1, 9]].tolist(), np.bincount(t)[[0, 1, 9]].tolist()] == [[200] * 3, [100] * 3]
    assert 0 <= X.min() < X.max() <= 1
    assert not {row.tobytes() for row in X} & {row.tobytes() for row in T}
    (other, _), _ = fig3.draw_images("mnist", 4)
    assert not np.array_equal(X, other)


def test_a_run_measures_what_it_says(made, folder):
    job = next(job for job in fig3.jobs(folder, **SMALL) if job.model == "TVAE")
    run = next(run for run in made if run.key == job.key)
    (_, y), (T, t) = fig3.draw_images("mnist", 0, 20)
    model = load(job.path)
    assert pytest.approx(metrics.adjusted_rand_index(y, model.labels_)) == run.ARI
    assert run.ARI_test == pytest.approx(metrics.adjusted_rand_index(t, model.predict(T)))
    assert run.bound_test == pytest.approx(np.mean(model.score_samples(T)), rel=1e-6)
    assert run.loss == pytest.approx(model.loss_)
    assert model.n_clusters == 3


def test_only_what_is_missing_is_made_again(made, folder):
    there, jobs = table(folder), fig3.jobs(folder, **SMALL)
    assert there.without_model(jobs) == []
    jobs[0].path.rename(jobs[0].path.with_suffix(".away"))
    assert there.without_model(jobs) == jobs[:1]  # the picture's model
    jobs[0].path.with_suffix(".away").rename(jobs[0].path)
    assert there.without_model([replace(jobs[0], seed=9)]) == [replace(jobs[0], seed=9)]


def test_the_summary_is_means_and_what_is_gained(made):
    rows = {(row.model, row.measure): row for row in fig3_summary.summarise(made)}
    tensorized, standard = ([run.bound_test for run in made if run.model == name] for name in ("TVAE", "VAE"))
    gain = rows["TVAE", fig3_summary.GAIN]
    assert gain.mean == pytest.approx(np.mean(np.subtract(tensorized, standard)))
    assert gain.repetitions == 2
    assert ("VAE", fig3_summary.GAIN) not in rows
    text = "\n".join(fig3_summary.lines(rows.values()))
    assert f"{rows['TVAE', 'ARI'].mean:.3f} ± {rows['TVAE', 'ARI'].standard_error:.3f}" in text


def test_command(folder):
    with (folder / "fig3-quick.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {"VAE", "TVAE"}
    assert (folder / "fig3-mnist-ours.png").stat().st_size > 20_000
    again = csrl(*COMMAND, "--out", folder)
    assert "2 runs, 2 of them in" in again.output


def test_another_data_set_is_refused(tmp_path):
    result = csrl("reproduce", "fig3", "--data", "iris", "--out", tmp_path, code=2)
    assert "--data iris is not of the figure; expected some of mnist, fashion_mnist" in error_of(result)
