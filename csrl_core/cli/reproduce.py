"""The work of ``csrl reproduce``: the figures of the paper as pictures and tables, resumable."""

import os
import time
from importlib.util import find_spec
from pathlib import Path

from csrl_core import datasets, doctor
from csrl_core.cli.files import WrongUsage, say_if_compiling
from csrl_core.experiments import defaults, defaults_summary, fig1, fig2, fig2_picture, fig2_summary, fig5, fig5_summary
from csrl_core.experiments import runs as tables
from csrl_core.training.atomic_files import write_atomically

REPETITIONS = 5  # of figures 1 and 5; `fig2.default_repetitions` has those of figure 2


def main(
    figure,
    out,
    *,
    sets,
    versions,
    repetitions,
    seed,
    backend,
    processes,
    say,
    epochs=None,
    n_init=None,
    inputs="intensities",
    quick=False,
    models=None,
):
    """Make what is missing of a figure, then its tables and pictures; returns the exit code."""
    options = {
        "--quick": (quick, ("fig5", "defaults")),
        "--inputs": (inputs != "intensities", ("fig5",)),
        "--model": (models, ("defaults",)),
    }
    for option, (given, owners) in options.items():
        if given and figure not in owners:
            raise WrongUsage(f"{option} is an option of {' and '.join(owners)}, not of {figure}")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise OSError(f"cannot write into {out}")
    shared = {"repetitions": repetitions, "seed": seed, "backend": backend, "say": say}
    if figure == "fig1":
        return _figure_1(out, n_init=n_init, **shared)
    if figure == "fig2":
        return _figure_2(out, sets, versions, processes=processes, epochs=epochs, n_init=n_init, **shared)
    if figure == "fig5":
        return _figure_5(out, sets or ["mnist"], versions, inputs, quick, n_jobs=processes, epochs=epochs, **shared)
    return _defaults(out, sets, models or tuple(defaults.MODELS), quick, processes=processes, **shared)


def _figure_1(out, *, repetitions, seed, backend, say, n_init):
    rows, files = fig1.run(
        *(out,),
        **{"repetitions": repetitions or REPETITIONS, "n_init": n_init or fig2.RESTARTS},
        **{"seed": seed, "backend": backend},
    )
    for row in rows:
        say(
            f"  {row.data:<14}{row.model:<42}mean squared error {row.mean_squared_error:.3g} ± "
            f"{row.mean_squared_error_se:.1g}, ARI {row.ARI:.3f} ± {row.ARI_se:.3f}"
        )
    for path in files:
        say(str(path))
    return 0


def _figure_2(out, sets, versions, *, repetitions, seed, backend, say, processes, epochs, n_init):
    wanted = list(sets or fig2.SETS)
    for name in wanted:
        if name not in fig2.SETS:
            raise WrongUsage(f"--data {name} is not of the figure; expected some of {', '.join(fig2.SETS)}")
    here = [name for name in wanted if datasets.available(name)]
    for name in wanted:
        if name not in here:
            say(f"skipped    {name}: its files are not there; set {datasets.DATA_VARIABLE} (csrl doctor)")
    if not here:
        raise FileNotFoundError("none of the data sets can be read")
    table = tables.RunTable(out / "fig2-runs.csv", fig2.Run)
    jobs = fig2.jobs(versions, here, repetitions, seed, backend, epochs, n_init or fig2.RESTARTS)
    missing = _say_missing("fig2", jobs, table.missing(jobs), table, say)
    if missing:
        doctor.say_if_compiling(backend, say)
    progress = _Progress(say, lambda run: f"{run.version}, {run.data}, {run.model}", interval=5)
    made = tables.complete(table, jobs, fig2.make_run, n_processes=processes, done=progress)
    rows = fig2_summary.summarise(made)
    pictures = {out / f"fig2-{version}.png": version for version in versions}

    def draw():
        for picture, version in pictures.items():
            fig2_picture.draw(picture, rows, version)
        return pictures

    tables.write_rows(out / "fig2.csv", rows, fig2_summary.Summary)
    _finish([table.path, out / "fig2.csv"], draw, fig2_summary.lines(rows), say)
    say(f"done in {progress.seconds:.1f} s; the runs took {sum(run.seconds for run in made):.0f} s in all")
    return 0


