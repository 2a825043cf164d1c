"""Numba twin of ``reference.augment``: random changes of images, one pass an image.

An image's field, its smoothed field and the image with its border lie in memory of a task's own, which stays in the
cache. Places are worked out in float64 like the reference's, so that they are the same in both dtypes.
"""

from functools import lru_cache

import numpy as np
from numba import uint32

from ._engine.arrays import plain
from ._engine.jit import jit
from ._engine.pool import parallel, spans
from .philox import block, checked_rows, key_of, normal

ZEROS, REPLICATED = range(2)
BORDERS = {"zeros": ZEROS, "replicated": REPLICATED}
NUMBERS = 12  # of an image in substep 0

_UNIT = 2.0**-24


def augment(X, shape, options, key, stream, step, rows):
    """Changed images; returns (n, d) of X's dtype.

    Cost: of the field half a block of random numbers and 4 (h + w) flops a pixel; 16 flops a pixel and channel
    """
    (c, h, w), X, o = (int(length) for length in shape), plain(X), options
    rows, out = checked_rows(rows, max(NUMBERS, 2 * h * w + 4, c * h * w + 2)), np.empty_like(X)
    draw = (*np.asarray(key, np.uint32), uint32(stream), uint32(step))
    strengths = np.array([o.shift, np.deg2rad(o.rotation), o.scale, o.elastic])
    down, across = (_gaussian(length, float(o.smoothing), X.dtype.str) for length in (h, w))
    moved, border = bool(strengths.any()), int(o.border)

    def some(span):
        _move(X, (c, h, w), strengths, down, across, border, draw, rows, span.start, span.stop, out)

    # 1. move
    if moved:
        parallel(some, spans(len(X)))
    else:
        out[...] = X
    # 2. noise
    if o.noise:
        Z = normal(key, stream, step, 2, rows, _whole(c * h * w, 2), X.dtype)[:, : c * h * w]
        out += X.dtype.type(o.noise) * Z
    # 3. erase
    if o.erase:
        _erase(out.reshape(-1, c, h, w), int(o.erase), draw, rows)
    return out


@lru_cache(32)
def _gaussian(length, sigma, dtype):
    """The matrix (length, length) that convolves a line with a Gaussian, zeros around it."""
    reach = int(4 * sigma + 0.5)
    if reach == 0:
        return np.eye(length, dtype=dtype)
    g = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    apart = np.subtract.outer(np.arange(length), np.arange(length))
    return np.where(np.abs(apart) <= reach, (g / g.sum())[np.clip(apart, -reach, reach) + reach], 0).astype(dtype)


