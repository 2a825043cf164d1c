"""Traces from factors: tr(P_a P_b) = ‖V_a V_bᵀ‖², of a block of samples a and all b in one product."""

import numpy as np

from .._engine import pool
from .._engine.jit import jit

_NUMBERS = 1 << 18  # of a block's product


def parts(V):
    """Blocks of samples, slices."""
    n, R, _ = V.shape
    return pool.blocks(n, max(1, min(_NUMBERS // (n * R * R), -(-n // 8))))


def traces(V, rows):
    """What a block adds to tr(P_a P_b), (n, n) float64: its samples with themselves and those after them, both ways."""
    n, R, m = V.shape
    S = np.zeros((n, n))
    W = V[rows].reshape(-1, m) @ V[rows.start :].reshape(-1, m).T
    _squares(W, R, S[rows, rows.start :])
    S[rows.stop :, rows] = S[rows, rows.stop :].T
    return S


def times_b(V, C, rows):
    """V B of a block, (rows, R, m)."""
    _, R, m = V.shape
    flat = V.reshape(-1, m)
    W = V[rows].reshape(-1, m) @ flat.T
    _scale(W, R, C[rows])
    return (W @ flat).reshape(-1, R, m)


def terms(parts):
    """Arrays (n, R, m) whose sum V B is: one, of all blocks."""
    return [np.concatenate(parts)]


@jit
def _squares(W, R, S):
    """S[a, b] ← the sum of squares of block (a, b)."""
    for a in range(len(S)):
        for r in range(R):
            w = W[a * R + r]
            for b in range(S.shape[1]):
                sum = 0.0
                for c in range(b * R, b * R + R):
                    sum += np.float64(w[c] * w[c])
                S[a, b] += sum


@jit
def _scale(W, R, C):
    """Block (a, b) times C[a, b]."""
    for row in range(len(W)):
        w, scale = W[row], C[row // R]
        for b in range(len(scale)):
            for c in range(b * R, b * R + R):
                w[c] *= scale[b]
