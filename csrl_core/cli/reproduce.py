"""The work of ``csrl reproduce``: the figures of the paper as pictures and tables, resumable."""

import os
import time
from importlib.util import find_spec
from pathlib import Path

from csrl_core import datasets, doctor
from csrl_core.cli.files import WrongUsage, say_if_compiling
from csrl_core.experiments import defaults, defaults_summary, fig5, fig5_summary
from csrl_core.experiments import figures as reproduce_figures
from csrl_core.experiments import mixtures as reproduce
from csrl_core.experiments import summary as reproduce_summary
from csrl_core.experiments import table as reproduce_table
from csrl_core.training.atomic_files import write_atomically

REPETITIONS = 5  # of figures 1 and 5; `reproduce.default_repetitions` has those of figure 2


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
    foreign = {
        "--quick": (quick, ("fig5", "defaults")),
        "--inputs": (inputs != "intensities", ("fig5",)),
        "--model": (models, ("defaults",)),
    }
    for option, (given, owners) in foreign.items():
        if given and figure not in owners:
            raise WrongUsage(f"{option} is an option of {' and '.join(owners)}, not of {figure}")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise OSError(f"cannot write into {out}")
    if figure == "fig5":
        return _figure_5(
            *(out, sets or ["mnist"], versions, inputs, quick),
            **{"repetitions": repetitions or REPETITIONS, "seed": seed, "backend": backend},
            **{"n_jobs": processes, "epochs": epochs},
            say=say,
        )
    if figure == "defaults":
        return _defaults(
            *(out, sets, models or tuple(defaults.MODELS), quick),
            **{"repetitions": repetitions, "seed": seed, "backend": backend, "processes": processes, "say": say},
        )
    n_init = n_init or reproduce.RESTARTS
    if figure == "fig1":
        return _figure_1(
            out, seed=seed, repetitions=repetitions or REPETITIONS, backend=backend, n_init=n_init, say=say
        )
    unknown = [name for name in sets or () if name not in reproduce.SETS]
    if unknown:
        raise WrongUsage(f"--data {unknown[0]} is not of the figure; expected some of {', '.join(reproduce.SETS)}")
    wanted = list(sets or reproduce.SETS)
    here = [name for name in wanted if datasets.available(name)]
    for name in wanted:
        if name not in here:
            say(f"skipped    {name}: its files are not there; set {datasets.DATA_VARIABLE} (csrl doctor)")
    if not here:
        raise FileNotFoundError("none of the data sets can be read")
    table = reproduce_table.RunTable(out / "fig2-runs.csv")
    listed = reproduce.jobs(versions, here, repetitions, seed, backend, epochs, n_init)
    known = {run.key for run in table.runs}
    missing = sum(job.key not in known for job in listed)
    say(f"fig2       {len(listed)} runs, {len(listed) - missing} of them in {table.path}")
    if missing:
        doctor.say_if_compiling(backend, say)
    begin = last = time.perf_counter()

    def done(count, of, run):
        nonlocal last
        now = time.perf_counter()
        if now - last >= 5 or count == of:
            last = now
            say(f"{count}/{of}  {run.version}, {run.data}, {run.model}  {now - begin:.0f} s")

    runs = reproduce_table.complete(table, listed, n_processes=processes, done=done)
    rows = reproduce_summary.summarise(runs)

    def draw():
        pictures = [out / f"fig2-{version}.png" for version in versions]
        for picture, version in zip(pictures, versions, strict=True):
            reproduce_figures.draw_figure_2(picture, rows, version)
        return pictures

    files, lines = [table.path, out / "fig2.csv"], reproduce_summary.lines(rows)
    _write(files, rows, reproduce_summary.Summary, draw, lines, say)
    say(f"done in {time.perf_counter() - begin:.1f} s; the runs took {sum(run.seconds for run in runs):.0f} s in all")
    return 0


