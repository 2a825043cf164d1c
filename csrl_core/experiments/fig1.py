"""Figure 1 of the paper, measured: one linear autoencoder beside one for each cluster.

One latent dimension, exact solver; assignment by loss and by likelihood. Every repetition has a draw of its own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix

from csrl_core import TensorizedAutoencoder, datasets, metrics, plotting
from csrl_core.datasets import MIXTURES
from csrl_core.experiments.runs import grouped, mean_and_error, write_rows

MODELS = {
    "one linear autoencoder": {"n_clusters": 1, "assignment": "loss"},
    "cluster-specific, assigned by loss": {"assignment": "loss", "init": "k-means++"},
    "cluster-specific, assigned by likelihood": {"assignment": "likelihood", "init": "k-means"},
}


@dataclass(frozen=True)
class Run:
    """One model on one draw of a mixture."""

    data: str
    model: str
    mean_squared_error: float
    ARI: float


@dataclass(frozen=True)
class Summary:
    """One model on one mixture: means over repetitions, and standard errors."""

    data: str
    model: str
    mean_squared_error: float
    mean_squared_error_se: float
    ARI: float
    ARI_se: float
    repetitions: int


def fit_models(X, y, seed, **arguments):
    """Title → fitted estimator, of all `MODELS`."""
    shared = {"n_clusters": len(np.unique(y)), "hidden": (1,), "reg": 0.0, "solver": "exact", "random_state": seed}
    return {model: TensorizedAutoencoder(**shared | arguments | own).fit(X) for model, own in MODELS.items()}


def summarise(runs):
    """`Summary` rows of `Run`s, in order of first appearance."""
    return [
        Summary(
            *key,
            *mean_and_error([run.mean_squared_error for run in group]),
            *mean_and_error([run.ARI for run in group]),
            len(group),
        )
        for key, group in grouped(runs, "data", "model").items()
    ]


def run(out, *, seed=0, repetitions=5, backend="auto", n_init=10, sets=MIXTURES):
    """Fit all models to all mixtures, and write the table and the pictures.

    out : folder; sets : names of mixtures
    returns (list of `Summary`, list of paths)
    """
    out = Path(out)
    runs, files = [], [out / "fig1.csv"]
    for name in sets:
        for repetition in range(repetitions):
            data = datasets.load(name, random_state=seed + repetition)
            X, y = data.data, data.target
            fitted = fit_models(X, y, seed + repetition, n_init=n_init, backend=backend)
            for model, estimator in fitted.items():
                error = float(np.mean((estimator.reconstruct(X) - X) ** 2))
                runs.append(Run(name, model, error, metrics.adjusted_rand_index(y, estimator.labels_)))
            if repetition == 0:
                files += [out / f"fig1-{name}.png", out / f"fig1-{name}-assignment.png"]
                one, by_loss, by_likelihood = fitted.values()
                plotting.save_figure(plotting.plot_figure_1(one, by_likelihood, X, y), files[-2], dpi=80)
                draw_assignments(files[-1], X, y, {"by loss": by_loss, "by likelihood": by_likelihood})
    rows = summarise(runs)
    write_rows(files[0], rows, Summary)
    return rows, files


def draw_assignments(path, X, y, models):
    """The clusters by each rule of assignment: colours are clusters, rings mark samples that are with another class.

    X : (n, d), of which the first two dimensions are drawn; y : (n,) classes; models : dict of title → estimator
    """
    fig = plotting.new_figure(11, 4.6)
    for ax, (title, model) in zip(fig.subplots(1, len(models), sharex=True, sharey=True), models.items()):
        counts = contingency_matrix(y, model.labels_)
        classes, clusters = linear_sum_assignment(counts, maximize=True)
        class_of = np.full(model.n_clusters, -1)
        class_of[clusters] = classes
        assigned = class_of[model.labels_]
        for code in range(model.n_clusters):
            own = assigned == code
            style = {"color": plotting.COLOURS[code % 8], "marker": plotting.MARKERS[code % 8]}
            style["label"] = f"cluster of class {code}"
            ax.scatter(X[own, 0], X[own, 1], s=18, linewidths=0.3, edgecolors="white", **style)
        wrong = assigned != y
        ring = {"s": 70, "facecolors": "none", "edgecolors": "black", "linewidths": 0.9}
        ax.scatter(X[wrong, 0], X[wrong, 1], label="of another class", **ring)
        ari = metrics.adjusted_rand_index(y, model.labels_)
        ax.set_title(f"Assigned {title}: {wrong.sum()} of {len(y)} with another class, ARI {ari:.2f}", fontsize=11)
        ax.set_aspect("equal", adjustable="box")
        ax.grid(color="0.93")
        ax.set_axisbelow(True)
        ax.set_xlabel("$x_0$")
    fig.axes[0].set_ylabel("$x_1$")
    fig.legend(*fig.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    plotting.save_figure(fig, path, dpi=80)
