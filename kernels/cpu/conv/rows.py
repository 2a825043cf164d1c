"""Convolutions of some images one after the other, with bias and activation, and back: what one task does.

A transposed convolution is the way back of the convolution that leads from its output to its input, whose geometry is
what these functions take. Images are rows (n, features); weights are packed (see ``columns.pack``).
"""

import numpy as np
from numba import njit

from ..dense import activate_row, through_activation_row
from .columns import add_up, add_weights, extent, lay_out, multiply, multiply_back

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@_jit
def _columns_of_one(geometry, like):
    terms, _, length = extent(geometry)
    return np.empty(terms * length, like.dtype)


@_jit
def _add_bias(image, bias):
    if len(bias):
        size = len(image) // len(bias)
        for o in range(len(bias)):
            plane = image[o * size : (o + 1) * size]
            for i in range(size):
                plane[i] += bias[o]


@_jit
def _through(G, Y, activation, out, db):
    """Out ← G ∘ act'; db + its sum over pixels, in place. G, Y, out : one image; db : (o,), or empty"""
    for i in range(len(G)):
        out[i] = G[i]
    through_activation_row(out, Y, activation)
    size = len(out) // max(len(db), 1)
    for o in range(len(db)):
        db[o] += _sum(out[o * size : (o + 1) * size])


# Added up in lanes, for a plain sum waits for every addition.
@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})
def _sum(values):
    total = values.dtype.type(0)
    for i in range(len(values)):
        total += values[i]
    return total


@_jit
def convolve(X, weights, bias, activation, geometry, Y):
    """Y ← act(conv(X) + b). X : (n, c h w); weights : packed, flat; Y : (n, o h' w')"""
    columns = _columns_of_one(geometry, X)
    m = Y.shape[1] // (geometry[3] * geometry[4])
    for i in range(len(X)):
        lay_out(X[i], geometry, columns)
        multiply(weights, columns, geometry, m, Y[i])
        _add_bias(Y[i], bias)
        activate_row(Y[i], activation)


@_jit
def convolve_back(G, X, Y, weights, activation, geometry, dW, db, dX):
    """Gradients of ``convolve``: adds to dW and db; dX is overwritten, or nothing where it has no rows."""
    columns, own = _columns_of_one(geometry, X), np.empty(G.shape[1], G.dtype)
    m = G.shape[1] // (geometry[3] * geometry[4])
    for i in range(len(X)):
        _through(G[i], Y[i], activation, own, db)
        lay_out(X[i], geometry, columns)
        add_weights(own, columns, geometry, m, dW)
        if len(dX):
            multiply_back(weights, own, geometry, m, columns)
            _clear(dX[i])
            add_up(columns, geometry, dX[i])


@_jit
def convolve_transposed(X, weights, bias, activation, geometry, Y):
    """Y ← act(convᵀ(X) + b). X : (n, m h' w'); Y : (n, c h w)"""
    columns = _columns_of_one(geometry, X)
    m = X.shape[1] // (geometry[3] * geometry[4])
    for i in range(len(X)):
        multiply_back(weights, X[i], geometry, m, columns)
        _clear(Y[i])
        add_up(columns, geometry, Y[i])
        _add_bias(Y[i], bias)
        activate_row(Y[i], activation)


@_jit
def convolve_transposed_back(G, X, Y, weights, activation, geometry, dW, db, dX):
    """Gradients of ``convolve_transposed``, as ``convolve_back``."""
    columns, own = _columns_of_one(geometry, X), np.empty(G.shape[1], G.dtype)
    m = X.shape[1] // (geometry[3] * geometry[4])
    for i in range(len(X)):
        _through(G[i], Y[i], activation, own, db)
        lay_out(own, geometry, columns)
        add_weights(X[i], columns, geometry, m, dW)
        if len(dX):
            multiply(weights, columns, geometry, m, dX[i])


@_jit
def _clear(row):
    for i in range(len(row)):
        row[i] = 0
