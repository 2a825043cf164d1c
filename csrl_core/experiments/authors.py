"""The results of the authors' code on the data of Figure 2, and the mixtures as it draws them.

Its figures are means of five runs (MNIST: three) on one draw, which differ in first centres and parameters.
"""

import csv
from dataclasses import dataclass
from importlib import resources

import numpy as np

RUNS = 5


def authors_runs(data):
    """How many runs the authors' mean was taken over."""
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
    text = (resources.files("csrl_core.experiments") / "authors_figures.csv").read_text()
    figures = {}
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        rate = float(row["learning_rate"]) if row["learning_rate"] else None
        digits = len(row["value"].partition(".")[2])
        figure = Figure(float(row["value"]), float(row["standard_error"] or "nan"), 0.5 * 10.0**-digits)
        models = ("AE1", "AE2", "AE3") if row["model"] == "AE" else (row["model"],)
        for model in models:
            key = row["panel"], row["data"], model
            figures[*key, rate] = figure
            if rate is not None:
                best = figures.get((*key, None))
                figures[*key, None] = figure if best is None or figure.value > best.value else best
    return figures


# Samples of a cluster, and of every cluster its mean, covariance and where its principal axes point, the longest
# first. An SVD leaves an axis's sign to the LAPACK at hand, and with it the samples: these are the signs that OpenBLAS
# gives; the k-means indices there are the authors'. Lines in space have two axes: their covariances have rank 2.
_RISING, _FALLING = [(-1, -1), (-1, 1)], [(-1, 1), (1, 1)]
_MIXTURES = {
    "parallel_line": (
        75,
        [((-1, -1), [[5, 4.95], [4.95, 5]], _RISING), ((4, -2), [[5, 4.95], [4.95, 5]], _RISING)],
    ),
    "orthogonal": (
        75,
        [((-1, -1), [[5, 4.9], [4.9, 5]], _RISING), ((7, 7), [[5, -4.9], [-4.9, 5]], _FALLING)],
    ),
    "triangle": (
        50,
        [
            ((-1, -1), [[5, 4.9], [4.9, 5]], _RISING),
            ((6, 6), [[5, -4.5], [-4.5, 5]], _FALLING),
            ((5, -5), [[7, 0], [0, 1]], [(1, 0), (0, 1)]),
        ],
    ),
    "lines_3D": (
        100,
        [
            ((2, 0, 0), [[3, 0.01, 0.01], [0.01, 0.01, 0.01], [0.01, 0.01, 0.01]], [(-1, 0, 0), (0, -1, -1)]),
            ((0, 0, 4), [[0.01, 0.01, 0.01], [0.01, 3, 0.01], [0.01, 0.01, 0.01]], [(0, -1, 0), (1, 0, 1)]),
            ((2, 2, 3), [[0.01, 0.01, 0.01], [0.01, 0.01, 0.01], [0.01, 0.01, 3]], [(0, 0, -1), (-1, -1, 0)]),
        ],
    ),
}


def authors_draw(data):
    """The mixture that the authors' code draws, of which there is one: NumPy's legacy generator with seed 0.

    Cluster after cluster x = μ + Σ_a √λ_a g_a v_a along the covariance's principal axes, and three columns N(0, 0.1²);
    at last the noise of de-noising, N(0, 0.1²). Source: their repository, cluster_specific_representation on GitHub,
    src/data.py. With the opposite sign of an axis it would be another draw of the same distribution.

    returns (X, y, noisy) : X, noisy (n, d) float32, y (n,) int64; n/k samples of each cluster, one after the other
    """
    size, clusters = _MIXTURES[data]
    random, parts = np.random.RandomState(0), []
    for mean, covariance, directions in clusters:
        normal = random.standard_normal((size, len(mean)))
        _, variances, axes = np.linalg.svd(np.array(covariance, dtype=np.float64))
        rank = len(directions)
        axes = axes[:rank] * np.sign(np.sum(axes[:rank] * directions, axis=1, keepdims=True))
        points = mean + (normal[:, :rank] * np.sqrt(variances[:rank])) @ axes
        parts.append(np.hstack([points, random.normal(0, 0.1, (size, 3))]))
    X = np.vstack(parts)
    noisy = X + 0.1 * random.standard_normal(X.shape)
    return X.astype(np.float32), np.repeat(np.arange(len(clusters)), size), noisy.astype(np.float32)
