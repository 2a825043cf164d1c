"""The runs of `csrl_core.experiments.fig5` on disk and summarised: table, means, and a picture for each K."""

import io
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from csrl_core import plotting
from csrl_core.experiments import fig5, runs
from csrl_core.experiments.fig5 import PROBLEMS, SAME_SIZE, Run
from csrl_core.training.atomic_files import write_atomically


def table(path):
    """The `runs.RunTable` of a comparison."""
    return runs.RunTable(path, Run, digits=6, nan="")


def _name(key):
    return "|".join(map(str, key))


class Images:
    """The images of first repetitions, in an NPZ file for each picture."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def path(self, key):
        """The file of the picture that a run belongs to."""
        return self.folder / f"{stem(*key[:2])}-K{key[4]}.npz"

    def get(self, key):
        """(images, own) of a run, or None."""
        path, name = self.path(key), _name(key)
        if not path.exists():
            return None
        with np.load(path) as file:
            return (file[name], file[f"{name}|own"]) if name in file else None

    def put(self, key, images):
        """Add the images of a run."""
        path, held = self.path(key), {}
        if path.exists():
            with np.load(path) as file:
                held = {name: file[name] for name in file.files}
        held |= {_name(key): images[0], f"{_name(key)}|own": images[1]}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **held)
        write_atomically(path, buffer.getvalue())


def stem(data, inputs):
    """How the names of a comparison's files begin."""
    return "-".join(["fig5", *[word for word in (data, inputs) if word not in ("mnist", "intensities")]])


def missing(table, wanted, images):
    """The jobs that are still to be done: those without a row, or without the images of a picture."""

    def lacks_images(run):
        return run.repetition == 0 and np.isfinite(run.ARI) and images.get(run.key) is None

    return [job for job in wanted if job.key not in table.by_key or lacks_images(table.by_key[job.key])]


def complete(table, wanted, images, done=None):
    """Make the runs that are missing, one after the other, as each uses all threads.

    table : `runs.RunTable`; wanted : list of Job; images : `Images`; done : callable, ``done(count, of, run)``
    returns list of Run, those wanted, in their order
    """

    def make_run(job):
        run, drawn = fig5.make_run(job)
        if drawn is not None and job.repetition == 0:
            images.put(job.key, drawn)
        return run

    return runs.complete(table, wanted, make_run, missing=missing(table, wanted, images), n_processes=1, done=done)


MEASURES = tuple(column.name for column in fields(Run)[10:])
GAIN = "log_likelihood_test, less that of the RBM of its size"


@dataclass(frozen=True)
class Summary:
    """Mean and standard error of one measure over the repetitions that did not diverge; diverged : how many did."""

    data: str
    inputs: str
    version: str
    model: str
    gibbs_steps: int
    measure: str
    mean: float
    standard_error: float
    repetitions: int
    diverged: int


def summarise(made):
    """`Summary` rows of `Run`s, in their order; of two machines also what they gain over one of their size."""
    same_size = {(run.gibbs_steps, run.repetition): run.log_likelihood_test for run in made if run.model == SAME_SIZE}
    rows = []
    for key, group in runs.grouped(made, "data", "inputs", "version", "model", "gibbs_steps").items():
        finite = [run for run in group if np.isfinite(run.ARI)]
        values = {measure: [getattr(run, measure) for run in finite] for measure in MEASURES}
        if key[3] == "TRBM":
            values[GAIN] = [
                run.log_likelihood_test - same_size.get((run.gibbs_steps, run.repetition), np.nan) for run in finite
            ]
        for measure, own in values.items():
            rows.append(Summary(*key, measure, *runs.mean_and_error(own), len(finite), len(group) - len(finite)))
    return rows


def lines(rows):
    """The summary as text: a block for each K, a line for each machine; means ± standard errors."""
    table = {(row.gibbs_steps, row.version, row.model, row.measure): row for row in rows}
    columns = {
        "ARI": ("ARI", 3, 15),
        "log p, test": ("log_likelihood_test", 1, 16),
        "gain": (GAIN, 1, 15),
        "error": ("error_own", 4, 17),
    }
    header = "".join(f"{name:>{width}}" for name, (_, _, width) in columns.items())
    for K in dict.fromkeys(row.gibbs_steps for row in rows):
        machines = list(dict.fromkeys(key[1:3] for key in table if key[0] == K))
        means = _cell(table[K, *machines[0], "ARI_k_means"], 3)
        yield f"K = {K}; k-means on the pixels: ARI {means}"
        yield f"  {'':<32}{header}{'loss':>12}"
        for machine in machines:
            cells = [_cell(table.get((K, *machine, name)), digits) for name, digits, _ in columns.values()]
            shown = "".join(f"{cell:>{width}}" for cell, (_, _, width) in zip(cells, columns.values()))
            first, last = (table[K, *machine, f"loss_{end}"].mean for end in ("first", "last"))
            yield f"  {machine[0]:<9}{machine[1]:<23}{shown}{f'{first:.0f} → {last:.0f}':>12}"
    yield (
        "log p: binary test images, by annealed importance sampling. gain: log p less that of the RBM of the TRBM's "
        "size. ARI of an RBM: k-means on its hidden units. error: of reconstructions of test images, own cluster."
    )


def _cell(row, digits):
    if row is None or np.isnan(row.mean):
        return "–"
    if np.isnan(row.standard_error):
        return f"{row.mean:.{digits}f}"
    return f"{row.mean:.{digits}f} ± {row.standard_error:.{digits}f}"


def draw(folder, stem, made, images):
    """A picture for each K, of first repetitions: samples and their reconstructions by each machine.

    stem : how the names of the files begin; made : list of Run
    returns list of paths
    """
    files, titles = [], {"papers": "papers'", "ours": "our", "standard": "standard"}
    for K in dict.fromkeys(run.gibbs_steps for run in made):
        rows, frames, first = {}, {}, None
        for run in (run for run in made if run.gibbs_steps == K and run.repetition == 0):
            kept = images.get(run.key)
            if kept is None:
                continue
            first, (pictures, own) = run, kept
            rows.setdefault("test images", pictures[0])
            for j, picture in enumerate(pictures[1:]):
                name = f"{titles[run.version]} TRBM, cluster {j}" if len(own) > 1 else run.model
                rows[name] = picture
                if len(own) > 1:
                    frames[name] = own[j]
        if first is None:
            continue
        problem, what = PROBLEMS[first.data], {"mnist": "MNIST", "digits": "scikit-learn's digits, not MNIST"}
        title = f"K = {K}, {what[first.data]}; framed: the image's own cluster"
        files.append(Path(folder) / f"{stem}-K{K}.png")
        figure = plotting.plot_image_rows(rows, problem.image_shape, frames=frames, title=title)
        plotting.save_figure(figure, files[-1], dpi=140)
    return files
