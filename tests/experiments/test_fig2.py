"""Figure 2 in small: every method makes a row, on the data that it says; and what our methods must reach."""

import csv
import dataclasses
import importlib

import numpy as np
import pytest
from sklearn.cluster import KMeans

import csrl_core
from csrl_core import TensorizedAutoencoder, metrics
from csrl_core.cli import reproduce as cli_reproduce
from csrl_core.experiments import fig2
from csrl_core.experiments.authors import authors_draw
from csrl_core.experiments.fig2 import METHODS, jobs, make_run
from csrl_core.experiments.fig2_summary import summarise
from csrl_core.selection import select
from csrl_core.training.loop import NonFiniteLossError


def small(**changes):
    arguments = {"sets": ("iris",), "repetitions": 1, "backend": "numpy", "epochs": 3, "n_init": 1}
    return jobs(**arguments | changes)


def test_all_models_rates_sets_and_repetitions():
    listed = jobs()
    assert len({job.key for job in listed}) == len(listed)
    assert {job.data for job in listed} == set(fig2.SETS)
    assert len(listed) == (6 * 40 + 10) * (1 + 9 * 3) + 7 * 5 * (1 + 7 * 3 + 3)
    assert len(jobs(repetitions=2)) == 7 * 2 * ((1 + 9 * 3) + (1 + 7 * 3 + 3))
    assert {(job.epochs, job.denoising_epochs) for job in listed if job.data == "triangle"} == {(150, 100)}
    assert {(job.epochs, job.denoising_epochs) for job in listed if job.data == "iris"} == {(200, 200)}
    assert {job.n_init for job in listed if job.version == "papers"} == {1}
    assert {job.n_init for job in listed if job.version == "ours"} == {10}


def test_the_experiment_has_its_public_names():
    assert csrl_core.reproduce is importlib.import_module("csrl_core.reproduce") is fig2
    names = "COUNTERPARTS KEY METHODS MIXTURES NOISE PAPERS RATES REG RESTARTS SETS TENSORIZED VERSIONS WIDTH_BY_BIC"
    names += " Job Keyed Method Run authors_draw default_repetitions jobs load make_run"
    assert {*names.split()} <= {*dir(csrl_core.reproduce)}


def test_only_ours_draws_anew():
    of_method = {}
    for job in jobs(sets=("triangle", "iris"), repetitions=7, seed=3):
        assert (job.key[5], job.key[6]) == (job.draw, 3)
        of_method.setdefault((job.version, job.data, job.model, job.learning_rate), []).append(job.draw)
    for (version, data, *_), draws in of_method.items():
        anew = version == "ours" and data == "triangle"
        assert draws == ([3, 4, 5, 6, 7, 8, 9] if anew else [None] * 7)


def test_the_papers_version_is_on_the_authors_draw_and_noise():
    by_model = {
        job.model: job for job in jobs(("papers",), ("triangle",), 1, seed=5) if job.learning_rate in (None, 0.1)
    }
    X, y, noisy = authors_draw("triangle")
    means, others = (KMeans(3, n_init=10, random_state=5).fit(data) for data in (X, noisy))
    made = make_run(by_model["k-means"])
    assert metrics.adjusted_rand_index(y, means.labels_) == made.ARI
    assert made.loss == pytest.approx(means.inertia_ / X.size)
    assert made.error == pytest.approx(np.mean((others.cluster_centers_[others.labels_] - X) ** 2), rel=1e-6)
    made = make_run(by_model["TAE1"])
    arguments = fig2.PAPERS | {"n_clusters": 3, "hidden": (1,), "learning_rate": 0.1, "random_state": 5}
    assert made.loss == TensorizedAutoencoder(epochs=150, **arguments).fit(X).loss_
    assert made.denoising_loss == TensorizedAutoencoder(epochs=100, **arguments).fit(noisy, target=X).loss_
    # Another repetition: other first centres and parameters.
    other = make_run(dataclasses.replace(by_model["TAE1"], repetition=1))
    assert (other.draw, other.loss == made.loss) == (None, False)


@pytest.mark.parametrize("name", ["TAE1", "TAE2", "PTAE"])
def test_components_differ_from_the_papers_models_in_their_start_alone(name):
    methods = {method.name: method for method in METHODS["papers"]}
    plain, other = methods[name].build(3).get_params(), methods[f"{name} components"].build(3).get_params()
    assert (other.pop("start"), other.pop("init")) == ("components", "k-means")
    assert (plain.pop("start"), plain.pop("init")) == ("uniform", "k-means++")
    assert plain == other
    assert fig2.COUNTERPARTS[f"{name} components"] == fig2.COUNTERPARTS[name] == name


def test_a_run_is_made_on_its_draw():
    job = next(job for job in jobs(("ours",), ("orthogonal",), 1) if job.model == "k-means")
    X, y = fig2.load("orthogonal", "ours", 52)
    wanted = ((X - np.array([X[y == j].mean(axis=0) for j in range(2)])[y]) ** 2).mean()
    made = [make_run(dataclasses.replace(job, draw=52, repetition=i)) for i in range(2)]
    # Its k-means has one sample with another class, and a loss that is less than the classes'.
    assert made[0].loss == pytest.approx(made[1].loss)
    assert 0.95 * wanted < made[0].loss < wanted
    assert made[0].error != made[1].error  # the noise is the repetition's


def test_parameter_counts_are_the_papers():
    # lines_3D, d = 6, k = 3.
    wanted = {"AE1": 12, "AE2": 28, "AE3": 36, "TAE1": 36, "TAE2": 84, "PTAE": 36}
    for method in METHODS["papers"][1:]:
        model = method.build(3, epochs=1, backend="numpy", random_state=0).fit(np.eye(6))
        assert len(model.params_) == wanted[fig2.COUNTERPARTS[method.name]], method.name


