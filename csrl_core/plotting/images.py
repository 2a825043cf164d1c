"""Pictures made of images: samples and reconstructions; filters of Boltzmann machines, and samples that they draw."""

from numbers import Integral

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.plotting.style import COLOURS, new_figure

_PANELS_IN_A_ROW = 5
_IMAGES_PER_CLUSTER = 5
_GREY, _DIVERGING = "gray_r", "RdBu_r"


def check_image_shape(image_shape, n_features):
    """``image_shape`` as (height, width), two ints whose product is the number of features; ValueError if not."""
    shape = tuple(np.ravel(image_shape).tolist())
    whole = all(isinstance(side, Integral) and side >= 1 for side in shape)
    if len(shape) != 2 or not whole or shape[0] * shape[1] != n_features:
        raise ValueError(f"image_shape={image_shape!r}; expected (height, width) with height·width = {n_features}")
    return shape


def check_count(n):
    """ValueError unless ``n`` is a positive int."""
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"n={n!r}; expected an int of at least 1")


def weights_of(model):
    """Weights (k, d, m) of a fitted machine."""
    shapes = getattr(model, "_shapes", {})
    if "hidden_bias" not in shapes or "weight" not in shapes:
        raise ValueError(
            f"model is a {type(model).__name__}{'' if shapes else ' that is not fitted'}; "
            f"expected a fitted Boltzmann machine, whose hidden units have filters"
        )
    return as_numpy(model.named_parameters()["weight"])


