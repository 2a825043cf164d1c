"""What a task does: a convolution of some images with bias and activation, and the way back, whichever way sums go.

Compiled code that is called from compiled code is compiled once more there, so that ways have sums alone, and what all
of them need is called from here. A transposed convolution is the way back of the convolution that leads from its
output to its input, whose geometry is what these functions take. Images are rows (n, features).
"""

import numpy as np

from .._engine.jit import compiled, jit
from ..dense import LEAKY_RELU, LEAKY_SLOPE, LINEAR, activate_row, through_activation_row
from .lines import line


def tasks_of(multiply, add_weights):
    """(convolve, convolve_back) of a way.

    multiply : (X, weights, geometry, transposed, Y), Y ← conv(X), or convᵀ(X)
    add_weights : (above, below, geometry, dW), dW += the gradient of weights, ``above`` that of conv(``below``)
    """

    def convolve(X, weights, bias, activation, geometry, transposed, Y):
        """Y ← act(conv(X) + b), or act(convᵀ(X) + b). X, Y : rows; weights : of the way's ``pack``"""
        multiply(X, weights, geometry, transposed, Y)
        finish(Y.reshape(-1), _pixels(geometry, transposed), bias, activation)

    def convolve_back(G, X, Y, weights, activation, geometry, transposed, dW, db, dX):
        """Gradients of ``convolve``: adds to dW (flat, see the way's ``unpack``) and db; fills dX if that has rows."""
        own = np.empty_like(G)
        through(G.reshape(-1), Y.reshape(-1), _pixels(geometry, transposed), activation, own.reshape(-1), db)
        add_weights(*((X, own) if transposed else (own, X)), geometry, dW)
        if len(dX):
            multiply(own, weights, geometry, not transposed, dX)

    return convolve, convolve_back


def _pixels(geometry, transposed):
    """Of a channel of the output."""
    return geometry[1] * geometry[2] if transposed else geometry[3] * geometry[4]


def finish(images, size, bias, activation):
    """Bias and activation, in place. images : flat, channels of ``size`` pixels"""
    if len(bias):
        _add_bias(images, size, bias)
    if activation != LINEAR:
        activate_row(images, activation)


@jit
def _add_bias(images, size, bias):
    for o in range(len(images) // size):
        plane, own = line(images, o * size, size), bias[o % len(bias)]
        for i in range(size):
            plane[i] += own


def through(G, Y, size, activation, out, db):
    """Out ← G ∘ act'; db + its sum over pixels, in place, unless it is empty. G, Y, out : flat, as in ``finish``"""
    if activation <= LEAKY_RELU:
        slope = {LINEAR: 1, LEAKY_RELU: LEAKY_SLOPE}.get(activation, 0)
        _through_kink(G, Y, size, G.dtype.type(slope), out, db)
        return
    out[:] = G
    through_activation_row(out, Y, activation)
    if len(db):
        db += out.reshape(-1, len(db), size).sum(axis=(0, 2))


# Sums are added up in lanes, for a plain sum waits for every addition.
@compiled(fastmath={"reassoc"})
def _through_kink(G, Y, size, slope, out, db):
    """Out ← g where y > 0, else the slope times g. In one pass: what is read takes the time."""
    zero = G.dtype.type(0)
    for o in range(len(out) // size):
        g, y, own, total = line(G, o * size, size), line(Y, o * size, size), line(out, o * size, size), zero
        for i in range(size):
            below = slope * g[i] if slope != zero else zero
            own[i] = g[i] if y[i] > zero else below
            total += own[i]
        if len(db):
            db[o % len(db)] += total
