"""The code in the documentation runs as it stands there, and its links lead somewhere."""

import ast
import doctest
import re
import shlex
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from csrl_core.reference import assign

ROOT = Path(__file__).resolve().parents[1]
# All but the page whose blocks are files that do not exist yet: test_adding.py writes and runs these.
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.stem != "adding_a_model")]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def blocks(page):
    """The python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.S)


def snippets():
    """Every python block, and every tutorial's as one program, with a readable id."""
    for page in PAGES:
        for number, code in enumerate(blocks(page)):
            yield pytest.param(code, id=f"{page.name}-{number}")
    for page in TUTORIALS:
        yield pytest.param("\n".join(blocks(page)), id=f"tutorials/{page.name}")


@pytest.mark.parametrize("code", list(snippets()))
def test_python_in_the_documentation_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "snippet", "exec"), {"__name__": "snippet"})


# ---------------------------------------------------------------------------------------------- commands

COMMAND = re.compile(r"^(?:\$ )?(csrl|make) +(.*?)(?: +#.*)?$")
LONG = {"demo", "reproduce", "verify", "doctor"}  # of these only the arguments are read; other tests run them
QUICK = ["--backend", "numpy", "--epochs", "2"]  # what a fit here is given besides


def commands(page):
    """Every block of a page that begins with a command, as its lines."""
    found = re.findall(r"^```([^\n]*)\n(.*?)^```", page.read_text(), re.S | re.M)
    return [block.splitlines() for name, block in found if not name and COMMAND.match(block.splitlines()[0])]


def test_every_page_with_commands_is_known():
    assert {page.stem for page in [*PAGES, *TUTORIALS] if commands(page)} == {*FILES, "defaults", "verify"}


def write_table(path, names, n=40, seed=0, missing=False):
    """A CSV file with an id, words in columns named kind or species, and numbers elsewhere."""
    rng = np.random.default_rng(seed)
    rows = [",".join(names)]
    for i in range(n):
        words = {"id": f"r{i}", "bird": f"b{i}", "kind": "ab"[i % 2], "species": "AB"[i % 2]}
        cells = [words.get(name, f"{rng.normal() + 4 * (i % 2):.4f}") for name in names]
        rows.append(",".join([*cells[:-1], "" if missing and i == 3 else cells[-1]]))
    Path(path).write_text("\n".join(rows) + "\n")


BIRDS = ["bird", "species", "bill_length", "bill_depth", "flipper", "mass"]
FILES = {  # page → what its commands find
    "README": lambda: (
        np.save("images.npy", np.random.default_rng(0).integers(0, 256, (30, 64))),
        write_table("table.csv", ["id", "a", "b", "c"], missing=True),
        write_table("new.csv", ["id", "a", "b", "c"], seed=1),
    ),
    "assignment": lambda: None,
    "scale": lambda: np.save("big.npy", np.random.default_rng(0).normal(size=(40, 5))),
    "tables": lambda: write_table("x.csv", ["id", "a", "b", "c", "d", "kind"], n=150),
    "practitioner": lambda: (write_table("birds.csv", BIRDS), write_table("new.csv", BIRDS, seed=1)),
}


@pytest.mark.parametrize("page", [page for page in [*PAGES, *TUTORIALS] if commands(page)], ids=lambda page: page.stem)
def test_commands_in_the_documentation_run(page, tmp_path, monkeypatch):
    """Each command runs, with a fit cut short; what a page shows of its output is what it prints."""
    pytest.importorskip("typer", reason="the command line needs typer: pip install 'csrl_core[cli]'")
    from cli_helpers import run
    from typer.main import get_command

    from csrl_core.cli.app import app

    monkeypatch.chdir(tmp_path)
    FILES.get(page.stem, lambda: None)()
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
    for block in commands(page):
        shown = []
        for line in block:
            command = COMMAND.match(line)
            if command is None:
                assert page.stem == "verify" or line in shown, line
            elif command[1] == "make":
                assert command[2] in targets
            else:
                name, *arguments = shlex.split(command[2])
                if name in LONG:
                    get_command(app).commands[name].make_context(name, arguments)
                else:
                    more = {"fit": QUICK, "select": ["--backend", "numpy", "--n-init", "1"]}.get(name, [])
                    shown = run(name, *arguments, *more).stdout.splitlines()


# ------------------------------------------------------------------------------------- examples and links


