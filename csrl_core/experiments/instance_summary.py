"""The runs of `idfd` and `cidfd` summarised: means over seeds, and the pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csrl_core import load, plotting
from csrl_core.experiments import cidfd, idfd, runs

SHOWN = 10  # images of a cluster, or nearest to one
QUERIES = 6  # samples whose nearest are shown
MEASURES = ("ACC", "NMI", "ARI", "seconds", "loss", "explained")


@dataclass(frozen=True)
class Summary:
    """Mean and standard error of one measure over the repetitions."""

    data: str
    model: str
    measure: str
    mean: float
    standard_error: float
    repetitions: int


def missing(table, wanted):
    """The jobs that are still to be done: those without a row, or without the model that the picture shows."""
    fitted = {*idfd.ARCHITECTURES, *cidfd.NETWORKS}
    return [
        job
        for job in wanted
        if job.key not in table.by_key or (job.repetition == 0 and job.model in fitted and not job.path.exists())
    ]


def summarise(made):
    """`Summary` rows of runs, in their order."""
    rows = []
    groups = {}
    for run in made:
        groups.setdefault((getattr(run, "data", "digits on patches"), run.model), []).append(run)
    for key, group in groups.items():
        for measure in MEASURES:
            values = [getattr(run, measure) for run in group if hasattr(run, measure)]
            if values and np.isfinite(values).all():
                rows.append(Summary(*key, measure, *runs.mean_and_error(values), len(group)))
    return rows


def lines(rows):
    """The summary as text, a line a model; means ± standard errors."""
    table = {(row.data, row.model, row.measure): row for row in rows}
    columns = {"ACC": 3, "NMI": 3, "ARI": 3, "seconds": 1}
    yield f"{'':<52}{''.join(f'{name:>17}' for name in columns)}"
    for data, model in dict.fromkeys(key[:2] for key in table):
        cells = [_cell(table.get((data, model, name)), digits) for name, digits in columns.items()]
        yield f"  {data + ', ' + model:<50}{''.join(f'{cell:>17}' for cell in cells)}"


def _cell(row, digits):
    if row is None:
        return ""
    return f"{row.mean:.{digits}f}" + (f" ± {row.standard_error:.{digits}f}" if row.repetitions > 1 else "")


def draw_idfd(out, data, jobs, made):
    """The picture of a data set, and its path: accuracy while models learn, and images nearest to clusters' centres."""
    fig = plotting.new_figure(11, 4.6)
    curves, images = fig.subplots(1, 2, width_ratios=(1.3, 1))
    for number, model in enumerate(idfd.ARCHITECTURES):
        for run in made:
            if (run.data, run.model) == (data, model) and run.curve:
                at, accuracy = np.array([look.split(":") for look in run.curve.split()], float).T
                style = {"color": plotting.COLOURS[number], "marker": plotting.MARKERS[number], "markersize": 4}
                curves.plot(at, accuracy, label=model if run.repetition == 0 else None, **style)
    pixels = runs.mean([run for run in made if (run.data, run.model) == (data, idfd.K_MEANS)], "ACC")
    curves.axhline(pixels, color="0.5", linestyle="--", label="k-means on the pixels")
    curves.set_title(f"{data}: a curve for each seed", fontsize=11)
    curves.set_xlabel("seconds of training")
    curves.set_ylabel("accuracy of k-means on the features")
    curves.set_ylim(0, 1)
    curves.legend(frameon=False, loc="lower right")
    first = next(job for job in jobs if (job.data, job.model, job.repetition) == (data, idfd.DENSE, 0))
    X, _ = idfd.load_images(data, first.images)
    L = load(first.path).cluster_losses(X)
    nearest = np.argsort(L, axis=0, kind="stable")[:SHOWN].T
    images.imshow(plotting.mosaic(X[nearest.ravel()], (idfd.SIDE, idfd.SIDE), SHOWN), cmap="gray_r", vmin=0, vmax=1)
    images.set_title(f"{idfd.DENSE}: a row a cluster, images nearest to its centre", fontsize=11)
    side = idfd.SIDE + 1
    images.set_yticks(
        [(j + 0.5) * side - 1 for j in range(len(nearest))], [f"cluster {j}" for j in range(len(nearest))]
    )
    images.tick_params(length=0)
    images.set_xticks([])
    images.set_frame_on(False)
    path = Path(out) / f"idfd-{data}.png"
    plotting.save_figure(fig, path, dpi=100)
    return path


def draw_cidfd(out, jobs):
    """The picture, and its path: samples, and what is nearest to each in the features v, in b, and in those of IDFD."""
    first = {job.model: job for job in jobs if job.repetition == 0 and job.model in cidfd.NETWORKS}
    models = {name: load(job.path) for name, job in first.items()}
    job = first[cidfd.AGAINST]
    X, y, _ = cidfd.draw(job.seed, job.samples, job.patches)
    own = models[cidfd.AGAINST]
    spaces = {
        "nearest in v": own.transform(X),
        "nearest in b, the background's": own.state_["background"],
        "nearest by IDFD alone": models[cidfd.ALONE].transform(X),
    }
    queries = np.array([np.flatnonzero(y == digit)[0] for digit in np.unique(y)[:QUERIES]])
    fig = plotting.new_figure(12, 3.1)
    for ax, (title, Z) in zip(fig.subplots(1, len(spaces)), spaces.items()):
        nearest = np.argsort(-(Z[queries] @ Z.T), axis=1, kind="stable")[:, :SHOWN]  # itself first
        images = plotting.mosaic(X[nearest.ravel()], (idfd.SIDE, idfd.SIDE), SHOWN)
        ax.imshow(images, cmap="gray", vmin=np.quantile(X, 0.01), vmax=np.quantile(X, 0.99))
        same = (y[nearest[:, 1:]] == y[queries][:, None]).mean()
        ax.set_title(
            f"{title}: {100 * same:.0f} % of the same digit\nthe first of a row is the sample itself", fontsize=10
        )
        ax.set_axis_off()
    path = Path(out) / "cidfd.png"
    plotting.save_figure(fig, path, dpi=100)
    return path
