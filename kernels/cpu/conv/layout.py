"""Images as pixels × channels, and the transforms of tiles of them with the matrices of ``tiles.py``.

A convolution has two sides, the images that it reads and those that it writes, and all that happens to tiles is one
matrix P of a side, along lines and along columns: tiles' numbers P d Pᵀ of pixels d (Bᵀ of the input, A of the output),
and back, Pᵀ V P, added to the pixels. A tile begins ``step`` pixels after the one before, and takes ``taps`` of them.

Of a line of pixels first 0, step, 2 step, … lie one after the other, of all images in turn, then 1, step + 1, …: so
pixel k of every tile in a row of tiles, in all images and channels, is one line of numbers, and transforms are sums of
such lines. Tiles' numbers are (places, places, tiles, c). All arrays are flat, but for images (n, features).
"""

from typing import NamedTuple

import numpy as np

from .._engine.jit import jit
from .columns import move
from .lines import weighted_sums
from .rows import zeros
from .transpose import transpose


class Side(NamedTuple):
    """One side of a convolution: its images and how they lie, ``padding`` pixels from the first tile's corner.

    matrix : where P (places, taps) begins among the matrices; pitch, lines : pixels of a phase of a line, and lines
    """

    matrix: int
    places: int
    taps: int
    step: int
    pitch: int
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
def clear(side, images, laid):
    """Laid ← 0."""
    for l in range(side.lines * side.step * side.pitch * side.c * images):
        laid[l] = 0


@jit
def lay_out(images, side, laid, there):
    """Laid, cleared before, ← images ``there``, else images ← laid, 0 where no tile is."""
    _, _, _, step, pitch, lines, c, h, w, padding = side
    pixels, block, n = zeros(images.shape[1], images), c * len(images), min(h, lines - padding)
    source, target = (pixels, laid) if there else (laid, pixels)
    wide, own = (step * pitch * block, block), (w * c, step * c)
    steps = (*own, *wide) if there else (*wide, *own)
    for i in range(len(images)):
        if there:
            transpose(images[i], c, pixels)
        for phase in range(step):
            x = (phase - padding) % step
            place = phase * pitch + (x + padding) // step
            count = min((w - x + step - 1) // step, (phase + 1) * pitch - place)
            at, to = x * c, (padding * step * pitch + place) * block + i * c
            at, to = (at, to) if there else (to, at)
            move(source, at, target, to, n, count, c, steps, bool(1))
        if not there:
            transpose(pixels, h * w, images[i])


@jit
def lines_of(side, strip):
    """Lines of pixels that a strip's tiles take."""
    return (strip.count - 1) * side.step + side.taps


@jit
def transform(matrices, side, strip, laid, lines, tiles, there):
    """Tiles ← P d Pᵀ of pixels d ``there``, else pixels ← Pᵀ V P of tiles' numbers V, d + Pᵀ V P where tiles overlap.

    lines : room for what is between the transforms along lines and along columns, ``lines_of`` lines of all places
    Rows of tiles go one after the other, so that what is between them stays in the first-level cache.
    """
    block, wide = strip.images * side.c, side.places * strip.across * strip.images * side.c
    n, phase = strip.across * block, side.pitch * block
    factors = np.empty(side.places * side.taps, lines.dtype)
    along_lines = _terms(matrices, side, there, (side.step, phase, block, n), factors)
    along_columns = _terms(matrices, side, there, (side.taps, wide, n, strip.count * wide), factors)
    source, target = (lines, tiles) if there else (tiles, lines)
    before, after = (laid, lines) if there else (lines, laid)
    begin, more = strip.first * side.step, not there and side.taps > side.step
    if more:
        for l in range(lines_of(side, strip) * wide):
            lines[l] = 0
    done = 0
    for t in range(strip.count + 1):
        ready = t * side.step + (side.taps if there else 0) if t < strip.count else lines_of(side, strip)
        for y in range(done, ready):
            at, to = (begin + y) * side.step * phase, y * wide
            at, to = (at, to) if there else (to, at)
            weighted_sums(factors, along_lines, before, at, after, to, n, more)
        done = ready
        for k in range(side.places if t < strip.count else 0):
            at, to = t * side.step * wide + k * n, (k * strip.count + t) * n
            at, to = (at, to) if there else (to, at)
            weighted_sums(factors, along_columns, source, at, target, to, n, more)


@jit
def _terms(matrices, side, there, steps, factors):
    """Terms for ``weighted_sums`` with P ``there``, else with Pᵀ, whose factors that are not 0 it fills in.

    steps : (phases, near, far, apart), pixel j is at near (j mod phases) + far ⌊j / phases⌋, place i at apart i
    """
    (phases, near, far, apart), terms = steps, 0
    rows, columns = (side.places, side.taps) if there else (side.taps, side.places)
    inputs, ends, outputs = np.empty(rows * columns, np.intp), np.empty(rows, np.intp), np.empty(rows, np.intp)
    for i in range(rows):
        for j in range(columns):
            place, pixel = (i, j) if there else (j, i)
            factor = matrices[side.matrix + place * side.taps + pixel]
            at, to = near * (pixel % phases) + far * (pixel // phases), apart * place
            outputs[i] = to if there else at
            if factor != 0:
                factors[terms], inputs[terms] = factor, at if there else to
                terms += 1
        ends[i] = terms
    return inputs, ends, outputs
