"""Images as pixels × channels, and the transforms of tiles of them with the matrices of ``tiles.py``.

A convolution has two sides, the images that it reads and those that it writes, and all that happens to tiles is one
matrix P of a side, along columns and along lines: tiles' numbers P d Pᵀ of pixels d (Bᵀ of the input, A of the output),
and back, Pᵀ V P, added up where tiles overlap. A tile begins ``step`` pixels after the one before, and has ``taps``.

Of a line of pixels first 0, step, 2 step, … lie one after the other, of some images in turn, then 1, step + 1, …:
so pixel k of every tile in a row of tiles, in all these images and channels, is one line of numbers, and transforms are
sums of such lines, which stay in the first-level cache. Tiles' numbers are (places, places, tiles, c). All arrays are
flat, but for images (n, features).
"""

from typing import NamedTuple

import numpy as np

from .._engine.jit import jit
from .columns import move
from .lines import weighted_sums
from .rows import zeros
from .transpose import transpose


class Side(NamedTuple):
    """One side of a convolution: its images, c channels of h × w, and ``lines`` lines of pixels that tiles cover.

    matrix : where P (places, taps) begins among the matrices; padding : pixels before the image
    """

    matrix: int
    places: int
    taps: int
    step: int
    lines: int
    c: int
    h: int
    w: int
    padding: int


class Strip(NamedTuple):
    """Rows of tiles first … first + count − 1, how many tiles a row has, and how many images there are."""

    first: int
    count: int
    across: int
    images: int


@jit
def pixels_of(side, across):
    """Of a line."""
    return side.step * across + side.taps - side.step


@jit
def _place(pixel, step, across, taps):
    """Where a tile's pixel lies in a line, of the first tile."""
    place = pixel // step
    for phase in range(pixel % step):
        place += across + (taps - 1 - phase) // step
    return place


@jit
def clear(side, strip, laid):
    """Laid ← 0."""
    for l in range(side.lines * pixels_of(side, strip.across) * strip.images * side.c):
        laid[l] = 0


@jit
def lay_out(images, side, across, laid, there):
    """Laid, cleared before, ← images ``there``, else images ← laid, 0 where no tile is."""
    _, _, taps, step, lines, c, h, w, padding = side
    pixels, block, n = zeros(images.shape[1], images), c * len(images), min(h, lines - padding)
    source, target = (pixels, laid) if there else (laid, pixels)
    wide, own = (pixels_of(side, across) * block, block), (w * c, step * c)
    steps = (*own, *wide) if there else (*wide, *own)
    for i in range(len(images)):
        if there:
            transpose(images[i], c, pixels)
        for phase in range(step):
            x = (phase - padding) % step
            skip = (x + padding) // step
            count = min((w - x + step - 1) // step, across + (taps - 1 - phase) // step - skip)
            at, to = (
                x * c,
                (padding * pixels_of(side, across) + _place(phase, step, across, taps) + skip) * block + i * c,
            )
            at, to = (at, to) if there else (to, at)
            move(source, at, target, to, n, count, c, steps, bool(1))
        if not there:
            transpose(pixels, h * w, images[i])


@jit
def transform(matrices, side, strip, laid, between, tiles, there):
    """Tiles ← P d Pᵀ of pixels d ``there``, else pixels ← Pᵀ V P of tiles' numbers V, d + Pᵀ V P where tiles overlap.

    between : room for a row of tiles between the transforms along columns and along lines
    """
    taps, step, places, (first, count, across, images) = side.taps, side.step, side.places, strip
    block = images * side.c
    length, n, more = pixels_of(side, across) * block, across * block, not there and taps > step
    factors, zero, one = np.empty(places * taps, laid.dtype), images - images, images // images
    down = _terms(matrices, side, there, taps, one, length, length, factors)
    along = _terms(matrices, side, there, step, across, block, count * n, factors)
    source, target = (between, tiles) if there else (tiles, between)
    for t in range(count):
        at = (first + t) * step * length
        if there:
            _sums(factors, down, laid, at, between, zero, length, more)
        elif more:
            for l in range(places * length):
                between[l] = 0
        for k in range(places):
            near, far = k * length, (k * places * count + t) * n
            near, far = (near, far) if there else (far, near)
            _sums(factors, along, source, near, target, far, n, more)
        if not there:
            _sums(factors, down, between, zero, laid, at, length, more)


@jit
def _sums(factors, terms, x, at, y, to, n, more):
    weighted_sums(factors, terms, x, at, y, to, n, more)


@jit
def _terms(matrices, side, there, step, across, pixel, apart, factors):
    """Terms for ``weighted_sums`` with P ``there``, else with Pᵀ, whose factors that are not 0 it fills in.

    pixel, apart : numbers of a pixel, and from place to place; step, across : see ``_place``
    """
    rows, columns = (side.places, side.taps) if there else (side.taps, side.places)
    inputs, ends, outputs = np.empty(rows * columns, np.intp), np.empty(rows, np.intp), np.empty(rows, np.intp)
    terms = 0
    for i in range(rows):
        for j in range(columns):
            place, tap = (i, j) if there else (j, i)
            factor = matrices[side.matrix + place * side.taps + tap]
            at, to = pixel * _place(tap, step, across, side.taps), apart * place
            outputs[i] = to if there else at
            if factor != 0:
                factors[terms], inputs[terms] = factor, at if there else to
                terms += 1
        ends[i] = terms
    return inputs, ends, outputs
