"""The work of ``csrl reproduce``: the figures of the paper as pictures and tables, resumable."""

import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from csrl_core import datasets, doctor
from csrl_core.cli import progress, reproduce_instance, reproduce_ofm
from csrl_core.cli.base import WrongUsage
from csrl_core.estimators.autoencoder import TensorizedAutoencoder
from csrl_core.estimators.contrastive import TensorizedContrastive
from csrl_core.estimators.rbm import TensorizedRBM
from csrl_core.estimators.vae import TensorizedVAE
from csrl_core.experiments import (
    defaults,
    defaults_summary,
    fig1,
    fig2,
    fig2_picture,
    fig2_summary,
    fig3,
    fig3_summary,
    fig4,
    fig4_summary,
    fig5,
    fig5_summary,
)
from csrl_core.experiments import runs as tables
from csrl_core.training import compiling
from csrl_core.training.atomic_files import write_atomically

REPETITIONS = 5  # of figures 1, 3 and 5; `fig2.default_repetitions` has those of figure 2


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for, as typed: see ``csrl reproduce --help``; None: not given. say : callable, takes a line."""

    sets: list | None
    versions: tuple
    repetitions: int | None
    seed: int
    backend: str
    processes: int | None
    say: Callable
    epochs: int | None = None
    n_init: int | None = None
    inputs: str = "intensities"
    quick: bool = False
    models: list | None = None


def main(figure, out, **asked):
    """Make what is missing of a figure, then its tables and pictures; returns the exit code.

    asked : fields of `Request`
    """
    request, out = Request(**asked), Path(out)
    options = {
        "--quick": (request.quick, ("fig3", "fig4", "fig5", "defaults", "idfd", "cidfd", "ofm")),
        "--inputs": (request.inputs != "intensities", ("fig5",)),
        "--model": (request.models, ("defaults",)),
    }
    for option, (given, owners) in options.items():
        if given and figure not in owners:
            said = " and ".join(part for part in (", ".join(owners[:-1]), owners[-1]) if part)
            raise WrongUsage(f"{option} is an option of {said}, not of {figure}")
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise OSError(f"cannot write into {out}")
    make = {"fig1": _figure_1, "fig2": _figure_2, "fig3": _figure_3, "fig4": _figure_4, "fig5": _figure_5}
    make |= {"defaults": _defaults, "idfd": reproduce_instance.make_idfd, "cidfd": reproduce_instance.make_cidfd}
    make |= {"ofm": reproduce_ofm.make}
    make[figure](out, request)
    return 0


def _figure_1(out, request):
    with compiling.announced(request.say, TensorizedAutoencoder, request.backend):
        rows, files = fig1.run(
            out,
            repetitions=request.repetitions or REPETITIONS,
            n_init=request.n_init or fig2.RESTARTS,
            seed=request.seed,
            backend=request.backend,
        )
    for row in rows:
        request.say(
            f"  {row.data:<14}{row.model:<42}mean squared error {row.mean_squared_error:.3g} ± "
            f"{row.mean_squared_error_se:.1g}, ARI {row.ARI:.3f} ± {row.ARI_se:.3f}"
        )
    for path in files:
        request.say(str(path))


def _figure_2(out, request):
    begin, say = time.perf_counter(), request.say
    here = _sets_here(fig2.SETS, request)
    table = tables.RunTable(out / "fig2-runs.csv", fig2.Run)
    jobs = fig2.jobs(
        *(request.versions, here, request.repetitions, request.seed),
        *(request.backend, request.epochs, request.n_init or fig2.RESTARTS),
    )
    if _say_missing("fig2", jobs, table.missing(jobs), table, say):
        doctor.compile_ahead(TensorizedAutoencoder, request.backend, say)
    with _progress(say, lambda run: f"{run.version}, {run.data}, {run.model}", every=5) as done:
        made = tables.complete(table, jobs, fig2.make_run, n_processes=request.processes, done=done)
    rows = fig2_summary.summarise(made)
    wanted = [(version, panel) for version in request.versions for panel in fig2_picture.PANELS]

    def draw():
        pictures = {out / f"fig2-{version}-{panel}.png": (version, panel) for version, panel in wanted}
        for picture, (version, panel) in pictures.items():
            fig2_picture.draw(picture, rows, version, panel)
        return pictures

    tables.write_rows(out / "fig2.csv", rows, fig2_summary.Summary)
    _finish([table.path, out / "fig2.csv"], draw, fig2_summary.lines(rows), say)
    say(f"done in {time.perf_counter() - begin:.1f} s; the runs took {sum(run.seconds for run in made):.0f} s in all")


def _figure_3(out, request):
    begin, say = time.perf_counter(), request.say
    here = _sets_here(fig3.ARCHITECTURES, request)
    options = {"repetitions": request.repetitions or REPETITIONS, "epochs": request.epochs}
    if request.quick:
        options = {"repetitions": 1, "epochs": 2, "images": 20}
    stem = "fig3-quick" if request.quick else "fig3"
    table = tables.RunTable(out / f"{stem}-runs.csv", fig3.Run)
    jobs = fig3.jobs(out, request.versions, here, seed=request.seed, backend=request.backend, **options)
    if _say_missing("fig3", jobs, table.without_model(jobs), table, say):
        doctor.compile_ahead(TensorizedVAE, request.backend, say)
    with _progress(say, lambda run: f"{run.version}, {run.data}, {run.model}") as done:
        made = fig3_summary.complete(table, jobs, request.processes, done)
    rows = fig3_summary.summarise(made)
    tables.write_rows(out / f"{stem}.csv", rows, fig3_summary.Summary)

    def draw():
        return [fig3_summary.draw(out, data, version, jobs) for data in here for version in request.versions]

    _finish([table.path, out / f"{stem}.csv"], draw, fig3_summary.lines(rows), say)
    say(f"done in {time.perf_counter() - begin:.1f} s; the runs took {sum(run.seconds for run in made):.0f} s in all")


def _figure_4(out, request):
    begin, say = time.perf_counter(), request.say
    options = {"repetitions": request.repetitions or REPETITIONS, "epochs": request.epochs}
    if request.quick:
        options = {"repetitions": 1, "epochs": 2, "images": 20}
    if request.sets not in (None, ["mnist"]):
        raise WrongUsage(f"--data {' '.join(request.sets)}: fig4 is about mnist")
    if not datasets.available("mnist"):
        raise FileNotFoundError("fig4 needs the data set mnist; csrl doctor says where it is looked for")
    stem = "fig4-quick" if request.quick else "fig4"
    table = tables.RunTable(out / f"{stem}-runs.csv", fig4.Run)
    jobs = fig4.jobs(out, seed=request.seed, backend=request.backend, **options)
    if _say_missing("fig4", jobs, table.without_model(jobs), table, say):
        doctor.compile_ahead(TensorizedContrastive, request.backend, say)
    with _progress(say, lambda run: f"{run.model}, {run.information}") as done:
        made = fig4_summary.complete(table, jobs, request.processes, done)
    rows = fig4_summary.summarise(made)
    tables.write_rows(out / f"{stem}.csv", rows, fig4_summary.Summary)
    _finish([table.path, out / f"{stem}.csv"], lambda: [fig4_summary.draw(out, jobs)], fig4_summary.lines(rows), say)
    say(f"done in {time.perf_counter() - begin:.1f} s; the runs took {sum(run.seconds for run in made):.0f} s in all")


def _figure_5(out, request):
    begin, say, sets = time.perf_counter(), request.say, request.sets or ["mnist"]
    if len(sets) > 1 or sets[0] not in fig5.PROBLEMS:
        raise WrongUsage(f"--data {' '.join(sets)}: expected one of {', '.join(fig5.PROBLEMS)}")
    (data,) = sets
    if not datasets.available(data):
        raise FileNotFoundError(
            f"fig5 needs MNIST, whose files are not there; set {datasets.DATA_VARIABLE} (csrl doctor), or take "
            f"scikit-learn's own digits: --data digits"
        )
    options = {"repetitions": request.repetitions or REPETITIONS, "seed": request.seed, "backend": request.backend}
    options |= {"n_jobs": request.processes, "epochs": request.epochs}
    if request.quick:
        options |= {"steps": (1,), "repetitions": 1, "epochs": 2, "n_hidden": 20, "ais_betas": 20, "ais_chains": 10}
    jobs = fig5.jobs(request.versions, data, request.inputs, **options)
    stem = fig5_summary.stem(data, request.inputs) + ("-quick" if request.quick else "")
    table, images = fig5_summary.table(out / f"{stem}-runs.csv"), fig5_summary.Images(out)
    _say_missing("fig5", jobs, fig5_summary.missing(table, jobs, images), table, say)
    compiled = compiling.announced(say, TensorizedRBM, request.backend)
    with compiled, _progress(say, lambda run: f"{run.version}, {run.model}, K = {run.gibbs_steps}") as done:
        made = fig5_summary.complete(table, jobs, images, done)
    rows = fig5_summary.summarise(made)
    tables.write_rows(out / f"{stem}.csv", rows, fig5_summary.Summary)
    files = [table.path, out / f"{stem}.csv"]
    _finish(files, lambda: fig5_summary.draw(out, stem, made, images), fig5_summary.lines(rows), say)
    say(f"done in {time.perf_counter() - begin:.1f} s; the fits took {sum(run.seconds for run in made):.0f} s in all")


def _defaults(out, request):
    say, models = request.say, request.models or tuple(defaults.MODELS)
    for what, given, known in (("--data", request.sets or (), defaults.SETS), ("--model", models, defaults.MODELS)):
        for name in given:
            if name not in known:
                raise WrongUsage(f"{what} {name!r} is not one of {', '.join(map(repr, known))}")
    wanted = list(request.sets or (defaults.QUICK if request.quick else defaults.SETS))
    here = [name for name in wanted if defaults.SETS[name].available]
    if len(here) < len(wanted):
        say(f"skipped    {len(wanted) - len(here)} sets: their files are not there; set {datasets.DATA_VARIABLE}")
    if not here:
        raise FileNotFoundError("none of the data sets can be read")
    table = tables.RunTable(out / "defaults-runs.csv", defaults.Run)
    repetitions = request.repetitions or (1 if request.quick else defaults.SEEDS)
    jobs = defaults.jobs(here, models, repetitions, request.seed, request.backend)
    missing = {job.model for job in _say_missing("defaults", jobs, table.missing(jobs), table, say)}
    for kind, names in ((TensorizedAutoencoder, {"TAE", "PTAE"}), (TensorizedRBM, {"TRBM"})):
        if names & missing:
            doctor.compile_ahead(kind, request.backend, say)
    with _progress(
        say, lambda run: f"{run.data}, {run.model}: ARI {run.ARI:.2f}, at the start {run.ARI_start:.2f}"
    ) as done:
        made = tables.complete(table, jobs, defaults.make_run, n_processes=request.processes, done=done)
    rows = defaults_summary.summarise(made)
    files, picture = [table.path, out / "defaults.csv", out / "defaults.md"], out / "defaults.png"
    tables.write_rows(files[1], rows, defaults_summary.Summary)
    write_atomically(files[2], defaults_summary.markdown(rows).encode())

    def draw():
        defaults_summary.draw(picture, rows)
        return [picture]

    _finish(files, draw, defaults_summary.lines(rows), say)


def _sets_here(known, request):
    """The data sets that are asked for, of those of the figure, and can be read; the others are said."""
    wanted = list(request.sets or known)
    for name in wanted:
        if name not in known:
            raise WrongUsage(f"--data {name} is not of the figure; expected some of {', '.join(known)}")
    here = [name for name in wanted if datasets.available(name)]
    for name in wanted:
        if name not in here:
            request.say(f"skipped    {name}: its files are not there; set {datasets.DATA_VARIABLE} (csrl doctor)")
    if not here:
        raise FileNotFoundError("none of the data sets can be read")
    return here


def _say_missing(name, jobs, missing, table, say):
    say(f"{name:<11}{len(jobs)} runs, {len(jobs) - len(missing)} of them in {table.path}")
    return missing


@contextmanager
def _progress(say, what, every=0.0):
    """As `progress.shown`, of runs; what : callable of a run, what is said of it."""
    with progress.shown("runs", say, every) as done:
        yield lambda count, of, run: done(count, of, what(run))


def _finish(files, draw, lines, say):
    """Draw the pictures, if that is possible, and say lines and files; draw : callable, returns the pictures' paths."""
    if find_spec("matplotlib"):
        files = [*files, *draw()]
    else:
        say("no pictures: matplotlib is not installed; pip install 'csrl_core[plot]'")
    for line in [*lines, *map(str, files)]:
        say(line)
