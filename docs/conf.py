"""Settings of the documentation's site. ``make docs`` builds it, without network; every warning is an error.

Pages of estimators and of the mathematics are found, not listed: `written` makes them before each build.
"""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
os.environ.setdefault("OMP_NUM_THREADS", "2")

from csrl_core import estimators  # noqa: E402
from csrl_core._version import __version__  # noqa: E402

project = "csrl_core"
author = copyright = "the csrl_core developers"
version = release = __version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["torch_backend", "examples", "gallery/*.md", "gallery/*.md5", "gallery/*.ipynb", "gallery/*.py"]
suppress_warnings = ["config.cache"]  # sphinx-gallery's settings hold functions
nitpicky = False

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
numpydoc_show_class_members = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "csrl_core"
html_static_path = ["site"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
}

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "capture_repr": (),
    "remove_config_comments": True,
}


def written(app):
    """Make the pages of everything that is found: estimators, and the reference's files, source and all."""
    folder = HERE / "api" / "found"
    folder.mkdir(exist_ok=True)
    names = [name for name in estimators.homes() if not name.startswith("_")]
    blocks = "\n\n".join(
        f".. autoclass:: csrl_core.{name}\n   :members:\n   :inherited-members: BaseEstimator" for name in names
    )
    _write(folder / "estimators.md", f"# Estimators\n\n```{{eval-rst}}\n{blocks}\n```\n")
    files = sorted(path for path in (HERE.parent / "reference").glob("*.py") if path.stem != "__init__")
    for path in files:
        head = path.read_text().split('"""')[1].strip().splitlines()[0]
        source = f"```{{literalinclude}} ../../../reference/{path.name}\n:language: python\n```"
        _write(folder / f"reference_{path.stem}.md", f"# {path.stem}\n\n{head}\n\n{source}\n")
    pages = "\n".join(f"reference_{path.stem}" for path in files)
    text = "The reference: NumPy, one file a subject. All backends have functions of the same names."
    toctree = f"```{{toctree}}\n:maxdepth: 1\n\n{pages}\n```"
    _write(folder / "mathematics.md", f"# The mathematics\n\n{text}\n\n{toctree}\n")


def _write(path, text):
    if not path.exists() or path.read_text() != text:  # else Sphinx would read it anew
        path.write_text(text)


def as_written(app, what, name, thing, options, lines):
    """Docstrings are for readers of the source: names that end with _ and bars of norms are no markup.

    Lines "name : what it is" outside of numpydoc's sections become fields, with their indented continuations.
    """
    sections, found, before = any(set(line.strip()) == {"-"} for line in lines), [], ""
    for line in lines:
        if not line.lstrip().startswith((">>>", "...")):
            line = re.sub(r"(?<![`\w])(\w+_)(?![\w`])", r"``\1``", line.replace("|", r"\|"))
        field = not sections and re.match(r"([\w][\w, ]*?) : (.*)|(returns|Cost:) (.*)", line)
        if field:
            title, text = (part for part in field.groups() if part is not None)
            line = f":{title.rstrip(':')}: {text}"
        blocks = [_block(each) for each in (before, line)]
        if None not in blocks and blocks[0] != blocks[1]:
            found.append("")
        found.append(line)
        before = line
    lines[:] = found


def _block(line):
    """Which kind of block a line belongs to; None for one that goes on with any."""
    if not line.strip() or line[0] == " ":
        return None
    return "field" if line[0] == ":" else "text"


def of_others(app, what, name, thing, skip, options):
    """Leave out what scikit-learn's bases bring along and document themselves."""
    return True if (getattr(thing, "__module__", None) or "").startswith("sklearn") else None


def setup(app):
    """What is done besides settings."""
    app.connect("builder-inited", written, priority=1)
    app.connect("autodoc-process-docstring", as_written, priority=1)
    app.connect("autodoc-skip-member", of_others)
