"""``--dask ADDRESS``: fits, answers and ``csrl doctor`` with the workers of a cluster."""

import sys
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import error_of, run

distributed = pytest.importorskip("distributed", reason="distributed is not installed: pip install 'csrl_core[dask]'")

import csrl_core  # noqa: E402
from csrl_core.training import sample_files  # noqa: E402
from csrl_core.training.dask import cluster as clusters  # noqa: E402
from csrl_core.training.dask import examination  # noqa: E402

FIT = ["--epochs", "2", "--batch-size", "4096", "--init", "random", "--seed", "0", "--backend", "numpy"]
FIT += ["--start", "uniform", "--assignment", "loss"]
X = np.random.default_rng(0).integers(0, 256, (9000, 4)).astype(np.float16)


@pytest.fixture(scope="module")
def address():
    """A scheduler of two workers in this process."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options, protocol="tcp://", host="127.0.0.1", silence_logs=50) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sample_files, "KEPT", 0)
    np.save("x.npy", X)
    np.savetxt("x.csv", X[:300], delimiter=",", header="a,b,c,d", comments="")


@pytest.mark.parametrize(
    ("source", "how"),
    [("x.npy", "16 partitions of 563 rows, read by the workers"), ("x.csv", "16 partitions of 19 rows, sent to")],
)
def test_models_and_tables_are_those_of_one_machine(source, how, address):
    models = []
    for name, more in (("held", []), ("spread", ["--dask", address])):
        outputs = "-o", name, "--labels", f"{name}.npy", "--embedding", f"{name}-z.npy"
        said = run("fit", source, *outputs, *FIT, "--scale", "minmax", *more).stdout
        models.append(csrl_core.load(name))
        run("predict", name, source, "-o", f"{name}-p.npy", *more)
        run("transform", name, source, "-o", f"{name}-t.npy", *more)
    assert f"cluster    {address}: 2 workers, 2 threads" in said
    assert how in said
    for attribute in ("params_", "loss_curve_"):
        np.testing.assert_allclose(*(getattr(model, attribute) for model in models), rtol=1e-5, atol=1e-6)
    for kind in ("", "-p", "-z", "-t"):
        pair = (np.load(f"{name}{kind}.npy") for name in ("held", "spread"))
        np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(models[0].scaling_.scale, models[1].scaling_.scale)


def test_a_value_that_is_not_finite_is_named(address):
    bad = X.copy()
    bad[8500, 1] = np.nan
    np.save("bad.npy", bad)
    for command in (["fit", "bad.npy", *FIT], ["predict", "m", "bad.npy"]):
        out = "m" if command[0] == "fit" else "p.npy"
        said = error_of(run(*command, "-o", out, "--dask", address, code=1))
        assert "bad.npy contains NaN: row 8500, column 1" in said
        run("fit", "x.npy", "-o", "m", *FIT)


def test_a_cluster_that_cannot_compute_is_told(address, monkeypatch):
    monkeypatch.setattr(clusters, "REACHED", 0.2)
    fit = "fit", "x.npy", "-o", "m", *FIT, "--dask"
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in error_of(run(*fit, "tcp://127.0.0.1:9", code=1))
    assert "expected the address of a scheduler" in error_of(run(*fit, "nonsense", code=2))
    assert "--out-of-core is for one machine" in error_of(run(*fit, address, "--out-of-core", code=2))
    monkeypatch.setattr(clusters, "REACHED", 4)
    monkeypatch.setattr(clusters, "__version__", "0.0.1")
    assert "Dask workers need csrl_core 0.0.1" in error_of(run(*fit, address, code=1))
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'csrl_core[dask]'" in error_of(run(*fit, address, code=1))
    assert not Path("m").exists()


def test_the_doctor_names_workers_with_other_versions(address, monkeypatch):
    from csrl_core import doctor

    monkeypatch.setattr(doctor, "examine", doctor.dask_cluster)  # other tests run the rest
    assert doctor.dask_cluster() == {}
    said = run("doctor", "--dask", address).stdout
    assert "✓ scheduler" in said
    assert f"{address}, 2 workers" in said
    assert said.count("1 thread") == 2
    monkeypatch.setattr(examination, "__version__", "0.0.1")
    said = run("doctor", "--dask", address, code=1).stdout
    assert said.count(f"csrl_core {csrl_core.__version__}, here 0.0.1") == 2
    monkeypatch.setattr(clusters, "REACHED", 0.2)
    assert "✗ scheduler  no Dask scheduler answers" in run("doctor", "--dask", "tcp://127.0.0.1:9", code=1).stdout