def mosaic(images, image_shape, columns=None):
    """Images side by side in one, a pixel of NaN in between: (rows·(h + 1) − 1, columns·(w + 1) − 1).

    images : (n, h·w); image_shape : (h, w); columns : int, by default what makes a square of equal numbers
    """
    images = np.asarray(images, dtype=np.float64)
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    (h, w), rows = image_shape, -(-len(images) // columns)
    tiles = np.full((rows * columns, h + 1, w + 1), np.nan)
    tiles[: len(images), :h, :w] = images.reshape(-1, h, w)
    return tiles.reshape(rows, columns, h + 1, w + 1).swapaxes(1, 2).reshape(rows * (h + 1), -1)[:-1, :-1]


def _panels(mosaics, titles, fig, **options):
    """One panel a mosaic, in rows of five; returns (Figure, list of AxesImage)."""
    columns = min(len(mosaics), _PANELS_IN_A_ROW)
    rows = -(-len(mosaics) // columns)
    if fig is None:
        fig = new_figure(1.2 + 2.9 * columns, 0.7 + 3.0 * rows)
        fig.get_layout_engine().set(w_pad=0.12, h_pad=0.08)  # more between panels than between images
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    shown = []
    for ax, image, title in zip(axes, mosaics, titles):
        shown.append(ax.imshow(image, interpolation="nearest", **options))
        ax.set_title(title, fontsize=10)
    for ax in axes:
        ax.set_axis_off()
    return fig, shown


def strongest_units(weight, n):
    """The n hidden units of every machine whose weights have the largest norm, those first: (k, n) indices.

    weight : (k, d, m)
    """
    norms = np.linalg.norm(weight.astype(np.float64), axis=1)
    return np.argsort(-norms, axis=1, kind="stable")[:, :n]


def filters_of(weight, units):
    """Filters (k, n, d) of the units (k, n)."""
    return np.take_along_axis(weight, units[:, None], axis=2).swapaxes(1, 2)


def colour_limit(filters):
    """The end of the colour scale: nearly the largest absolute weight, and 1 where all are 0."""
    return float(np.quantile(np.abs(filters), 0.998)) or 1.0


def _names(k):
    return ["all samples"] if k == 1 else [f"cluster {j}" for j in range(k)]


def plot_filters(model, image_shape, n=25, *, fig=None):
    """The weights of hidden units as images: a panel a cluster, the units of the largest norm first.

    Red is positive, blue negative, white 0; all panels have the same scale.

    model : fitted `TensorizedRBM`; image_shape : (height, width); n : int, units of a cluster; fig : Figure, optional
    returns Figure
    """
    weight = weights_of(model)
    image_shape = check_image_shape(image_shape, weight.shape[1])
    check_count(n)
    filters = filters_of(weight, strongest_units(weight, n))
    fig, shown = filter_panels(filters, image_shape, colour_limit(filters), fig)
    fig.suptitle(f"Weights of {filters.shape[1]} of {weight.shape[2]} hidden units, the largest first", fontsize=11)
    fig.colorbar(shown[0], ax=fig.axes, shrink=0.7, pad=0.02, extend="both")
    return fig


def filter_panels(filters, image_shape, limit, fig=None):
    """A panel for each cluster's filters, (k, n, d); returns (Figure, list of AxesImage)."""
    mosaics = [mosaic(own, image_shape) for own in filters]
    return _panels(mosaics, _names(len(filters)), fig, cmap=_DIVERGING, vmin=-limit, vmax=limit)


def plot_samples(source, image_shape, n=25, *, labels=None, steps=1000, random_state=None, fig=None):
    """Images: samples that a machine draws, n of every cluster, or n rows of an array.

    source : fitted `TensorizedRBM`, or array (n', d); image_shape : (height, width); n : int, images of a panel
    labels : (n',) of int, for an array: a panel for each, optional; steps, random_state : of `TensorizedRBM.sample`
    fig : Figure, optional
    returns Figure
    """
    check_count(n)
    if hasattr(source, "sample"):
        image_shape = check_image_shape(image_shape, source.n_features_in_)
        k = source.n_clusters
        options = {"steps": steps, "random_state": random_state}
        groups = [as_numpy(source.sample(n, cluster=j, **options)[0]) for j in range(k)]
        titles, title = _names(k), f"Samples of the machines, after {steps} steps of Gibbs sampling"
        low, high = (0, 1) if source.visible == "bernoulli" else np.quantile(np.concatenate(groups), [0.001, 0.999])
    else:
        X = as_numpy(source)
        if X.ndim != 2 or not len(X):
            raise ValueError(f"source has shape {X.shape}; expected a fitted machine, or samples (n, n_features)")
        image_shape = check_image_shape(image_shape, X.shape[1])
        low, high = np.quantile(X, [0.001, 0.999])
        groups, titles, title = [X[:n]], [f"{min(n, len(X))} of {len(X)}"], "Samples"
        if labels is not None:
            labels = np.asarray(labels)
            if labels.shape != (len(X),):
                raise ValueError(f"labels has shape {labels.shape}; expected one for each sample: ({len(X)},)")
            values = np.unique(labels)
            groups, titles = [X[labels == value][:n] for value in values], [f"{value}" for value in values]
    fig, _ = _panels([mosaic(images, image_shape) for images in groups], titles, fig, cmap=_GREY, vmin=low, vmax=high)
    fig.suptitle(title, fontsize=11)
    return fig


def plot_reconstructions(model, X, image_shape, *, standard=None, fig=None):
    """Samples and their reconstructions, by the machine of each cluster and by one machine for all the data.

    A reconstruction is E[v | h] with h the mean E[h | x]. That of a sample's own cluster is framed.

    model : fitted estimator with clusters; X : (n, d), the samples to draw, best about ten
    image_shape : (height, width); standard : fitted estimator of one cluster, optional; fig : Figure, optional
    returns Figure
    """
    X = as_numpy(X)
    images, chosen = reconstructions(model, X)
    rows, frames = {"samples": X}, {}
    for j in range(model.n_clusters):
        rows[f"cluster {j}"], frames[f"cluster {j}"] = images[:, j], chosen == j
    if standard is not None:
        rows["one machine"] = as_numpy(standard.reconstruct(X))
    return plot_image_rows(rows, image_shape, frames=frames if model.n_clusters > 1 else None, fig=fig)


def reconstructions(model, X):
    """Reconstructions of every sample by the model of each cluster, (n, k, d), and the sample's own cluster, (n,)."""
    Z = as_numpy(model.transform_all(X))
    n, k = Z.shape[:2]
    images = [as_numpy(model.inverse_transform(Z[:, j], np.full(n, j))) for j in range(k)]
    return np.stack(images, axis=1), as_numpy(model.predict(X))


def plot_image_rows(rows, image_shape, *, frames=None, title=None, fig=None):
    """Rows of images under each other, all on the grey scale of the first row.

    rows : dict of name → (n, d); image_shape : (height, width); frames : dict of name → (n,) of bool, which images
    of a row are framed, optional; title : str, optional; fig : Figure, optional
    returns Figure
    """
    from matplotlib.patches import Rectangle

    first = np.asarray(next(iter(rows.values())))
    h, w = check_image_shape(image_shape, first.shape[1])
    fig = new_figure(1.9 + 0.62 * len(first), 0.45 + 0.64 * len(rows)) if fig is None else fig
    ax = fig.add_subplot()
    low, high = np.quantile(first, [0.001, 0.999])
    images = mosaic(np.concatenate(list(rows.values())), (h, w), columns=len(first))
    ax.imshow(images, cmap=_GREY, vmin=low, vmax=high, interpolation="nearest")
    for number, name in enumerate(rows):
        for column in np.flatnonzero((frames or {}).get(name, ())):
            place = column * (w + 1) - 0.5, number * (h + 1) - 0.5  # the image's own edge: neighbours share no line
            style = {"fill": False, "edgecolor": COLOURS[4], "linewidth": 0.9, "clip_on": False}
            ax.add_patch(Rectangle(place, w, h, **style))
    ax.set_yticks([number * (h + 1) + (h - 1) / 2 for number in range(len(rows))], list(rows), fontsize=9)
    ax.tick_params(length=0)
    ax.set_xticks([])
    ax.set_frame_on(False)
    if title is not None:
        ax.set_title(title, fontsize=10)
    return fig


def image_pairs(model, X, R, labels, shape, fig):
    """One row a cluster: its centre, then pairs of a sample and its reconstruction R (n, d)."""
    if len(shape) != 2 or shape[0] * shape[1] != X.shape[1]:
        raise ValueError(f"image_shape={shape}; expected (height, width) with height·width = {X.shape[1]} features")
    k, columns = model.n_clusters, 1 + 2 * _IMAGES_PER_CLUSTER
    fig = new_figure(0.8 * columns + 0.9, 0.92 * k + 0.7) if fig is None else fig
    grid = fig.subplots(k, columns, squeeze=False)
    low, high = np.quantile(X, [0.001, 0.999])

    def show(ax, image):
        ax.imshow(np.reshape(image, shape), cmap="gray_r", vmin=low, vmax=high)

    for j in range(k):
        rows = np.flatnonzero(labels == j)
        # Evenly over the cluster in order of loss: the best reconstructed first, the worst last.
        rows = rows[np.argsort(np.sum((X[rows] - R[rows]) ** 2, axis=1), kind="stable")]
        chosen = rows[np.linspace(0, len(rows) - 1, min(_IMAGES_PER_CLUSTER, len(rows))).astype(int)]
        show(grid[j, 0], model.cluster_centers_[j])
        for number, i in enumerate(chosen):
            show(grid[j, 1 + 2 * number], X[i])
            show(grid[j, 2 + 2 * number], R[i])
        grid[j, 0].set_ylabel(f"cluster {j}\n({len(rows)})", rotation=0, ha="right", va="center", fontsize=9)
    for ax in grid.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_frame_on(ax.has_data() and len(ax.images) > 0)
    for column, ax in enumerate(grid[0]):
        ax.set_title("centre" if column == 0 else "sample" if column % 2 else "rebuilt", fontsize=9)
    fig.suptitle("Each cluster's centre, and samples beside their reconstructions, best to worst", fontsize=11)
    return fig
