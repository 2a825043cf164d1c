"""What `make device` does, as far as that needs no device: steps, limits, report; its two checks on the emulator."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from csrl_core import TensorizedAutoencoder
from csrl_core import backends as backend
from csrl_core.contract.cases import all_cases

BENCH = Path(__file__).resolve().parents[3] / "bench"


@pytest.fixture(autouse=True)
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


def python(text):
    return [sys.executable, "-c", text]


def test_every_step_is_reported_and_none_stops_the_others(tmp_path, capsys):
    from on_device import Step, run_all

    steps = [
        [
            Step("good", python("print('{}')"), 60, output="verify.jsonl"),
            Step("wrong", python("print('why'); raise SystemExit(3)"), 60),
            Step("slow", python("import time; print('begun', flush=True); time.sleep(60)"), 3),
            Step("absent", ["no-such-tool"], 60, needs="no-such-tool"),
        ],
        [Step("after", python("import csrl_core, os; print(csrl_core.__file__, os.environ['CSRL_RESULTS'])"), 60)],
    ]
    report = run_all(steps, tmp_path / "out")
    found = {step["name"]: step for step in json.loads((tmp_path / "out" / "report.json").read_text())["steps"]}
    assert {name: step["status"] for name, step in found.items()} == {
        "good": 0, "wrong": 3, "slow": None, "absent": None, "after": 0,
    }  # fmt: skip
    assert [outcome.name for outcome in report.outcomes if outcome.ok] == ["good", "after"]
    assert found["slow"]["why"] == "stopped at its limit of 3 s"
    assert found["slow"]["seconds"] < 30
    assert found["slow"]["tail"] == "begun\n"
    assert found["absent"]["why"] == "left out: no no-such-tool"
    assert found["after"]["tail"].split() == [str(BENCH.parent / "csrl_core" / "__init__.py"), str(tmp_path / "out")]
    assert (tmp_path / "out" / "verify.jsonl").read_text() == "{}\n"
    assert "why" in (tmp_path / "out" / "logs.txt").read_text()
    assert "FAILED, status 3" in capsys.readouterr().out


def test_without_a_device_nothing_is_tried(tmp_path):
    from on_device import Step, run_all

    steps = [[Step("device", python("raise SystemExit(1)"), 60, essential=True)], [Step("after", python(""), 60)]]
    assert [outcome.name for outcome in run_all(steps, tmp_path).outcomes] == ["device"]


def test_what_starts_too_late_is_left_out(tmp_path):
    from on_device import Step, run_all

    report = run_all([[Step("late", python(""), 60)]], tmp_path, seconds=0)
    assert report.outcomes[0].why == "left out: no time remains"


def test_an_earlier_report_does_not_remain(tmp_path):
    from on_device import run_all

    (tmp_path / "gpu.csv").write_text("old")
    run_all([], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json"]


def test_versions_say_what_is_missed(monkeypatch):
    import on_device

    found = on_device.versions()
    assert {"python", "numpy", "scikit-learn", "safetensors", "cupy", "torch", "typer"} <= set(found)
    assert all(found[name]["ok"] for name in ("python", "numpy", "numba", "scikit-learn"))
    monkeypatch.setattr(on_device, "_installed", lambda name: {"scikit-learn": "1.8.2"}.get(name))
    found = on_device.versions()
    assert found["scikit-learn"] == {"wanted": ">=1.9", "found": "1.8.2", "ok": False}
    assert found["cupy"] == {"wanted": ">=14", "found": "none", "ok": False}


def test_the_steps_are_commands_of_this_checkout_within_the_time():
    from on_device import SECONDS, rounds

    steps = rounds()
    assert sum(max(step.limit for step in at_once) for at_once in steps) <= SECONDS
    names = [step.name for at_once in steps for step in at_once]
    assert names == ["doctor", "device", "verify", "pytest", "fits", "memcheck", "racecheck", "bench"]
    for step in (step for at_once in steps for step in at_once):
        for word in step.command:
            assert not str(word).startswith("bench/") or (BENCH.parent / word).is_file()


def test_agreement_begins_with_small_cases_and_says_what_it_left_out():
    from device_agreement import agree, size

    emulated = backend.get("emulated")
    results, left_out = agree(emulated, 60, ["optimizer"])
    cases = all_cases("optimizer")
    assert len(results) == 2 * len(cases)
    assert not left_out
    assert all(result.ok for result in results)
    sizes = {(case.function, case.name): size(case) for case in cases}
    order = [sizes[result.function, result.case] for result in results]
    assert order == sorted(order)
    results, left_out = agree(emulated, 0, ["optimizer"])
    assert (len(results), len(left_out)) == (0, 2 * len(cases))


def test_a_fit_that_differs_is_seen():
    from device_fits import compare, models

    rng = np.random.default_rng(0)
    X = 3 * rng.standard_normal((3, 20))[rng.integers(0, 3, 150)] + rng.standard_normal((150, 20))
    kind, arguments, _ = models(epochs=2)["TAE, batches"]
    row = compare("TAE", kind, arguments, X, backend.get("emulated"))
    assert row["ok"], row

    class Other(TensorizedAutoencoder):
        def __init__(self, **given):
            seed = {"random_state": 1} if given["backend"] == "emulated" else {}
            super().__init__(**(given | seed))

    assert not compare("TAE", Other, arguments, X, backend.get("emulated"))["ok"]
