"""Convolutions of few channels, summed up in registers: products of so few terms take less than laying out columns.

A line of outputs of one channel is a sum of lines of the input, each shifted to a place of the kernel, so that

    Y[o, y, :] = b[o] + Σ_t W[o, t] P[start_t + y below : ],    t = (c, u, v), a place of the kernel in a channel

where P is the image with its padding, and of every line first the pixels 0, s, 2s, …, then 1, s + 1, …, so that no line
has a stride. The way back goes along the same lines, and weights have the gradient Σ_y ⟨G[o, y, :], P[start_t + …]⟩.

Gain: layers of one channel are .9 to 1.3 times as fast as by columns where BLAS has AVX-512 kernels, 1.8 to 2.1 times
where not; a fit of a convolutional TVAE is as fast, or 1.1 times ("sums in registers" in bench/results/ladder_vae.csv),
and compiles 2 s less than with columns.

The functions are those of ``rows``, for the geometries that suit. Images are rows (n, features); arrays are flat.
"""

from functools import lru_cache

import numpy as np

from .._engine.jit import jit
from .columns import comb, uncomb
from .lanes import MOST, add_dots, lanes, multiply_lines
from .lines import clear, line
from .tasks import tasks_of

THIN = 24  # numbers of a kernel's row in all channels, below which a convolution goes this way


def suits(geometry):
    """Whether a convolution goes this way. geometry : see ``columns.plan``"""
    return geometry[0] * geometry[6] < THIN


def pack(weight, geometry, turned):
    """Weights (m, c, kh, kw) as they are, (m, K), flat."""
    return weight.reshape(-1)


def unpack(gradient, geometry):
    """The gradient of weights (m, c, kh, kw), as a view."""
    return gradient.reshape(-1, geometry[0], geometry[5], geometry[6])


def _terms(geometry):
    """Terms of a sum."""
    return geometry[0] * geometry[5] * geometry[6]


@lru_cache(maxsize=64)
def _plan(geometry, m):
    """(lines of a channel of P, numbers of a part of a line, ``starts``, where channels of outputs begin)."""
    c, _, _, height, width, kh, kw, s, _ = geometry
    lines, part = s * (height - 1) + kh, width + (kw - 1) // s
    channel, u, v = np.indices((c, kh, kw)).reshape(3, -1)
    starts = ((v % s * c + channel) * lines + u) * part + v // s
    return lines, part, starts.astype(np.intp), np.arange(m, dtype=np.intp) * (height * width)


def _room(geometry, lines, part, dtype):
    """(an image with its padding, all 0, and P: the same where no line has a stride)."""
    padded = np.zeros(geometry[0] * lines * geometry[7] * part, dtype)
    return padded, padded if geometry[7] == 1 else np.zeros_like(padded)


@jit
def _exchange(image, geometry, lines, part, padded, there):
    """Pixels of an image ``there``, within its padding, or back; those that P has not stay as they are."""
    c, h, w, _, _, _, _, s, padding = geometry
    count = min(w, s * part - padding)
    for y in range(c * h):
        if y % h < lines - padding:
            own = line(padded, ((y // h * lines + y % h + padding) * s) * part + padding, count)
            pixels = line(image, y * w, count)
            source, target = (pixels, own) if there else (own, pixels)
            for x in range(count):
                target[x] = source[x]


@jit
def _multiply_images(X, Y, weights, how, geometry, room, transposed):
    """See ``_multiply``. X, Y : flat; how : arguments of ``multiply_lines``; room : of ``_room``"""
    lines, part, steps, starts, targets, apart, begin = how
    (c, h, w, height, width, _, _, s, _), (padded, parts) = geometry, room
    size, outputs = c * h * w, (len(starts) if transposed else len(targets)) * height * width
    for i in range(len(X) // (outputs if transposed else size)):
        image = line(Y if transposed else X, i * size, size)
        above = line(X if transposed else Y, i * outputs, outputs)
        if transposed:
            clear(parts)
        else:
            _exchange(image, geometry, lines, part, padded, bool(1))
            if s > 1:
                comb(padded, c * lines, s * part, s, parts)
        values, out = (above, parts) if transposed else (parts, above)
        multiply_lines(weights, steps, values, starts, out, targets, apart, (height, width), begin, transposed)
        if transposed:
            clear(image)
            if s > 1:
                uncomb(parts, c * lines, s * part, s, padded)
            _exchange(image, geometry, lines, part, padded, bool(0))


def _multiply(X, weights, geometry, transposed, Y):
    """Y ← conv(X), or convᵀ(X). X, Y : rows; weights : of ``pack``"""
    terms = _terms(geometry)
    lines, part, starts, channels = _plan(geometry, len(weights) // terms)
    below, width = geometry[7] * part, geometry[4]
    way = (
        ((1, terms), channels, starts, (width, below)) if transposed else ((terms, 1), starts, channels, (below, width))
    )
    how = lines, part, *way, np.zeros(len(way[2]), X.dtype)
    room = _room(geometry, lines, part, X.dtype)
    _multiply_images(X.reshape(-1), Y.reshape(-1), weights, how, geometry, room, bool(transposed))


@jit
def _add_images(above, below, geometry, plan, room, sums, dW):
    """See ``_add_weights``. above, below : flat; sums : zeros, lines of ``lanes`` for all of dW"""
    lines, part, starts, channels = plan
    (c, h, w, height, width, _, _, s, _), (padded, parts) = geometry, room
    size, outputs = c * h * w, len(channels) * height * width
    for i in range(len(below) // size):
        _exchange(line(below, i * size, size), geometry, lines, part, padded, bool(1))
        if s > 1:
            comb(padded, c * lines, s * part, s, parts)
        steps, own = (height * width, width, s * part), line(above, i * outputs, outputs)
        add_dots(own, parts, starts, sums, steps, (len(channels), height, width))
    for i in range(len(dW)):
        for l in range(i * lanes(dW), (i + 1) * lanes(dW)):
            dW[i] += sums[l]


def _add_weights(above, below, geometry, dW):
    """Adds the gradient of the weights to dW (flat)."""
    plan = _plan(geometry, len(dW) // _terms(geometry))
    room, sums = _room(geometry, *plan[:2], dW.dtype), np.zeros(len(dW) * MOST // dW.itemsize, dW.dtype)
    _add_images(above.reshape(-1), below.reshape(-1), geometry, plan, room, sums, dW)


convolve, convolve_back = tasks_of(_multiply, _add_weights)
