"""The runs of `csrl_core.experiments.defaults` summarised: means, a table in Markdown, and a picture."""

from dataclasses import dataclass

import numpy as np

from csrl_core.experiments.runs import grouped, mean, mean_and_error

LOST = 0.05  # of the index: what a model may be below its own start


@dataclass(frozen=True)
class Summary:
    """One model on one data set: means over the seeds, ``_se`` standard errors.

    smallest : of the smallest clusters the smallest; n_reseeded, n_warnings : of all seeds together
    """

    data: str
    model: str
    n: int
    d: int
    k: int
    seeds: int
    ARI: float
    ARI_se: float
    ARI_start: float
    ARI_k_means: float
    smallest: int
    n_reseeded: int
    n_warnings: int
    seconds: float

    @property
    def lost(self):
        """Whether it is clearly below its own start."""
        return self.ARI_start - LOST > self.ARI


def summarise(runs):
    """`Summary` rows of `Run`s, in order of first appearance."""
    rows = []
    for (data, model), group in grouped(runs, "data", "model").items():
        ari, error = mean_and_error([run.ARI for run in group])
        rows.append(
            Summary(
                *(data, model, group[0].n, group[0].d, group[0].k, len(group), ari, error),
                *(mean(group, "ARI_start"), mean(group, "ARI_k_means")),
                smallest=min(run.smallest for run in group),
                n_reseeded=sum(run.n_reseeded for run in group),
                n_warnings=sum(run.n_warnings for run in group),
                seconds=mean(group, "seconds"),
            )
        )
    return rows


def lines(rows):
    """The summary as text: for every model its mean over the sets, and the sets where it is below its start."""
    for model in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == model]
        ari, start, means, seconds = (mean(own, name) for name in ("ARI", "ARI_start", "ARI_k_means", "seconds"))
        yield (
            f"{model:<6}{len(own)} sets: mean ARI {ari:.3f}, its start {start:.3f}, k-means "
            f"{means:.3f}; {sum(row.smallest == 0 for row in own)} with an empty cluster, "
            f"{sum(row.n_warnings > 0 for row in own)} with warnings; {seconds:.1f} s a fit"
        )
        lost = [f"{row.data} ({row.ARI:.2f}, start {row.ARI_start:.2f})" for row in own if row.lost]
        yield f"      more than {LOST} below its start: {', '.join(lost) or 'nowhere'}"


def markdown(rows):
    """The table of docs/defaults.md, a line for each set: bold above k-means, struck out below its own start."""
    models = list(dict.fromkeys(row.model for row in rows))
    by = {(row.data, row.model): row for row in rows}
    text = [f"| | n, d, k | k-means | {' | '.join(f'{model} | its start' for model in models)} |"]
    text.append("|" + "---|" * (3 + 2 * len(models)))
    for data in dict.fromkeys(row.data for row in rows):
        first = next(row for row in rows if row.data == data)
        cells = []
        for model in models:
            row = by.get((data, model))
            cells += [_cell(row), f"{row.ARI_start:.2f}"] if row else ["–", "–"]
        text.append(f"| {data} | {first.n}, {first.d}, {first.k} | {first.ARI_k_means:.2f} | {' | '.join(cells)} |")
    cells = []
    for model in models:
        own = [row for row in rows if row.model == model]
        cells += [f"{mean(own, name):.3f}" for name in ("ARI", "ARI_start")]
    per_set = {row.data: row.ARI_k_means for row in rows}
    text.append(f"| mean | | {np.mean(list(per_set.values())):.3f} | {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def _cell(row):
    error = "" if np.isnan(row.ARI_se) or row.ARI_se < 0.005 else f" ± {row.ARI_se:.2f}"
    mark = "~~" if row.lost else "**" if row.ARI_k_means + 0.005 < row.ARI else ""
    return f"{mark}{row.ARI:.2f}{mark}{error}"


def draw(path, rows):
    """A line for each set: k-means, and every model with its start."""
    from csrl_core import plotting

    names = list(dict.fromkeys(row.data for row in rows))[::-1]
    models = list(dict.fromkeys(row.model for row in rows))
    fig = plotting.new_figure(9, 1.5 + 0.27 * len(names))
    ax = fig.subplots()
    k_means = {row.data: row.ARI_k_means for row in rows}
    ax.plot([k_means[name] for name in names], range(len(names)), "|", color="0.2", ms=11, mew=2, label="k-means")
    ax.plot([], [], color="0.5", lw=1, label="from the model's own start")
    for number, model in enumerate(models):
        offset = 0.18 * (number - (len(models) - 1) / 2)
        for row in (row for row in rows if row.model == model):
            at = names.index(row.data) - offset
            style = {"color": plotting.COLOURS[number % 8]}
            ax.plot([row.ARI_start, row.ARI], [at, at], lw=1, alpha=0.6, **style)
            label = model if model not in ax.get_legend_handles_labels()[1] else None
            ax.plot(row.ARI, at, plotting.MARKERS[number % 8], ms=5, label=label, **style)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set_xlabel("adjusted Rand index with default arguments")
    ax.set_xlim(-0.05, 1.03)
    ax.grid(axis="x", alpha=0.3)
    ax.legend(loc="lower left", fontsize=8)
    plotting.save_figure(fig, path)
