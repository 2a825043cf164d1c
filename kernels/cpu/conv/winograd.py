"""Convolutions with fewer multiplications: Winograd's minimal filtering of tiles, for strides 1 and 2.

Source: Lavin, Gray, *Fast algorithms for convolutional neural networks* (2016); the matrices are those of ``tiles.py``.
Of an input tile d, n × n pixels of c channels, and a kernel w of r × r come m × m outputs, n = s (m − 1) + r, by n²
products of channels instead of m² r²:

    V = Bᵀ d B,    U = G w Gᵀ,    M_ij = V_ij U_ij for each of n² places (i, j),    y = Aᵀ M A

Tiles overlap by r − s pixels. All of this is linear in d and in w, and the way back is the same from the end:

    dM = A dy Aᵀ,    dU_ij = Σ V_ijᵀ dM_ij over tiles,    dV_ij = dM_ij U_ijᵀ,    dd = B dV Bᵀ,    dw = Gᵀ dU G

where gradients of pixels add up from all tiles that these are in. A transposed convolution is y → dd. So there is one
function, ``work``, from the images of one side to those of the other.

n is 6 for stride 1. For stride 2 m is 2: larger tiles save more, but their U no longer fit into the cache.

Gain: an epoch of DDC is 1.4 to 1.55 times as fast, of a convolutional TVAE 1.13 to 1.23 times ("winograd" and
"winograd, stride 2" in bench/results/ladder_vae.csv).

Some images, or a strip of one, are worked on at a time, so that all V and M stay in the second-level cache; how they
lie is said in ``layout.py``. Images are rows (n, features); arrays are flat, of one float dtype.
"""

import threading
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .._engine.jit import jit
from .gemm import SMALL, gemm
from .layout import Side, Strip, Table, clear_images, lay_out, transform
from .lines import line
from .tasks import finish, through
from .tiles import matrices

LEAST = 16  # channels on both sides, below which products are too thin
LINE = 64  # bytes of a line of the cache: vectors that lie in two take twice as long
COLUMNS = 4096  # of products at most: larger ones are copied by BLAS first
TILES = 64  # at a time, at most


def suits(geometry, m):
    """Whether a convolution goes this way, or a transposed one to whose way back that belongs.

    geometry : see ``columns.plan``; m : channels of the convolution's output
    """
    c, _, _, _, _, kh, kw, stride, _ = geometry
    return stride <= 2 and kh == kw and 3 <= kh <= 5 and min(c, m) >= LEAST


class Packed(NamedTuple):
    """Weights, and how they are used: from the images of one side to those of the other.

    weights : U (places², c of source, c of target) flat; factors, table : of `Table`; kernel : the side whose P is G
    and whose only tile, with a channel for every weight, these are
    down : rows of tiles; strip : those at a time, of so many images at a time; turned : from the output to the input
    parts, sizes : where parts of a room begin, and their sizes
    """

    weights: np.ndarray
    factors: np.ndarray
    table: np.ndarray
    source: Side
    target: Side
    kernel: Side
    down: int
    strip: Strip
    turned: bool
    parts: np.ndarray
    sizes: np.ndarray


def outputs_of(geometry):
    """Pixels of a tile's output, along one side."""
    return 7 - geometry[5] if geometry[7] == 1 else 2


def pack(weight, geometry, turned):
    """``Packed`` of weights (o, c, r, r)."""
    o, c, r, _ = weight.shape
    pairs, plan = _plan(geometry, o, turned, weight.dtype)
    taps = np.ascontiguousarray(weight.transpose((2, 3, 0, 1) if turned else (2, 3, 1, 0))).reshape(r * r, o * c)
    U = np.empty((len(pairs), o * c), weight.dtype)
    for first in range(0, o * c, COLUMNS):
        part = slice(first, first + COLUMNS)
        np.matmul(pairs, taps[:, part], out=U[:, part])
    return Packed(U.reshape(-1), *plan)


