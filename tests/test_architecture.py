"""The rooms: which may import which, how many files stand at the top, how long functions and argument lists are."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Each may import itself and what stands after it in its row (docs/architecture.md).
MAY = {
    "cli": {"experiments", "estimators", "models", "training", "contract", "datasets", "plotting", "top"},
    "experiments": {"estimators", "models", "training", "datasets", "plotting", "top"},
    "estimators": {"models", "training", "top", "reference"},
    "models": {"training", "top", "reference"},
    "training": {"top", "reference"},
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
    "divergence",
    "doctor",
    "metrics",
    "mismatch",
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


@cache
def nodes(path):
    """All nodes of a file's syntax tree: parsed once, as every test here asks for them."""
    return list(ast.walk(ast.parse(path.read_text())))


def name_of(path):
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts = parts if parts[0] == "csrl_core" else ["csrl_core", *parts]
    return [part for part in parts if part != "__init__"]


def imports(path):
    """(module, name) of every import from csrl_core, relative ones resolved."""
    own = name_of(path)
    package = own if path.name == "__init__.py" else own[:-1]
    for node in nodes(path):
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


# Private names by which scikit-learn lets estimators and those who know them work together.
NAMEDTUPLE = {"_fields", "_replace", "_asdict"}  # public: the underscore keeps them apart from a record's fields
SKLEARN = {"_get_param_names", "_init_callback_context", "_parameter_constraints", "_skl_callbacks", "_validate_params"}
HOOKS = {"_parameter_shapes", "_state_shapes"}  # of estimators: what their files must contain


@cache
def defined_in(folder):
    """Names of functions, of what is assigned, and of attributes that are installed by name."""
    names = set()
    for path in folder.glob("*.py"):
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
                names.add(node.id if isinstance(node, ast.Name) else node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
    return names


def test_private_attributes_are_used_in_the_folder_that_defines_them():
    for path in modules("csrl_core"):
        uses = {
            node.attr: node
            for node in nodes(path)
            if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr)
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
            if not isinstance(node.value, ast.Call) and node.attr not in SKLEARN | HOOKS | NAMEDTUPLE
        }
        foreign = set(uses).difference(defined_in(path.parent))
        assert not foreign, f"{path.relative_to(ROOT)} uses {[ast.unparse(uses[name]) for name in foreign]}"


def functions():
    for path in OURS:
        for node in nodes(path):
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


def test_files_can_be_read_in_one_sitting():
    files = [path for path in OURS if path.is_relative_to(ROOT / "csrl_core")] + modules("kernels/cpu")
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert not {name: size for name, size in sizes.items() if size > 300}


def test_argument_lists_are_short():
    long = []
    for param in functions():
        for node in param.values:
            count = len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
            long += [f"{param.id} {count}"] if count > 12 else []
    assert not long, "a record instead, see reference/optimizer.py"


def test_the_cpu_kernels_stay_small():
    stems = {"_engine", "assign", "autoencoder", "dense", "mixture", "optimizer", "philox", "rbm"}
    files = [
        path
        for path in modules("kernels/cpu")
        if path.relative_to(ROOT / "kernels/cpu").with_suffix("").parts[0] in stems
        and path.name != "kept.py"  # the files of Numba's cache: no kernel calls it
    ]
    assert sum(len(path.read_text().splitlines()) for path in files) <= 3800
