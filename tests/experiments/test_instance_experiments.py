"""``csrl reproduce idfd`` and ``cidfd`` in small: runs measure what they say, and a rerun makes what is missing."""

import csv

import numpy as np
import pytest
from cli_helpers import error_of
from cli_helpers import run as csrl

from csrl_core import datasets, load, metrics
from csrl_core.experiments import cidfd, idfd, instance_summary
from csrl_core.experiments.runs import RunTable

pytestmark = pytest.mark.skipif(not datasets.available("mnist"), reason="MNIST is not there")
SMALL = {"repetitions": 1, "epochs": 2}


def test_all_sets_models_and_repetitions(tmp_path):
    listed = idfd.jobs(tmp_path, idfd.SETS)
    assert len({job.key for job in listed}) == len(listed) == 2 * 3 * 3
    assert {(job.model, job.epochs) for job in listed} == {(idfd.K_MEANS, 0), *idfd.EPOCHS.items()}
    listed = cidfd.jobs(tmp_path, repetitions=2, epochs=7)
    assert len({job.key for job in listed}) == len(listed) == 4 * 2
    assert {job.epochs for job in listed if job.model in cidfd.NETWORKS} == {7}


def test_a_run_measures_what_it_says(tmp_path):
    job = next(job for job in idfd.jobs(tmp_path, ["mnist"], **SMALL, images=150) if job.model == idfd.CONV)
    run, model, (X, y) = idfd.make_run(job), load(job.path), idfd.load_images("mnist", 150)
    assert metrics.clustering_accuracy(y, model.labels_) == run.ACC
    assert (run.loss, model.architecture) == (model.loss_, "conv")
    looks = [tuple(map(float, look.split(":"))) for look in run.curve.split()]
    assert len(looks) == 2
    assert 0 < looks[0][0] < looks[1][0] <= run.seconds + 0.01
    accuracy = metrics.clustering_accuracy(y, idfd.k_means(model.transform(X), 1, 3))
    assert looks[-1][1] == pytest.approx(accuracy, abs=1e-4)


def test_samples_are_digits_on_patches_and_the_background_is_patches():
    X, y, background = cidfd.draw(3, 200, 100)
    assert (X.shape, y.shape, background.shape) == ((200, 784), (200,), (100, 784))
    assert X.dtype == np.float32
    assert background.mean() == pytest.approx(0, abs=1e-4)
    assert background.std() == pytest.approx(1, abs=1e-4)
    again, other = cidfd.draw(3, 200, 100), cidfd.draw(4, 200, 100)
    np.testing.assert_array_equal(again[0], X)
    assert not np.array_equal(other[0], X)
    assert not {row.tobytes() for row in X} & {row.tobytes() for row in background}
    assert X[:, 14 * 28 + 14].mean() > background[:, 14 * 28 + 14].mean() + 0.3  # digits are in the middle
    assert X[:, 0].mean() < background[:, 0].mean() + 0.3


def test_the_share_that_the_background_explains():
    random = np.random.default_rng(0)
    B, noise = random.normal(size=(500, 3)), random.normal(size=(500, 2))
    assert cidfd.share_explained(B @ random.normal(size=(3, 2)) + 1, B) == pytest.approx(1)
    assert cidfd.share_explained(noise, B) < 0.05


def test_a_rerun_makes_what_is_missing_and_the_summary_is_means(tmp_path):
    listed = cidfd.jobs(tmp_path, repetitions=2, epochs=1, samples=60, patches=40)
    table = RunTable(tmp_path / "runs.csv", cidfd.Run)
    for job in listed:
        table.add(cidfd.make_run(job))
    table = RunTable(tmp_path / "runs.csv", cidfd.Run)
    assert instance_summary.missing(table, listed) == []
    kept = next(job for job in listed if job.model == cidfd.AGAINST and job.repetition == 0)
    kept.path.unlink()
    assert instance_summary.missing(table, listed) == [kept]
    rows = {(row.model, row.measure): row for row in instance_summary.summarise(table.runs)}
    own = [run.ACC for run in table.runs if run.model == cidfd.CENTRED]
    assert rows[cidfd.CENTRED, "ACC"].mean == pytest.approx(np.mean(own))
    assert rows[cidfd.AGAINST, "explained"].repetitions == 2
    assert (cidfd.ALONE, "explained") not in rows
    text = "\n".join(instance_summary.lines(rows.values()))
    assert f"{rows[cidfd.CENTRED, 'ACC'].mean:.3f} ± " in text


@pytest.mark.parametrize(
    ("name", "pictures", "models"), [("idfd", ["idfd-mnist.png"], idfd.MODELS), ("cidfd", ["cidfd.png"], cidfd.MODELS)]
)
def test_commands(name, pictures, models, tmp_path):
    words = ["reproduce", name, "--quick", "--out", tmp_path, "--backend", "numpy"]
    words += ["--data", "mnist"] * (name == "idfd")
    result = csrl(*words)
    assert result.exit_code == 0, result.output
    with (tmp_path / f"{name}-quick.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {*models}
    for picture in pictures:
        assert (tmp_path / picture).stat().st_size > 20_000
    assert f"{len(models)} runs, {len(models)} of them in" in csrl(*words).output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["idfd", "--data", "iris"], "--data iris is not of the experiment; expected some of mnist, fashion_mnist"),
        (["cidfd", "--data", "mnist"], "--data is an option of other experiments; cidfd has its own data"),
    ],
)
def test_data_of_other_experiments_are_refused(words, message, tmp_path):
    assert message in error_of(csrl("reproduce", *words, "--out", tmp_path, code=2))
