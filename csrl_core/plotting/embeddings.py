"""Pictures of embeddings, loss curves, reconstructions, and one autoencoder against several."""

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.plotting.images import image_pairs
from csrl_core.plotting.style import COLOURS, axes_of, class_codes, legend_beside, new_figure, scatter


def plot_embedding(model, X, y=None, ax=None, *, names=None, legend=True):
    """Every sample's embedding under its own cluster; colours are known classes if y is given.

    Each cluster has a space of its own: one row a cluster where the embedding has one dimension (the
    height within a row means nothing), else one field a cluster, with the first two principal components if
    it has more than two, each field on a scale of its own.

    model : fitted estimator; X : (n, d); y : (n,) classes, optional; ax : Axes, optional
    names : names of the classes in sorted order, optional; legend : bool
    returns Axes
    """
    labels, Z = as_numpy(model.predict(X)), as_numpy(model.transform(X))  # a frame, after set_output
    codes, classes = class_codes(y, len(Z), names)
    ax = axes_of(ax)
    k = model.n_clusters
    ticks = [f"{'all' if k == 1 else f'cluster {j}'}\n({np.sum(labels == j)})" for j in range(k)]
    if Z.shape[1] == 1:
        # Without randomness: samples of a cluster spread over its row in the order of the golden ratio.
        rank = np.zeros(len(Z))
        for j in range(k):
            rank[labels == j] = np.arange(np.sum(labels == j))
        height = labels + 0.64 * ((rank * 0.6180339887) % 1 - 0.5)
        scatter(ax, np.column_stack([Z[:, 0], height]), codes, classes)
        ax.set_yticks(range(k), ticks)
        ax.set_ylim(k - 0.5, -0.5)
        for j in range(1, k):
            ax.axhline(j - 0.5, color="0.85", linewidth=0.8, zorder=0)
        ax.locator_params(axis="x", nbins=5)
        ax.set_xlabel("embedding z")
    else:
        points = np.zeros((len(Z), 2))
        for j in range(k):
            own = labels == j
            points[own] = _into_field(Z[own]) + np.array([j, 0])
        scatter(ax, points, codes, classes)
        ax.set_xticks(range(k), ticks)
        ax.set_xlim(-0.5, k - 0.5)
        ax.set_yticks([])
        for j in range(1, k):
            ax.axvline(j - 0.5, color="0.85", linewidth=0.8, zorder=0)
        what = "two dimensions" if Z.shape[1] == 2 else f"two principal components of {Z.shape[1]} dimensions"
        ax.set_ylabel(f"embedding, {what}")
    ax.set_title("Embedding under each sample's own cluster")
    if legend:
        legend_beside(ax, classes, "class")
    return ax


def _into_field(Z):
    """(m, 2) within ±0.44: the two columns, or the two principal components."""
    if len(Z) == 0:
        return np.zeros((0, 2))
    Z = Z - Z.mean(axis=0)
    if Z.shape[1] > 2:
        Z = Z @ np.linalg.svd(Z, full_matrices=False)[2][:2].T
        Z = np.pad(Z, ((0, 0), (0, 2 - Z.shape[1])))  # a single sample has one component
    low, high = Z.min(axis=0), Z.max(axis=0)
    spread = np.where(high > low, high - low, 1)
    return 0.88 * ((Z - (low + high) / 2) / spread)


def plot_loss(model, ax=None):
    """The objective over the epochs, before their steps, and at the end.

    model : fitted estimator; ax : Axes, optional
    returns Axes
    """
    ax = axes_of(ax)
    curve = np.asarray(model.loss_curve_)
    ax.plot(np.arange(1, len(curve) + 1), curve, color=COLOURS[0], label="mean over the epoch's batches")
    ax.axhline(model.loss_, color=COLOURS[4], linestyle="--", label=f"at the end: {model.loss_:.4g}")
    if len(curve) and curve.min() > 0 and curve.max() > 30 * curve.min():
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.set_title(f"{type(model).__name__}: loss over {len(curve)} epochs")
    ax.legend(frameon=False)
    ax.grid(color="0.92")
    return ax


