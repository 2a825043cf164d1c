"""`csrl verify --backend their.package`: somebody's kernels are compared, and what is wrong with them is named."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cli_helpers import error_of, run

from csrl_core import BackendError, contract
from csrl_core.contract import verify
from csrl_core.contract.third_party import ThirdParty, resolve

DOCS = Path(__file__).resolve().parents[2] / "docs"
WHOLE = "from csrl_core.reference.assign import assign, nearest, objective, cluster_sums, move, means\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function (files: name → text) → name of an importable package of these."""
    names = []

    def make(name, **files):
        folder = tmp_path / name
        folder.mkdir()
        for stem, text in {"__init__": "", **files}.items():
            (folder / f"{stem}.py").write_text(text)
        names.append(name)
        return name

    monkeypatch.syspath_prepend(str(tmp_path))
    yield make
    for module in list(sys.modules):
        if module.partition(".")[0] in names:
            del sys.modules[module]


def failures(name, stem="assign"):
    return {(r.function, r.case): r.where for r in verify.verify([name], [stem]) if not r.ok}


def test_a_faultless_package_agrees_and_its_missing_stems_are_left_out(package):
    name = package("theirs_good", assign=WHOLE)
    assert set(ThirdParty(name).missing) == set(contract.STEMS) - {"assign"}
    results = verify.verify([name])
    assert {result.stem for result in results} == {"assign"}
    assert all(result.ok for result in results)


def test_stems_may_be_attributes_of_a_module(package, tmp_path):
    (tmp_path / "theirs_flat.py").write_text("import csrl_core.reference.assign as assign\n")
    assert not failures("theirs_flat")


def test_a_function_that_a_package_gives_out_does_not_hide_the_stem_of_its_name(package):
    assert not failures(package("theirs_hiding", __init__="from .assign import assign", assign=WHOLE))


def test_a_missing_function_is_named(package):
    name = package("theirs_lacking", assign=WHOLE + "del move\n")
    found = failures(name)
    assert {function for function, _ in found} == {"move"}
    assert set(found.values()) == {"theirs_lacking has no function move in its stem assign"}


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("def objective(losses, assign, weights): return [1.0]", "1 values returned, 2 values expected"),
        ("def assign(costs): return costs.argmin(1)[:, None]", "return has shape (37, 1), expected (37,)"),
        ("def assign(costs): return costs.argmin(1).astype('float32')", "return has dtype float32, expected int64"),
        ("def assign(costs): raise KeyError('why')", "KeyError: 'why'"),
        ("def assign(costs): costs[...] = 0; return costs.argmin(1)", "argument costs was changed"),
        ("assign = 3", "theirs_broken's assign.assign is no function but a int"),
    ],
)
def test_what_is_wrong_is_said(package, broken, says):
    name = package("theirs_broken", assign=f"{WHOLE}{broken}\n")
    assert any(where.startswith(says) for where in failures(name).values()), failures(name)


def test_packages_that_are_none(package):
    with pytest.raises(BackendError, match=r"backend 'no_such_package' cannot be imported .*expected one of numpy"):
        resolve("no_such_package")
    with pytest.raises(BackendError, match="json has none of the stems"):
        resolve("json")
    name = package("theirs_unimportable", assign="import no_such_module\n")
    with pytest.raises(BackendError, match=r"theirs_unimportable.assign cannot be imported .*no_such_module"):
        resolve(name)
    name = package("theirs_raising", __init__="raise RuntimeError('licence')")
    with pytest.raises(BackendError, match="licence"):
        resolve(name)


def test_the_documented_fault_is_found(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="torch, in which the example is written, is not installed")
    monkeypatch.chdir(DOCS)
    report = tmp_path / "report.html"
    done = run("verify", "--backend", "torch_backend", "--stem", "assign", "--html", report, code=1)
    page = (DOCS / "verify.md").read_text()
    for line in done.stdout.splitlines():
        if "FAILED" in line and "[" in line:
            assert line in page
    assert counted(done.stdout) == counted(page)
    found = {line.split(" ")[0] for line in done.stdout.splitlines() if ": FAILED" in line}
    assert found == {"assign.means[an", "assign.means[running,"}
    text = report.read_text()
    assert "4 of 124 cases FAILED" in text
    assert "http" not in text
    assert "<script" not in text
    _Balanced().feed(text)


def counted(text):
    """Function, backend, dtype, cases and failures of the rows of a table, without what differs from run to run."""
    rows = [re.split(r" {2,}", line.strip()) for line in re.findall(r"^assign\.\w+ .*", text, re.M)]
    assert len(rows) == 12
    return [[*cells[:4], cells[-1]] for cells in rows]


class _Balanced(HTMLParser):
    """Raises where a tag closes what is not open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_json_says_what_is_missing(package, tmp_path, monkeypatch):
    name = package("theirs_json", assign=WHOLE)
    monkeypatch.chdir(tmp_path)
    done = run("verify", "--backend", name, "--stem", "assign", "--stem", "rbm", "--json")
    first, *rest = [json.loads(line) for line in done.stdout.splitlines()]
    assert first == {"backend": name, "stem": "rbm", "missing": True}
    assert all(row["ok"] for row in rest)
    assert len(rest) == len(verify.verify(["numpy"], ["assign"]))


def test_nothing_to_compare_is_an_error(package, tmp_path, monkeypatch):
    name = package("theirs_other", assign=WHOLE)
    monkeypatch.chdir(tmp_path)
    assert "nothing was compared" in error_of(run("verify", "--backend", name, "--stem", "rbm", code=1))
    wrong = run("verify", "--stem", "assign", "--html", tmp_path / "report.txt", code=2)
    assert "expected .html" in error_of(wrong)


def test_the_worst_case_of_a_stem_comes_first(package):
    from csrl_core.contract.report import html

    name = package("theirs_worst", assign=WHOLE + "def assign(costs): return costs.argmax(1)\n")
    results = verify.verify([name], ["assign"])
    rows = html(results, [(name, "rbm")]).split("<tr")[2:]
    wrong = sum(not result.ok for result in results)
    assert wrong
    assert [" class=failed" in row for row in rows] == [True] * wrong + [False] * (len(results) - wrong)
    assert f"{name} has no stem rbm" in html(results, [(name, "rbm")])


FAULTS = {
    "has no function move in its stem assign": "del move",
    "return has shape (37, 1), expected (37,)": "def nearest(X, centers, of=nearest): return of(X, centers)[:, None]",
    "argument losses was changed": """
def objective(losses, assign, weights, of=objective):
    result = of(losses, assign, weights)
    losses += 1
    return result""",
    "RuntimeError: out of order": "def means(sums, totals, centers, b): raise RuntimeError('out of order')",
}


def test_every_fault_is_a_line_and_the_others_are_still_compared(package, tmp_path, monkeypatch):
    name = package("theirs_faulty", assign="\n".join([WHOLE, *FAULTS.values()]))
    monkeypatch.chdir(tmp_path)
    done = run("verify", "--backend", name, "--stem", "assign", code=1)
    table, _, listed = done.stdout.partition("\n\n")
    for fault in FAULTS:
        assert fault in listed
    state = {tuple(line.split()[:3:2]): line.rsplit("  ", 1)[1] for line in table.splitlines()[2:]}
    for dtype in ("float32", "float64"):
        for function in ("assign", "cluster_sums"):
            assert state[f"assign.{function}", dtype] == "ok"
        for function in ("move", "nearest", "objective", "means"):
            assert "FAILED" in state[f"assign.{function}", dtype]