def _whole(count, of):
    return -(-count // of) * of


@jit
def _uniforms(draw, row, u):
    """U (12,) ← an image's own uniforms."""
    k0, k1, stream, step = draw
    for b in range(3):
        number = row * 3 + b
        words = block(uint32(number), uint32(0), step, stream, k0, key_of(k1, number))
        for place in range(4):
            u[4 * b + place] = (words[place] >> uint32(8)) * _UNIT


@jit
def _move(X, shape, strengths, down, across, border, draw, rows, first, stop, out):
    c, h, w = shape
    real = X.dtype.type
    u, field = np.empty(12), np.empty((2 * h * w + 3) // 4 * 4, X.dtype)
    half, smooth = np.empty((h, w), X.dtype), np.zeros((2, h, w), X.dtype)
    framed = np.zeros((h + 3, w + 3), X.dtype)  # an image with its border: place (y, x) is at [y + 1, x + 1]
    at, fy, fx = np.empty(h * w, np.int64), np.empty(h * w, X.dtype), np.empty(h * w, X.dtype)
    for i in range(first, stop):
        _uniforms(draw, rows[i], u)
        if strengths[3] != 0:
            _draw_field(draw, rows[i], field)
            for axis in range(2):
                _smooth(field[axis * h * w : (axis + 1) * h * w].reshape(h, w), down, across, half, smooth[axis])
        _places(u, strengths, smooth, border, at, fy, fx)
        for channel in range(c):
            image = X[i, channel * h * w : (channel + 1) * h * w]
            for y in range(h):
                for x in range(w):
                    framed[y + 1, x + 1] = image[y * w + x]
            _interpolate(framed, at, fy, fx, real(1), out[i, channel * h * w : (channel + 1) * h * w])


@jit
def _draw_field(draw, row, field):
    """Field ← 2u − 1, four numbers a block."""
    k0, k1, stream, step = draw
    real, one = field.dtype.type, field.dtype.type(1)
    unit = real(2.0**-23)
    first = row * (len(field) // 4)
    for b in range(len(field) // 4):
        number = first + b
        words = block(uint32(number), uint32(1), step, stream, k0, key_of(k1, number))
        field[4 * b] = real(np.int32(words[0] >> uint32(8))) * unit - one
        field[4 * b + 1] = real(np.int32(words[1] >> uint32(8))) * unit - one
        field[4 * b + 2] = real(np.int32(words[2] >> uint32(8))) * unit - one
        field[4 * b + 3] = real(np.int32(words[3] >> uint32(8))) * unit - one


@jit
def _smooth(field, down, across, half, out):
    """Out ← down · field · acrossᵀ, of which the matrices are symmetric."""
    h, w = field.shape
    for y in range(h):
        for x in range(w):
            half[y, x] = down[y, 0] * field[0, x]
        for t in range(1, h):
            s = down[y, t]
            for x in range(w):
                half[y, x] += s * field[t, x]
    for y in range(h):
        for x in range(w):
            out[y, x] = half[y, 0] * across[0, x]
        for t in range(1, w):
            s = half[y, t]
            for x in range(w):
                out[y, x] += s * across[t, x]


@jit
def _places(u, strengths, smooth, border, at, fy, fx):
    """Where every pixel comes from: its whole pixel's place in the framed image, and what is left over."""
    h, w = smooth.shape[1:]
    real, elastic = smooth.dtype.type, smooth.dtype.type(strengths[3])
    angle = strengths[1] * (2 * u[2] - 1)
    cos, sin = np.cos(angle), np.sin(angle)
    ey, ex = np.exp(strengths[2] * (2 * u[4] - 1)), np.exp(strengths[2] * (2 * u[5] - 1))
    cy, cx = (h - 1) / 2, (w - 1) / 2
    ty, tx = cy + strengths[0] * (2 * u[0] - 1), cx + strengths[0] * (2 * u[1] - 1)
    low, high_y, high_x = (-1, h, w) if border == ZEROS else (0, h - 1, w - 1)
    lowest, highest_y, highest_x = real(low), real(high_y), real(high_x)
    for y in range(h):
        qy = y - cy
        for x in range(w):
            qx = x - cx
            py = (ey * cos * qy + ey * -sin * qx) + ty + np.float64(elastic * smooth[0, y, x])
            px = (ex * sin * qy + ex * cos * qx) + tx + np.float64(elastic * smooth[1, y, x])
            ry, rx = min(max(real(py), lowest), highest_y), min(max(real(px), lowest), highest_x)
            by, bx = np.floor(ry), np.floor(rx)
            p = y * w + x
            at[p] = (np.int64(by) + 1) * (w + 3) + np.int64(bx) + 1
            fy[p], fx[p] = ry - by, rx - bx


@jit
def _interpolate(framed, at, fy, fx, one, out):
    """Out ← the mean of four pixels at every place."""
    values, width = framed.reshape(framed.size), framed.shape[1]
    for p in range(len(at)):
        a, b, c = at[p], fy[p], fx[p]
        above = (one - c) * values[a] + c * values[a + 1]
        below = (one - c) * values[a + width] + c * values[a + width + 1]
        out[p] = (one - b) * above + b * below


@jit
def _erase(images, erase, draw, rows):
    """0 in a rectangle of every image."""
    n, c, h, w = images.shape
    u = np.empty(12)
    for i in range(n):
        _uniforms(draw, rows[i], u)
        height, width = int(u[8] * (min(erase, h) + 1)), int(u[9] * (min(erase, w) + 1))
        top, left = int(u[10] * (h - height + 1)), int(u[11] * (w - width + 1))
        for channel in range(c):
            for y in range(top, top + height):
                for x in range(left, left + width):
                    images[i, channel, y, x] = 0
