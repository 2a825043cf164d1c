"""Pictures made of images: rows and panels of them, filters of Boltzmann machines, reconstructions."""

from numbers import Integral

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.plotting.shapes import check_image_shape, shape_for
from csrl_core.plotting.style import COLOURS, new_figure

_PANELS_IN_A_ROW = 5
GREY, _DIVERGING = "gray_r", "RdBu_r"


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


def panels(mosaics, titles, fig, **options):
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


def cluster_names(k):
    """Titles of panels."""
    return ["all samples"] if k == 1 else [f"cluster {j}" for j in range(k)]


def plot_filters(model, image_shape=None, n=25, *, fig=None):
    """The weights of hidden units as images: a panel a cluster, the units of the largest norm first.

    Red is positive, blue negative, white 0; all panels have the same scale.

    model : fitted `TensorizedRBM`; image_shape : (height, width), by default a square; n : int, units of a cluster
    fig : Figure, optional
    returns Figure
    """
    weight = weights_of(model)
    image_shape = shape_for(image_shape, model, weight.shape[1])
    check_count(n)
    filters = filters_of(weight, strongest_units(weight, n))
    fig, shown = filter_panels(filters, image_shape, colour_limit(filters), fig)
    fig.suptitle(f"Weights of {filters.shape[1]} of {weight.shape[2]} hidden units, the largest first", fontsize=11)
    fig.colorbar(shown[0], ax=fig.axes, shrink=0.7, pad=0.02, extend="both")
    return fig


def filter_panels(filters, image_shape, limit, fig=None):
    """A panel for each cluster's filters, (k, n, d); returns (Figure, list of AxesImage)."""
    mosaics = [mosaic(own, image_shape) for own in filters]
    return panels(mosaics, cluster_names(len(filters)), fig, cmap=_DIVERGING, vmin=-limit, vmax=limit)


def plot_reconstructions(model, X, image_shape=None, *, standard=None, fig=None):
    """Samples and their reconstructions, by the model of each cluster and by one model for all the data.

    That of a sample's own cluster is framed. A machine's reconstruction is E[v | h] with h the mean E[h | x].

    model : fitted estimator with clusters; X : (n, d), the samples to draw, best about ten
    image_shape : (height, width), by default the model's own, or a square
    standard : fitted estimator of one cluster, optional; fig : Figure, optional
    returns Figure
    """
    X = as_numpy(X)
    images, chosen = reconstructions(model, X)
    rows, frames = {"samples": X}, {}
    for j in range(model.n_clusters):
        rows[f"cluster {j}"], frames[f"cluster {j}"] = images[:, j], chosen == j
    if standard is not None:
        rows["one for all"] = as_numpy(standard.reconstruct(X))
    several = model.n_clusters > 1
    return plot_image_rows(
        rows,
        shape_for(image_shape, model, X.shape[1]),
        frames=frames if several else None,
        title="Reconstructions; framed: by the sample's own cluster" if several else "Reconstructions",
        fig=fig,
    )


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
    names = 0.5 + 0.09 * max(map(len, rows))  # inches
    fig = new_figure(names + 0.62 * len(first), 0.45 + 0.64 * len(rows)) if fig is None else fig
    ax = fig.add_subplot()
    low, high = np.quantile(first, [0.001, 0.999])
    images = mosaic(np.concatenate(list(rows.values())), (h, w), columns=len(first))
    ax.imshow(images, cmap=GREY, vmin=low, vmax=high, interpolation="nearest")
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
    for _ in range(2):  # with axes of a fixed aspect the layout leaves room for names only when it is asked again
        fig.draw_without_rendering()
    return fig
