"""The runs of `csrl_core.experiments.ofm` summarised: medians, paired differences with intervals, the picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csrl_core import plotting
from csrl_core.experiments import ofm, runs

QUALITIES = ("ACC", "NMI", "ARI")
MEASURES = (*QUALITIES, "loss", "ofm", "ofm_detached", "correlation", "excluded", "seconds")
OWN, LESS_DDC, LESS_AE, LESS_WITHOUT = "", "less DDC", "less DDC-AE", "less the same without invariance"
BEST = "ACC, lowest loss"


@dataclass(frozen=True)
class Summary:
    """One measure of a model over sets and repetitions, or its difference from another model's, pair by pair.

    compared : "" or from what; runs : their number; low, high : 95 % interval of the mean by Student's t
    """

    model: str
    invariance: float
    compared: str
    measure: str
    runs: int
    median: float
    lowest: float
    highest: float
    mean: float
    low: float
    high: float


def summarise(made):
    """`Summary` rows of `Run`s; those of a pair have one set, repetition and number of epochs."""
    table, rows = {(run.model, run.invariance, *_place(run)): run for run in made}, []
    for (model, invariance), group in runs.grouped(made, "model", "invariance").items():
        others = {
            LESS_DDC: (ofm.ALONE, invariance, QUALITIES),
            LESS_AE: (ofm.AUTOENCODER, invariance, (*QUALITIES, "ofm", "ofm_detached")),
            LESS_WITHOUT: (model, 0.0, QUALITIES),
        }
        for measure in MEASURES:
            rows.append(_row(model, invariance, OWN, measure, [getattr(run, measure) for run in group]))
        for data, of_set in runs.grouped(group, "data").items():
            best = min(of_set, key=lambda run: run.loss)
            rows.append(_row(model, invariance, OWN, f"{BEST}, {data[0]}", [best.ACC]))
        for compared, (other, weight, measures) in others.items():
            pairs = [(run, table.get((other, weight, *_place(run)))) for run in group]
            pairs = [(run, pair) for run, pair in pairs if pair is not None and pair is not run]
            for measure in measures if pairs else ():
                values = [getattr(run, measure) - getattr(pair, measure) for run, pair in pairs]
                rows.append(_row(model, invariance, compared, measure, values))
    return [row for row in rows if row is not None]


def _place(run):
    return run.data, run.repetition, run.seed, run.epochs


def _row(model, invariance, compared, measure, values):
    """None if there are no numbers."""
    values = np.array([value for value in values if np.isfinite(value)])
    if not len(values):
        return None
    mean, error = runs.mean_and_error(values)
    half = student(len(values) - 1) * error if len(values) > 1 else float("nan")
    spread = float(np.median(values)), float(values.min()), float(values.max())
    return Summary(model, invariance, compared, measure, len(values), *spread, mean, mean - half, mean + half)


def student(degrees, confidence=0.95):
    """The two-sided quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + confidence) / 2))


def lines(rows):
    """The summary as text."""
    table = {(row.model, row.invariance, row.compared, row.measure): row for row in rows}
    yield f"{'':<31}{'runs':>5}{'ACC median [least, most]':>27}{'OFM [95 %]':>23}{'A constant [95 %]':>23}"
    for model, invariance in dict.fromkeys(key[:2] for key in table):
        row = table[model, invariance, OWN, "ACC"]
        cells = f"{row.median:.3f} [{row.lowest:.3f}, {row.highest:.3f}]"
        mismatches = [_interval(table.get((model, invariance, OWN, name))) for name in ("ofm", "ofm_detached")]
        yield f"  {_name(model, invariance):<29}{row.runs:>5}{cells:>27}{''.join(f'{cell:>23}' for cell in mismatches)}"
    yield "paired differences of ACC, means [95 %]"
    for (model, invariance, compared, measure), row in table.items():
        if compared and measure == "ACC":
            yield f"  {_name(model, invariance):<29} {compared:<34}{row.runs:>4} pairs {_interval(row, '+.3f')}"


def _name(model, invariance):
    return model + (" + invariance" if invariance else "")


def _interval(row, digits=".3f"):
    return "" if row is None else f"{row.mean:{digits}} [{row.low:{digits}}, {row.high:{digits}}]"


def draw(path, made):
    """The picture, and its path: accuracy of every run, and mismatch epoch by epoch with 95 % intervals."""
    fig = plotting.new_figure(12, 4.6)
    accuracy, attached, constant = fig.subplots(1, 3, width_ratios=(1.2, 1, 1))
    groups = runs.grouped(made, "model", "invariance")
    for number, ((model, invariance), group) in enumerate(groups.items()):
        values, colour = np.array([run.ACC for run in group]), plotting.COLOURS[ofm.MODELS.index(model)]
        shift = np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else np.zeros(1)
        face = colour if invariance else "none"
        accuracy.scatter(number + shift, values, edgecolors=colour, facecolors=face, s=22, linewidths=1)
        accuracy.hlines(np.median(values), number - 0.3, number + 0.3, color=colour)
    accuracy.set_xticks(range(len(groups)), [_name(*key) for key in groups], rotation=35, ha="right", fontsize=9)
    accuracy.set_ylabel("accuracy, and medians")
    for ax, name, title in ((attached, "curve", "A in both"), (constant, "detached_curve", "A constant")):
        for (model, invariance), group in groups.items():
            if model != ofm.ALONE:
                _draw_curve(ax, [getattr(run, name) for run in group], model, invariance)
        ax.axhline(0, color="0.7", linewidth=0.8)
        ax.set_xlabel("epoch")
        ax.set_title(f"cosine of the gradients, {title}", fontsize=11)
    fig.legend(*constant.get_legend_handles_labels(), loc="outside lower right", ncols=3, frameon=False, fontsize=9)
    plotting.save_figure(fig, path, dpi=100)
    return Path(path)


def _draw_curve(ax, texts, model, invariance):
    values = np.array([text.split() for text in texts], float)
    epochs, mean = np.arange(1, values.shape[1] + 1), values.mean(axis=0)
    colour = plotting.COLOURS[ofm.MODELS.index(model)]
    ax.plot(epochs, mean, "-" if invariance else "--", color=colour, label=_name(model, invariance))
    if len(values) > 1:
        half = student(len(values) - 1) * values.std(axis=0, ddof=1) / np.sqrt(len(values))
        ax.fill_between(epochs, mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)
