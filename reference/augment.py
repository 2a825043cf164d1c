"""Random changes of images: shift, rotation, scale, elastic deformation, noise and erasing, in one pass an image.

Source of the elastic deformation: Simard, Steinkraus, Platt, Best practices for convolutional neural networks applied
to visual document analysis, ICDAR 2003; of erasing: Zhong et al., Random erasing data augmentation, AAAI 2020.

An output pixel q takes its value from the place p(q) of the input image, between pixels by bilinear interpolation:

    p(q) = c + diag(e^a) R(θ) (q − c) + t + α (g_σ ∗ U)(q),    then + noise · N(0, 1), then 0 in a rectangle

with c the image's centre, R(θ) the rotation by θ, and g_σ a Gaussian of σ pixels, whose tails end at 4σ. All random
numbers are functions of key, stream, step and the sample's row, so that a sample's image depends on no other sample.
Substep 0 has twelve uniforms u of the image's own:

    0, 1: t = shift · (2u − 1),  2: θ = rotation · (2u − 1),  4, 5: a = scale · (2u − 1),  y before x each
    8, 9: the rectangle's height and width, ⌊u · (erase + 1)⌋,  10, 11: its top and left edge, ⌊u · places⌋

substep 1 the field U = 2u − 1 (y before x; row by row) and substep 2 the noise, each with as many elements a row as
make whole blocks.

Everywhere: n images, d = channels · height · width; X (n, d) float; shape = (channels, height, width), (d, 1, 1) for
vectors, which can only have noise; options an `Augmentation`; key (2,) uint32; stream, step ints; rows (n,) ints.
"""

from typing import NamedTuple

import numpy as np

from . import philox

ZEROS, REPLICATED = range(2)
BORDERS = {"zeros": ZEROS, "replicated": REPLICATED}
NUMBERS = 12  # of an image in substep 0


class Augmentation(NamedTuple):
    """How strong the changes are; 0 leaves one out."""

    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    elastic: float = 0.0
    smoothing: float = 0.0
    noise: float = 0.0
    erase: int = 0
    border: int = ZEROS


def augment(X, shape, options, key, stream, step, rows):
    """Changed images; returns (n, d) of X's dtype.

    Cost: of the field half a block of random numbers and 4 (h + w) flops a pixel; 16 flops a pixel and channel
    """
    (c, h, w), draw = shape, (key, stream, step)
    images = X.reshape(-1, c, h, w)
    u = philox.uniform(*draw, 0, rows, NUMBERS, np.float64)
    # 1. move
    if options.shift or options.rotation or options.scale or options.elastic:
        places = affine_places(u, h, w, options)
        if options.elastic:
            places = places + displacement(X.dtype, h, w, options, *draw, rows).astype(np.float64)
        images = warp(images, places.astype(X.dtype), options.border)
    # 2. noise
    if options.noise:
        Z = philox.normal(*draw, 2, rows, _whole(c * h * w, 2), X.dtype)[:, : c * h * w]
        images = images + X.dtype.type(options.noise) * Z.reshape(images.shape)
    # 3. erase
    if options.erase:
        images = np.where(erased(u, h, w, options.erase)[:, None], X.dtype.type(0), images)
    return np.array(images).reshape(X.shape)


def affine_places(u, h, w, options):
    """c + diag(e^a) R(θ) (q − c) + t for every pixel, (n, 2, h, w) float64, y before x."""
    signed = 2 * u - 1
    t, angle, a = options.shift * signed[:, 0:2], np.deg2rad(options.rotation) * signed[:, 2], signed[:, 4:6]
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1)
    M = np.exp(options.scale * a)[:, :, None] * rotation
    y, x = np.arange(h) - (h - 1) / 2, np.arange(w) - (w - 1) / 2
    M, t = M[:, :, :, None, None], t[:, :, None, None]
    centre = np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
    return (M[:, :, 0] * y[:, None] + M[:, :, 1] * x) + (centre + t)


def displacement(dtype, h, w, options, key, stream, step, rows):
    """α (g_σ ∗ U), zeros around the field U; (n, 2, h, w) of ``dtype``, y before x."""
    # 1. draw
    u = philox.uniform(key, stream, step, 1, rows, _whole(2 * h * w, 4), dtype)[:, : 2 * h * w]
    U = (2 * u - 1).reshape(-1, 2, h, w)
    # 2. smooth along both axes
    down, across = (gaussian(length, options.smoothing).astype(dtype) for length in (h, w))
    return dtype.type(options.elastic) * (down @ U @ across.T)


def gaussian(length, sigma):
    """The matrix (length, length) float64 that convolves a line with a Gaussian: entries g(a − b) / Σ g.

    The sum is over all places up to 4σ away, of which those outside the line count as 0.
    """
    reach = int(4 * sigma + 0.5)
    if reach == 0:
        return np.eye(length)
    g = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    apart = np.subtract.outer(np.arange(length), np.arange(length))
    return np.where(np.abs(apart) <= reach, (g / g.sum())[np.clip(apart, -reach, reach) + reach], 0)


def warp(images, places, border):
    """The values of images at places, by bilinear interpolation.

    images : (n, c, h, w); places : (n, 2, h, w), y before x; returns (n, c, h, w)
    """
    _, c, h, w = images.shape
    own = np.arange(len(images))[:, None, None, None], np.arange(c)[:, None, None]
    # 1. whole pixels and what is left over; from one pixel outside on, nothing changes any more
    (y0, fy), (x0, fx) = (_split(places[:, axis, None], border, length) for axis, length in ((0, h), (1, w)))

    def pixel(y, x):
        values = images[(*own, np.clip(y, 0, h - 1), np.clip(x, 0, w - 1))]
        if border == REPLICATED:
            return values
        return np.where((y >= 0) & (y < h) & (x >= 0) & (x < w), values, images.dtype.type(0))

    # 2. mean of four pixels
    above = (1 - fx) * pixel(y0, x0) + fx * pixel(y0, x0 + 1)
    below = (1 - fx) * pixel(y0 + 1, x0) + fx * pixel(y0 + 1, x0 + 1)
    return (1 - fy) * above + fy * below


def erased(u, h, w, erase):
    """Which pixels lie in an image's rectangle, (n, h, w) bool."""

    def inside(size, place, length):
        extent = np.floor(u[:, size] * (min(erase, length) + 1))
        first = np.floor(u[:, place] * (length - extent + 1))
        at = np.arange(length) - first[:, None]
        return (at >= 0) & (at < extent[:, None])

    return inside(8, 10, h)[:, :, None] & inside(9, 11, w)[:, None, :]


def _split(places, border, length):
    """(⌊p⌋ int64, p − ⌊p⌋) of places, those far outside moved next to the border."""
    p = np.clip(places, 0, length - 1) if border == REPLICATED else np.clip(places, -1, length)
    whole = np.floor(p)
    return whole.astype(np.int64), p - whole


def _whole(count, of):
    """The next multiple of ``of``."""
    return -(-count // of) * of
