"""Samples as images: those that a model draws, or rows of an array."""

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.plotting.images import GREY, check_count, cluster_names, mosaic, panels
from csrl_core.plotting.shapes import shape_for

ALIKE = 0.02  # of the range of values: the deviation of decoded samples below which they are one image
FEW = 0.1  # of a panel's samples: so much noise is not worth a word


def plot_samples(source, image_shape=None, n=25, *, labels=None, steps=1000, random_state=None, fig=None):
    """Images: samples that a model draws, n of every cluster, or n rows of an array.

    The titles say so where samples of binary units are noise, nearer to coins that were tossed than to their cluster,
    and where a variational autoencoder decodes nearly the same image from all codes.

    source : fitted `TensorizedRBM` or `TensorizedVAE`, or array (n', d)
    image_shape : (height, width), by default the model's own, or a square; n : int, images of a panel
    labels : (n',) of int, clusters of an array's rows: a panel for each, optional
    steps : of `TensorizedRBM.sample`; random_state : of ``sample``; fig : Figure, optional
    returns Figure
    """
    check_count(n)
    if hasattr(source, "sample"):
        image_shape = shape_for(image_shape, source, source.n_features_in_)
        titles, groups, title = _drawn(source, n, steps, random_state)
        low, high = _range(source) or np.quantile(np.concatenate(groups), [0.001, 0.999])
    else:
        X = as_numpy(source)
        if X.ndim != 2 or not len(X):
            raise ValueError(f"source has shape {X.shape}; expected a fitted model that draws, or samples (n, d)")
        image_shape = shape_for(image_shape, None, X.shape[1])
        low, high = np.quantile(X, [0.001, 0.999])
        titles, groups, title = _of_array(X, n, labels)
    fig, _ = panels([mosaic(images, image_shape) for images in groups], titles, fig, cmap=GREY, vmin=low, vmax=high)
    fig.suptitle(title, fontsize=11)
    return fig


def _of_array(X, n, labels):
    """(titles of panels, their images, title) of rows of an array."""
    if labels is None:
        return [f"{min(n, len(X))} of {len(X)}"], [X[:n]], "Samples"
    labels = np.asarray(labels)
    if labels.shape != (len(X),):
        raise ValueError(f"labels has shape {labels.shape}; expected one for each sample: ({len(X)},)")
    members = {f"cluster {value}": X[labels == value] for value in np.unique(labels)}
    titles = [f"{name}: {min(n, len(own))} of {len(own)}" for name, own in members.items()]
    return titles, [own[:n] for own in members.values()], "Samples of the data, by cluster"


def _drawn(model, n, steps, random_state):
    """(titles of panels, their images, title) of samples that a model draws."""
    machine, k = hasattr(model, "free_energy"), model.n_clusters
    options = {"random_state": random_state} | ({"steps": steps} if machine else {})
    groups = [as_numpy(model.sample(n, cluster=j, **options)[0]) for j in range(k)]
    flaws = [_flaw(model, j, images) for j, images in enumerate(groups)]
    titles = [f"{name}: {flaw}" if flaw else name for name, flaw in zip(cluster_names(k), flaws)]
    title = "Decoded codes that were drawn from N(0, 1)"
    if machine:
        title = f"Samples of the machines, after {steps} steps of Gibbs sampling"
    if machine and any(flaws):
        title += "\nnoise: samples from where a machine has learnt next to nothing"
    return titles, groups, title


def _flaw(model, j, images):
    """What a panel's title has to say of samples of cluster j, or None."""
    limits, centers = _range(model), as_numpy(model.cluster_centers_)
    scaling = vars(model).get("scaling_")
    if scaling is not None:
        images = (images - scaling.offset) / scaling.scale  # centres are in the model's units, samples in the data's
    if hasattr(model, "free_energy"):
        if limits is None:
            return None
        noisy = np.flatnonzero(are_noise(images, centers[j])).size
        if noisy <= FEW * len(images):
            return None
        return "noise" if noisy >= (1 - FEW) * len(images) else f"{noisy} of {len(images)} are noise"
    whole = 1.0 if limits else np.ptp(centers)
    deviation = np.sqrt(images.var(axis=0, dtype=np.float64).mean())
    return "all nearly one image" if len(images) > 1 and deviation < ALIKE * whole else None


def are_noise(V, center):
    """Which samples are nearer to coins that were tossed for every pixel than to samples around a cluster's mean.

    With the mean c, ‖v − c‖² is Σ c(1 − c) on average over samples of independent pixels with this mean, and
    Σ (1 − 2c)²/2 more over coins. Samples beyond the middle are noise, where these differ by more than chance.

    V : (n, d), 0 or 1; center : (d,) in [0, 1]; returns (n,) bool
    """
    center = np.clip(center.astype(np.float64), 0, 1)
    contrast = np.sum((1 - 2 * center) ** 2)
    if contrast < 16:  # four standard deviations, √contrast / 2, of the distance of coins
        return np.zeros(len(V), bool)
    return np.sum((V - center) ** 2, axis=1) > np.sum(center * (1 - center)) + contrast / 4


def _range(model):
    """(lowest, highest) value of samples of binary units, in the data's units; None of others, and of centred ones."""
    units = getattr(model, "visible", None) or getattr(model, "reconstruction_loss", None)
    if units != "bernoulli" or model.center not in (False, "auto"):
        return None
    scaling = vars(model).get("scaling_")
    return (0, 1) if scaling is None else (scaling.offset.min(), (scaling.offset + scaling.scale).max())
