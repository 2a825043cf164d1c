"""Convolutions of some images one after the other, with bias and activation, and back: what one task does.

A transposed convolution is the way back of the convolution that leads from its output to its input, whose geometry is
what these functions take. Images are rows (n, features); weights are packed. ``winograd`` has functions of the same
names for the geometries that suit it.
"""

import numpy as np

from .._engine.jit import compiled, jit
from ..dense import activate_row, through_activation_row
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


def pack(weight, geometry, turned):
    """Weights (m, c, kh, kw) in the order of products, (taps, m, K), flat: the same for both ways."""
    c, kh, kw, taps = geometry[0], geometry[5], geometry[6], geometry[9]
    return weight.reshape(-1, c, taps, kh // taps, kw).transpose(2, 0, 1, 3, 4).ravel()


def share(geometry, m):
    """Numbers of the gradient of the weights, what a task adds to."""
    return m * geometry[0] * geometry[5] * geometry[6]


def unpack(gradient, geometry):
    """The gradient of weights (m, c, kh, kw), as a view, from that of ``add_weights``, flat."""
    c, kh, kw, taps = geometry[0], geometry[5], geometry[6], geometry[9]
    if taps == 1:
        return gradient.reshape(-1, c, kh, kw)
    return gradient.reshape(kh, c, kw, -1).transpose(3, 1, 0, 2)


@jit
def zeros(n, like):
    """N zeros of the dtype of ``like``."""
    out = np.empty(n, like.dtype)
    for i in range(n):
        out[i] = 0
    return out


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
def finish(image, m, bias, activation):
    """Bias and activation, channel by channel."""
    size = len(image) // m
    for o in range(m):
        plane = image[o * size : (o + 1) * size]
        if len(bias):
            for i in range(size):
                plane[i] += bias[o]
        activate_row(plane, activation)


@jit
def through(G, Y, m, activation, out, db):
    """Out ← G ∘ act'; db + its sum over pixels, in place, unless it is empty. G, Y, out : one image"""
    size = len(G) // m
    for o in range(m):
        own, plane = out[o * size : (o + 1) * size], G[o * size : (o + 1) * size]
        for i in range(size):
            own[i] = plane[i]
        through_activation_row(own, Y[o * size : (o + 1) * size], activation)
        if len(db):
            db[o] += _sum(own)


# Added up in lanes, for a plain sum waits for every addition.
@compiled(fastmath={"reassoc"})
def _sum(values):
    total = values.dtype.type(0)
    for i in range(len(values)):
        total += values[i]
    return total


@jit
def convolve(X, weights, bias, activation, geometry, transposed, Y):
    """Y ← act(conv(X) + b), or act(convᵀ(X) + b). X, Y : rows; weights : packed, flat"""
    columns, combed = _columns_of_one(geometry, X), _combed_one(geometry, X)
    m = (X if transposed else Y).shape[1] // (geometry[3] * geometry[4])
    for i in range(len(X)):
        if transposed:
            multiply_back(weights, X[i], geometry, m, columns)
            _from_columns(columns, combed, geometry, Y[i])
        else:
            _to_columns(X[i], combed, geometry, columns)
            multiply(weights, columns, geometry, m, Y[i])
        finish(Y[i], geometry[0] if transposed else m, bias, activation)


@jit
def convolve_back(G, X, Y, weights, activation, geometry, transposed, dW, db, dX):
    """Gradients of ``convolve``: adds to dW (flat, see ``add_weights``) and db; fills dX unless that has no rows."""
    columns, back, combed = _columns_of_one(geometry, X), _columns_of_one(geometry, X), _combed_one(geometry, X)
    small = (X if transposed else G).shape[1]
    own, turned, m = np.empty(G.shape[1], G.dtype), np.empty(small, G.dtype), small // (geometry[3] * geometry[4])
    for i in range(len(X)):
        through(G[i], Y[i], geometry[0] if transposed else m, activation, own, db)
        _to_columns(own if transposed else X[i], combed, geometry, columns)
        add_weights(X[i] if transposed else own, turned, columns, geometry, m, dW)
        if not len(dX):
            continue
        if transposed:
            multiply(weights, columns, geometry, m, dX[i])
        else:
            multiply_back(weights, own, geometry, m, back)
            _from_columns(back, combed, geometry, dX[i])
