"""What an installation contains, what importing costs, and what kernels may import."""

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import csrl_core

ROOT = Path(__file__).resolve().parents[1]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_importing_the_package_loads_nothing_heavy():
    result = run(
        "import sys, csrl_core; dir(csrl_core); "
        "print([m for m in ('numpy', 'scipy', 'sklearn', 'numba', 'matplotlib', 'torch') if m in sys.modules])"
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_every_public_name_can_be_had_and_is_listed():
    for name in csrl_core.__all__:
        assert getattr(csrl_core, name) is not None
        assert name in dir(csrl_core)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = csrl_core.nothing


def test_the_first_estimator_does_not_load_plotting_torch_or_cupy():
    result = run(
        "import sys; from csrl_core import TensorizedAutoencoder; TensorizedAutoencoder(); "
        "print([m for m in ('matplotlib', 'torch', 'cupy', 'typer') if m in sys.modules])"
    )
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("name", ["kernels", "reference"])
def test_the_folders_refuse_any_other_name(name):
    result = run(f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {name}")
    assert f"import csrl_core.{name}, not '{name}'" in result.stderr


def imports(path):
    """Top-level names of what a file imports anywhere, and the csrl_core modules among them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("reference", {"numpy"}),
        # llvmlite is what Numba speaks; joblib, which scikit-learn brings, knows quotas of CPU time
        ("kernels/cpu", {"numpy", "scipy", "numba", "llvmlite", "threadpoolctl", "joblib"}),
        ("kernels/gpu", {"numpy", "cupy"}),
    ],
)
def test_floors_import_only_what_is_theirs(folder, allowed):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        for module in imports(path):
            top = module.split(".")[0]
            own = top == "csrl_core" and module.startswith("csrl_core.kernels") and folder.startswith("kernels")
            assert own or top in allowed or top in sys.stdlib_module_names, f"{path.name} imports {module}"


def test_the_package_never_imports_torch():
    for path in [path for folder in ("csrl_core", "kernels", "reference") for path in ROOT.glob(f"{folder}/**/*.py")]:
        assert not [module for module in imports(path) if module.split(".")[0] == "torch"], path


def test_the_extra_all_has_neither_cuda_nor_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["all"] == ["csrl_core[cli,plot,test]"]
    core = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert core == {"numpy", "scipy", "numba", "scikit-learn", "safetensors"}


@pytest.mark.slow
def test_the_wheel_holds_the_tree(tmp_path):
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # a stale one would go into the wheel
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT],
        check=True, capture_output=True,
    )  # fmt: skip
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        "csrl_core/" + str(path.relative_to(base))
        for base, pattern in ((ROOT / "csrl_core", "**/*"), (ROOT, "kernels/**/*"), (ROOT, "reference/**/*"))
        for path in base.glob(pattern)
        if path.suffix in {".py", ".cu", ".h", ".typed", ".csv"} and "__pycache__" not in path.parts
    }
    assert names == expected


def test_every_compiled_function_says_whether_it_is_fastmath():
    """Unsaid, Numba inherits it from the caller that compiles first: bits would depend on the order of calls."""
    for path in (ROOT / "kernels" / "cpu").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "njit":
                assert "fastmath" in {keyword.arg for keyword in node.keywords}, f"{path.name}:{node.lineno}"
