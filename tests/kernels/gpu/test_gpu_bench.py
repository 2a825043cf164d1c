"""The benchmark of the CUDA floor says so where there is no device, and its contestants start from one loss."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from csrl_core import BackendError, TensorizedAutoencoder
from csrl_core import backends as backend

BENCH = Path(__file__).resolve().parents[3] / "bench"


@pytest.fixture(autouse=True)
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


def test_without_a_device_it_says_so(monkeypatch, capsys):
    import bench_gpu

    def refuse(name):
        raise BackendError("backend='cupy' needs CuPy")

    monkeypatch.setattr(backend, "get", refuse)
    monkeypatch.setattr(sys, "argv", ["bench_gpu.py"])
    bench_gpu.main()
    assert capsys.readouterr().out == "nothing to measure here: backend='cupy' needs CuPy\n"


def test_every_kernel_can_be_called():
    from bench_gpu import entries

    found = entries(backend.get("emulated"), 200, 8, 3, 1000, peers=False)
    assert {"rbm.bernoulli_units", "rbm.losses_and_gradient", "rbm.ais"} <= {entry.name for entry in found}
    for entry in found:
        entry.call()
        assert entry.bytes > 0 or entry.operations > 0, entry.name


def test_torch_begins_where_we_do():
    torch = pytest.importorskip("torch", reason="torch, the peer of benchmarks, is not installed")
    from bench_gpu_epochs import REG, timed_torch

    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 20), np.float32)
    X -= X.mean(axis=0)
    start = TensorizedAutoencoder(n_clusters=3, hidden=(6, 2), reg=REG, epochs=0, random_state=0, backend="numpy").fit(
        X
    )
    times, first = timed_torch(torch, X, start, 3, None, "cpu", 2)
    np.testing.assert_allclose(first, start.value_and_gradient(X, start.state_["assign"])[0] / 400, rtol=1e-4)
    assert len(times) == 2


def test_machines_learn_alike_before_they_are_timed(monkeypatch):
    import bench_gpu_epochs

    small = [replace(setting, n=200) for setting in bench_gpu_epochs.QUICK_MACHINES]
    monkeypatch.setattr(bench_gpu_epochs, "QUICK_MACHINES", small)
    rows = bench_gpu_epochs.machines(backend.get("numpy"), True, None)
    assert [row["backend"] for row in rows] == ["cupy", "numba"] * 2
    assert rows[0]["over_cupy"] == rows[2]["over_cupy"] == 1
    assert all(row["p20"] > 0 for row in rows)
