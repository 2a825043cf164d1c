"""The main job: a small one is checked in every part, the whole one once."""

import csv
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from csrl_core import NonFiniteLossError, TensorizedAutoencoder, datasets, metrics
from csrl_core.cli import demo as cli_demo
from csrl_core.experiments import demo

METHODS = ["k-means", "AE + k-means", "TAE", "PTAE"]
SMALL = {"backend": "numpy", "seed": 0, "repeats": 2, "epochs": 4, "n_init": 2}


def size_of_png(path):
    """(width, height) of a PNG file that begins and ends like one."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content[-8:-4] == b"IEND"
    return struct.unpack(">II", content[16:24])


def table_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check_files(out, names):
    rows = table_of(out / "table.csv")
    assert [(row["data"], row["method"]) for row in rows] == [(name, method) for name in names for method in METHODS]
    for row in rows:
        assert -0.5 <= float(row["ARI"]) <= 1
        assert 0 <= float(row["NMI"]) <= 1
        assert 0 < float(row["ACC"]) <= 1
        assert float(row["loss"]) > 0
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    pictures = ["figure-1.png", *(f"embedding-{name}.png" for name in names)]
    assert sorted(path.name for path in out.iterdir()) == sorted(["table.csv", *pictures])
    for picture in pictures:
        width, height = size_of_png(out / picture)
        assert 1000 <= width <= 3000
        assert 300 <= height <= 2000
    return rows


def test_a_small_demo_shows_and_writes_everything(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    problems = [demo.PROBLEMS[0], demo.PROBLEMS[2]]
    cli_demo.main(tmp_path / "new" / "out", say=print, problems=problems, **SMALL)
    rows = check_files(tmp_path / "new" / "out", ["triangle", "iris"])
    assert [int(row["parameters"]) for row in rows] == [0, 24, 72, 32, 0, 20, 60, 28]
    assert [int(row["repeats"]) for row in rows] == [2] * 8
    shown = capsys.readouterr().out
    said = " ".join(shown.split())
    assert "16 of 16 fits done, iris" in said
    for word in ("triangle", "iris", *METHODS, "±", "Classes were used for the scores only", "done in"):
        assert word in said
    for row in rows:
        assert f"{float(row['ARI']):.3f} ± {float(row['ARI_se']):.3f}" in said
    for path in (tmp_path / "new" / "out").iterdir():
        assert str(path) in shown.splitlines()


def test_the_numbers_are_those_of_the_methods():
    problem = demo.PROBLEMS[1]
    runs, fitted, X, y, _ = demo.compare(problem, seed=3, repeat=1, backend="numpy", epochs=6, n_init=2)
    expected_X, expected_y = datasets.make_lines_3d(random_state=4)
    np.testing.assert_array_equal(X, expected_X)
    np.testing.assert_array_equal(y, expected_y)
    by_method = {run.method: run for run in runs}
    assert list(by_method) == METHODS
    losses = {}
    for rate in demo.RATES:
        arguments = {"epochs": 6, "n_init": 2, "backend": "numpy", "random_state": 4, "learning_rate": rate}
        losses[rate] = TensorizedAutoencoder(n_clusters=3, shared=1, reg=0.1, **demo.PAPERS | arguments).fit(X).loss_
    assert by_method["PTAE"].loss == min(losses.values())
    assert by_method["PTAE"].learning_rate == min(losses, key=losses.get)
    model, labels = fitted["TAE"]
    assert metrics.clustering_accuracy(y, labels) == by_method["TAE"].ACC
    means = np.stack([X[y == j].mean(axis=0) for j in range(3)])
    # k-means' loss is per feature too, and no larger than that of the true classes' means.
    assert by_method["k-means"].loss <= np.mean((X - means[y]) ** 2)
    plain, _ = fitted["AE + k-means"]
    assert (plain.n_clusters, plain.center, plain.reg) == (1, False, 0.0)
    assert plain.n_steps_ == model.n_steps_


def test_a_rate_that_diverges_is_left_out():
    X = datasets.load("iris").data
    arguments = {"optimizer": "sgd", "epochs": 20, "backend": "numpy", "random_state": 0, "n_clusters": 3, "reg": 0.0}
    assert demo.fit_by_objective(X, rates=(0.01, 50.0), **arguments).learning_rate == 0.01
    with pytest.raises(NonFiniteLossError):
        demo.fit_by_objective(X, rates=(50.0,), **arguments)


def test_means_and_standard_errors():
    runs = [
        demo.Run("d", "m", i, ari, 0.5, 0.6, 1.0 + i, 7, 0.1 / (1 + 9 * i), 2.0) for i, ari in enumerate([0.2, 0.6])
    ]
    (row,) = demo.summarise(runs)
    assert (row.ARI, row.loss, row.learning_rates, row.repeats) == (pytest.approx(0.4), 1.5, "0.01 0.1", 2)
    assert row.ARI_se == pytest.approx(0.2)  # half the difference of two values
    (row,) = demo.summarise(runs[:1])
    assert np.isnan(row.ARI_se)
    assert "nan" not in str(cli_demo.table([row]).columns[2]._cells)


def test_without_matplotlib_the_table_is_made_and_the_reason_said(tmp_path, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    said = []
    _, files = demo.run(tmp_path, problems=demo.PROBLEMS[:1], say=said.append, **SMALL)
    assert files == [tmp_path / "table.csv"]
    assert any("no pictures" in line and "csrl_core[plot]" in line for line in said)


def test_a_folder_that_cannot_be_made_is_found_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "csrl_core.cli", "demo", "--out", str(tmp_path / "file" / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "file" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_the_whole_demo(tmp_path):
    """As a newcomer runs it, and without real data; TAE beats k-means and the plain autoencoder on the lines."""
    environment = {name: value for name, value in os.environ.items() if name != datasets.DATA_VARIABLE}
    command = [sys.executable, "-m", "csrl_core.cli", "demo", "--out", str(tmp_path), "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "CSRL_DATA" in done.stdout
    rows = check_files(tmp_path, ["triangle", "lines_3D", "iris", "digits_0_4"])
    ari = {(row["data"], row["method"]): float(row["ARI"]) for row in rows}
    assert ari["lines_3D", "TAE"] > max(ari["lines_3D", "k-means"], ari["lines_3D", "AE + k-means"])
    parameters = {(row["data"], row["method"]): int(row["parameters"]) for row in rows}
    assert [parameters["lines_3D", method] for method in METHODS] == [0, 28, 84, 36]
    page, data, shown = Path(__file__).parents[2] / "docs" / "pictures.md", None, {}
    for line in re.findall(r"^ (?:\w+ +|  +)(?:k-means|AE \+|TAE|PTAE) .*", page.read_text(), re.M):
        own, method, *numbers = re.split(r" {2,}", line[1:] if line[1] != " " else f"{data}  {line.strip()}")
        data, shown[own, method] = own, (float(numbers[0][:5]), int(numbers[-2]))
    assert {key: number for key, (_, number) in shown.items()} == parameters
    assert max(abs(shown[key][0] - ari[key]) for key in ari if key[1] == "k-means") < 0.05  # the page's: of three draws
