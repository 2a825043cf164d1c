"""Winograd's transforms of tiles of 6 × 6 pixels: the matrices, and what multiplies lines of an image with them.

A polynomial of degree 5 is known by its values at five points and its leading coefficient. So the m = 7 − r outputs
y_i = Σ_k w_k d_{i+k} of a line of six pixels, which are coefficients of a product of polynomials read backwards, take
six multiplications instead of m r (Winograd, *Arithmetic complexity of computations*, 1980):

    y = Aᵀ ((G w) ∘ (Bᵀ d)),    G (6, r), Bᵀ (6, 6), Aᵀ (m, 6)
    G[j, k] = p_j^k / Π_{l≠j} (p_j − p_l),    Aᵀ[i, j] = p_j^i,    Bᵀ[j, :] : coefficients of Π_{l≠j} (x − p_l)

and in the last rows, the point at infinity, G = (0, …, 0, 1), Aᵀ = (0, …, 0, 1)ᵀ, Bᵀ : coefficients of Π_l (x − p_l).
The same six points serve kernels of 3, 4 and 5 pixels with Bᵀ as it is. Tiles of an image take each matrix twice, along
its columns and along its lines.

Points are 0, ±√½, ±√2: their squares multiply to one, and rounding in float32 comes to 4 to 9 times that of direct
sums, where the usual 0, ±1, ±2 come to 13 to 37 times. Two points ±p share the even and the odd terms of their
polynomials, which is how the functions here are written.

Every function takes lines, flat arrays of one length, each of which holds one pixel of many tiles in all channels.
"""

import numpy as np

from .._engine.disjoint import disjoint
from .._engine.jit import jit

SIDE = 6
P, Q = 0.5**0.5, 2.0**0.5
_POINTS = 0.0, P, -P, Q, -Q


def weight_matrix(r):
    """G (6, r) float64."""
    G = np.zeros((SIDE, r))
    for j, point in enumerate(_POINTS):
        G[j] = point ** np.arange(r) / np.prod([point - other for other in _POINTS if other != point])
    G[-1, -1] = 1
    return G


@jit
def times_bt(d0, d1, d2, d3, d4, d5, v0, v1, v2, v3, v4, v5):
    """V ← Bᵀ d."""
    disjoint()
    real = v0.dtype.type
    two, half, both, p, q = real(2), real(0.5), real(2.5), real(P), real(Q)
    for l in range(len(v0)):
        a, b, c, d = d1[l], d2[l], d3[l], d4[l]
        v0[l] = d0[l] - both * b + d
        even, odd = d - two * b, p * (c - two * a)
        v1[l] = even + odd
        v2[l] = even - odd
        even, odd = d - half * b, q * (c - half * a)
        v3[l] = even + odd
        v4[l] = even - odd
        v5[l] = a - both * c + d5[l]


@jit
def times_b(v0, v1, v2, v3, v4, v5, d0, d1, d2, d3, d4, d5):
    """D ← B v."""
    disjoint()
    real = d0.dtype.type
    two, half, both, p, q = real(2), real(0.5), real(2.5), real(P), real(Q)
    for l in range(len(d0)):
        first, last = v0[l], v5[l]
        even, odd = v1[l] + v2[l], p * (v1[l] - v2[l])
        even_q, odd_q = v3[l] + v4[l], q * (v3[l] - v4[l])
        d0[l] = first
        d1[l] = last - two * odd - half * odd_q
        d2[l] = -both * first - two * even - half * even_q
        d3[l] = odd + odd_q - both * last
        d4[l] = first + even + even_q
        d5[l] = last


@jit
def times_at(m, x0, x1, x2, x3, x4, x5, y0, y1, y2, y3):
    """Y ← Aᵀ x, m = 2, 3 or 4 outputs: the others are not written."""
    disjoint()
    real = y0.dtype.type
    two, half, p, q = real(2), real(0.5), real(P), real(Q)
    for l in range(len(y0)):
        y0[l] = x0[l] + (x1[l] + x2[l]) + (x3[l] + x4[l])
    if m == 2:
        for l in range(len(y0)):
            y1[l] = p * (x1[l] - x2[l]) + q * (x3[l] - x4[l]) + x5[l]
    elif m == 3:
        for l in range(len(y0)):
            y1[l] = p * (x1[l] - x2[l]) + q * (x3[l] - x4[l])
            y2[l] = half * (x1[l] + x2[l]) + two * (x3[l] + x4[l]) + x5[l]
    else:
        for l in range(len(y0)):
            odd, odd_q = p * (x1[l] - x2[l]), q * (x3[l] - x4[l])
            y1[l] = odd + odd_q
            y2[l] = half * (x1[l] + x2[l]) + two * (x3[l] + x4[l])
            y3[l] = half * odd + two * odd_q + x5[l]


@jit
def times_a(m, y0, y1, y2, y3, x0, x1, x2, x3, x4, x5):
    """X ← A y, of m = 2, 3 or 4 outputs: y3 is the last one, and what else there is not counts for nothing."""
    disjoint()
    real = x0.dtype.type
    two, half, p, q = real(2), real(0.5), real(P), real(Q)
    third, fourth = real(m > 2), real(m > 3)
    for l in range(len(x0)):
        a, b, c, d = y0[l], y1[l], third * y2[l], fourth * y3[l]
        x0[l] = a
        even, odd = a + half * c, p * (b + half * d)
        x1[l] = even + odd
        x2[l] = even - odd
        even, odd = a + two * c, q * (b + two * d)
        x3[l] = even + odd
        x4[l] = even - odd
        x5[l] = y3[l]
