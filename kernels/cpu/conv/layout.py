"""Images as pixels × channels, and the transforms of ``tiles.py`` on their rows of tiles.

Of a line of pixels first 0, m, 2m, … lie one after the other, then 1, m + 1, …: so pixel k of every tile in a row of
tiles, in all channels, is one line of numbers. Tiles' numbers V are (36, tiles, c): place (i, j) of a tile, those of
rows of tiles one after the other. All arrays are flat, but for images (n, features).
"""

from typing import NamedTuple

import numpy as np

from .._engine.jit import jit
from .columns import add, move
from .lines import line
from .tiles import SIDE, times_a, times_at, times_b, times_bt
from .transpose import transpose


class Layout(NamedTuple):
    """How an image lies: ``lines`` lines of m phases of ``pitch`` pixels of c channels, ``padding`` on every side.

    What is no pixel of the image is 0 and stays so.
    """

    m: int
    pitch: int
    lines: int
    c: int
    padding: int


class Strip(NamedTuple):
    """Rows of tiles first … first + count − 1 of every image, and how many tiles a row has."""

    images: int
    first: int
    count: int
    across: int


@jit
def size_of(layout):
    """Numbers of an image."""
    return layout.lines * layout.m * layout.pitch * layout.c


@jit
def number_of(strip):
    """Of tiles."""
    return strip.images * strip.count * strip.across


@jit
def lay_out(images, h, w, layout, out):
    """Out ← images (n, c h w) as ``layout`` says."""
    pixels, size = np.empty(images.shape[1], images.dtype), size_of(layout)
    for i in range(len(images)):
        transpose(images[i], layout.c, pixels)
        for phase in range(layout.m):
            at, to, count, step, pitch = _places_of_phase(phase, w, layout)
            steps = step, layout.m * layout.c, pitch, layout.c
            move(pixels, at, out, i * size + to, h, count, layout.c, steps, bool(1))


@jit
def collect(laid, h, w, layout, images):
    """The way back of ``lay_out``."""
    pixels, size = np.empty(images.shape[1], images.dtype), size_of(layout)
    for i in range(len(images)):
        for phase in range(layout.m):
            to, at, count, step, pitch = _places_of_phase(phase, w, layout)
            steps = pitch, layout.c, step, layout.m * layout.c
            move(laid, i * size + at, pixels, to, h, count, layout.c, steps, bool(1))
        transpose(pixels, h * w, images[i])


@jit
def _places_of_phase(phase, w, layout):
    """(first place in pixels, first place as laid out, pixels of a line, from line to line in both) of a phase."""
    m, pitch, _, c, padding = layout
    x, wide = (phase - padding) % m, m * pitch * c
    to = padding * wide + (phase * pitch + (x + padding) // m) * c
    return x * c, to, max(0, (w - x + m - 1) // m), w * c, wide


@jit
def _places_of_tiles(layout, strip, i, t):
    """(first place as laid out, first place among the tiles' numbers) of the strip's row of tiles t in image i."""
    m, pitch, _, c, _ = layout
    return i * size_of(layout) + (strip.first + t) * m * m * pitch * c, (i * strip.count + t) * strip.across * c


@jit
def input_tiles(laid, layout, strip, V):
    """V ← Bᵀ d B of all tiles."""
    m, pitch, _, c, _ = layout
    length, n = m * pitch * c, strip.across * c
    lines, step = np.empty(SIDE * length, V.dtype), number_of(strip) * c
    for i in range(strip.images):
        for t in range(strip.count):
            start, at = _places_of_tiles(layout, strip, i, t)
            times_bt(*_six(laid, _steps(start, length), length), *_six(lines, _steps(0, length), length))
            for k in range(SIDE):
                pixels = _six(lines, _pixels(layout, k * length), n)
                times_bt(*pixels, *_six(V, _steps(SIDE * k * step + at, step), n))


@jit
def input_tiles_back(V, strip, layout, laid):
    """D + B V Bᵀ of all tiles, in place."""
    m, pitch, _, c, _ = layout
    length, n = m * pitch * c, strip.across * c
    lines, part = np.empty(SIDE * length, V.dtype), np.empty(SIDE * length, V.dtype)
    step = number_of(strip) * c
    for i in range(strip.images):
        for t in range(strip.count):
            start, at = _places_of_tiles(layout, strip, i, t)
            for l in range(len(lines)):
                lines[l] = 0
            for k in range(SIDE):
                times_b(*_six(V, _steps(SIDE * k * step + at, step), n), *_six(part, _steps(0, n), n))
                for j, to in enumerate(_pixels(layout, k * length)):
                    add(line(part, j * n, n), line(lines, to, n))
            times_b(*_six(lines, _steps(0, length), length), *_six(part, _steps(0, length), length))
            add(part, line(laid, start, SIDE * length))


@jit
def output_tiles(M, strip, layout, laid):
    """Y ← Aᵀ M A of all tiles."""
    m, n = layout.m, strip.across * layout.c
    lines, step = np.empty(SIDE * m * n, M.dtype), number_of(strip) * layout.c
    for i in range(strip.images):
        for t in range(strip.count):
            start, at = _places_of_tiles(layout, strip, i, t)
            for k in range(SIDE):
                tiles = _six(M, _steps(SIDE * k * step + at, step), n)
                times_at(m, *tiles, *_outputs(lines, k * m * n, m, n))
            times_at(m, *_six(lines, _steps(0, m * n), m * n), *_outputs(laid, start, m, m * n))


@jit
def output_tiles_back(laid, layout, strip, M):
    """M ← A y Aᵀ of all tiles."""
    m, n = layout.m, strip.across * layout.c
    lines, step = np.empty(SIDE * m * n, M.dtype), number_of(strip) * layout.c
    for i in range(strip.images):
        for t in range(strip.count):
            start, at = _places_of_tiles(layout, strip, i, t)
            times_a(m, *_outputs(laid, start, m, m * n), *_six(lines, _steps(0, m * n), m * n))
            for k in range(SIDE):
                pixels = _outputs(lines, k * m * n, m, n)
                times_a(m, *pixels, *_six(M, _steps(SIDE * k * step + at, step), n))


@jit
def _steps(first, step):
    """Places of six lines, so far apart."""
    return first, first + step, first + 2 * step, first + 3 * step, first + 4 * step, first + 5 * step


@jit
def _pixels(layout, first):
    """Places of pixels 0 … 5 of a row's tiles in a line of pixels that begins at ``first``."""
    m, pitch, _, c, _ = layout
    one, two = first + (1 % m * pitch + 1 // m) * c, first + (2 % m * pitch + 2 // m) * c
    three, four = first + (3 % m * pitch + 3 // m) * c, first + (4 % m * pitch + 4 // m) * c
    return first, one, two, three, four, first + (5 % m * pitch + 5 // m) * c


@jit
def _six(x, places, n):
    """Six lines of n numbers."""
    a, b, c, d, e, f = places
    return line(x, a, n), line(x, b, n), line(x, c, n), line(x, d, n), line(x, e, n), line(x, f, n)


@jit
def _outputs(x, first, m, n):
    """Four lines of n numbers: m of them, and the last one again."""
    third, last = min(m - 1, 2) * n, (m - 1) * n
    return line(x, first, n), line(x, first + n, n), line(x, first + third, n), line(x, first + last, n)