@lru_cache
def _plan(geometry, o, turned, dtype):
    """(G ⊗ G, what ``Packed`` has but for the weights)."""
    c, h, w, height, width, r, _, stride, padding = geometry
    m = outputs_of(geometry)
    B, A, G = matrices(m, r, stride)
    places, step, down, across = len(B), stride * m, -(-height // m), -(-width // m)
    most = max(across, min(TILES, SMALL // (c * o)))
    strips = -(-down * across // most)
    strip = Strip(0, -(-down // strips), across, max(1, most // (down * across)))
    table = Table()
    below = table.side(B, step, across, (down - 1) * step + places, (c, h, w), padding)
    above = table.side(A, m, across, down * m, (o, height, width), 0)
    kernel = table.side(G, r, 1, r, (c * o, r, r), 0)
    sides = (above, below) if turned else (below, above)
    known = np.array(table.factors, dtype), np.array(table.numbers, np.intp)
    return np.kron(G, G).astype(dtype), (*known, *sides, kernel, down, strip, turned, *_parts(*sides, kernel, strip))


def unpack(gradient, geometry):
    """The gradient of weights (o, c, r, r), as a view, from (r, r, c, o) flat."""
    c, r = geometry[0], geometry[5]
    return gradient.reshape(r, r, c, -1).transpose(3, 2, 0, 1)


def convolve(X, weights, bias, activation, geometry, transposed, Y):
    """Y ← act(conv(X) + b), or act(convᵀ(X) + b). X, Y : rows; weights : of ``pack``, turned where transposed"""
    none = Y[:0]
    work(X, none, Y, none.reshape(-1), weights, _room(weights, none)[0])
    finish(Y.reshape(-1), weights.target.h * weights.target.w, bias, activation)


def convolve_back(G, X, Y, weights, activation, geometry, transposed, dW, db, dX):
    """Gradients of ``convolve``: fills dW (flat, see ``unpack``), and dX unless that has no rows; adds to db.

    weights : of ``pack``, turned where not transposed
    """
    room, own = _room(weights, G)
    planes = G.reshape(-1), Y.reshape(-1), weights.source.h * weights.source.w
    through(*planes, activation, own.reshape(-1), db)
    work(own, X, dX, dW, weights, room)


_kept = threading.local()  # room : of a thread; fresh memory takes as long as what is done there


def _parts(source, target, kernel, strip):
    """(where the parts of a room begin, their sizes), see ``work``."""

    def numbers(side, strip):
        """Numbers of (images laid out, what is between transforms, tiles)."""
        line = side.pixels * strip.images * side.c
        return (
            side.lines * line,
            side.places * line,
            side.places**2 * strip.count * strip.across * strip.images * side.c,
        )

    near, far, own = numbers(source, strip), numbers(target, strip), numbers(kernel, Strip(0, 1, 1, 1))
    parts = near[0], far[0], max(near[1], far[1], own[1]), near[2], far[2], far[0], own[2]
    sizes = np.array([-(-part // LINE) * LINE for part in parts])
    return np.cumsum(sizes) - sizes, sizes


def _room(packed, rows):
    """(the calling thread's room for ``work``, flat, room for such rows)."""
    shared = packed.parts[-1] + packed.sizes[-1]
    need = (shared + rows.size) * rows.itemsize
    room = getattr(_kept, "room", None)
    if room is None or len(room) < need:
        room = np.empty(need + LINE, np.uint8)
        room = _kept.room = room[-room.ctypes.data % LINE :][:need]
    room = room[:need].view(rows.dtype)
    return room[:shared], room[shared:].reshape(rows.shape)


@jit
def _products(tiles, places, terms, columns, A, weights, out):
    """A (places², tiles, terms) times weights (places², terms, columns)."""
    for j in range(places * places):
        own, to = line(A, j * tiles * terms, tiles * terms), line(out, j * tiles * columns, tiles * columns)
        W = line(weights, j * terms * columns, terms * columns)
        gemm(bool(0), bool(0), tiles, columns, terms, own, terms, W, columns, bool(0), to, columns)


@jit
def _weight_products(tiles, places, c, o, V, M, more, dU):
    """DU (places², c, o) ← Vᵀ M, or dU + Vᵀ M if ``more``."""
    for j in range(places * places):
        own, above = line(V, j * tiles * c, tiles * c), line(M, j * tiles * o, tiles * o)
        to = line(dU, j * c * o, c * o)
        gemm(bool(1), bool(0), c, o, tiles, own, c, above, o, more, to, o)


@jit
def work(X, Z, Y, gradient, packed, room):
    """Y, images of the target, ← the convolution of X, images of the source, unless there is no Y.

    The gradient of the weights, if there is one, ← that of Σ conv(X) ∘ Z, Z images of the target.
    """
    weights, factors, table, source, target, kernel, down, whole, turned, parts, sizes = packed
    laid, out, between = line(room, parts[0], sizes[0]), line(room, parts[1], sizes[1]), line(room, parts[2], sizes[2])
    tiles, products = line(room, parts[3], sizes[3]), line(room, parts[4], sizes[4])
    other, dU = line(room, parts[5], sizes[5]), line(room, parts[6], sizes[6])
    back, there, more = len(gradient) > 0, bool(1), bool(0)
    images = 0
    for begin in range(0, len(X), whole.images):
        before, images = images, min(whole.images, len(X) - begin)
        if images != before:
            clear_images(source, images, laid)
        lay_out(X[begin : begin + images], source, table, laid, there)
        if back:
            if images != before:
                clear_images(target, images, other)
            lay_out(Z[begin : begin + images], target, table, other, there)
        if target.taps > target.step:
            clear_images(target, images, out)
        for first in range(0, down, whole.count):
            strip = Strip(first, min(whole.count, down - first), whole.across, images)
            count = strip.count * strip.across * images
            transform(factors, table, source, strip, laid, between, tiles, there)
            if back:
                transform(factors, table, target, strip, other, between, products, there)
                if turned:
                    _weight_products(count, kernel.places, target.c, source.c, products, tiles, more, dU)
                else:
                    _weight_products(count, kernel.places, source.c, target.c, tiles, products, more, dU)
                more = there
            if len(Y):
                _products(count, kernel.places, source.c, target.c, tiles, weights, products)
                transform(factors, table, target, strip, out, between, products, not there)
        if len(Y):
            lay_out(Y[begin : begin + images], target, table, out, not there)
    if back and len(X):
        transform(factors, table, kernel, Strip(0, 1, 1, 1), gradient, between, dU, not there)
