"""Where the emulator cannot work, and kernels that are called without a backend."""

import subprocess
import sys

import numpy as np
import pytest

from csrl_core import BackendError
from csrl_core import backends as backend
from csrl_core.kernels.gpu import assign
from csrl_core.kernels.gpu._platform import emulator, launch


@pytest.fixture(autouse=True)
def fresh():
    backend.get.cache_clear()
    yield
    backend.get.cache_clear()


def test_no_compiler(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        BackendError, match=r"needs a C\+\+17 compiler: none of g\+\+, clang\+\+, c\+\+ is on PATH; install one"
    ):
        backend.get("emulated")


def test_a_compiler_that_is_not_there(monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/g++")
    with pytest.raises(BackendError, match=r"CXX='/nowhere/g\+\+' names none"):
        backend.get("emulated")


def test_a_compiler_that_fails(monkeypatch, tmp_path):
    compiler = tmp_path / "broken++"
    compiler.write_text("#!/bin/sh\necho no such standard >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("CSRL_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(launch.DeviceError, match=r"(?s)cannot compile assign.cu for this host:\nno such standard"):
        backend.get("emulated").assign.assign(np.ones((2, 2)))


@pytest.mark.parametrize(("name", "order"), [("darwin", "little"), ("win32", "little"), ("linux", "big")])
def test_an_unsupported_host(monkeypatch, name, order):
    monkeypatch.setattr(sys, "platform", name)
    monkeypatch.setattr(sys, "byteorder", order)
    with pytest.raises(
        BackendError, match=f"runs on little-endian Linux only, this is {name} on .*; use backend='numba'"
    ):
        backend.get("emulated")


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CSRL_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(
        launch.DeviceError, match=r"cannot keep compiled code in .*; set CSRL_CACHE_DIR to a folder that it can"
    ):
        backend.get("emulated").assign.assign(np.ones((2, 2)))


def test_code_is_compiled_once(monkeypatch, tmp_path):
    monkeypatch.setenv("CSRL_CACHE_DIR", str(tmp_path))
    text = launch.Source("small", "KERNEL set(real* out) { if (threadIdx.x == 0) out[0] = 1; }")
    first = emulator.compiled(text, np.float32)
    made = first.stat().st_mtime_ns
    assert emulator.compiled(text, np.float32) == first
    assert first.stat().st_mtime_ns == made
    assert emulator.compiled(text, np.float64) != first
    assert len(list(tmp_path.iterdir())) == 2


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("CSRL_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert emulator.cache_folder() == tmp_path / "csrl_core" / "emulator"


def test_kernels_without_a_backend():
    with pytest.raises(launch.DeviceError, match=r"run under a backend: csrl_core.backends.get\('cupy'\).assign"):
        assign.assign(np.ones((2, 2)))


def test_the_portable_fibers_give_the_same(monkeypatch):
    # Where there is no assembly for the machine, the C library changes the stacks.
    monkeypatch.setattr(emulator, "FLAGS", (*emulator.FLAGS, "-DCSRL_PORTABLE"))
    costs = np.random.default_rng(0).normal(size=(300, 5))
    arguments = costs, np.arange(300) % 5, np.ones(300)
    np.testing.assert_allclose(
        backend.get("emulated").assign.objective(*arguments),
        backend.get("numpy").assign.objective(*arguments),
        rtol=1e-12,
    )
    np.testing.assert_array_equal(backend.get("emulated").assign.assign(costs), costs.argmin(axis=1))


def test_nothing_is_imported_before_it_is_needed():
    code = (
        "import sys; from csrl_core import backend; backend.get('numba'); print([m for m in sys.modules if 'gpu' in m])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_arguments_are_converted_to_the_kernels_own_width():
    with pytest.raises(OverflowError):
        backend.get("emulated").philox.integers(-1, np.zeros(2, np.uint32), 0, 0, 0, 5)
    with pytest.raises(TypeError, match=r"assign.nearest: 1 arguments, the kernel has 6"):
        backend.get("emulated")
        token = launch._active.set(backend.get("emulated").platform)
        try:
            launch.launch("assign", "nearest", np.float64, 1, np.ones(3))
        finally:
            launch._active.reset(token)