def _defaults(out, sets, models, quick, *, repetitions, seed, backend, processes, say):
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
    table = reproduce_table.RunTable(out / "defaults-runs.csv", defaults.Run)
    listed = defaults.jobs(here, models, repetitions or (1 if quick else defaults.SEEDS), seed, backend)
    known = {run.key for run in table.runs}
    say(f"defaults   {len(listed)} runs, {sum(job.key in known for job in listed)} of them in {table.path}")
    begin = time.perf_counter()

    def done(count, of, run):
        seconds = time.perf_counter() - begin
        say(f"{count}/{of}  {run.data}, {run.model}: ARI {run.ARI:.2f}, start {run.ARI_start:.2f}  {seconds:.0f} s")

    runs = reproduce_table.complete(table, listed, make_run=defaults.make_run, n_processes=processes, done=done)
    rows = defaults_summary.summarise(runs)
    files, picture = [table.path, out / "defaults.csv", out / "defaults.md"], out / "defaults.png"
    write_atomically(files[2], defaults_summary.markdown(rows).encode())

    def draw():
        defaults_summary.draw(picture, rows)
        return [picture]

    _write(files, rows, defaults_summary.Summary, draw, defaults_summary.lines(rows), say)
    return 0


def _write(files, rows, kind, draw, lines, say):
    """Write the summary's rows to files[1] and draw the pictures, if that is possible; say lines and files.

    draw : callable, returns the pictures' paths
    """
    reproduce_summary.write_rows(files[1], rows, kind)
    if find_spec("matplotlib"):
        files = [*files, *draw()]
    else:
        say("no pictures: matplotlib is not installed; pip install 'csrl_core[plot]'")
    for line in [*lines, *map(str, files)]:
        say(line)


def _figure_5(out, sets, versions, inputs, quick, *, repetitions, seed, backend, n_jobs, epochs, say):
    if len(sets) > 1 or sets[0] not in fig5.PROBLEMS:
        raise WrongUsage(f"--data {' '.join(sets)}: expected one of {', '.join(fig5.PROBLEMS)}")
    (data,) = sets
    if not datasets.available(data):
        raise FileNotFoundError(
            f"fig5 needs MNIST, whose files are not there; set {datasets.DATA_VARIABLE} (csrl doctor), or take "
            f"scikit-learn's own digits: --data digits"
        )
    small = {"steps": (1,), "repetitions": 1, "epochs": 2, "n_hidden": 20, "ais_betas": 20, "ais_chains": 10}
    options = {"repetitions": repetitions, "seed": seed, "backend": backend, "n_jobs": n_jobs, "epochs": epochs}
    wanted = fig5.jobs(versions, data, inputs, **(options | small if quick else options))
    stem = fig5_summary.stem(data, inputs) + ("-quick" if quick else "")
    path, images = out / f"{stem}-runs.csv", fig5_summary.Images(out)
    known = {run.key: run for run in fig5_summary.read_runs(path)}
    missing = sum(fig5_summary.is_missing(job, known, images) for job in wanted)
    say(f"fig5       {len(wanted)} runs, {len(wanted) - missing} of them in {path}")
    if missing:
        say_if_compiling(backend, "rbm", say)
    begin = time.perf_counter()

    def done(count, of, run):
        seconds = time.perf_counter() - begin
        say(f"{count}/{of}  {run.version}, {run.model}, K = {run.gibbs_steps}, {run.repetition + 1}.  {seconds:.0f} s")

    runs = fig5_summary.complete(path, images, wanted, done)
    rows = fig5_summary.summarise(runs)
    files, lines = [path, out / f"{stem}.csv"], fig5_summary.lines(rows)
    _write(files, rows, fig5_summary.Summary, lambda: fig5_summary.draw(out, stem, runs, images), lines, say)
    say(f"done in {time.perf_counter() - begin:.1f} s; the fits took {sum(run.seconds for run in runs):.0f} s in all")
    return 0


def _figure_1(out, *, seed, repetitions, backend, n_init, say):
    pictures, files = reproduce_figures.figure_1(
        out, seed=seed, repetitions=repetitions, backend=backend, n_init=n_init
    )
    for row in pictures:
        say(
            f"  {row.data:<14}{row.model:<42}mean squared error {row.mean_squared_error:.3g} ± "
            f"{row.mean_squared_error_se:.1g}, ARI {row.ARI:.3f} ± {row.ARI_se:.3f}"
        )
    for path in files:
        say(str(path))
    return 0
