"""Fixtures: data sets, whose real data lie outside the project, and a stand-in for CuPy."""

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest

# Threads of OpenMP that wait would spin, and take the cores from the other test process: one t-SNE of 100 points has
# cost 5.3 s of CPU rather than 0.5. Read when scikit-learn is imported, and by processes that tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection():
    gc.disable()


def pytest_collection_finish():
    """What is imported and collected stays to the end: the garbage collector need not look through it again.

    It took 1.7 s of 8 of collecting, and with Python's thresholds 2 s of 22 of tests that compile, now 1.1 s.
    """
    gc.freeze()
    gc.set_threshold(20_000, 10, 50)
    gc.enable()


@pytest.fixture
def data_folder():
    """The folder that CSRL_DATA names; the test is skipped where there is none."""
    folder = os.environ.get("CSRL_DATA")
    if not folder:
        pytest.skip("CSRL_DATA is not set: this test needs the real data sets (see csrl_core.datasets)")
    return Path(folder)


@pytest.fixture
def check_bunch():
    """Assert that a loaded data set is whole and has this shape and these class sizes."""

    def check(bunch, name, shape, counts):
        assert bunch.name == name
        assert bunch.data.shape == shape
        assert bunch.data.dtype == np.float64
        assert np.isfinite(bunch.data).all()
        assert bunch.target.dtype == np.int64
        assert np.bincount(bunch.target).tolist() == counts
        assert len(bunch.feature_names) == shape[1] == len(set(bunch.feature_names))
        assert len(bunch.target_names) == len(counts) == len(set(bunch.target_names))
        assert bunch.source
        assert bunch.licence

    return check


@pytest.fixture
def use(monkeypatch):
    """Puts a stand-in in CuPy's place."""
    import cupy_double

    from csrl_core import backends as backend
    from csrl_core.kernels.gpu._platform import device

    def put(module=None, wheels=None, **options):
        module = module or cupy_double.make(**options)
        monkeypatch.setitem(sys.modules, "cupy", module)
        monkeypatch.setattr(device, "wheels", lambda: {"cupy-cuda12x": "14.0.0"} if wheels is None else wheels)
        clear()
        return module

    def clear():
        backend.get.cache_clear()
        device.device.cache_clear()

    yield put
    clear()


@pytest.fixture
def one_order(monkeypatch):
    """Backend "emulated" runs threads in one order: that no kernel hangs on it is tested kernel by kernel, in three."""
    from csrl_core import backends

    monkeypatch.setattr(backends.get("emulated").platform, "orders", ("forward",))


@pytest.fixture
def cupy(use):
    """The stand-in."""
    return use()
