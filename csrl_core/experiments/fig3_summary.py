"""The runs of `csrl_core.experiments.fig3` summarised: means, what clusters of their own gain, and the picture."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from csrl_core import load, plotting
from csrl_core.experiments import runs
from csrl_core.experiments.fig3 import MODELS, SIDE, STANDARD, TENSORIZED, Run, draw_images, make_run
from csrl_core.plotting.style import class_codes, legend_beside, scatter

MEASURES = tuple(column.name for column in fields(Run) if column.name not in Run.KEY)
GAIN = "bound_test, less that of the VAE"
_SAMPLES, _RINGS = 36, (1, 2, 3)  # images of a panel; contours of N(0, 1), in standard deviations


@dataclass(frozen=True)
class Summary:
    """Mean and standard error of one measure over the repetitions."""

    data: str
    version: str
    model: str
    measure: str
    mean: float
    standard_error: float
    repetitions: int


def complete(table, wanted, n_processes=None, done=None):
    """Make the runs that are missing; returns list of Run, those wanted, in their order."""
    return runs.complete(
        table, wanted, make_run, missing=table.without_model(wanted), n_processes=n_processes, done=done
    )


def summarise(made):
    """`Summary` rows of `Run`s, in their order; of a TVAE also what it gains over the VAE of the same draw."""
    standard = {(run.data, run.version, run.repetition): run.bound_test for run in made if run.model == STANDARD}
    rows = []
    for key, group in runs.grouped(made, "data", "version", "model").items():
        values = {measure: [getattr(run, measure) for run in group] for measure in MEASURES}
        if key[2] == TENSORIZED:
            values[GAIN] = [run.bound_test - standard[run.data, run.version, run.repetition] for run in group]
        rows += [Summary(*key, measure, *runs.mean_and_error(own), len(group)) for measure, own in values.items()]
    return rows


def lines(rows):
    """The summary as text, a line a model; means ± standard errors."""
    table = {(row.data, row.version, row.model, row.measure): row for row in rows}
    columns = {"ARI": ("ARI", 3), "ARI, test": ("ARI_test", 3), "bound, test": ("bound_test", 1), "gain": (GAIN, 1)}
    yield f"{'':<30}{''.join(f'{name:>17}' for name in columns)}"
    for data, version, model in dict.fromkeys(key[:3] for key in table):
        if model == STANDARD:
            yield f"{data}, k-means on the pixels: ARI {_cell(table[data, version, model, 'ARI_k_means'], 3)}"
        cells = [_cell(table.get((data, version, model, name)), digits) for name, digits in columns.values()]
        yield f"  {version:<10}{model:<18}{''.join(f'{cell:>17}' for cell in cells)}"
    yield "bound: of log p(x) by importance sampling, nats. The VAE's clusters are k-means' on its codes."


def _cell(row, digits):
    if row is None:
        return ""
    return f"{row.mean:.{digits}f}" + (f" ± {row.standard_error:.{digits}f}" if row.repetitions > 1 else "")


def draw(out, data, version, jobs):
    """The picture of the first repetition, and its path: a column for the VAE and one for each cluster of the TVAE.

    Top: decoded samples of N(0, 1). Middle and bottom: codes of training and test images under their cluster, with
    contours of N(0, 1).
    """
    first = {job.model: job for job in jobs if (job.data, job.version, job.repetition) == (data, version, 0)}
    models = {name: load(first[name].path) for name in MODELS}
    parts = draw_images(data, first[STANDARD].seed, first[STANDARD].images)
    columns = [(models[STANDARD], 0, "VAE, all images")]
    columns += [(models[TENSORIZED], j, f"TVAE, cluster {j}") for j in range(models[TENSORIZED].n_clusters)]
    fig = plotting.new_figure(2.9 * len(columns), 8.6)
    axes = fig.subplots(3, len(columns))
    for column, (model, j, title) in zip(axes.T, columns):
        images, _ = model.sample(_SAMPLES, j, random_state=0)
        column[0].imshow(plotting.mosaic(images, (SIDE, SIDE)), cmap="gray_r", vmin=0, vmax=1)
        column[0].set_axis_off()
        column[0].set_title(title, fontsize=11)
        for ax, (X, y) in zip(column[1:], parts):
            _draw_codes(ax, model, j, X, y)
    for ax, name in zip(axes[1:, 0], ("training", "test")):
        ax.set_ylabel(f"{name} images\nsecond dimension of the code")
    for ax in axes[2]:
        ax.set_xlabel("first dimension of the code")
    legend_beside(axes[1, -1], class_codes(parts[0][1], len(parts[0][1]), None)[1], "class")
    fig.suptitle(f"{data}, {version}: decoded samples of N(0, 1) above, codes of images below", fontsize=12)
    path = Path(out) / f"fig3-{data}-{version}.png"
    plotting.save_figure(fig, path, dpi=100)
    return path


def _draw_codes(ax, model, j, X, y):
    own, (codes, names) = model.predict(X) == j, class_codes(y, len(y), None)
    scatter(ax, model.transform(X)[own], codes[own], names, s=12)
    angle = np.linspace(0, 2 * np.pi, 200)
    for radius in _RINGS:
        label = "1, 2, 3 standard\ndeviations of N(0, 1)" if radius == _RINGS[0] else None
        ax.plot(radius * np.cos(angle), radius * np.sin(angle), color="0.7", linewidth=0.7, zorder=0, label=label)
    ax.set_aspect("equal", adjustable="datalim")
