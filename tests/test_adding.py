"""The files of docs/adding_a_model.md, in a copy of the repository, make a stem and a model; nothing is edited."""

import json
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


# Commands and code one after the other in one process, as each would import the same: what each said, or why it failed.
STEPS = """
import contextlib
import io
import json
import sys
import traceback

from typer.testing import CliRunner

from csrl_core.cli.app import app


def csrl(*words):
    result = CliRunner().invoke(app, words)
    if result.exit_code:
        raise RuntimeError(result.output) from result.exception
    return result.output


def python(code):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "step", "exec"), {})
    return said.getvalue()


said = {}
for name, words in json.loads(sys.argv[1]).items():
    try:
        said[name] = "ok " + (csrl(*words) if isinstance(words, list) else python(words))
    except BaseException:
        said[name] = traceback.format_exc()
print(json.dumps(said))
"""
VERIFY = ["verify", "--stem", "lines", "--backend", "numba", "--backend", "numpy"]
FIT = ["fit", "data.csv", "--model", "lines", "--clusters", "3", "--epochs", "20", "--seed", "0", "--backend", "numpy"]
FIT += ["--start", "random", "--out", "fitted.safetensors", "--labels", "labels.csv"]
LOADED = "import csrl_core; model = csrl_core.load('fitted.safetensors'); print(type(model).__name__, model.start)"


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


def steps(folder, **wanted):
    """What the steps said, each of which must succeed; a step: a command's words, or code."""
    said = json.loads(run(folder, "-W", "ignore", "-c", STEPS, json.dumps(wanted)))
    assert all(text.startswith("ok ") for text in said.values()), "\n".join(said.values())
    return {name: text.removeprefix("ok ") for name, text in said.items()}


def test_the_stem_is_found_and_verified(copy):
    emulated = ["--backend", "emulated"] if shutil.which("g++") or shutil.which("c++") else []
    describe = "from csrl_core import contract; print(contract.describe('lines'))"
    said = steps(copy, verify=VERIFY + emulated, describe=describe)
    for function in ("losses", "gradient"):
        rows = [line for line in said["verify"].splitlines() if line.startswith(f"lines.{function} ")]
        assert len(rows) == 2 * (3 if emulated else 2)  # dtypes and backends
        assert all(row.endswith(" ok") for row in rows)
    assert "lines.gradient(directions, X, centers, assign, weights)" in said["describe"]


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


def test_it_is_proved_and_the_contracts_tests_take_it_up(copy):
    tests = ["tests/contract/test_contract.py", "tests/contract/test_cases.py", "tests/contract/test_verify.py"]
    tests += ["tests/reference/test_lines.py"]
    said = run(copy, "-m", "pytest", "-v", "-k", "lines", "-p", "no:cacheprovider", *tests)
    assert int(re.search(r"(\d+) passed", said)[1]) >= 10
    assert re.search(r"test_lines.py::\w+ PASSED", said)


def test_a_backend_without_kernels_is_said_and_is_no_error(copy, tmp_path):
    shutil.copytree(copy, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "copy" / "kernels" / "cpu" / "lines.py").unlink()
    said = steps(tmp_path / "copy", verify=VERIFY, doctor=["doctor"])
    assert "numba has no stem lines: not compared" in said["verify"]
    assert "numpy" in said["verify"] and "FAILED" not in said["verify"]
    assert "no kernels of lines" in said["doctor"]


def test_the_estimator_fits_saves_and_loads_and_is_a_model_of_the_command_line(copy):
    said = steps(copy, use=USE, help=["fit", "--help"], fit=FIT, loaded=LOADED)
    assert "lines" in said["help"] and "axes" in said["help"]
    assert len((copy / "labels.csv").read_text().split()) >= 300
    assert said["loaded"].split() == ["ClusterLines", "random"]