def test_every_method_makes_a_row():
    for job in small(epochs=2):
        if job.learning_rate in (None, 0.1):
            made = make_run(job)
            assert made.key == job.key
            assert np.isfinite([made.ARI, made.loss, made.score, made.error, made.denoising_loss]).all(), job
            assert (made.parameters > 0) == (job.method.name != "k-means")


def test_a_diverging_rate_is_a_row_of_nan(monkeypatch):
    def diverge(*arguments):
        raise NonFiniteLossError

    monkeypatch.setattr(fig2, "_autoencoder", diverge)
    made = make_run(small()[4])
    assert np.isnan(made.ARI)
    other = dataclasses.replace(made, learning_rate=0.01, ARI=0.5, score=-1.0)
    rows = summarise([made, other])
    assert [row.mean for row in rows if row.panel == "clustering" and row.chosen_by] == [0.5, 0.5]


def test_the_command(tmp_path):
    said = []
    arguments = {"sets": ["iris"], "versions": ("papers", "ours"), "repetitions": 1, "seed": 0, "backend": "numpy"}
    arguments |= {"processes": 1, "epochs": 2, "n_init": 1, "say": said.append}
    assert cli_reproduce.main("fig2", tmp_path, **arguments) == 0
    for name in ("fig2-runs.csv", "fig2.csv", "fig2-papers-clustering.png", "fig2-ours-de-noising.png"):
        assert (tmp_path / name).stat().st_size > 1000
    with (tmp_path / "fig2.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = [row for row in rows if row["chosen_by"] == "objective" and row["panel"] == "clustering"]
    either = {f"{name} either start" for name in ("TAE1", "TAE2", "PTAE")}
    assert {row["model"] for row in chosen} == {m.name for version in METHODS.values() for m in version} | either
    for name in ("TAE1", "TAE1 components"):
        tae = next(row for row in chosen if row["model"] == name and row["version"] == "papers")
        assert (float(tae["theirs"]), tae["repetitions"]) == (0.772, "1")
    before = (tmp_path / "fig2-runs.csv").read_bytes()
    said.clear()
    assert cli_reproduce.main("fig2", tmp_path, **arguments) == 0
    assert (tmp_path / "fig2-runs.csv").read_bytes() == before
    assert "53 runs, 53 of them in" in said[0]


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("CSRL_DATA", raising=False)
    said = []
    arguments = {"versions": ("papers",), "repetitions": 1, "seed": 0, "backend": "numpy", "processes": 1}
    with pytest.raises(FileNotFoundError, match="none of the data sets can be read"):
        cli_reproduce.main("fig2", tmp_path, sets=["penguins", "mnist_5"], say=said.append, **arguments)
    assert [line.split(":")[0] for line in said] == ["skipped    penguins", "skipped    mnist_5"]
    assert all("CSRL_DATA" in line for line in said)
    with pytest.raises(ValueError, match="--data moons is not of the figure; expected some of parallel_line"):
        cli_reproduce.main("fig2", tmp_path, sets=["moons"], say=said.append, **arguments)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    arguments = {"sets": None, "versions": ("papers",), "repetitions": 1, "seed": 0, "backend": "numpy"}
    with pytest.raises(OSError, match="file"):
        cli_reproduce.main("fig2", tmp_path / "file", processes=1, say=print, **arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ------------------------------------------------------------------------------- what the figures must reach


def mean_ari(name, data, repetitions):
    """Mean and standard error of the adjusted Rand index of one of our methods, restarts chosen by the likelihood."""
    wanted = jobs(versions=("ours",), sets=(data,), repetitions=repetitions)
    values = []
    for job in wanted:
        if job.method.name == name:
            X, y = fig2.load(data, "ours", job.repetition)
            k = len(np.unique(y))
            arguments = {"n_init": job.n_init, "random_state": job.repetition}
            if name == fig2.WIDTH_BY_BIC:
                estimator = job.method.build(k, **arguments)
                arguments["hidden"] = select(X, n_clusters=k, latent=(1, 2), estimator=estimator).estimator.hidden
            labels = job.method.build(k, **arguments).fit(X).labels_
            values.append(metrics.adjusted_rand_index(y, labels))
    return np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "bar"),
    [("parallel_line", 0.99), ("orthogonal", 0.99), ("lines_3D", 0.99), ("triangle", 0.95), ("iris", 0.80)],
)
def test_our_clusters(data, bar):
    mean, error = mean_ari(fig2.WIDTH_BY_BIC, data, 5)
    assert mean >= bar
    assert error < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("data", "bar", "repetitions"), [("penguins", 0.75, 5), ("mnist_5", 0.82, 2)])
def test_our_clusters_of_real_data(data, bar, repetitions, data_folder):
    mean, error = mean_ari("exact likelihood", data, repetitions)
    assert mean >= bar
    assert error < 0.02


@pytest.mark.parametrize("data", fig2.MIXTURES)
def test_the_authors_figures_are_reached_from_components(data):
    """Five runs on their draw, rates chosen as they chose them: an index and an error no worse than theirs."""
    wanted = [job for job in jobs(("papers",), (data,), 5) if job.model.endswith("components")]
    rows = [row for row in summarise([make_run(job) for job in wanted]) if row.chosen_by == "measure"]
    rows = [row for row in rows if row.panel in ("clustering", "de-noising, clusters of training")]
    assert len(rows) == 6
    for row in rows:
        assert (row.experiments, row.reaching) == (1, 1.0), (row.panel, row.model, row.mean, row.theirs)
