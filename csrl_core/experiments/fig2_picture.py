"""The picture of `fig2`: a panel each for clustering, de-noising and the number of parameters."""

import numpy as np

from csrl_core import plotting
from csrl_core.experiments.fig2 import COUNTERPARTS

AUTHORS = "the authors' code"
TITLES = {
    "clustering": "Clustering: adjusted Rand index",
    "de-noising": "De-noising: mean squared error",
    "parameters": "Trained parameters",
}
SETTINGS = {
    "papers": "the papers' models and settings, on the authors' draw of the mixtures",
    "ours": "the best of several restarts and rates by the objective",
}


def draw(path, summaries, version):
    """Clustering, de-noising (log scale) and number of parameters (log scale), one group of bars a data set.

    summaries : list of `fig2_summary.Summary`; of rates those chosen by the objective are drawn. A model that is
    another one from another start has its colour, hatched.
    """
    rows = [row for row in summaries if row.version == version and row.model in COUNTERPARTS and _drawn(row)]
    fig = plotting.new_figure(19, 5.2)
    axes = fig.subplots(1, 3, width_ratios=(3, 3, 2))
    for ax, panel in zip(axes, TITLES):
        _draw_panel(ax, panel, rows)
    handles, labels = axes[0].get_legend_handles_labels()
    line = axes[0].scatter([], [], marker="_", s=60, color="black", linewidths=1.6)
    fig.legend([*handles, line], [*labels, AUTHORS], loc="outside lower center", ncols=7, frameon=False, fontsize=9)
    counts = sorted({row.repetitions for row in rows if row.panel == "clustering"})
    fig.suptitle(
        f"{SETTINGS[version]}; mean and standard error of {' or '.join(map(str, counts))} "
        "repetitions; rates chosen by the objective",
        fontsize=11,
    )
    plotting.save_figure(fig, path, dpi=80)


def _drawn(row):
    return row.chosen_by == "objective" or row.panel == "parameters"


def _draw_panel(ax, panel, rows):
    models, sets = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("model", "data"))
    kinds = list(dict.fromkeys(COUNTERPARTS[model] for model in models))
    width = 0.84 / len(models)
    for number, model in enumerate(models):
        own = [row for row in rows if (row.panel, row.model) == (panel, model)]
        own = [row for row in own if panel != "parameters" or row.mean > 0]
        at = np.array([sets.index(row.data) for row in own]) + (number - (len(models) - 1) / 2) * width
        kind = kinds.index(COUNTERPARTS[model])
        colour, hatch = plotting.COLOURS[kind % 8], "///" if kind >= 8 or model != kinds[kind] else ""
        errors = np.nan_to_num([row.standard_error for row in own])
        style = {"color": colour, "hatch": hatch, "label": model, "error_kw": {"lw": 0.8}}
        ax.bar(at, [row.mean for row in own], width, yerr=errors, **style)
        authors = [row.theirs for row in own]
        ax.hlines(authors, at - width / 2, at + width / 2, color="black", zorder=4, linewidths=1.6)
    ax.set_xticks(range(len(sets)), [name.replace("_", "\n", 1) for name in sets], fontsize=8)
    ax.tick_params(axis="x", rotation=40 if panel == "parameters" else 0)
    ax.set_title(TITLES[panel], fontsize=11)
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)
    if panel != "clustering":
        ax.set_yscale("log")
