"""Convolutions of stride 1 with a third of the multiplications: Winograd's minimal filtering of tiles, 6 pixels a side.

Source: Lavin, Gray, *Fast algorithms for convolutional neural networks* (2016); the matrices are those of ``tiles.py``.
Of an input tile d, 6 × 6 pixels of c channels, and a kernel w of r × r come m × m outputs, m = 7 − r, by 36 products of
channels instead of m² r²:

    V = Bᵀ d B,    U = G w Gᵀ,    M_ij = V_ij U_ij for each of 36 places (i, j),    y = Aᵀ M A

Tiles overlap by r − 1 pixels. All of this is linear in d and in w, and the way back is the same from the end:

    dM = A dy Aᵀ,    dU_ij = Σ V_ijᵀ dM_ij over tiles,    dV_ij = dM_ij U_ijᵀ,    dd = B dV Bᵀ,    dw = Gᵀ dU G

where gradients of pixels add up from all tiles that these are in. A transposed convolution is y → dd.

Gain: an epoch of DDC is 1.57 times as fast ("winograd" in bench/results/ladder_vae.csv).

Some images, or a strip of one, are worked on at a time, so that all V and M stay in the second-level cache. They are
laid out as pixels × channels, and of a line of pixels first 0, m, 2m, …, then 1, m + 1, …: so pixel k of every tile in
a row of tiles is one line of numbers, for all channels, and transforms are loops over these.
Images are rows (n, features); arrays are flat, of one float dtype.
"""

from typing import NamedTuple

import numpy as np

from .._engine.jit import jit
from .gemm import SMALL, gemm
from .layout import (
    Layout,
    Strip,
    collect,
    input_tiles,
    input_tiles_back,
    lay_out,
    number_of,
    output_tiles,
    output_tiles_back,
    size_of,
)
from .rows import zeros
from .tiles import SIDE, weight_matrix

PLACES = SIDE * SIDE
LEAST = 16  # channels on both sides, below which products are too thin
TILES = 64  # at a time, at most


def suits(geometry, m):
    """Whether a convolution goes this way, or a transposed one to whose way back that belongs.

    geometry : see ``columns.plan``; m : channels of the convolution's output
    """
    c, _, _, _, _, kh, kw, stride, _ = geometry
    return stride == 1 and kh == kw and 3 <= kh <= 5 and min(c, m) >= LEAST


def pack(weight, geometry, turned):
    """U = G w Gᵀ of weights (o, c, r, r): (36, c, o) flat, or (36, o, c) where ``turned``."""
    o, c, r, _ = weight.shape
    pairs = np.kron(weight_matrix(r), weight_matrix(r)).astype(weight.dtype)
    order = (2, 3, 0, 1) if turned else (2, 3, 1, 0)
    return (pairs @ weight.transpose(order).reshape(r * r, o * c)).reshape(-1)


def share(geometry, m):
    """Numbers of the gradient dU, what a task adds to: (36, c, o) flat."""
    return PLACES * geometry[0] * m


def unpack(gradient, geometry):
    """Gᵀ dU G, the gradient of weights (o, c, r, r), as a view."""
    c, r = geometry[0], geometry[5]
    pairs = np.kron(weight_matrix(r), weight_matrix(r)).astype(gradient.dtype)
    return (pairs.T @ gradient.reshape(PLACES, -1)).reshape(r, r, c, -1).transpose(3, 2, 0, 1)


class Tiling(NamedTuple):
    """How images are cut: tiles of an image, rows of tiles at a time, images at a time."""

    down: int
    across: int
    strip: int
    group: int


