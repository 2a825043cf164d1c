"""Pictures of embeddings: a row or a field for each cluster, or one plane that clusters share."""

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.plotting.style import axes_of, class_codes, legend_beside, percent, scatter


def plot_embedding(model, X, y=None, ax=None, *, names=None, legend=True):
    """Every sample's embedding under its own cluster; colours are known classes if y is given.

    Where each cluster has a space of its own: one row a cluster where the embedding has one dimension (the
    height within a row means nothing), else one field a cluster, with the first two principal components if
    it has more than two, each field on a scale of its own. Where one network embeds all samples: one plane, with the
    first two principal components; colours are clusters if y is not given.

    model : fitted estimator; X : (n, d); y : (n,) classes, optional; ax : Axes, optional
    names : names of the classes in sorted order, optional; legend : bool
    returns Axes
    """
    labels, Z = as_numpy(model.predict(X)), as_numpy(model.transform(X))  # a frame, after set_output
    codes, classes = class_codes(y, len(Z), names)
    ax, k, title = axes_of(ax), model.n_clusters, "class"
    if getattr(model, "_one_space", False) and Z.shape[1] > 1:
        if y is None:
            codes, classes, title = labels, [f"cluster {j}" for j in range(k)], None
        _draw_plane(ax, Z, labels, k, codes, classes)
    elif Z.shape[1] == 1:
        _draw_rows(ax, Z, labels, k, codes, classes)
    else:
        _draw_fields(ax, Z, labels, k, codes, classes)
    if legend:
        legend_beside(ax, classes, title)
    return ax


def _ticks(labels, k, more=None):
    """The name of every cluster and its number of samples."""
    more = more or [""] * k
    return [f"{'all' if k == 1 else f'cluster {j}'}\n({np.sum(labels == j)}){own}" for j, own in zip(range(k), more)]


def _draw_rows(ax, Z, labels, k, codes, classes):
    """One row a cluster."""
    # Without randomness: samples of a cluster spread over its row in the order of the golden ratio.
    rank = np.zeros(len(Z))
    for j in range(k):
        rank[labels == j] = np.arange(np.sum(labels == j))
    height = labels + 0.64 * ((rank * 0.6180339887) % 1 - 0.5)
    scatter(ax, np.column_stack([Z[:, 0], height]), codes, classes)
    ax.set_yticks(range(k), _ticks(labels, k))
    ax.set_ylim(k - 0.5, -0.5)
    for j in range(1, k):
        ax.axhline(j - 0.5, color="0.85", linewidth=0.8, zorder=0)
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel("embedding z; the height within a row means nothing")
    ax.set_title("Embedding under each sample's own cluster" if k > 1 else "Embedding")


def _draw_fields(ax, Z, labels, k, codes, classes):
    """One field a cluster."""
    points, shares = np.zeros((len(Z), 2)), [""] * k
    for j in range(k):
        own = labels == j
        projected, share = plane_of(Z[own])
        points[own] = _into_field(projected) + np.array([j, 0])
        if Z.shape[1] > 2 and share is not None:
            shares[j] = f"\n{100 * share:.0f} %"
    scatter(ax, points, codes, classes)
    ax.set_xticks(range(k), _ticks(labels, k, shares))
    ax.set_xlim(-0.5, k - 0.5)
    ax.set_yticks([])
    for j in range(1, k):
        ax.axvline(j - 0.5, color="0.85", linewidth=0.8, zorder=0)
    ax.set_title("Embedding under each sample's own cluster" if k > 1 else "Embedding")
    what = "two dimensions of the embedding"
    if Z.shape[1] > 2:
        what = f"PCA, two of {Z.shape[1]} dimensions"
        ax.set_xlabel("number of samples; share of the variance that is shown")
    ax.set_ylabel(what + ("\neach field on its own scale" if k > 1 else ""))


def _draw_plane(ax, Z, labels, k, codes, classes):
    """One plane for all samples, and the means of the clusters."""
    points, share = plane_of(Z)
    scatter(ax, points, codes, classes)
    means = np.array([points[labels == j].mean(axis=0) for j in range(k) if (labels == j).any()])
    ax.scatter(*means.T, s=60, marker="x", color="black", linewidths=1.6, zorder=4, label="mean of a cluster")
    for j, place in zip(np.unique(labels), means):
        ax.annotate(f"{j}", place, xytext=(5, 3), textcoords="offset points", fontsize=10, weight="bold")
    names = ("first principal component", "second principal component")
    if Z.shape[1] == 2:
        names = "first dimension", "second dimension"
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    what = "" if share is None or Z.shape[1] == 2 else f"\ntwo of {Z.shape[1]} dimensions: {percent(share)}"
    ax.set_title(f"Embedding, the same space for all clusters{what}", fontsize=11)


def plane_of(Z):
    """Z as it is if it has two columns, else its first two principal components and their share of the variance.

    Z : (m, h); returns ((m, 2), float or None where nothing varies)
    """
    if len(Z) == 0:
        return np.zeros((0, 2)), None
    Z = np.asarray(Z, np.float64) - Z.mean(axis=0, dtype=np.float64)
    if Z.shape[1] <= 2:
        return Z, 1.0 if Z.any() else None
    _, values, axes = np.linalg.svd(Z, full_matrices=False)
    points = Z @ axes[:2].T
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # a single sample has one component
    variances = values**2
    return points, float(variances[:2].sum() / variances.sum()) if variances.any() else None


def _into_field(points):
    """Points (m, 2) within ±0.44."""
    if len(points) == 0:
        return points
    low, high = points.min(axis=0), points.max(axis=0)
    spread = np.where(high > low, high - low, 1)
    return 0.88 * ((points - (low + high) / 2) / spread)
