"""Winograd's matrices for a line of pixels: what turns m outputs of r taps into few multiplications.

A polynomial of degree n − 1 is known by its values at n − 1 points and its leading coefficient. So the m outputs
y_i = Σ_k w_k d_{i+k} of a line of n = m + r − 1 pixels, which are coefficients of a product of polynomials read
backwards, take n multiplications instead of m r (Winograd, *Arithmetic complexity of computations*, 1980):

    y = Aᵀ ((G w) ∘ (Bᵀ d)),    G (n, r), Bᵀ (n, n), Aᵀ (m, n)
    G[j, k] = p_j^k / Π_{l≠j} (p_j − p_l),    Aᵀ[i, j] = p_j^i,    Bᵀ[j, :] : coefficients of Π_{l≠j} (x − p_l)

and in the last rows, the point at infinity, G = (0, …, 0, 1), Aᵀ = (0, …, 0, 1)ᵀ, Bᵀ : coefficients of Π_l (x − p_l).

With a stride s, taps f, s + f, s + 2 f, … meet pixels of phase f alone, y_i = Σ_f Σ_k w_{f+sk} d_{s(i+k)+f}: s lines of
stride 1, whose products add up. A single tap needs no points: its matrices are identities.

Points are 0, ±√½, ±√2 for six multiplications: their squares multiply to one, and rounding in float32 comes to 4 to 9
times that of direct sums, where the usual 0, ±1, ±2 come to 13 to 37 times.
"""

from functools import cache

import numpy as np

P, Q = 0.5**0.5, 2.0**0.5
_POINTS = {3: (0.0, -1.0), 4: (0.0, 1.0, -1.0), 5: (0.0, 1.0, -1.0, 2.0), 6: (0.0, P, -P, Q, -Q)}


@cache
def matrices(m, r, stride):
    """(Bᵀ (n, n), A (n, m), G (n, r)) of m outputs of r taps, n = stride (m − 1) + r, float64."""
    n = stride * (m - 1) + r
    B, A, G, first = np.zeros((n, n)), np.zeros((n, m)), np.zeros((n, r)), 0
    for phase in range(stride):
        parts = _stride_one(m, len(range(phase, r, stride)))
        rows = slice(first, first + len(parts[0]))
        B[rows, phase::stride], A[rows], G[rows, phase::stride] = parts
        first = rows.stop
    return B, A, G


def _stride_one(m, r):
    if r == 1:
        return np.eye(m), np.eye(m), np.ones((m, 1))
    n = m + r - 1
    points = _POINTS[n]
    B, A, G = np.zeros((n, n)), np.zeros((n, m)), np.zeros((n, r))
    for j, point in enumerate(points):
        others = [other for other in points if other != point]
        B[j, :-1] = np.poly(others)[::-1]
        A[j], G[j] = point ** np.arange(m), point ** np.arange(r) / np.prod([point - other for other in others])
    B[-1], A[-1, -1], G[-1, -1] = np.poly(points)[::-1], 1, 1
    return B, A, G
