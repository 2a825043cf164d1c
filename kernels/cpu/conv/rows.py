"""Convolutions by products of columns, of some images one after the other: the way of all that have none of their own.

Images are rows (n, features); weights are packed. ``winograd`` and ``direct`` have functions of the same names for the
geometries that suit them.
"""

import numpy as np

from .._engine.jit import jit
from .columns import (
    add_up,
    add_weights,
    comb,
    extent,
    lay_out,
    multiply,
    multiply_back,
    uncomb,
)
from .lines import zeros
from .tasks import tasks_of


def pack(weight, geometry, turned):
    """Weights (m, c, kh, kw) in the order of products, (kh, m, K), flat: the same for both ways."""
    return weight.transpose(2, 0, 1, 3).ravel()


def unpack(gradient, geometry):
    """The gradient of weights (m, c, kh, kw), as a view, from that of ``add_weights``, flat."""
    c, kh, kw = geometry[0], geometry[5], geometry[6]
    return gradient.reshape(kh, c, kw, -1).transpose(3, 1, 0, 2)


@jit
def _columns_of_one(geometry, like):
    """Columns of one image, all 0."""
    terms, _, length = extent(geometry)
    return zeros(terms * length, like)


@jit
def _combed_one(geometry, like):
    """A combed image; nothing where an image is combed by itself."""
    c, h, w, stride = geometry[0], geometry[1], geometry[2], geometry[7]
    return np.empty(0 if stride == 1 else c * h * stride * ((w + stride - 1) // stride), like.dtype)


@jit
def _to_columns(image, combed, geometry, columns):
    if len(combed):
        comb(image, geometry[0] * geometry[1], geometry[2], geometry[7], combed)
        lay_out(combed, geometry, columns)
    else:
        lay_out(image, geometry, columns)


@jit
def _from_columns(columns, combed, geometry, image):
    if len(combed):
        add_up(columns, geometry, combed)
        uncomb(combed, geometry[0] * geometry[1], geometry[2], geometry[7], image)
    else:
        add_up(columns, geometry, image)


@jit
def _multiply(X, weights, geometry, transposed, Y):
    """Y ← conv(X), or convᵀ(X). X, Y : rows; weights : packed, flat"""
    columns, combed = _columns_of_one(geometry, X), _combed_one(geometry, X)
    m = (X if transposed else Y).shape[1] // (geometry[3] * geometry[4])
    for i in range(len(X)):
        if transposed:
            multiply_back(weights, X[i], geometry, m, columns)
            _from_columns(columns, combed, geometry, Y[i])
        else:
            _to_columns(X[i], combed, geometry, columns)
            multiply(weights, columns, geometry, m, Y[i])


@jit
def _add_weights(above, below, geometry, dW):
    """Adds the gradient of the weights to dW (flat, see ``add_weights``)."""
    columns, combed, turned = _columns_of_one(geometry, below), _combed_one(geometry, below), np.empty_like(above[0])
    for i in range(len(above)):
        _to_columns(below[i], combed, geometry, columns)
        add_weights(above[i], turned, columns, geometry, len(turned) // (geometry[3] * geometry[4]), dW)


convolve, convolve_back = tasks_of(_multiply, _add_weights)
