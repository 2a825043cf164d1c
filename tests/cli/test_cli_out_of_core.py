"""``csrl fit --out-of-core``: the model is that of a fit in memory."""

from pathlib import Path

import numpy as np
import pytest
from cli_helpers import error_of, run

import csrl_core
from csrl_core.training import sample_files

FIT = ["--epochs", "2", "--batch-size", "4096", "--init", "random", "--seed", "0", "--backend", "numpy"]
X = np.random.default_rng(0).integers(0, 256, (9000, 4)).astype(np.float16)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sample_files, "KEPT", 0)
    np.save("x.npy", X)


@pytest.mark.parametrize("scaling", [["--scale", "minmax"], ["--standardize"]])
def test_the_model_is_that_of_a_fit_in_memory(scaling):
    models = []
    for name, more in (("held", []), ("mapped", ["--out-of-core"])):
        options = ["--start", "uniform", "--assignment", "loss", *FIT, *scaling, *more]
        said = run("fit", "x.npy", "-o", name, "--labels", f"{name}.npy", *options)
        models.append(csrl_core.load(name))
    assert "9000 rows × 4 columns, read as rows are needed" in said.stdout
    assert "rows/s" in said.stderr
    for attribute in ("params_", "loss_curve_", "labels_"):
        np.testing.assert_array_equal(*(getattr(model, attribute) for model in models))
    np.testing.assert_array_equal(models[0].scaling_.scale, models[1].scaling_.scale)
    np.testing.assert_array_equal(np.load("held.npy"), np.load("mapped.npy"))


def test_what_is_wrong_is_said():
    Path("x.csv").write_text("1,2\n3,4\n")
    bad = X.copy()
    bad[8500, 1] = np.nan
    np.save("bad.npy", bad)
    out = "--out-of-core", "-o", "m"
    assert "neither an NPY nor an IDX file" in error_of(run("fit", "x.csv", *out, code=1))
    assert "bad.npy contains NaN: row 8500, column 1" in error_of(run("fit", "bad.npy", *out, *FIT, code=1))
    assert "--label-column is not for --out-of-core" in error_of(
        run("fit", "x.npy", *out, "--label-column", "x0", code=2)
    )
    assert "got data:iris" in error_of(run("fit", "data:iris", *out, code=2))
