"""Pictures of reconstructions: as images, as points beside their samples, by one autoencoder and by several."""

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.plotting.images import GREY
from csrl_core.plotting.shapes import check_image_shape, image_shape_of
from csrl_core.plotting.style import class_codes, legend_beside, new_figure, percent, scatter

_IMAGES_PER_CLUSTER = 5


def plot_reconstruction(model, X, image_shape="auto", fig=None):
    """Samples and their reconstructions by their own cluster's model.

    Images: one row a cluster, its centre, then pairs of a sample and its reconstruction. Else all samples in the
    plane of the data's two principal components, each joined to its reconstruction.

    model : fitted estimator; X : (n, d); fig : Figure, optional
    image_shape : (height, width); None for the plane; "auto": see `csrl_core.plotting.shapes.image_shape_of`
    returns Figure
    """
    labels, R, X = as_numpy(model.predict(X)), as_numpy(model.reconstruct(X)), as_numpy(X)
    if isinstance(image_shape, str):
        image_shape = image_shape_of(model, X)
    if image_shape is not None:
        return _image_pairs(model, X, R, labels, check_image_shape(image_shape, X.shape[1]), fig)
    fig = new_figure(6.8, 5.2) if fig is None else fig
    ax = fig.add_subplot()
    X = np.asarray(X, dtype=np.float64)
    mean = X.mean(axis=0)
    names, plane = [f"$x_{j}$, less its mean" for j in range(2)], np.eye(2, X.shape[1])
    if X.shape[1] > 2:
        _, values, axes = np.linalg.svd(X - mean, full_matrices=False)
        plane = np.pad(axes[:2], ((0, 2 - len(axes[:2])), (0, 0)))
        shares = np.pad(values**2, (0, 2))[:2] / ((values**2).sum() or 1)
        places = ("first", "second")
        names = [f"{place} principal component, {percent(share)}" for place, share in zip(places, shares)]
    clusters = [f"cluster {j}" for j in range(model.n_clusters)] if model.n_clusters > 1 else ["sample"]
    _joined(ax, (X - mean) @ plane.T, (R - mean) @ plane.T, labels, clusters)
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1] if X.shape[1] > 1 else "")
    what = "Samples and their reconstructions"
    if X.shape[1] > 2:
        what += f", two of {X.shape[1]} dimensions"
    ax.set_title(f"{what}\nmean squared error in all dimensions {np.mean((X - R) ** 2):.3g}", fontsize=11)
    legend_beside(ax, clusters, None)
    return fig


def _joined(ax, points, reconstructions, codes, names):
    """Points, their reconstructions in black, and thin lines in between."""
    from matplotlib.collections import LineCollection

    lines = np.stack([points, reconstructions], axis=1)
    ax.add_collection(LineCollection(lines, colors="0.75", linewidths=0.7, zorder=1))
    scatter(ax, points, codes, names, zorder=2)
    ax.scatter(*reconstructions.T, s=7, color="black", linewidths=0, zorder=3, label="reconstruction")


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
        _joined(ax, X[:, list(dimensions)], R[:, list(dimensions)], codes, classes)
        if model.n_clusters == 1:
            title = "One linear autoencoder: one direction for all the data"
        else:
            title = f"{model.n_clusters} cluster-specific ones: one direction per cluster"
        shown = f" in all {X.shape[1]} dimensions" if X.shape[1] > 2 else ""
        ax.set_title(f"{title}\nmean squared error{shown} {np.mean((X - R) ** 2):.3g}", fontsize=11)
        ax.set_xlabel(f"$x_{dimensions[0]}$")
        ax.set_aspect("equal", adjustable="box")
        ax.grid(color="0.93")
        ax.set_axisbelow(True)
    axes[0].set_ylabel(f"$x_{dimensions[1]}$")
    handles, texts = axes[1].get_legend_handles_labels()
    fig.legend(handles, texts, loc="outside lower center", ncols=6, frameon=False)
    return fig


def _image_pairs(model, X, R, labels, shape, fig):
    """One row a cluster: its centre, then pairs of a sample and its reconstruction R (n, d)."""
    k, columns = model.n_clusters, 1 + 2 * _IMAGES_PER_CLUSTER
    fig = new_figure(0.8 * columns + 0.9, 0.92 * k + 0.9) if fig is None else fig
    grid = fig.subplots(k, columns, squeeze=False)
    low, high = np.quantile(X, [0.001, 0.999])
    centers, scaling = as_numpy(model.cluster_centers_), vars(model).get("scaling_")
    if scaling is not None:
        centers = scaling.undo(centers)  # to the units of X

    def show(ax, image):
        ax.imshow(np.reshape(image, shape), cmap=GREY, vmin=low, vmax=high)

    for j in range(k):
        rows = np.flatnonzero(labels == j)
        # Evenly over the cluster in order of loss: the best reconstructed first, the worst last.
        rows = rows[np.argsort(np.sum((X[rows] - R[rows]) ** 2, axis=1), kind="stable")]
        chosen = rows[np.linspace(0, len(rows) - 1, min(_IMAGES_PER_CLUSTER, len(rows))).astype(int)]
        show(grid[j, 0], centers[j])
        for number, i in enumerate(chosen):
            show(grid[j, 1 + 2 * number], X[i])
            show(grid[j, 2 + 2 * number], R[i])
        name = f"cluster {j}" if k > 1 else "all samples"
        grid[j, 0].set_ylabel(f"{name}\n({len(rows)})", rotation=0, ha="right", va="center", fontsize=9)
    for ax in grid.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_frame_on(ax.has_data() and len(ax.images) > 0)
    for column, ax in enumerate(grid[0]):
        ax.set_title("centre" if column == 0 else "sample" if column % 2 else "rebuilt", fontsize=9)
    fig.suptitle(
        f"Centres, and samples beside their reconstructions, best to worst; images of {shape[0]} × {shape[1]}\n"
        f"mean squared error of all samples {np.mean((X - R) ** 2, dtype=np.float64):.3g}",
        fontsize=11,
    )
    return fig