def _figure_5(out, sets, versions, inputs, quick, *, repetitions, seed, backend, say, n_jobs, epochs):
    if len(sets) > 1 or sets[0] not in fig5.PROBLEMS:
        raise WrongUsage(f"--data {' '.join(sets)}: expected one of {', '.join(fig5.PROBLEMS)}")
    (data,) = sets
    if not datasets.available(data):
        raise FileNotFoundError(
            f"fig5 needs MNIST, whose files are not there; set {datasets.DATA_VARIABLE} (csrl doctor), or take "
            f"scikit-learn's own digits: --data digits"
        )
    options = {"repetitions": repetitions or REPETITIONS, "seed": seed, "backend": backend}
    options |= {"n_jobs": n_jobs, "epochs": epochs}
    if quick:
        options |= {"steps": (1,), "repetitions": 1, "epochs": 2, "n_hidden": 20, "ais_betas": 20, "ais_chains": 10}
    jobs = fig5.jobs(versions, data, inputs, **options)
    stem = fig5_summary.stem(data, inputs) + ("-quick" if quick else "")
    table, images = fig5_summary.table(out / f"{stem}-runs.csv"), fig5_summary.Images(out)
    missing = _say_missing("fig5", jobs, fig5_summary.missing(table, jobs, images), table, say)
    if missing:
        say_if_compiling(backend, "rbm", say)
    progress = _Progress(say, lambda run: f"{run.version}, {run.model}, K = {run.gibbs_steps}, {run.repetition + 1}.")
    made = fig5_summary.complete(table, jobs, images, progress)
    rows = fig5_summary.summarise(made)
    tables.write_rows(out / f"{stem}.csv", rows, fig5_summary.Summary)
    files = [table.path, out / f"{stem}.csv"]
    _finish(files, lambda: fig5_summary.draw(out, stem, made, images), fig5_summary.lines(rows), say)
    say(f"done in {progress.seconds:.1f} s; the fits took {sum(run.seconds for run in made):.0f} s in all")
    return 0


def _defaults(out, sets, models, quick, *, repetitions, seed, backend, say, processes):
    for what, given, known in (("--data", sets or (), defaults.SETS), ("--model", models, defaults.MODELS)):
        for name in given:
            if name not in known:
                raise WrongUsage(f"{what} {name!r} is not one of {', '.join(map(repr, known))}")
    wanted = list(sets or (defaults.QUICK if quick else defaults.SETS))
    here = [name for name in wanted if defaults.SETS[name].available]
    if len(here) < len(wanted):
        say(f"skipped    {len(wanted) - len(here)} sets: their files are not there; set {datasets.DATA_VARIABLE}")
    if not here:
        raise FileNotFoundError("none of the data sets can be read")
    table = tables.RunTable(out / "defaults-runs.csv", defaults.Run)
    jobs = defaults.jobs(here, models, repetitions or (1 if quick else defaults.SEEDS), seed, backend)
    _say_missing("defaults", jobs, table.missing(jobs), table, say)
    progress = _Progress(say, lambda run: f"{run.data}, {run.model}: ARI {run.ARI:.2f}, start {run.ARI_start:.2f}")
    made = tables.complete(table, jobs, defaults.make_run, n_processes=processes, done=progress)
    rows = defaults_summary.summarise(made)
    files, picture = [table.path, out / "defaults.csv", out / "defaults.md"], out / "defaults.png"
    tables.write_rows(files[1], rows, defaults_summary.Summary)
    write_atomically(files[2], defaults_summary.markdown(rows).encode())

    def draw():
        defaults_summary.draw(picture, rows)
        return [picture]

    _finish(files, draw, defaults_summary.lines(rows), say)
    return 0


def _say_missing(name, jobs, missing, table, say):
    say(f"{name:<11}{len(jobs)} runs, {len(jobs) - len(missing)} of them in {table.path}")
    return missing


class _Progress:
    """Says after a run how many are done and what it was; every ``interval`` seconds at most, and at the end."""

    def __init__(self, say, what, interval=0.0):
        self.say, self.what, self.interval = say, what, interval
        self.begin = self.last = time.perf_counter()

    @property
    def seconds(self):
        return time.perf_counter() - self.begin

    def __call__(self, count, of, run):
        now = time.perf_counter()
        if now - self.last >= self.interval or count == of:
            self.last = now
            self.say(f"{count}/{of}  {self.what(run)}  {now - self.begin:.0f} s")


def _finish(files, draw, lines, say):
    """Draw the pictures, if that is possible, and say lines and files; draw : callable, returns the pictures' paths."""
    if find_spec("matplotlib"):
        files = [*files, *draw()]
    else:
        say("no pictures: matplotlib is not installed; pip install 'csrl_core[plot]'")
    for line in [*lines, *map(str, files)]:
        say(line)
