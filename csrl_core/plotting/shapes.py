"""The shape of samples that are images: the one given, the model's own, or that of a square."""

import re
from math import isqrt
from numbers import Integral

import numpy as np

from csrl_core.backends import as_numpy

LEAST_SIDE = 8  # of a square that is taken as an image without a word from the user
ALIKE = 0.8  # neighbours' mean squared difference, as a part of any two pixels', below which samples are images


def check_image_shape(image_shape, n_features):
    """``image_shape`` as (height, width), two ints whose product is the number of features; ValueError if not."""
    shape = tuple(np.ravel(image_shape).tolist())
    whole = all(isinstance(side, Integral) and side >= 1 for side in shape)
    if len(shape) != 2 or not whole or shape[0] * shape[1] != n_features:
        raise ValueError(f"image_shape={image_shape!r}; expected (height, width) with height·width = {n_features}")
    return shape


def shape_for(image_shape, model, n_features):
    """The shape given, or the model's own, or that of a square; ValueError if there is none of them."""
    if image_shape is not None:
        return check_image_shape(image_shape, n_features)
    shape = own_shape(model) or square(n_features)
    if shape is None:
        raise ValueError(f"image_shape is needed: {n_features} features make no square image")
    return shape


def own_shape(model):
    """(height, width) of a model that was given it; None of others, and of images of several channels."""
    shape = tuple(getattr(model, "image_shape", None) or ())
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    return shape if len(shape) == 2 else None


def square(n_features):
    """(side, side), or None if the number is no square."""
    side = isqrt(n_features)
    return (side, side) if side * side == n_features else None


def image_shape_of(model, X, names=None):
    """(height, width) of samples that are images; None of others.

    Images are those of a model that was given their shape. So are squares of at least 8 × 8 numbers in which
    neighbours, below each other and side by side, are clearly more alike than any two, unless columns have names that
    differ in more than a number.

    model : fitted estimator; X : (n, d); names : d names of columns, optional, by default those of the fit
    """
    X = as_numpy(X)
    shape = own_shape(model)
    if shape is not None:
        return shape
    shape, names = square(X.shape[1]), getattr(model, "feature_names_in_", None) if names is None else names
    if shape is None or shape[0] < LEAST_SIDE or not len(X):
        return None
    if names is not None and len({re.sub(r"\d+", "", str(name)) for name in names}) > 1:
        return None
    images = np.asarray(X, np.float64).reshape(-1, *shape)
    any_two = 2 * images.var(axis=(1, 2)).mean()
    neighbours = max((np.diff(images, axis=axis) ** 2).mean() for axis in (1, 2))
    return shape if neighbours < ALIKE * any_two else None
