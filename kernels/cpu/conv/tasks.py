"""What a task does: a convolution of some images with bias and activation, and the way back, whichever way sums go.

Compiled code that is called from compiled code is compiled once more there, so that ways have sums alone, and what all
of them need is called from here. A transposed convolution is the way back of the convolution that leads from its
output to its input, whose geometry is what these functions take. Images are rows (n, features).
"""

import numpy as np

from .._engine.jit import compiled, jit
from ..dense import LEAKY_RELU, LEAKY_SLOPE, LINEAR, activate_row, through_activation_row
from .lines import line

AT_ONCE = 2048  # numbers that go through an activation while they are near


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
        """Gradients of ``convolve``: adds to dW (flat, see the way's ``share``) and db; fills dX if that has rows."""
        own = np.empty_like(G)
        through(G.reshape(-1), Y.reshape(-1), _pixels(geometry, transposed), activation, own.reshape(-1), db)
        add_weights(*((X, own) if transposed else (own, X)), geometry, dW)
        if len(dX):
            multiply(own, weights, geometry, not transposed, dX)

    return convolve, convolve_back


def _pixels(geometry, transposed):
    """Of a channel of the output."""
    return geometry[1] * geometry[2] if transposed else geometry[3] * geometry[4]


@jit
def finish(images, size, bias, activation):
    """Bias and activation, in place. images : flat, channels of ``size`` pixels"""
    step = size * max(1, AT_ONCE // size)
    for first in range(0, len(images), step):
        stop = min(first + step, len(images))
        for at in range(first, stop if len(bias) else first, size):
            plane, own = line(images, at, size), bias[at // size % len(bias)]
            for i in range(size):
                plane[i] += own
        activate_row(line(images, first, stop - first), activation)


@jit
def through(G, Y, size, activation, out, db):
    """Out ← G ∘ act'; db + its sum over pixels, in place, unless it is empty. G, Y, out : flat, as in ``finish``"""
    if activation > LEAKY_RELU:
        for i in range(len(G)):
            out[i] = G[i]
        through_activation_row(out, Y, activation)
    slope = G.dtype.type(1 if activation == LINEAR else LEAKY_SLOPE if activation == LEAKY_RELU else 0)
    for o in range(len(out) // size):
        plane = line(out, o * size, size)
        if activation > LEAKY_RELU:
            total = sum_of(plane)
        else:
            total = _kinked(line(G, o * size, size), line(Y, o * size, size), slope, plane)
        if len(db):
            db[o % len(db)] += total


# Added up in lanes, for a plain sum waits for every addition.
in_lanes = compiled(fastmath={"reassoc"})


@in_lanes
def _kinked(g, y, slope, out):
    """Out ← g where y > 0, else the slope times g; returns the sum. In one pass: what is read takes the time."""
    zero = total = g.dtype.type(0)
    for i in range(len(g)):
        below = slope * g[i] if slope != zero else zero
        out[i] = g[i] if y[i] > zero else below
        total += out[i]
    return total


@in_lanes
def sum_of(values):
    """Their sum."""
    total = values.dtype.type(0)
    for i in range(len(values)):
        total += values[i]
    return total
