"""Colours, markers, figures and legends of all pictures.

Colours are those of Okabe & Ito, which colour-blind readers can tell apart, and each has a marker of its own.
"""

import io
from pathlib import Path

import numpy as np

from csrl_core.training.atomic_files import write_atomically

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def new_figure(width, height):
    """An empty figure of so many inches; ImportError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise ImportError("pictures need matplotlib, which is not installed; pip install 'csrl_core[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def axes_of(ax, width=6.4, height=4.8):
    """The axes to draw into: those given, or those of a new figure."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def save_figure(figure, path, dpi=150):
    """Write a figure; the suffix of ``path`` says how (.png, .pdf, .svg). Atomic: an older file stays if it fails."""
    picture = io.BytesIO()
    figure.savefig(picture, format=Path(path).suffix.removeprefix(".") or "png", dpi=dpi)
    write_atomically(path, picture.getvalue())


def percent(share):
    """A share of the variance as text."""
    return f"{100 * share:.0f} % of the variance"


def class_codes(y, n, names):
    """(code of each sample, name of each class); one nameless class where there is no y."""
    if y is None:
        return np.zeros(n, int), [None]
    y = np.asarray(y)
    if y.shape != (n,):
        raise ValueError(f"y has shape {y.shape}; expected one class per sample: ({n},)")
    values, codes = np.unique(y, return_inverse=True)
    if names is not None and len(names) != len(values):
        raise ValueError(f"names has {len(names)} entries; expected one for each of the {len(values)} classes in y")
    return codes, [str(name) for name in (values if names is None else names)]


def scatter(ax, points, codes, names, **options):
    """Points in the colour and marker of their class."""
    for code, name in enumerate(names):
        own = points[codes == code]
        style = {"s": 16, "linewidths": 0.3, "edgecolors": "white", "alpha": 0.85} | options
        ax.scatter(
            own[:, 0], own[:, 1], color=COLOURS[code % 8], marker=MARKERS[(code + code // 8) % 8], label=name, **style
        )


def legend_beside(ax, names, title):
    """A legend on the right, outside the axes."""
    if names != [None] or len(ax.get_legend_handles_labels()[1]):
        ax.legend(title=title, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
