"""Figure 5 in small: what a run measures is what it says, a rerun makes what is missing, and what it must reach."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from cli_helpers import error_of
from cli_helpers import run as csrl

from csrl_core import TensorizedRBM, datasets, metrics
from csrl_core.estimators.uncentred import uncentred
from csrl_core.experiments import fig5
from csrl_core.experiments.fig5 import MACHINES, PROBLEMS, SAME_SIZE, Run, binary, jobs, make_run
from csrl_core.experiments.fig5_summary import GAIN, Images, complete, draw, lines, missing, summarise, table
from csrl_core.training.loop import NonFiniteLossError

SMALL = {"steps": (1,), "repetitions": 1, "epochs": 20, "n_hidden": 12, "ais_betas": 8, "ais_chains": 6}
SMALL |= {"data": "digits", "backend": "numpy"}


@pytest.fixture(scope="module")
def made():
    """(Run, images) of every machine, by (version, model)."""
    return {(job.version, job.model): make_run(job) for job in jobs(**SMALL)}


def enumerated(model, X):
    """log Σ_j π_j p_j(x) of binary rows by summing over all visible states, from `free_energy` alone."""
    d = X.shape[1]
    states = np.array(np.meshgrid(*[[0.0, 1.0]] * d)).reshape(d, -1).T
    share = model.state_["totals"] / model.state_["totals"].sum()
    log_z = np.logaddexp.reduce(-model.free_energy(states), axis=0)
    return np.logaddexp.reduce(np.log(share) - model.free_energy(X) - log_z, axis=1)


# -------------------------------------------------------------------------------------------------- runs


def test_all_machines_steps_and_repetitions():
    listed = jobs()
    assert len({job.key for job in listed}) == len(listed) == 5 * 5 * len(MACHINES)
    assert {(job.gibbs_steps, job.epochs) for job in listed} == {(1, 15), (2, 15), (5, 10), (10, 15), (20, 10)}
    assert {job.n_hidden for job in listed if job.model != SAME_SIZE} == {500}
    assert {job.version for job in jobs(("ours",))} == {"ours", "standard"}
    papers = next(job for job in listed if job.version == "papers")
    wanted = {"n_clusters": 2, "assignment": "cd", "center": True, "standing_epochs": 0}
    assert papers.arguments == wanted | {"update": "assign-then-step", "init": "k-means++"}


def test_images_of_training_and_test_are_different_ones():
    problem = PROBLEMS["digits"]
    (X, y), (T, t) = problem.load(3)
    assert np.bincount(y).tolist() == [100, 100]
    assert np.bincount(t).tolist() == [75, 75]
    assert 0 <= X.min() < X.max() <= 1
    rows = {row.tobytes() for row in X}
    assert not rows & {row.tobytes() for row in T}
    assert t[:10].tolist() == [0, 1] * 5  # those of a picture
    (other, _), _ = problem.load(4)
    assert not np.array_equal(X, other)


def test_a_run_measures_what_it_says(made):
    problem = PROBLEMS["digits"]
    (X, y), (T, t) = problem.load(0)
    arguments = {"n_hidden": 12, "epochs": 20, "ais_betas": 8, "ais_chains": 6, "random_state": 0, "backend": "numpy"}
    arguments |= {"init": "k-means", "standing_epochs": 1, "ais_every": 5, "weight_decay": 0.0}
    model = TensorizedRBM(n_clusters=2, learning_rate=0.01, **arguments).fit(X)
    run, (pictures, own) = made["ours", "TRBM"]
    wanted = metrics.adjusted_rand_index(y, model.labels_), metrics.adjusted_rand_index(t, model.predict(T))
    assert (run.ARI, run.ARI_test) == wanted
    assert (run.loss_first, run.loss_last) == (model.loss_curve_[0], model.loss_curve_[-1])
    assert run.error_own == pytest.approx(np.mean((model.reconstruct(T) - T) ** 2), rel=1e-6)
    Z = model.transform_all(T)
    errors = [np.mean((model.inverse_transform(Z[:, j], np.full(len(T), j)) - T) ** 2) for j in range(2)]
    assert set(model.labels_) == {0, 1}
    zeros = np.argmax([np.mean(y[model.labels_ == j] == 0) for j in range(2)])  # cluster one
    assert [run.error_first, run.error_second] == pytest.approx([errors[zeros], errors[1 - zeros]], rel=1e-6)
    np.testing.assert_array_equal(pictures[0], T[:10])
    np.testing.assert_array_equal(own, (model.predict(T[:10]) == np.array([[zeros], [1 - zeros]])))
    model.estimate_log_partition()
    assert run.log_likelihood == model.score(binary(X))
    assert run.log_likelihood_test == model.score(binary(T))
    assert run.pseudo_likelihood_test == model.pseudo_likelihood(binary(T)).mean()


def test_one_machine_of_two_machines_size(made):
    sizes = {key: run.parameters for key, (run, _) in made.items()}
    assert sizes["standard", SAME_SIZE] == sizes["ours", "TRBM"] == sizes["papers", "TRBM"] > sizes["standard", "RBM"]
    run, (pictures, own) = made["standard", SAME_SIZE]
    assert (len(pictures), len(own)) == (2, 1)
    assert np.isnan(run.error_second)
    assert run.error_first == run.error_own


def test_a_centred_machine_as_one_uncentred():
    rng = np.random.default_rng(0)
    X = (rng.random((60, 6)) < np.repeat([[0.2], [0.7]], 30, axis=0)).astype(float)
    arguments = {"n_hidden": 3, "epochs": 30, "learning_rate": 0.1, "random_state": 1, "backend": "numpy"}
    model = TensorizedRBM(center=True, ais_chains=300, ais_betas=300, **arguments)
    model.set_params(assignment="cd", standing_epochs=30).fit(X)
    other = uncentred(model)
    assert model.state_["totals"].min() > 0
    # The same energies but for a constant of each cluster, so the same distribution of one unit given the others.
    difference = model.free_energy(X) - other.free_energy(X)
    assert np.ptp(difference, axis=0).max() < 1e-10 * np.abs(difference).max()
    _, error = other.estimate_log_partition()
    exact = enumerated(other, X)
    # Each log Z is within four standard errors of what enumeration gives, and a mixture's no further than the worst.
    np.testing.assert_allclose(other.score_samples(X), exact, atol=4 * error.max(), rtol=0)
    np.testing.assert_allclose(enumerated(model, X), exact, atol=1e-9)
    assert uncentred(other) is other


def test_a_fit_that_diverges_is_a_row_of_nan(monkeypatch, tmp_path):
    def diverge(self, X):
        raise NonFiniteLossError

    monkeypatch.setattr(TensorizedRBM, "fit", diverge)
    job = jobs(**SMALL)[0]
    run, images = make_run(job)
    assert images is None
    assert run.key == job.key
    assert np.isnan([run.ARI, run.log_likelihood_test, run.seconds]).all()
    runs = table(tmp_path / "runs.csv")
    assert missing(runs, [job], Images(tmp_path)) == [job]
    runs.add(run)
    assert missing(table(runs.path), [job], Images(tmp_path)) == []
    (row,) = (row for row in summarise([run, replace(run, repetition=1, ARI=0.5)]) if row.measure == "ARI")
    assert (row.mean, row.repetitions, row.diverged) == (0.5, 1, 1)


# ------------------------------------------------------------------------------------------------- tables


def test_a_rerun_makes_only_what_is_missing(tmp_path, monkeypatch, made):
    calls = []

    def make(job):
        calls.append(job.key)
        return made[job.version, job.model]

    monkeypatch.setattr(fig5, "make_run", make)
    path, images, wanted, seen = tmp_path / "runs.csv", Images(tmp_path), jobs(**SMALL), []
    first = complete(table(path), wanted[:3], images, done=lambda *said: seen.append(said[:2]))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [run.key for run in table(path).runs] == [job.key for job in wanted[:3]]
    everything = complete(table(path), wanted, images)
    assert calls == [job.key for job in wanted]
    # Six digits are kept of what is measured, and all of what tells runs apart.
    for kept, run in zip(everything, [*first, made["standard", SAME_SIZE][0]], strict=True):
        assert kept.key == run.key
        assert kept.log_likelihood_test == pytest.approx(run.log_likelihood_test, rel=1e-5)
    # Without its images a first repetition is made once more.
    images.path(wanted[0].key).unlink()
    complete(table(path), wanted[:1], images)
    assert calls[-1] == wanted[0].key
    assert len(calls) == 5
    assert len(table(path).runs) == len(path.read_text().splitlines()) - 1 == 4
    np.testing.assert_array_equal(images.get(wanted[0].key)[0], made["papers", "TRBM"][1][0])


def test_another_table_is_not_overwritten(tmp_path):
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"runs.csv has other columns than this version writes"):
        table(tmp_path / "runs.csv")
    assert (tmp_path / "runs.csv").read_text() == "a,b\n1,2\n"


def test_means_standard_errors_and_gains(made):
    trbm, same = made["ours", "TRBM"][0], made["standard", SAME_SIZE][0]
    runs = [
        replace(run, repetition=i, log_likelihood_test=value)
        for run, values in ((trbm, (-10.0, -14.0)), (same, (-15.0, -17.0)))
        for i, value in enumerate(values)
    ]
    rows = {(row.model, row.measure): row for row in summarise(runs)}
    row = rows["TRBM", "log_likelihood_test"]
    assert (row.mean, row.standard_error, row.repetitions) == (-12.0, 2.0, 2)  # sd √8, over √2
    gain = rows["TRBM", GAIN]
    assert (gain.mean, gain.standard_error) == (4.0, 1.0)  # 5 and 3: a pair for each repetition
    assert (SAME_SIZE, GAIN) not in rows
    head, _, line, other, _ = lines(summarise(runs))
    assert head == f"K = 1; k-means on the pixels: ARI {trbm.ARI_k_means:.3f} ± 0.000"
    assert line.startswith("  ours     TRBM  ")
    assert "-12.0 ± 2.0" in line
    assert "4.0 ± 1.0" in line
    assert f"{trbm.loss_first:.0f} → {trbm.loss_last:.0f}" in line
    assert "–" in other
    assert max(map(len, [head, line, other])) <= 110


def test_a_picture_has_a_row_for_every_machine_and_cluster(tmp_path, made):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    images = Images(tmp_path)
    for run, drawn in made.values():
        images.put(run.key, drawn)
    (path,) = draw(tmp_path, "fig5-digits", [run for run, _ in made.values()], images)
    assert path.name == "fig5-digits-K1.png"
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert draw(tmp_path, "x", [replace(run, epochs=77) for run, _ in made.values()], images) == []


# -------------------------------------------------------------------------------------------- the command


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["reproduce", "fig5", "--quick", "--data", "digits", "--backend", "numpy", "-o", "out"]
    said = csrl(*arguments).stdout
    assert "fig5       4 runs, 0 of them in out/fig5-digits-quick-runs.csv" in said
    assert "  standard RBM of the TRBM's size" in said
    names = {path.name for path in (tmp_path / "out").iterdir()}
    wanted = {"fig5-digits-quick-runs.csv", "fig5-digits-quick.csv", "fig5-digits-K1.npz", "fig5-digits-quick-K1.png"}
    assert names == wanted
    with (tmp_path / "out" / "fig5-digits-quick.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["measure"] for row in rows} == {column.name for column in Run.__dataclass_fields__.values()} - {
        *("data", "inputs", "version", "model", "gibbs_steps", "repetition", "seed", "epochs", "n_hidden", "ais_betas")
    } | {GAIN}
    assert "4 runs, 4 of them" in csrl(*arguments).stdout
    said = csrl(*arguments, "--inputs", "binary", "--version", "ours").stdout
    assert "3 runs, 0 of them in out/fig5-digits-binary-quick-runs.csv" in said


def test_without_the_data_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(tmp_path / "nowhere"))
    said = error_of(csrl("reproduce", "fig5", code=1))
    assert said == (
        "error: fig5 needs MNIST, whose files are not there; set CSRL_DATA (csrl doctor), or take scikit-learn's own "
        "digits: --data digits"
    )
    assert "--data iris: expected one of mnist, digits" in error_of(csrl("reproduce", "fig5", "--data", "iris", code=2))
    said = error_of(csrl("reproduce", "fig2", "--quick", code=2))
    assert "--quick is an option of fig3, " in said
    assert ", not of fig2" in said
    said = error_of(csrl("reproduce", "fig1", "--inputs", "binary", code=2))
    assert said == "error: --inputs is an option of fig5, not of fig1"


# ---------------------------------------------------------------------------------- what it must reach


@pytest.mark.slow
def test_two_machines_find_the_digits_and_beat_one_of_their_size(data_folder):
    found = {}
    for job in jobs(("ours",), steps=(1,), repetitions=1, ais_betas=300):
        if job.model != "RBM":
            found.setdefault(job.model, []).append(make_run(job)[0])
    ours, one = found["TRBM"], found[SAME_SIZE]
    assert np.mean([run.ARI for run in ours]) >= 0.95
    # By far more than the standard errors of annealing, which the sum bounds.
    for mine, its in zip(ours, one, strict=True):
        margin = 4 * (mine.log_likelihood_error + its.log_likelihood_error)
        assert mine.log_likelihood_test > its.log_likelihood_test + margin
        assert abs(mine.loss_last) < abs(mine.loss_first)  # the loss does not run off
