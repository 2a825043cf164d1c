"""Traces of projections and their gradient: modes, the space of rows, and which form a mode takes.

With V = L⁻¹ X, L Lᵀ = X Xᵀ + εI, tr(P_a P_b) is either ‖V_a V_bᵀ‖² of factors, R² m multiplications a pair of samples,
or Σ P_a P_b of projections, m²/2 of them, P being symmetric. A convolution's 32 × 20 × 20 has projections 5 times
cheaper in its channels, and about equal in the others; a mode of size 1 has them m times dearer.

Everywhere: n samples, modes of R rows and m columns, R ≤ m; Y (n, d), V and VB = V B (n, R, m), C (n, n), all of one
float dtype; L⁻¹ (n, R, R) float64.
"""

import numpy as np

from .._engine import pool
from .._engine.jit import jit
from ..conv.gemm import gemm
from . import factors, projections

_NUMBERS = 1 << 17  # of a task's samples


def traces(Y, shape, ridge):
    """S_ab = Σ_m tr(P_a P_b), (n, n) float64."""
    modes = _row_spaces(Y, shape, ridge)
    tasks = [(V, part) for V, _ in modes for part in _form(V).parts(V)]
    return sum(pool.parallel(lambda task: _form(task[0]).traces(*task), tasks), np.zeros((len(Y), len(Y))))


def gradient(C, Y, shape, ridge):
    """∂Y of Σ tr(B_a P_a) with constants B_a = Σ_b C_ab P_b."""
    modes, C = _row_spaces(Y, shape, ridge), np.ascontiguousarray(C)
    tasks = [(mode, part) for mode, (V, _) in enumerate(modes) for part in _form(V).parts(V)]

    # 1. V B, in parts
    def products(task):
        V = modes[task[0]][0]
        return _form(V).times_b(V, C, task[1])

    parts = pool.parallel(products, tasks)
    terms = []
    for mode, (V, _) in enumerate(modes):
        own = [VB for (of, _), VB in zip(tasks, parts, strict=True) if of == mode]
        terms.append(_form(V).terms(own))
    dY = np.zeros_like(Y)

    # 2. through the projection and the factor
    def through(rows):
        for mode, (V, inverse) in enumerate(modes):
            VB = terms[mode][0][rows].copy()
            for term in terms[mode][1:]:
                VB += term[rows]
            dX = np.empty_like(VB)
            _through(V[rows], VB, (2 * inverse[rows]).astype(Y.dtype), dX)
            _add_matrices(dX, shape, mode, dY[rows])

    pool.parallel(through, _samples(Y))
    return dY


def _form(V):
    """The module whose form of the traces is cheaper."""
    _, R, m = V.shape
    return projections if m <= 2 * R * R else factors


def _samples(Y):
    return pool.blocks(len(Y), max(1, _NUMBERS // Y.shape[1]))


def _row_spaces(Y, shape, ridge):
    """(V, L⁻¹) of every mode."""
    n, d = Y.shape
    sizes = [(min(size, d // size), max(size, d // size)) for size in shape]
    modes = [(np.empty((n, R, m), Y.dtype), np.empty((n, R, R))) for R, m in sizes]

    def task(which):
        mode, rows = which
        V, inverse = modes[mode]
        _factor(_matrices(Y[rows], shape, mode), ridge[mode, rows], V[rows], inverse[rows])

    pool.parallel(task, [(mode, rows) for mode in range(len(shape)) for rows in _samples(Y)])
    return modes


def _matrices(Y, shape, mode):
    """X (n, R, m), contiguous: one mode along a side, the smaller side along the rows."""
    n, size = len(Y), shape[mode]
    X = np.moveaxis(Y.reshape(n, *shape), 1 + mode, 1).reshape(n, size, -1)
    return np.ascontiguousarray(X if size <= X.shape[2] else X.transpose(0, 2, 1))


def _add_matrices(X, shape, mode, Y):
    """Y + matrices laid out as rows again, in place."""
    n, size, rest = len(X), shape[mode], [*shape[:mode], *shape[mode + 1 :]]
    X = X if X.shape[1] == size else X.transpose(0, 2, 1)
    view = Y.reshape(n, *shape)
    view += np.moveaxis(X.reshape(n, size, *rest), 1, 1 + mode)


@jit
def _factor(X, ridge, V, inverse):
    """V ← L⁻¹ X and L⁻¹, in float64, since X Xᵀ may be all but singular."""
    n, R, m = X.shape
    wide, S, product = np.empty(R * m), np.empty(R * R), np.empty(R * m)
    for i in range(n):
        flat, own, out = X[i].reshape(R * m), inverse[i].reshape(R * R), V[i].reshape(R * m)
        for e in range(R * m):
            wide[e] = flat[e]
        gemm(False, True, R, R, m, wide, m, wide, m, False, S, R)
        for r in range(R):
            S[r * R + r] += ridge[i]
        _inverse_root(S.reshape(R, R), inverse[i])
        gemm(False, False, R, m, R, own, R, wide, m, False, product, m)
        for e in range(R * m):
            out[e] = product[e]


@jit
def _inverse_root(S, inverse):
    """L⁻¹ of L Lᵀ = S; the upper half of S is overwritten by Lᵀ. Whatever is no number spreads."""
    R = len(S)
    for r in range(R):
        row, scale = S[r], 1 / np.sqrt(S[r, r])
        for c in range(r, R):
            row[c] *= scale
        for below in range(r + 1, R):
            factor, other = row[below], S[below]
            for c in range(below, R):
                other[c] -= factor * row[c]
    for r in range(R):
        own = inverse[r]
        own[:] = 0
        own[r] = 1
        for above in range(r):
            factor, other = S[above, r], inverse[above]
            for c in range(above + 1):
                own[c] -= factor * other[c]
        for c in range(r + 1):
            own[c] /= S[r, r]


@jit
def _through(V, VB, twice, dX):
    """∂X ← 2 L⁻ᵀ (V B − V B Vᵀ V); V B is overwritten. twice : 2 L⁻¹ in the dtype."""
    n, R, m = V.shape
    M = np.empty(R * R, V.dtype)
    for i in range(n):
        v, z = V[i].reshape(R * m), VB[i].reshape(R * m)
        gemm(False, True, R, R, m, z, m, v, m, False, M, R)
        for e in range(R * R):
            M[e] = -M[e]
        gemm(False, False, R, m, R, M, R, v, m, True, z, m)
        gemm(True, False, R, m, R, twice[i].reshape(R * R), R, z, m, False, dX[i].reshape(R * m), m)
