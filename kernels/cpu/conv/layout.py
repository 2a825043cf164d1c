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
from .lines import clear, line, weighted_sums, zeros
from .transpose import transpose


class Side(NamedTuple):
    """One side of a convolution: its images, c channels of h × w, and ``lines`` lines of pixels that tiles cover.

    pixels : of a line as it lies; padding : pixels before the image
    phases : where in a table (x, place, count) of every phase's pixels in an image are
    sums : where sums are by P along columns and along lines, and by Pᵀ
    """

    places: int
    taps: int
    step: int
    lines: int
    c: int
    h: int
    w: int
    padding: int
    pixels: int
    phases: int
    sums: tuple


class Strip(NamedTuple):
    """Rows of tiles first … first + count − 1, how many tiles a row has, and how many images there are."""

    first: int
    count: int
    across: int
    images: int


class Table:
    """What is known of sides before any image is, in two flat arrays for compiled code.

    numbers : where sums have their factors, how many they are, where each one's factors end, its output, the factors'
    inputs, see ``weighted_sums``; factors : those of all sums that are not 0
    """

    def __init__(self):
        self.numbers, self.factors = [], []

    def side(self, P, step, across, lines, image, padding):
        """A `Side`. P : (places, taps); across : tiles of a row; image : (c, h, w)"""
        (places, taps), (_, _, w) = P.shape, image
        sizes = [across + (taps - 1 - phase) // step for phase in range(step)]  # of phases in a line
        begins, taps_along, phases = np.cumsum([0, *sizes]), np.arange(taps), len(self.numbers)
        taps_along = begins[taps_along % step] + taps_along // step
        for phase in range(step):
            x = (phase - padding) % step
            skip = (x + padding) // step
            self.numbers += [x, begins[phase] + skip, min((w - x + step - 1) // step, sizes[phase] - skip)]
        order = np.arange(places)
        pairs = [(P, tap, order) for tap in (np.arange(taps), taps_along)]
        sums = [self._sums(*pair) for pair in pairs] + [self._sums(P.T, order, tap) for _, tap, _ in pairs]
        return Side(places, taps, step, lines, *image, padding, int(begins[-1]), phases, tuple(sums))

    def _sums(self, matrix, inputs, outputs):
        """Where the sums of a matrix's rows are; inputs, outputs : places of lines, in units that are said later"""
        at, (rows, columns) = len(self.numbers), np.nonzero(matrix)
        ends = np.searchsorted(rows, np.arange(len(matrix)), side="right")
        self.numbers += [len(self.factors), len(matrix), *ends, *outputs, *inputs[columns]]
        self.factors += matrix[rows, columns].tolist()
        return at


@jit
def clear_images(side, images, laid):
    """Laid ← 0."""
    clear(line(laid, 0, side.lines * side.pixels * images * side.c))


@jit
def lay_out(images, side, table, laid, there):
    """Laid, cleared before, ← images ``there``, else images ← laid, 0 where no tile is."""
    c, w, step, pixels = side.c, side.w, side.step, zeros(images.shape[1], images)
    block, n = c * len(images), min(side.h, side.lines - side.padding)
    source, target = (pixels, laid) if there else (laid, pixels)
    wide, own = (side.pixels * block, block), (w * c, step * c)
    steps = (*own, *wide) if there else (*wide, *own)
    for i in range(len(images)):
        if there:
            transpose(images[i], c, pixels)
        for phase in range(side.phases, side.phases + 3 * step, 3):
            at, to = table[phase] * c, (side.padding * side.pixels + table[phase + 1]) * block + i * c
            at, to = (at, to) if there else (to, at)
            move(source, at, target, to, n, table[phase + 2], c, steps, bool(1))
        if not there:
            transpose(pixels, side.h * w, images[i])


@jit
def transform(factors, table, side, strip, laid, between, tiles, there):
    """Tiles ← P d Pᵀ of pixels d ``there``, else pixels ← Pᵀ V P of tiles' numbers V, d + Pᵀ V P where tiles overlap.

    between : room for a row of tiles between the transforms along columns and along lines
    """
    places, (first, count, across, images) = side.places, strip
    block = images * side.c
    length, n, more = side.pixels * block, across * block, not there and side.taps > side.step
    down, along = (side.sums[0], side.sums[1]) if there else (side.sums[2], side.sums[3])
    source, target = (between, tiles) if there else (tiles, between)
    units = (block, count * n) if there else (count * n, block)
    for t in range(count):
        at, zero = (first + t) * side.step * length, t - t
        if there:
            _sums(factors, table, down, (length, length), laid, at, between, zero, length, more)
        elif more:
            clear(line(between, 0, places * length))
        for k in range(places):
            near, far = k * length, (k * places * count + t) * n
            near, far = (near, far) if there else (far, near)
            _sums(factors, table, along, units, source, near, target, far, n, more)
        if not there:
            _sums(factors, table, down, (length, length), between, zero, laid, at, length, more)


@jit
def _sums(factors, table, sums, units, x, at, y, to, n, more):
    weighted_sums(factors, table, sums, units, x, at, y, to, n, more)
