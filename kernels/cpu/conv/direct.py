"""Convolutions of few channels, summed up in registers: products of so few terms take less than laying out columns.

A line of outputs of one channel is a sum of lines of the input, each shifted to a place of the kernel, so that

    Y[o, y, :] = b[o] + Σ_t W[o, t] P[start_t + y below : ],    t = (c, u, v), a place of the kernel in a channel

where P is the image with its padding, and of every line first the pixels 0, s, 2s, …, then 1, s + 1, …, so that no line
has a stride. The way back goes along the same lines, and weights have the gradient Σ_y ⟨G[o, y, :], P[start_t + …]⟩.
The functions are those of ``rows``, for the geometries that suit. Images are rows (n, features); arrays are flat.
"""

from functools import lru_cache

import numpy as np

from .._engine.jit import jit
from .columns import comb, uncomb
from .lanes import add_dots, lanes, multiply_lines
from .lines import line
from .rows import clear, zeros
from .tasks import sum_of, tasks_of

THIN = 24  # numbers of a kernel's row in all channels, below which a convolution goes this way


def suits(geometry):
    """Whether a convolution goes this way. geometry : see ``columns.plan``"""
    return geometry[0] * geometry[6] < THIN


def pack(weight, geometry, turned):
    """Weights (m, c, kh, kw) as they are, (m, K), flat."""
    return weight.reshape(-1)


def share(geometry, m):
    """Numbers of the gradient of the weights, what a task adds to."""
    return m * _terms(geometry)


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


@jit
def _to_parts(image, geometry, lines, part, padded, parts):
    """P of an image. padded : zeros around what is written; parts : the same array where no line has a stride"""
    c, h, w, _, _, _, _, s, padding = geometry
    count, width = min(w, s * part - padding), s * part
    for channel in range(c):
        for y in range(min(h, lines - padding)):
            pixels = line(image, (channel * h + y) * w, count)
            own = line(padded, (channel * lines + y + padding) * width + padding, count)
            for x in range(count):
                own[x] = pixels[x]
    if s > 1:
        comb(padded, c * lines, width, s, parts)


@jit
def _from_parts(parts, geometry, lines, part, padded, image):
    """Image ← its pixels of P, and 0 for those that P has not."""
    c, h, w, _, _, _, _, s, padding = geometry
    count, width = min(w, s * part - padding), s * part
    if s > 1:
        uncomb(parts, c * lines, width, s, padded)
    clear(image)
    for channel in range(c):
        for y in range(min(h, lines - padding)):
            pixels = line(image, (channel * h + y) * w, count)
            own = line(padded, (channel * lines + y + padding) * width + padding, count)
            for x in range(count):
                pixels[x] = own[x]


@jit
def _multiply_images(X, weights, geometry, plan, transposed, Y):
    lines, part, starts, channels = plan
    (c, _, _, height, width, _, _, s, _), terms = geometry, len(starts)
    padded = zeros(c * lines * s * part, X)
    parts = padded if s == 1 else np.empty_like(padded)
    nothing = zeros(max(len(channels), terms), X)
    for i in range(len(X)):
        if transposed:
            clear(parts)
            apart, steps = (width, s * part), (1, terms)
            multiply_lines(weights, steps, X[i], channels, parts, starts, apart, (height, width), nothing, True)
            _from_parts(parts, geometry, lines, part, padded, Y[i])
        else:
            _to_parts(X[i], geometry, lines, part, padded, parts)
            apart, steps = (s * part, width), (terms, 1)
            multiply_lines(weights, steps, parts, starts, Y[i], channels, apart, (height, width), nothing, False)


@jit
def _add_images(above, below, geometry, plan, dW):
    lines, part, starts, channels = plan
    c, _, _, height, width, _, _, s, _ = geometry
    padded = zeros(c * lines * s * part, below)
    parts = padded if s == 1 else np.empty_like(padded)
    sums = zeros(len(dW) * lanes(dW), dW)
    for i in range(len(above)):
        _to_parts(below[i], geometry, lines, part, padded, parts)
        steps, size = (height * width, width, s * part), (len(channels), height, width)
        add_dots(above[i], parts, starts, sums, steps, size)
    for i in range(len(dW)):
        dW[i] += sum_of(line(sums, i * lanes(dW), lanes(dW)))


def _multiply(X, weights, geometry, transposed, Y):
    """Y ← conv(X), or convᵀ(X). X, Y : rows; weights : of ``pack``"""
    _multiply_images(X, weights, geometry, _plan(geometry, len(weights) // _terms(geometry)), transposed, Y)


def _add_weights(above, below, geometry, dW):
    """Adds the gradient of the weights to dW (flat)."""
    _add_images(above, below, geometry, _plan(geometry, len(dW) // _terms(geometry)), dW)


convolve, convolve_back = tasks_of(_multiply, _add_weights)
