"""``csrl reproduce ofm``: runs on several processes, each on one thread."""

import time
from importlib.util import find_spec

from csrl_core import datasets, doctor
from csrl_core.cli import progress
from csrl_core.cli.base import WrongUsage
from csrl_core.estimators.divergence import DeepDivergenceClustering
from csrl_core.experiments import ofm, ofm_summary
from csrl_core.experiments import runs as tables

QUICK = {"repetitions": 1, "epochs": 1, "images": 40}


def make(out, request):
    """All runs of `csrl_core.experiments.ofm`, table, summary and picture."""
    begin, say = time.perf_counter(), request.say
    if request.sets:
        raise WrongUsage("--data is an option of other experiments; ofm has two sets of MNIST images")
    if not datasets.available("mnist"):
        raise FileNotFoundError(f"ofm needs MNIST, whose files are not there; set {datasets.DATA_VARIABLE}")
    options = {"repetitions": request.repetitions or ofm.REPETITIONS, "epochs": request.epochs, "seed": request.seed}
    options |= {"backend": request.backend} | (QUICK if request.quick else {})
    stem, jobs = "ofm-quick" if request.quick else "ofm", ofm.jobs(**options)
    table = tables.RunTable(out / f"{stem}-runs.csv", ofm.Run)
    missing = table.missing(jobs)
    say(f"{'ofm':<11}{len(jobs)} runs, {len(jobs) - len(missing)} of them in {table.path}")
    if missing:
        doctor.compile_ahead(DeepDivergenceClustering, request.backend, say)
    with progress.shown("runs", say, 0.0) as done:
        made = tables.complete(
            *(table, jobs, ofm.make_run),
            n_processes=request.processes,
            done=lambda count, of, run: done(count, of, f"{run.data}, {run.model}: ACC {run.ACC:.3f}"),
        )
    rows = ofm_summary.summarise(made)
    tables.write_rows(out / f"{stem}.csv", rows, ofm_summary.Summary)
    files = [table.path, out / f"{stem}.csv"]
    if find_spec("matplotlib"):
        files.append(ofm_summary.draw(out / f"{stem}.png", made))
    else:
        say("no pictures: matplotlib is not installed; pip install 'csrl_core[plot]'")
    for line in [*ofm_summary.lines(rows), *map(str, files)]:
        say(line)
    say(f"done in {time.perf_counter() - begin:.1f} s; the fits took {sum(run.seconds for run in made):.0f} s in all")
