"""What the runs of `csrl_core.experiments.fig5` leave on disk and say: the table, means, and a picture for each K.

Rows are on disk when they are finished, and a rerun skips what is there.
"""

import csv
import io
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from csrl_core import plotting
from csrl_core.experiments.fig5 import PROBLEMS, SAME_SIZE, Run, make_run
from csrl_core.experiments.summary import write_rows
from csrl_core.training.atomic_files import write_atomically


def read_runs(path):
    """The `Run`s of a table; ValueError if it has other columns than this version writes."""
    path, kinds = Path(path), {column.name: column.type for column in fields(Run)}
    if not path.exists():
        return []
    header, *rows = list(csv.reader(path.read_text().splitlines())) or [[]]
    if header != list(kinds):
        raise ValueError(f"{path} has other columns than this version writes; give another folder, or move it away")
    return [Run(**{name: kind(cell or "nan") for (name, kind), cell in zip(kinds.items(), row)}) for row in rows]


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
        """Add those of a run."""
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


def complete(path, images, wanted, done=None):
    """Make the runs that the table lacks, and write it after each.

    path : of the table; images : `Images`; wanted : list of Job; done : callable, ``done(count, of, run)``
    returns list of Run, those wanted, in their order
    """
    runs = read_runs(path)
    known = {run.key: run for run in runs}
    missing = [job for job in wanted if is_missing(job, known, images)]
    for count, job in enumerate(missing, 1):
        run, drawn = make_run(job)
        if drawn is not None and job.repetition == 0:
            images.put(job.key, drawn)
        known[job.key] = run
        write_rows(path, list(known.values()), Run)
        if done is not None:
            done(count, len(missing), run)
    return [known[job.key] for job in wanted]


def is_missing(job, known, images):
    """Whether a job must be done: no row, or none of the images of a picture."""
    if job.key not in known:
        return True
    finite = np.isfinite(known[job.key].ARI)
    return bool(finite and job.repetition == 0 and images.get(job.key) is None)


# ------------------------------------------------------------------------------------------- what they say

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


def summarise(runs):
    """`Summary` rows, in the order of the runs; of two machines also what they gain over one of their size."""
    groups, same_size = {}, {}
    for run in runs:
        groups.setdefault((run.data, run.inputs, run.version, run.model, run.gibbs_steps), []).append(run)
        if run.model == SAME_SIZE:
            same_size[run.gibbs_steps, run.repetition] = run.log_likelihood_test
    rows = []
    for key, group in groups.items():
        values = {measure: [getattr(run, measure) for run in group] for measure in MEASURES}
        if key[3] == "TRBM":
            values[GAIN] = [
                run.log_likelihood_test - same_size.get((run.gibbs_steps, run.repetition), np.nan) for run in group
            ]
        diverged = sum(not np.isfinite(run.ARI) for run in group)
        for measure, found in values.items():
            found = np.array([value for value, run in zip(found, group) if np.isfinite(run.ARI)], dtype=float)
            mean = float(found.mean()) if len(found) else float("nan")
            error = float(found.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else float("nan")
            rows.append(Summary(*key, measure, mean, error, len(found), diverged))
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


def draw(folder, stem, runs, images):
    """A picture for each K, of first repetitions: samples, what each cluster's machine makes of them, one machine.

    stem : how the names of the files begin
    returns list of paths
    """
    files, titles = [], {"papers": "papers'", "ours": "our", "standard": "standard"}
    for K in dict.fromkeys(run.gibbs_steps for run in runs):
        rows, frames, first = {}, {}, None
        for run in (run for run in runs if run.gibbs_steps == K and run.repetition == 0):
            found = images.get(run.key)
            if found is None:
                continue
            first, (pictures, own) = run, found
            rows.setdefault("test images", pictures[0])
            for j, picture in enumerate(pictures[1:]):
                name = f"{titles[run.version]} TRBM, cluster {('one', 'two')[j]}" if len(own) > 1 else run.model
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
