"""Everything a machine with a GPU can tell, in one run of at most eight minutes.

    make device                          # or: python bench/on_device.py
    OUT=report make device               # where everything goes; the folder device-report otherwise

Nothing is installed and no network is needed: csrl_core runs from this checkout, and what it stands on must be there
(``versions`` in the report says what is missing or too old). Every step has a time limit of its own; one that fails or
runs over it is reported, and the others go on. The folder then holds

    report.json     versions, and of every step: command, exit status, seconds, last lines
    logs.txt        all that the steps printed
    verify.jsonl    one line a case of the contract
    fits.csv        whole fits beside the Numba backend's
    gpu.csv, gpu_epochs.csv     rows of the benchmark, to be appended to bench/results/
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 480  # for everything
CUDA = "/usr/local/cuda/bin"  # where its tools are, if they are not on PATH
TAIL = 2000  # characters of a step's output that the report repeats
CLI = [sys.executable, "-c", "from csrl_core.cli import main; main()"]
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]


@dataclass(frozen=True)
class Step:
    """One command.

    limit : seconds; output : file in the folder that what it prints goes to as well, or None; needs : a program
    without which it is left out, or None; essential : whether nothing that comes after makes sense if it fails
    """

    name: str
    command: list
    limit: float
    output: str | None = None
    needs: str | None = None
    essential: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a step: its exit status, None where it was left out or stopped at its limit (``why`` says so)."""

    name: str
    command: str
    status: int | None
    why: str
    seconds: float
    tail: str

    @property
    def ok(self):
        """Whether it did all that it should."""
        return self.status == 0


def rounds(python=sys.executable):
    """The steps, in rounds: those of one run side by side, so what is timed has a round of its own."""

    def sanitizer(tool):
        agreement = [python, "bench/device_agreement.py", "--seconds", "230"]
        command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--print-limit", "20"]
        return Step(tool, [*command, *agreement], 270, needs="compute-sanitizer")

    device = [python, "-c", "from csrl_core import backend; print(backend.get('cupy').platform.free_bytes())"]
    return [
        [Step("doctor", [*CLI, "doctor"], 60), Step("device", device, 60, essential=True)],
        [
            Step("verify", [*CLI, "verify", "--backend", "cupy", "--json"], 200, output="verify.jsonl"),
            Step("pytest", [*PYTEST, "-m", "gpu"], 200),
            Step("fits", [python, "bench/device_fits.py"], 200),
            sanitizer("memcheck"),
            sanitizer("racecheck"),
        ],
        [Step("bench", [python, "bench/bench_gpu.py", "--verified"], 140)],
    ]


def versions():
    """Name → {"wanted", "found", "ok"} of Python and of everything that the project or these steps stand on."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    found = {"python": _judged(project["requires-python"], sys.version.split()[0])}
    for text in [*project["dependencies"], *optional["cli"], "pytest>=8.3", "hypothesis", "pandas"]:
        wanted = Requirement(text)
        found[wanted.name] = _judged(str(wanted.specifier), _installed(wanted.name))
    cupy = [name for name in ("cupy-cuda12x", "cupy-cuda13x", "cupy") if _installed(name)]
    found["cupy"] = _judged(">=14", _installed(cupy[0]) if cupy else None)
    found["torch"] = _judged("", _installed("torch"))
    return found


def _installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _judged(wanted, found):
    from packaging.specifiers import SpecifierSet

    ok = found is not None and SpecifierSet(wanted).contains(found, prereleases=True)
    return {"wanted": wanted or "any", "found": found or "none", "ok": ok}


class Report:
    """Writes what happens as it happens, so that a run that is cut off leaves all it had."""

    def __init__(self, folder):
        self.folder, self.outcomes, self.lock = folder, [], Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("report.json", "logs.txt", "verify.jsonl", "fits.csv", "gpu.csv", "gpu_epochs.csv"):
            (folder / name).unlink(missing_ok=True)  # those of an earlier run
        self.versions = versions()

    def add(self, outcome, output):
        """One step has ended; output : str, all that it printed."""
        with self.lock:
            self.outcomes.append(outcome)
            with (self.folder / "logs.txt").open("a") as file:
                file.write(f"\n===== {outcome.name}: {outcome.why}, {outcome.seconds:.1f} s\n{output}")
            print(f"{outcome.name:10} {outcome.why:32} {outcome.seconds:6.1f} s", flush=True)
            self.write()

    def write(self):
        """The report so far."""
        steps = [asdict(outcome) for outcome in self.outcomes]
        text = json.dumps({"versions": self.versions, "steps": steps}, indent=1)
        (self.folder / "report.json").write_text(text)


def environment(folder):
    """For every step: the package from this checkout, results into the folder, few threads for each of many steps."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    programs = os.pathsep.join([os.environ.get("PATH", os.defpath), CUDA])
    threads = str(max(1, (os.cpu_count() or 1) // 4))
    return os.environ | {
        "PYTHONPATH": path,
        "PATH": programs,
        "PYTHONUNBUFFERED": "1",
        "CSRL_RESULTS": str(folder),
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }


def run(step, folder, until):
    """Run a step, at most until the given time (of ``time.monotonic``); returns (Outcome, all that it printed)."""
    begin = time.monotonic()

    def outcome(status, why, output):
        seconds = time.monotonic() - begin
        return Outcome(step.name, " ".join(map(str, step.command)), status, why, seconds, output[-TAIL:]), output

    limit, variables = min(step.limit, until - begin), environment(folder)
    if step.needs and not shutil.which(step.needs, path=variables["PATH"]):
        return outcome(None, f"left out: no {step.needs}", "")
    if limit <= 0:
        return outcome(None, "left out: no time remains", "")
    log = folder / f".{step.name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            step.command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that what it starts ends with it
        )
        try:
            status, why = process.wait(limit), ""
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status, why = None, f"stopped at its limit of {limit:.0f} s"
    output = log.read_text(errors="replace")
    log.unlink()
    if step.output:
        (folder / step.output).write_text(output)
    return outcome(status, why or ("ok" if status == 0 else f"FAILED, status {status}"), output)


def run_all(steps, folder, seconds=SECONDS):
    """Run rounds of steps into a folder; returns the `Report`."""
    report, until = Report(folder), time.monotonic() + seconds
    essential = {step.name for at_once in steps for step in at_once if step.essential}
    for name, row in report.versions.items():
        print(f"{name:16} {row['found']:16} wanted {row['wanted']:12} {'' if row['ok'] else 'MISSED'}".rstrip())
    for at_once in steps:
        if any(not outcome.ok and outcome.name in essential for outcome in report.outcomes):
            break
        with ThreadPoolExecutor(len(at_once)) as pool:
            for future in [pool.submit(run, step, folder, until) for step in at_once]:
                report.add(*future.result())
    report.write()
    return report


def main():
    """Command line; the exit status is 1 where a step was not all right."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or ROOT / "device-report"))
    report = run_all(rounds(), parser.parse_args().out.resolve())
    for outcome in report.outcomes:
        if not outcome.ok:
            print(f"\n===== {outcome.name}: {outcome.why}\n{outcome.tail}")
    print(f"\nreport: {report.folder}")
    raise SystemExit(0 if all(outcome.ok for outcome in report.outcomes) else 1)


if __name__ == "__main__":
    main()
