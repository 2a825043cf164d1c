"""The code in the documentation runs as it stands there, and its links lead somewhere."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS], ids=lambda page: page.name)
def test_files_that_the_documentation_names_exist(page):
    text = page.read_text()
    named = set(re.findall(r"`((?:reference|kernels|csrl_core|tests|bench|docs)/[\w./]+\.\w+)`", text))
    named |= {link for link in re.findall(r"\]\(([^)#]+?)\)", text) if "://" not in link}
    # What the site's build makes it checks itself.
    named = {name for name in named if "gallery/" not in name and "api/found/" not in name}
    missing = [name for name in named if not (ROOT / name).exists() and not (page.parent / name).exists()]
    assert not missing
