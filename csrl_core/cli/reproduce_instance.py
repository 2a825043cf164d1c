"""``csrl reproduce idfd`` and ``csrl reproduce cidfd``: runs one after the other, each on all threads."""

import time
from importlib.util import find_spec

from csrl_core import datasets, doctor
from csrl_core.cli import progress
from csrl_core.cli.base import WrongUsage
from csrl_core.estimators.contrastive_instance import ContrastiveInstanceDiscrimination
from csrl_core.estimators.instance import InstanceDiscrimination
from csrl_core.experiments import cidfd, idfd, instance_summary
from csrl_core.experiments import runs as tables

REPETITIONS = 3
QUICK = {"repetitions": 1, "epochs": 1}


def make_idfd(out, request):
    """All runs of `csrl_core.experiments.idfd`, tables and pictures."""
    for name in request.sets or ():
        if name not in idfd.SETS:
            raise WrongUsage(f"--data {name} is not of the experiment; expected some of {', '.join(idfd.SETS)}")
    here = [name for name in request.sets or idfd.SETS if datasets.available(name)]
    if not here:
        raise FileNotFoundError(f"no data set can be read; set {datasets.DATA_VARIABLE} (csrl doctor)")
    jobs = idfd.jobs(out, here, **_options(request, {"images": 300}))

    def draw(made):
        return [instance_summary.draw_idfd(out, data, jobs, made) for data in here]

    _make(out, request, "idfd", InstanceDiscrimination, idfd, jobs, draw, ("dense", "conv"))


def make_cidfd(out, request):
    """All runs of `csrl_core.experiments.cidfd`, tables and the picture."""
    if request.sets:
        raise WrongUsage("--data is an option of other experiments; cidfd has its own data, of MNIST and photographs")
    if not datasets.available("mnist"):
        raise FileNotFoundError(f"cidfd needs MNIST, whose files are not there; set {datasets.DATA_VARIABLE}")
    jobs = cidfd.jobs(out, **_options(request, {"samples": 200, "patches": 100}))

    def draw(made):
        return [instance_summary.draw_cidfd(out, jobs)]

    _make(out, request, "cidfd", ContrastiveInstanceDiscrimination, cidfd, jobs, draw)


def _options(request, quick):
    options = {"repetitions": request.repetitions or REPETITIONS, "epochs": request.epochs} | {"seed": request.seed}
    options |= {"backend": request.backend, "n_jobs": request.processes}
    return options | QUICK | quick if request.quick else options


def _make(out, request, name, kind, experiment, jobs, draw, architectures=("dense",)):
    begin, say, stem = time.perf_counter(), request.say, f"{name}-quick" if request.quick else name
    table = tables.RunTable(out / f"{stem}-runs.csv", experiment.Run)
    missing = instance_summary.missing(table, jobs)
    say(f"{name:<11}{len(jobs)} runs, {len(jobs) - len(missing)} of them in {table.path}")
    if missing:
        for architecture in architectures * (request.backend in ("auto", "numba")):  # or the first run pays for it
            arguments = {"architecture": architecture, "image_shape": (28, 28)}
            doctor.compile_ahead(kind, request.backend, say, 784, "float32", **arguments)
    with progress.shown("runs", say, 0.0) as done:
        made = tables.complete(
            *(table, jobs, experiment.make_run),
            missing=missing,
            n_processes=1,
            done=lambda count, of, run: done(count, of, f"{run.model}: ACC {run.ACC:.3f}"),
        )
    rows = instance_summary.summarise(made)
    tables.write_rows(out / f"{stem}.csv", rows, instance_summary.Summary)
    files = [table.path, out / f"{stem}.csv"]
    if find_spec("matplotlib"):
        files += draw(made)
    else:
        say("no pictures: matplotlib is not installed; pip install 'csrl_core[plot]'")
    for line in [*instance_summary.lines(rows), *map(str, files)]:
        say(line)
    say(f"done in {time.perf_counter() - begin:.1f} s; the fits took {sum(run.seconds for run in made):.0f} s in all")
