"""The pictures of `csrl_core.experiments.mixtures`, and the runs of Figure 1, which is a picture of its own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix

from csrl_core import metrics, plotting
from csrl_core.experiments import mixtures as reproduce
from csrl_core.experiments.summary import write_rows

THEIRS = "the authors' code"


def draw_figure_2(path, summaries, version):
    """Clustering, de-noising (log scale) and number of parameters (log scale), one group of bars a data set.

    summaries : list of `reproduce_summary.Summary`; of rates those chosen by the objective are drawn. A model that is
    another one from another start has its colour, hatched.
    """
    rows = [row for row in summaries if row.version == version and row.chosen_by in ("objective", "")]
    rows = [row for row in rows if row.model in reproduce.COUNTERPARTS]
    fig = plotting.new_figure(19, 5.2)
    axes = fig.subplots(1, 3, width_ratios=(3, 3, 2))
    models = list(dict.fromkeys(row.model for row in rows))
    kinds = list(dict.fromkeys(reproduce.COUNTERPARTS[model] for model in models))
    sets = list(dict.fromkeys(row.data for row in rows))
    titles = {
        "clustering": "Clustering: adjusted Rand index",
        "de-noising": "De-noising: mean squared error",
        "parameters": "Trained parameters",
    }
    for ax, (panel, title) in zip(axes, titles.items()):
        width = 0.84 / len(models)
        for number, model in enumerate(models):
            own = {row.data: row for row in rows if row.panel == panel and row.model == model and _drawn(row)}
            own = {name: row for name, row in own.items() if panel != "parameters" or row.mean > 0}
            at = np.array([sets.index(name) for name in own]) + (number - (len(models) - 1) / 2) * width
            kind = kinds.index(reproduce.COUNTERPARTS[model])
            colour, hatch = plotting.COLOURS[kind % 8], "///" if kind >= 8 or model != kinds[kind] else ""
            means = [row.mean for row in own.values()]
            errors = np.nan_to_num([row.standard_error for row in own.values()])
            ax.bar(at, means, width, yerr=errors, color=colour, hatch=hatch, label=model, error_kw={"lw": 0.8})
            theirs = [row.theirs for row in own.values()]
            ax.hlines(theirs, at - width / 2, at + width / 2, color="black", zorder=4, linewidths=1.6)
        ax.set_xticks(range(len(sets)), [name.replace("_", "\n", 1) for name in sets], fontsize=8)
        ax.tick_params(axis="x", rotation=40 if panel == "parameters" else 0)
        ax.set_title(title, fontsize=11)
        ax.grid(axis="y", color="0.92")
        ax.set_axisbelow(True)
        if panel != "clustering":
            ax.set_yscale("log")
    handles, labels = axes[0].get_legend_handles_labels()
    line = axes[0].scatter([], [], marker="_", s=60, color="black", linewidths=1.6)
    fig.legend([*handles, line], [*labels, THEIRS], loc="outside lower center", ncols=7, frameon=False, fontsize=9)
    counts = sorted({row.repetitions for row in rows if row.panel == "clustering"})
    how = {
        "papers": "the papers' models and settings, on the authors' draw of the mixtures",
        "ours": "the best of several restarts and rates by the objective",
    }
    fig.suptitle(
        f"{how[version]}; mean and standard error of {' or '.join(map(str, counts))} "
        "repetitions; rates chosen by the objective",
        fontsize=11,
    )
    plotting.save_figure(fig, path, dpi=80)


def _drawn(row):
    return row.chosen_by == "objective" or row.panel == "parameters"


# ---------------------------------------------------------------------------------------- Figure 1


@dataclass(frozen=True)
class Picture:
    """One autoencoder against one a cluster, on one mixture: means over repetitions, and standard errors."""

    data: str
    model: str
    mean_squared_error: float
    mean_squared_error_se: float
    ARI: float
    ARI_se: float
    repetitions: int


PICTURE_MODELS = {
    "one linear autoencoder": {"n_clusters": 1, "assignment": "loss"},
    "cluster-specific, assigned by loss": {"assignment": "loss", "init": "k-means++"},
    "cluster-specific, assigned by likelihood": {"assignment": "likelihood", "init": "k-means"},
}


def draw_assignments(path, X, y, models):
    """What the rules make of the same data: colours are clusters, rings the samples that are with another class.

    X : (n, d), of which the first two dimensions are drawn; y : (n,) classes; models : dict of title → estimator
    """
    fig = plotting.new_figure(11, 4.4)
    for ax, (title, model) in zip(fig.subplots(1, len(models), sharex=True, sharey=True), models.items()):
        counts = contingency_matrix(y, model.labels_)
        classes, clusters = linear_sum_assignment(counts, maximize=True)
        matched = np.full(model.n_clusters, -1)
        matched[clusters] = classes
        found = matched[model.labels_]
        for code in range(model.n_clusters):
            own = found == code
            style = {"color": plotting.COLOURS[code % 8], "marker": plotting.MARKERS[code % 8]}
            ax.scatter(X[own, 0], X[own, 1], s=18, linewidths=0.3, edgecolors="white", **style)
        wrong = found != y
        ax.scatter(X[wrong, 0], X[wrong, 1], s=70, facecolors="none", edgecolors="black", linewidths=0.9)
        ari = metrics.adjusted_rand_index(y, model.labels_)
        ax.set_title(f"Assigned {title}: {wrong.sum()} of {len(y)} with another class, ARI {ari:.2f}", fontsize=11)
        ax.set_aspect("equal", adjustable="box")
        ax.grid(color="0.93")
        ax.set_axisbelow(True)
        ax.set_xlabel("$x_0$")
    fig.axes[0].set_ylabel("$x_1$")
    plotting.save_figure(fig, path, dpi=80)


def figure_1(out, *, seed=0, repetitions=5, backend="auto", n_init=10, sets=reproduce.MIXTURES, done=None):
    """What one linear autoencoder with one latent dimension can do, and what one a cluster can: exact solver.

    out : folder; done : callable, optional, ``done(count, of)``
    returns (list of `Picture`, list of paths)
    """
    out = Path(out)
    pictures, files = [], [out / "fig1.csv"]
    for number, name in enumerate(sets, 1):
        found = {model: [] for model in PICTURE_MODELS}
        for repetition in range(repetitions):
            X, y = reproduce.load(name, "ours", seed + repetition)
            k, fitted = len(np.unique(y)), {}
            for model, own in PICTURE_MODELS.items():
                arguments = {"n_clusters": k, "reg": 0.0, "solver": "exact", "n_init": n_init, "backend": backend} | own
                fitted[model] = reproduce.TensorizedAutoencoder(
                    hidden=(1,), random_state=seed + repetition, **arguments
                ).fit(X)
                error = np.mean((fitted[model].reconstruct(X) - X) ** 2)
                found[model].append((error, metrics.adjusted_rand_index(y, fitted[model].labels_)))
            if repetition == 0:
                path = out / f"fig1-{name}.png"
                one, by_loss, by_likelihood = fitted.values()
                plotting.save_figure(plotting.plot_figure_1(one, by_likelihood, X, y), path, dpi=80)
                other = out / f"fig1-{name}-assignment.png"
                draw_assignments(other, X, y, {"by loss": by_loss, "by likelihood": by_likelihood})
                files += [path, other]
        for model, values in found.items():
            values = np.array(values)
            means = values.mean(axis=0)
            errors = values.std(axis=0, ddof=1) / np.sqrt(repetitions) if repetitions > 1 else np.full(2, np.nan)
            pictures.append(Picture(name, model, *(float(v) for pair in zip(means, errors) for v in pair), repetitions))
        if done is not None:
            done(number, len(sets))
    write_rows(out / "fig1.csv", pictures, Picture)
    return pictures, files
