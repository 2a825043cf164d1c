"""Traces from projections: P = VᵀV in tiles of columns, of all samples at a time; P is symmetric, half its tiles do.

A tile of all samples is a matrix (n, numbers), which stays in the cache: its products with itself add to tr(P_a P_b),
and C times it is the tile of B_a = Σ_b C_ab P_b of every sample. Its memory is used again for the next tile: to get new
pages from the system takes as long as a product.
"""

from itertools import pairwise

import numpy as np

from .._engine.jit import jit
from ..conv.gemm import gemm

_TILE = 100  # columns, at most: of 32 × 20 × 20 whole calls took 613 ms with 60, 629 with 100, no clear difference
_PARTS = 4  # of a mode's tiles, at most: each has sums of its own


def parts(V):
    """Tiles (first and last row, first and last column) that a task does, in lists."""
    m = V.shape[2]
    count = -(-m // _TILE)
    edges = [m * i // count for i in range(count + 1)]
    spans = list(pairwise(edges))
    tiles = [(*spans[i], *spans[j]) for i in range(count) for j in range(i, count)]
    return [tiles[part::_PARTS] for part in range(min(_PARTS, len(tiles)))]


def traces(V, tiles):
    """What tiles add to tr(P_a P_b), (n, n) float64."""
    n, space = len(V), _space(V, tiles)
    S, product = np.zeros((n, n)), np.empty((n, n), V.dtype)
    for tile in tiles:
        P = _tile(V, tile, space)
        np.matmul(P, P.T, out=product)
        S += product * product.dtype.type(1 if tile[0] == tile[2] else 2)
    return S


def times_b(V, C, tiles):
    """What tiles of B add to V B, (n, R, m)."""
    VB, space, other = np.zeros_like(V), _space(V, tiles), _space(V, tiles)
    for tile in tiles:
        P = _tile(V, tile, space)
        B = other[: P.size].reshape(P.shape)
        np.matmul(C, P, out=B)
        _multiply(V, B, *tile, VB)
    return VB


def terms(parts):
    """Arrays (n, R, m) whose sum V B is: one of every part."""
    return parts


def _size(tile):
    low, high, left, right = tile
    return (high - low) * (right - left)


def _space(V, tiles):
    """Memory for the largest of the tiles."""
    return np.empty(len(V) * max(map(_size, tiles)), V.dtype)


def _tile(V, tile, space):
    """A tile of P of all samples, (n, numbers), in the space."""
    P = space[: len(V) * _size(tile)].reshape(len(V), -1)
    _project(V, *tile, P)
    return P


@jit
def _project(V, low, high, left, right, P):
    """P[a] ← rows low to high and columns left to right of V_aᵀ V_a."""
    n, R, m = V.shape
    for a in range(n):
        v = V[a].reshape(R * m)
        width = right - left
        gemm(True, False, high - low, width, R, v[low:], m, v[left:], m, False, P[a], width)


@jit
def _multiply(V, B, low, high, left, right, VB):
    """V B + V times a tile of B and its mirror image, in place."""
    n, R, m = V.shape
    height, width = high - low, right - left
    for a in range(n):
        v, out = V[a].reshape(R * m), VB[a].reshape(R * m)
        gemm(False, False, R, width, height, v[low:], m, B[a], width, True, out[left:], m)
        if low != left:
            gemm(False, True, R, height, width, v[left:], m, B[a], width, True, out[low:], m)
