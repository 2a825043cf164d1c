"""The runs of `csrl_core.experiments.fig4` summarised: means, lines of text, and the picture."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from csrl_core import load, plotting
from csrl_core.experiments import runs
from csrl_core.experiments.fig4 import INFORMATION, MODELS, STANDARD, Run, draw_images, make_run
from csrl_core.plotting.style import class_codes, legend_beside, scatter

MEASURES = tuple(column.name for column in fields(Run) if column.name not in Run.KEY)


@dataclass(frozen=True)
class Summary:
    """Mean and standard error of one measure over the repetitions."""

    information: str
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
    """`Summary` rows of `Run`s, in their order."""
    rows = []
    for key, group in runs.grouped(made, "information", "model").items():
        for measure in MEASURES:
            mean, error = runs.mean_and_error([getattr(run, measure) for run in group])
            rows.append(Summary(*key, measure, mean, error, len(group)))
    return rows


def lines(rows):
    """The summary as text, a line a model; means ± standard errors."""
    table = {(row.information, row.model, row.measure): row for row in rows}
    yield f"{'':<44}{'ARI':>17}{'ARI, test':>17}"
    for information in INFORMATION:
        k_means = [_cell(table[information, STANDARD, f"ARI_k_means{part}"]) for part in ("", "_test")]
        yield f"  {information:<24}{'k-means, pixels':<18}{''.join(f'{cell:>17}' for cell in k_means)}"
        for model in MODELS:
            cells = [_cell(table[information, model, measure]) for measure in ("ARI", "ARI_test")]
            yield f"  {'':<24}{model:<18}{''.join(f'{cell:>17}' for cell in cells)}"
    yield "CL's clusters are k-means' on its embeddings. The authors print 0.169 and 0.907 for one run of their TCL."


def _cell(row):
    return f"{row.mean:.3f}" + (f" ± {row.standard_error:.3f}" if row.repetitions > 1 else "")


def draw(out, jobs):
    """The picture of the first repetition, and its path: t-SNE of the training images' embeddings under all encoders.

    A row without and one with class information; a column a model. Colours are classes.
    """
    from sklearn.manifold import TSNE

    first = {(job.information, job.model): job for job in jobs if job.repetition == 0}
    fig = plotting.new_figure(4.2 * len(MODELS), 8)
    axes = fig.subplots(2, len(MODELS))
    for row, information in zip(axes, INFORMATION):
        for ax, model in zip(row, MODELS):
            job = first[information, model]
            (X, y), _ = draw_images(job.seed, job.images)
            fitted = load(job.path)
            Z = fitted.transform_all(X).reshape(len(X), -1)
            perplexity = min(30, (len(X) - 1) // 3)
            points = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(Z)
            codes, names = class_codes(y, len(y), None)
            scatter(ax, points, codes, names, s=8)
            ax.set_xticks([])
            ax.set_yticks([])
            title = model if model == STANDARD else f"{model}, {len(np.unique(fitted.labels_))} clusters"
            ax.set_title(f"{title}\n{information}", fontsize=11)
    legend_beside(axes[0, -1], names, "class")
    fig.suptitle("t-SNE of the embeddings under all encoders; distances between groups mean little", fontsize=12)
    path = Path(out) / "fig4.png"
    plotting.save_figure(fig, path, dpi=100)
    return path