@jit
def _tiling(geometry, o):
    """(tiling, layout of the input, layout of the output)."""
    c, _, _, height, width, r, _, _, padding = geometry
    m = SIDE + 1 - r
    down, across = (height + m - 1) // m, (width + m - 1) // m
    most = max(across, min(TILES, SMALL // (c * o)))
    strips = (down * across + most - 1) // most
    tiling = Tiling(down, across, (down + strips - 1) // strips, max(1, most // (down * across)))
    inputs = Layout(m, across + (SIDE - 1) // m, (down - 1) * m + SIDE, c, padding)
    return tiling, inputs, Layout(m, across, down * m, o, 0)


@jit
def _products(tiles, terms, columns, A, weights, out):
    """A (36, tiles, terms) times weights (36, terms, columns)."""
    for j in range(PLACES):
        own, W, to = A[j * tiles * terms :], weights[j * terms * columns :], out[j * tiles * columns :]
        gemm(bool(0), bool(0), tiles, columns, terms, own, terms, W, columns, bool(0), to, columns)


@jit
def _add_weights(tiles, c, o, V, M, gradient):
    """Gradient (36, c, o) + Vᵀ M, in place."""
    for j in range(PLACES):
        own, above, dU = V[j * tiles * c :], M[j * tiles * o :], gradient[j * c * o :]
        gemm(bool(1), bool(0), c, o, tiles, own, c, above, o, bool(1), dU, o)


@jit
def convolve(X, weights, bias, activation, geometry, transposed, Y):
    """Y ← act(conv(X) + b), or act(convᵀ(X) + b). X, Y : rows; weights : of ``pack``, turned where transposed"""
    c, h, w, height, width = geometry[:5]
    o = (X if transposed else Y).shape[1] // (height * width)
    tiling, inputs, outputs = _tiling(geometry, o)
    below, above = zeros(tiling.group * size_of(inputs), X), zeros(tiling.group * size_of(outputs), X)
    most = PLACES * tiling.group * tiling.strip * tiling.across
    V, M = np.empty(most * c, X.dtype), np.empty(most * o, X.dtype)
    for begin in range(0, len(X), tiling.group):
        own, out = X[begin : begin + tiling.group], Y[begin : begin + tiling.group]
        if transposed:
            below[:] = 0
            lay_out(own, height, width, outputs, above)
        else:
            lay_out(own, h, w, inputs, below)
        for first in range(0, tiling.down, tiling.strip):
            strip = Strip(len(own), first, min(tiling.strip, tiling.down - first), tiling.across)
            tiles = number_of(strip)
            if transposed:
                output_tiles_back(above, outputs, strip, M)
                _products(tiles, o, c, M, weights, V)
                input_tiles_back(V, strip, inputs, below)
            else:
                input_tiles(below, inputs, strip, V)
                _products(tiles, c, o, V, weights, M)
                output_tiles(M, strip, outputs, above)
        if transposed:
            collect(below, h, w, inputs, out)
        else:
            collect(above, height, width, outputs, out)
        for i in range(len(out)):
            finish(out[i], c if transposed else o, bias, activation)


@jit
def convolve_back(G, X, Y, weights, activation, geometry, transposed, dW, db, dX):
    """Gradients of ``convolve``: adds to dW (see ``share``) and db; fills dX unless that has no rows.

    weights : of ``pack``, turned where not transposed
    """
    c, h, w, height, width = geometry[:5]
    o = (X if transposed else Y).shape[1] // (height * width)
    tiling, inputs, outputs = _tiling(geometry, o)
    below, above = zeros(tiling.group * size_of(inputs), X), zeros(tiling.group * size_of(outputs), X)
    back = zeros(len(above if transposed else below), X)
    most = PLACES * tiling.group * tiling.strip * tiling.across
    V, M = np.empty(most * c, X.dtype), np.empty(most * o, X.dtype)
    through_activation = np.empty((tiling.group, G.shape[1]), G.dtype)
    for begin in range(0, len(X), tiling.group):
        images = min(tiling.group, len(X) - begin)
        for i in range(images):
            through(G[begin + i], Y[begin + i], c if transposed else o, activation, through_activation[i], db)
        lay_out(through_activation[:images] if transposed else X[begin : begin + images], h, w, inputs, below)
        lay_out(X[begin : begin + images] if transposed else through_activation[:images], height, width, outputs, above)
        back[:] = 0
        for first in range(0, tiling.down, tiling.strip):
            strip = Strip(images, first, min(tiling.strip, tiling.down - first), tiling.across)
            tiles = number_of(strip)
            input_tiles(below, inputs, strip, V)
            output_tiles_back(above, outputs, strip, M)
            _add_weights(tiles, c, o, V, M, dW)
            if not len(dX):
                continue
            if transposed:
                _products(tiles, c, o, V, weights, M)
                output_tiles(M, strip, outputs, back)
            else:
                _products(tiles, o, c, M, weights, V)
                input_tiles_back(V, strip, inputs, back)
        if len(dX):
            if transposed:
                collect(back, height, width, outputs, dX[begin : begin + images])
            else:
                collect(back, h, w, inputs, dX[begin : begin + images])