def modules_with_examples():
    """Names of the modules in whose docstrings there are examples."""
    for folder, package in ((ROOT / "csrl_core", "csrl_core"), (ROOT / "reference", "csrl_core.reference")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if ">>>" in path.read_text() and not {"kernels", "reference"} & {*parts}:
                yield ".".join((package, *(part for part in parts if part != "__init__")))


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_examples_of_docstrings_give_what_they_say(name):
    result = doctest.testmod(import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


INDENTED = {  # modules whose docstring has a program that is no example with results → what it takes as given
    "csrl_core.contract": "from csrl_core.contract import describe",
    "csrl_core.contract.verify": "",
    "csrl_core.models.network": "from csrl_core.models.network import Networks, Part, layer",
    "csrl_core.reference.layers": "from csrl_core.reference.layers import Conv, Dense, build",
    "csrl_core.selection": "from csrl_core import datasets\nfrom csrl_core.selection import select\n"
    "X = datasets.make_lines_3d(60, random_state=0)[0]",
    "csrl_core.callbacks": "from csrl_core import TensorizedAutoencoder, datasets\n"
    "from csrl_core.callbacks import Checkpoint, EarlyStopping\nX = datasets.make_lines_3d(60, random_state=0)[0]",
    "csrl_core.divergence": "import numpy as np\nfrom csrl_core import divergence\n"
    "Y, A = np.random.default_rng(0).normal(size=(8, 2, 3, 3)), np.full((8, 2), 0.5)",
}


@pytest.mark.parametrize("name", list(INDENTED))
def test_programs_at_the_head_of_modules_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "their.package", SimpleNamespace(assign=assign))
    (program,) = re.findall(r"^\n((?: {4}.+\n)+)", import_module(name).__doc__, re.M)[:1]
    exec(compile(INDENTED[name] + "\n" + textwrap.dedent(program), name, "exec"), {})


PROGRAM = re.compile(r"^ {4}(from \S+ import|import |\w+ = \w+\(|\w+\(.*\)$)", re.M)
INDENTED_COMMAND = re.compile(r"^ {4}(?:\w+=\S+ )?(csrl|make|pip|python) +(.*?)(?: {2,}#.*| +# .*)?$", re.M)


def indented():
    """(module or page, indented block) of every docstring of the code and every page outside of fences."""
    for folder, package in (("csrl_core", "csrl_core"), ("reference", "csrl_core.reference"), ("bench", "bench")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if folder == "csrl_core" and parts[0] in ("kernels", "reference"):
                continue
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                    yield from ((name, block) for block in BLOCK.findall(ast.get_docstring(node) or ""))
    for page in [*PAGES, *TUTORIALS, ROOT / "docs" / "adding_a_model.md"]:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
        yield from ((page.name, block) for block in BLOCK.findall(text))


BLOCK = re.compile(r"(?:^ {4}.*\n?)+", re.M)


def test_every_indented_program_is_executed():
    found = {name for name, block in indented() if PROGRAM.search(block) and ">>>" not in block and parses(block)}
    assert {name for name in found if not name.startswith("bench.")} == {*INDENTED}


def parses(block):
    """Whether a block is Python, which most formulas are not."""
    try:
        ast.parse(textwrap.dedent(block))
    except SyntaxError:
        return False
    return True


def test_commands_in_indented_blocks_are_commands():
    """Of csrl the arguments are read, of make the target, of pip the extra, of python the file and its options."""
    pytest.importorskip("typer", reason="the command line needs typer: pip install 'csrl_core[cli]'")
    from typer.main import get_command

    from csrl_core.cli.app import app

    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.M)
    found = [match.groups() for _, block in indented() for match in INDENTED_COMMAND.finditer(block)]
    assert {name for name, _ in found} == {"csrl", "make", "pip", "python"}
    for name, text in found:
        words = shlex.split(text)
        if name == "csrl" and "lines" not in words:  # tests/test_adding.py runs those of a model that is not there yet
            data = words[0] == "fit"  # whose file is looked for first where options are not cached
            get_command(app).commands[words[0]].make_context(words[0], ["data:iris"] * data + words[1 + data :])
        elif name == "make":
            assert words[0] in targets
        elif name == "pip":
            assert re.fullmatch(r"csrl_core\[(\w+)\]", words[-1])[1] in extras
        elif words[:1] == ["-c"] and name == "python":
            exec(words[1], {})
        elif name == "python" and words[0] != "-m":
            options = re.findall(r"(--[a-z-]+)", text)
            assert [option for option in options if option not in (ROOT / words[0]).read_text()] == []


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS], ids=lambda page: page.name)
def test_files_that_the_documentation_names_exist(page):
    text = page.read_text()
    named = set(re.findall(r"`((?:reference|kernels|csrl_core|tests|bench|docs)/[\w./]+\.\w+)`", text))
    named |= {link for link in re.findall(r"\]\(([^)#]+?)\)", text) if "://" not in link}
    # What the site's build makes it checks itself.
    named = {name for name in named if "gallery/" not in name and "api/found/" not in name}
    missing = [name for name in named if not (ROOT / name).exists() and not (page.parent / name).exists()]
    assert not missing
