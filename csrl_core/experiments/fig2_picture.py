"""The pictures of `fig2`: clustering, and de-noising with the number of parameters; a panel for each data set."""

import numpy as np

from csrl_core import plotting
from csrl_core.experiments.fig2 import COUNTERPARTS

AUTHORS = "the authors' code"
PANELS = ("clustering", "de-noising")
AXES = {"clustering": "adjusted Rand index", "de-noising": "mean squared error"}
MORE = {"clustering": "more is better", "de-noising": "per feature, less is better; in grey the trained parameters"}
SETTINGS = {
    "papers": "the papers' models and settings, on the authors' draw of the mixtures",
    "ours": "our settings, the best of several restarts by the objective",
}
_IN_A_ROW = 4


def draw(path, summaries, version, panel):
    """One picture: a panel for each data set, a line for each model, its mean and standard error.

    summaries : list of `fig2_summary.Summary`, of which those of rates chosen by the objective are drawn
    panel : one of `PANELS`
    """
    rows = [row for row in summaries if row.version == version and row.model in COUNTERPARTS]
    drawn = [row for row in rows if row.panel == panel and row.chosen_by == "objective"]
    sizes = {(row.data, row.model): row.mean for row in rows if row.panel == "parameters"}
    models, sets = (list(dict.fromkeys(getattr(row, name) for row in drawn)) for name in ("model", "data"))
    columns = min(len(sets), _IN_A_ROW)
    lines = -(-len(sets) // columns)
    fig = plotting.new_figure(2.6 + 2.5 * columns, 1.3 + lines * (0.55 + 0.24 * len(models)))
    axes = fig.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for ax, data in zip(axes, sets):
        own = [row for row in drawn if row.data == data]
        _draw_set(ax, data, own, models, panel)
        if panel == "de-noising":
            _write_sizes(ax, models, {model: sizes[data, model] for model in models if sizes.get((data, model))})
    for ax in axes[len(sets) :]:
        ax.set_axis_off()
    axes[0].set_ylim(len(models) - 0.4, -0.6)  # shared: the first model above
    axes[0].set_yticks(range(len(models)), models)
    # Those of the first panel, and the authors' marks, which not every panel has.
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels())}
    fig.legend(handles.values(), handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    counts = sorted({row.repetitions for row in drawn})
    for ax in axes[max(0, len(sets) - columns) : len(sets)]:  # the lowest of every column
        ax.set_xlabel(AXES[panel], fontsize=9)
    fig.suptitle(
        f"{panel.capitalize()}: {SETTINGS[version]}\n{' or '.join(map(str, counts))} repetitions, "
        f"rates chosen by the objective; {MORE[panel]}",
        fontsize=11,
    )
    plotting.save_figure(fig, path, dpi=100)
    return fig


def _draw_set(ax, data, rows, models, panel):
    """One panel."""
    rows = [row for row in rows if np.isfinite(row.mean)]
    at = [models.index(row.model) for row in rows]
    errors, style = np.nan_to_num([row.standard_error for row in rows]), {"color": plotting.COLOURS[0], "ms": 5}
    means = [row.mean for row in rows]
    ax.errorbar(means, at, xerr=errors, fmt="o", capsize=2, label="ours, mean ± standard error", **style)
    known = [(row.theirs, place) for row, place in zip(rows, at) if np.isfinite(row.theirs)]
    if known:
        mark = {"marker": "|", "s": 90, "color": plotting.COLOURS[4], "linewidths": 2, "zorder": 4}
        ax.scatter(*zip(*known), label=AUTHORS, **mark)
    ax.set_title(data, fontsize=10)
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    if panel == "clustering":
        ax.set_xlim(-0.05, 1.05)
    else:
        _log_axis(ax, means + [place for place, _ in known])


def _log_axis(ax, values):
    """A logarithmic axis, with labels at powers of ten, or also at twice and five times these where there are few."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    if max(values) < 30 * min(values):
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")


def _write_sizes(ax, models, sizes):
    """The number of trained parameters of every model, on the right."""
    for model, size in sizes.items():
        place = {"transform": ax.get_yaxis_transform(), "va": "center", "ha": "left", "fontsize": 7, "color": "0.4"}
        ax.text(1.02, models.index(model), f"{size:.0f}", **place)
