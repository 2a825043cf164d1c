"""The files of docs/adding_a_model.md, in a copy of the repository, make a stem and a model; nothing is edited."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "adding_a_model.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/]+\.\w+)`\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
FOLDERS = ("csrl_core", "kernels", "reference", "tests", "bench")

USE = """
import numpy as np
from pathlib import Path

import csrl_core
from csrl_core import ClusterLines, datasets, metrics

assert Path(csrl_core.__file__).is_relative_to(Path.cwd()), csrl_core.__file__

X, y = datasets.make_lines_3d(random_state=0)
arguments = {"n_clusters": 3, "epochs": 60, "random_state": 0}
model = ClusterLines(backend="numba", **arguments).fit(X)
assert metrics.adjusted_rand_index(y, model.labels_) > 0.9, metrics.adjusted_rand_index(y, model.labels_)
assert "ClusterLines" in csrl_core.__all__
# At principal axes gradients are roundings, of which Adam makes steps: backends are compared from another start.
one, other = (ClusterLines(backend=name, start="random", **arguments).fit(X) for name in ("numba", "numpy"))
np.testing.assert_array_equal(one.labels_, other.labels_)
np.testing.assert_allclose(one.loss_, other.loss_, rtol=1e-9)
assert np.mean((model.reconstruct(X) - X) ** 2) * X.shape[1] < 1.01 * model.loss_
model.save("lines.safetensors")
loaded = csrl_core.load("lines.safetensors")
assert type(loaded) is ClusterLines
np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
np.savetxt("data.csv", X, delimiter=",", header=",".join(f"x{j}" for j in range(X.shape[1])), comments="")
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository with the page's files."""
    folder = tmp_path_factory.mktemp("copy")
    for name in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__", "results", ".pytest_cache")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_links_of_the_page_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+?)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
    for name in re.findall(r"`((?:csrl_core|bench|docs|tests)/[\w./]+\.\w+)`", PAGE):
        assert "lines" in name or (ROOT / name).exists(), name


def run(folder, *command):
    """What a Python command prints in the copy; it must succeed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    options = {"cwd": folder, "env": environment, "capture_output": True, "encoding": "utf-8", "check": False}
    done = subprocess.run([sys.executable, *command], **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_all_files_and_they_are_new():
    rooms = ["csrl_core/contract/cases", "reference", "kernels/cpu", "kernels/gpu", "csrl_core/models"]
    wanted = [f"{room}/lines.py" for room in [*rooms, "csrl_core/estimators"]]
    assert {*FILES} == {*wanted, "kernels/gpu/lines.cu", "tests/reference/test_lines.py"}
    touched = [name for name in FILES if (ROOT / name).exists()]
    assert len(touched) == 0, touched


def test_its_files_are_formatted_as_all_others_are(copy):
    pytest.importorskip("ruff", reason="ruff is not installed")
    names = [name for name in FILES if name.endswith(".py")]
    run(copy, "-m", "ruff", "check", *names)
    run(copy, "-m", "ruff", "format", "--check", *names)


def test_the_stem_is_found_proved_and_verified(copy):
    run(copy, "-m", "pytest", "-q", "tests/reference/test_lines.py")
    table = run(copy, "-m", "csrl_core.cli", "verify", "--stem", "lines", "--backend", "numba", "--backend", "numpy")
    for function in ("losses", "gradient"):
        rows = [line for line in table.splitlines() if line.startswith(f"lines.{function} ")]
        assert len(rows) == 4  # two backends, two dtypes
        assert all(row.endswith(" ok") for row in rows)
    assert "lines.gradient(directions, X, centers, assign, weights)" in run(
        copy, "-c", "from csrl_core import contract; print(contract.describe('lines'))"
    )


def test_the_device_code_is_verified_by_the_emulator(copy):
    if shutil.which("g++") is None and shutil.which("c++") is None:
        pytest.skip("the emulator needs a C++ compiler")
    table = run(copy, "-m", "csrl_core.cli", "verify", "--stem", "lines", "--backend", "emulated")
    assert table.count(" ok") == 4


COMPILE = """
from csrl_core.kernels.gpu._platform import launch, nvrtc

try:
    nvrtc.library()
except launch.DeviceError as error:
    print(error)
else:
    for dtype in ("float", "double"):
        for architecture in nvrtc.ARCHITECTURES:
            assert nvrtc.cubin(launch.source("lines"), dtype, architecture).startswith(b"\\x7fELF")
    print("compiled")
"""


def test_nvidias_compiler_takes_the_device_code(copy):
    said = run(copy, "-c", COMPILE).strip()
    if said != "compiled":
        pytest.skip(said)


def test_the_contracts_tests_take_the_stem_up(copy):
    tests = ["tests/contract/test_contract.py", "tests/contract/test_cases.py", "tests/contract/test_verify.py"]
    said = run(copy, "-m", "pytest", "-q", "-k", "lines", "-p", "no:cacheprovider", *tests)
    assert int(re.search(r"(\d+) passed", said)[1]) >= 10


def test_a_backend_without_kernels_is_said_and_is_no_error(copy, tmp_path):
    shutil.copytree(copy, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "copy" / "kernels" / "cpu" / "lines.py").unlink()
    said = run(
        tmp_path / "copy",
        "-m",
        "csrl_core.cli",
        "verify",
        "--stem",
        "lines",
        "--backend",
        "numba",
        "--backend",
        "numpy",
    )
    assert "numba has no stem lines: not compared" in said
    assert "numpy" in said and "FAILED" not in said
    said = run(tmp_path / "copy", "-m", "csrl_core.cli", "doctor")
    assert "no kernels of lines" in said


def test_the_estimator_fits_saves_and_loads(copy):
    run(copy, "-c", USE)


def test_the_command_line_has_the_model_and_its_arguments(copy, tmp_path):
    if not (copy / "data.csv").exists():
        run(copy, "-c", USE)
    csrl = "-m", "csrl_core.cli"
    shown = run(copy, *csrl, "fit", "--help")
    assert "lines" in shown and "axes" in shown
    options = ("--model", "lines", "--clusters", "3", "--epochs", "20", "--seed", "0", "--backend", "numpy")
    files = tmp_path / "model.safetensors", tmp_path / "labels.csv"
    run(copy, *csrl, "fit", "data.csv", *options, "--start", "random", "--out", files[0], "--labels", files[1])
    assert len(files[1].read_text().split()) >= 300
    code = f"import csrl_core; model = csrl_core.load({str(files[0])!r}); print(type(model).__name__, model.start)"
    assert run(copy, "-c", code).split() == ["ClusterLines", "random"]