def plot_reconstruction(model, X, image_shape=None, fig=None):
    """Samples and their reconstructions by their own cluster's model.

    With ``image_shape`` one row a cluster: its centre, then pairs of a sample and its reconstruction.
    Else all samples in the plane of the data's two principal components, each joined to its reconstruction.

    model : fitted estimator; X : (n, d); image_shape : (height, width), optional; fig : Figure, optional
    returns Figure
    """
    labels, R = model.predict(X), model.reconstruct(X)
    if image_shape is not None:
        return image_pairs(model, np.asarray(X), R, labels, tuple(image_shape), fig)
    fig = new_figure(6.4, 5.2) if fig is None else fig
    ax = fig.add_subplot()
    X = np.asarray(X, dtype=np.float64)
    mean = X.mean(axis=0)
    plane = np.eye(2, X.shape[1])
    if X.shape[1] > 2:
        plane = np.linalg.svd(X - mean, full_matrices=False)[2][:2]
        plane = np.pad(plane, ((0, 2 - len(plane)), (0, 0)))
    names = [f"cluster {j}" for j in range(model.n_clusters)]
    _pairs(ax, (X - mean) @ plane.T, (R - mean) @ plane.T, labels, names)
    ax.set_xlabel("first principal component" if X.shape[1] > 2 else "x0, less its mean")
    ax.set_ylabel("second principal component" if X.shape[1] > 2 else "x1, less its mean")
    error = np.mean((X - R) ** 2)
    ax.set_title(f"Samples, and their reconstructions in black\nmean squared error {error:.3g}", fontsize=11)
    legend_beside(ax, names, None)
    return fig


def _pairs(ax, points, reconstructions, codes, names):
    """Points, their reconstructions in black, and thin lines in between."""
    from matplotlib.collections import LineCollection

    lines = np.stack([points, reconstructions], axis=1)
    ax.add_collection(LineCollection(lines, colors="0.75", linewidths=0.7, zorder=1))
    scatter(ax, points, codes, names, zorder=2)
    ax.scatter(*reconstructions.T, s=7, color="black", linewidths=0, zorder=3)


def plot_figure_1(one, several, X, y=None, *, names=None, dimensions=(0, 1), fig=None):
    """One autoencoder for all the data beside one for each cluster, in two of the data's dimensions.

    What is joined to a sample by a thin line is its reconstruction (black). A linear autoencoder with one
    latent dimension can only place them on one line; with clusters each has a line of its own.

    one, several : fitted estimators, with one cluster and with more; X : (n, d); y : (n,) classes, optional
    names : names of the classes, optional; dimensions : the two columns of X to draw; fig : Figure, optional
    returns Figure
    """
    fig = new_figure(11, 4.6) if fig is None else fig
    codes, classes = class_codes(y, len(X), names)
    axes = fig.subplots(1, 2, sharex=True, sharey=True)
    for ax, model in zip(axes, (one, several)):
        R = model.reconstruct(X)
        _pairs(ax, X[:, list(dimensions)], R[:, list(dimensions)], codes, classes)
        if model.n_clusters == 1:
            title = "One linear autoencoder: one direction for all the data"
        else:
            title = f"{model.n_clusters} cluster-specific ones: one direction per cluster"
        ax.set_title(f"{title}\nmean squared error {np.mean((X - R) ** 2):.3g}", fontsize=11)
        ax.set_xlabel(f"$x_{dimensions[0]}$")
        ax.set_aspect("equal", adjustable="box")
        ax.grid(color="0.93")
        ax.set_axisbelow(True)
    axes[0].set_ylabel(f"$x_{dimensions[1]}$")
    handles, texts = axes[1].get_legend_handles_labels()
    black = axes[1].scatter([], [], s=14, color="black", linewidths=0)
    fig.legend([*handles, black], [*texts, "reconstruction"], loc="outside lower center", ncols=6, frameon=False)
    return fig
