"""The rooms: which may import which, how many files stand at the top, how long functions and argument lists are."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Each may import itself and what stands after it in its row (docs/architecture.md).
MAY = {
    "cli": {"experiments", "estimators", "models", "training", "contract", "datasets", "plotting", "top"},
    "experiments": {"estimators", "models", "training", "datasets", "plotting", "top"},
    "estimators": {"models", "training", "top", "reference"},
    "models": {"training", "top", "reference"},
    "training": {"top"},
    "contract": {"top", "reference"},
    "plotting": {"training", "top"},
    "datasets": {"top"},
}
TOP = {
    "__init__",
    "_version",
    "backend",
    "backends",
    "callbacks",
    "doctor",
    "metrics",
    "reproduce",
    "selection",
    "verify",
}


def modules(folder):
    return [path for path in sorted((ROOT / folder).rglob("*.py")) if "__pycache__" not in path.parts]


OURS = [*modules("csrl_core"), *modules("kernels"), *modules("reference")]
OURS = [
    path
    for path in OURS
    if path.relative_to(ROOT).parts[:2] not in {("csrl_core", "kernels"), ("csrl_core", "reference")}
]


def name_of(path):
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts = parts if parts[0] == "csrl_core" else ["csrl_core", *parts]
    return [part for part in parts if part != "__init__"]


def imports(path):
    """(module, name) of every import from csrl_core, relative ones resolved."""
    own = name_of(path)
    package = own if path.name == "__init__.py" else own[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            if module and module[0] == "csrl_core":
                yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name.split("."), None) for alias in node.names if alias.name.startswith("csrl_core."))


def room(parts):
    return parts[1] if len(parts) > 1 and (parts[1] in MAY or parts[1] in ("kernels", "reference")) else "top"


def test_few_files_stand_at_the_top():
    assert {path.stem for path in (ROOT / "csrl_core").glob("*.py")} == TOP
    assert len(TOP) <= 12


@pytest.mark.parametrize("name", MAY)
def test_imports_point_one_way(name):
    for path in modules(f"csrl_core/{name}"):
        for module, leaf in imports(path):
            where = room([*module, leaf] if len(module) == 1 else module)
            assert where in MAY[name] | {name}, f"{path.relative_to(ROOT)} imports {'.'.join(module)} {leaf}"


@pytest.mark.parametrize("folder", ["kernels", "reference"])
def test_kernels_import_nothing_above_them(folder):
    for path in modules(folder):
        for module, leaf in imports(path):
            assert room(module) in {"kernels", "reference"}, (
                f"{path.relative_to(ROOT)} imports {'.'.join(module)} {leaf}"
            )


@pytest.mark.parametrize("folder", ["kernels/cpu/_engine", "kernels/gpu/_platform"])
def test_what_stems_share_knows_no_stem(folder):
    for path in modules(folder):
        for module, leaf in imports(path):
            shared = ".".join(module).startswith("csrl_core." + folder.replace("/", "."))
            assert shared or leaf == Path(folder).name, f"{path.relative_to(ROOT)} imports {'.'.join(module)} {leaf}"


def test_no_module_imports_anothers_private_name():
    for path in OURS:
        for module, leaf in imports(path):
            private = leaf and leaf.startswith("_") and leaf not in ("__version__", "_engine", "_platform")
            assert not private, f"{path.relative_to(ROOT)} imports {leaf} of {'.'.join(module)}"


def functions():
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield pytest.param(node, id=f"{path.relative_to(ROOT)}:{node.name}")


def test_functions_are_short():
    long = [
        f"{param.id} {node.end_lineno - node.lineno + 1}"
        for param in functions()
        for node in param.values
        if node.end_lineno - node.lineno + 1 > 60
    ]
    assert not long


def test_the_cpu_kernels_stay_small():
    stems = {"_engine", "assign", "autoencoder", "dense", "mixture", "optimizer", "philox", "rbm"}
    files = [
        path
        for path in modules("kernels/cpu")
        if path.relative_to(ROOT / "kernels/cpu").with_suffix("").parts[0] in stems
    ]
    assert sum(len(path.read_text().splitlines()) for path in files) <= 3800
