"""What the authors' code gives on the data of Figure 2, and draws of the mixtures on which ours can be compared.

Theirs are means of five runs, which differ in their initial parameters, on one draw of each mixture (MNIST: three).
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from csrl_core import datasets, metrics

RUNS = 5
SEEDS_A_DRAW = 1000  # tried at most; one in 6 to 150 has the index wanted


def their_runs(data):
    """The number of runs that their mean is of."""
    return 3 if data == "mnist_5" else RUNS


@dataclass(frozen=True)
class Figure:
    """A mean as printed, its standard error, NaN where none was recorded, and half a unit of the last digit."""

    value: float
    standard_error: float
    rounding: float


NO_FIGURE = Figure(float("nan"), float("nan"), float("nan"))


def authors_figures():
    """(panel, data, model, rate or None) → `Figure`; None holds the best of all rates."""
    text = (resources.files("csrl_core") / "authors_figures.csv").read_text()
    found = {}
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        rate = float(row["learning_rate"]) if row["learning_rate"] else None
        digits = len(row["value"].partition(".")[2])
        figure = Figure(float(row["value"]), float(row["standard_error"] or "nan"), 0.5 * 10.0**-digits)
        models = ("AE1", "AE2", "AE3") if row["model"] == "AE" else (row["model"],)
        for model in models:
            key = row["panel"], row["data"], model
            found[*key, rate] = figure
            if rate is not None:
                best = found.get((*key, None))
                found[*key, None] = figure if best is None or figure.value > best.value else best
    return found


@lru_cache
def matching_draws(data, count):
    """The first draws, by their seed from 0 on, whose k-means index is the authors' to the decimals printed.

    No model is looked at. k-means: ten starts, random_state=0.
    returns tuple of int, count seeds
    """
    from sklearn.cluster import KMeans

    wanted, found = authors_figures()["clustering", data, "k-means", None], []
    for seed in range(SEEDS_A_DRAW * count):
        bunch = datasets.load(data, random_state=seed)
        labels = KMeans(len(np.unique(bunch.target)), n_init=10, random_state=0).fit_predict(bunch.data)
        if abs(metrics.adjusted_rand_index(bunch.target, labels) - wanted.value) < wanted.rounding:
            found.append(seed)
            if len(found) == count:
                return tuple(found)
    raise RuntimeError(
        f"{len(found)} of the first {SEEDS_A_DRAW * count} draws of {data} have a k-means index of {wanted.value}, "
        f"expected at least {count}"
    )
