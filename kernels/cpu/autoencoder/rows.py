"""Loops over features that four samples share: the first and the last layer of ``skinny``, whose gain they are.

X, T, D, W, C, E : 2-D, features innermost; ``rows`` names four samples by their rows in X or T. ``B`` is a work space
with samples innermost, of which four columns from s on are those samples'. Row numbers are unsigned, since Numba looks
whether a signed one is negative, which keeps loops from being vectorised.
"""

import numpy as np

from .._engine.jit import jit
from .small import contracted, in_lanes


@jit
def rows_at(index, s):
    """Four rows as unsigned numbers."""
    return np.uintp(index[s]), np.uintp(index[s + 1]), np.uintp(index[s + 2]), np.uintp(index[s + 3])


@in_lanes
def _add(totals, x, w):
    """totals + x w, four samples' at a time."""
    return totals[0] + x[0] * w, totals[1] + x[1] * w, totals[2] + x[2] * w, totals[3] + x[3] * w


@contracted
def _put(B, row, s, values):
    B[row, s], B[row, s + 1], B[row, s + 2], B[row, s + 3] = values


@in_lanes
def _project5(X, rows, W, o, B, out, s):
    """B[out + p, s + r] = X[rows[r]] · W[o + p], p < 5, r < 4: twenty sums, which with their factors fill registers."""
    i0, i1, i2, i3 = rows
    o0, o1, o2, o3, o4 = np.uintp(o), np.uintp(o + 1), np.uintp(o + 2), np.uintp(o + 3), np.uintp(o + 4)
    zero = X.dtype.type(0)
    t0 = t1 = t2 = t3 = t4 = (zero, zero, zero, zero)
    for f in range(X.shape[1]):
        x = X[i0, f], X[i1, f], X[i2, f], X[i3, f]
        t0 = _add(t0, x, W[o0, f])
        t1 = _add(t1, x, W[o1, f])
        t2 = _add(t2, x, W[o2, f])
        t3 = _add(t3, x, W[o3, f])
        t4 = _add(t4, x, W[o4, f])
    _put(B, out, s, t0)
    _put(B, out + 1, s, t1)
    _put(B, out + 2, s, t2)
    _put(B, out + 3, s, t3)
    _put(B, out + 4, s, t4)


@in_lanes
def _project2(X, rows, W, o, p, B, out, s):
    """The same of W[o] and, if it is another row, W[p]."""
    i0, i1, i2, i3 = rows
    zero = X.dtype.type(0)
    t0 = t1 = (zero, zero, zero, zero)
    for f in range(X.shape[1]):
        x = X[i0, f], X[i1, f], X[i2, f], X[i3, f]
        t0 = _add(t0, x, W[o, f])
        t1 = _add(t1, x, W[p, f])
    _put(B, out, s, t0)
    if p > o:
        _put(B, out + 1, s, t1)


@jit
def project(X, index, at, W, first, stop, B, out, s):
    """B[out + o, s + r] = X[index[at + r]] · W[first + o] for first + o < stop, r < 4."""
    rows, fives = rows_at(index, at), first + (stop - first) // 5 * 5
    for o in range(first, fives, 5):
        _project5(X, rows, W, o, B, out + o - first, s)
    for o in range(fives, stop, 2):
        _project2(X, rows, W, np.uintp(o), np.uintp(min(o + 1, stop - 1)), B, out + o - first, s)


@contracted
def _residual(a, u, b, v, c, t):
    """a u + b v − (t − c), in this order: a centre far from zero costs no digits."""
    return a * u + (b * v + (c - t))


@in_lanes
def _squares(T, rows, shift, j, D, o, p, B, a, b, s):
    """B[0, s + r] = Σ e², e = B[a, s + r] D[o] + B[b, s + r] D[p] − (T[rows[r]] − shift[j]), never stored; r < 4."""
    i0, i1, i2, i3 = rows
    a0, a1, a2, a3 = B[a, s], B[a, s + 1], B[a, s + 2], B[a, s + 3]
    b0, b1, b2, b3 = B[b, s], B[b, s + 1], B[b, s + 2], B[b, s + 3]
    t0 = t1 = t2 = t3 = T.dtype.type(0)
    for f in range(T.shape[1]):
        u, v, c = D[o, f], D[p, f], shift[j, f]
        e = _residual(a0, u, b0, v, c, T[i0, f])
        t0 += e * e
        e = _residual(a1, u, b1, v, c, T[i1, f])
        t1 += e * e
        e = _residual(a2, u, b2, v, c, T[i2, f])
        t2 += e * e
        e = _residual(a3, u, b3, v, c, T[i3, f])
        t3 += e * e
    B[0, s], B[0, s + 1], B[0, s + 2], B[0, s + 3] = t0, t1, t2, t3


@in_lanes
def _inner(a, x):
    """Σ_r a[r] x[r], r < 4."""
    return a[0] * x[0] + a[1] * x[1] + a[2] * x[2] + a[3] * x[3]


@contracted
def _get(B, row, s):
    return B[row, s], B[row, s + 1], B[row, s + 2], B[row, s + 3]


@in_lanes
def pair_gradients(T, rows, center, D, v, B, places, s, p, q, dD):
    """Where the decoder has one or two units, all that four samples give, their residuals e_r never stored:

    e_r = B[a, s + r] D[0] + B[b, s + r] D[v] − (T[rows[r]] − center), B[0, s + r] = Σ e_r²,
    B[g, s + r] = Σ e_r D[0], B[h, s + r] = Σ e_r D[v], dD[0] += Σ_r p[r] e_r and dD[1] += Σ_r q[r] e_r; r < 4.
    places : (a, b, g, h)
    """
    (i0, i1, i2, i3), (a, b, g, h) = rows, places
    (a0, a1, a2, a3), (b0, b1, b2, b3), zero = _get(B, a, s), _get(B, b, s), T.dtype.type(0)
    squares = first = second = (zero, zero, zero, zero)
    for f in range(T.shape[1]):
        x, y, c = D[0, f], D[v, f], center[f]
        e = (
            _residual(a0, x, b0, y, c, T[i0, f]),
            _residual(a1, x, b1, y, c, T[i1, f]),
            _residual(a2, x, b2, y, c, T[i2, f]),
            _residual(a3, x, b3, y, c, T[i3, f]),
        )
        squares = squares[0] + e[0] * e[0], squares[1] + e[1] * e[1], squares[2] + e[2] * e[2], squares[3] + e[3] * e[3]
        first, second = _add(first, e, x), _add(second, e, y)
        dD[0, f] += _inner(p, e)
        dD[1, f] += _inner(q, e)
    _put(B, np.int64(0), s, squares)
    _put(B, h, s, second)
    _put(B, g, s, first)


@in_lanes
def _add_units(D, o, p, B, a, b, s, E, r):
    """E[r] += B[a, s] D[o] + B[b, s] D[p], and B[0, s] = Σ E²."""
    x, y, total = B[a, s], B[b, s], E.dtype.type(0)
    for f in range(E.shape[1]):
        e = E[r, f] + (x * D[o, f] + y * D[p, f])
        E[r, f] = e
        total += e * e
    B[0, s] = total


@in_lanes
def add_outer(out, at, X, rows, C, j, w0, w1, w2, w3):
    """out[at + f] += Σ_r w_r (X[rows[r], f] − C[j, f]), r < 4."""
    i0, i1, i2, i3 = rows
    out = out[at : at + X.shape[1]]
    for f in range(X.shape[1]):
        c = C[j, f]
        out[f] += (w0 * (X[i0, f] - c) + w1 * (X[i1, f] - c)) + (w2 * (X[i2, f] - c) + w3 * (X[i3, f] - c))


@jit
def decode(T, index, s, shift, j, D, B, a, E, keep):
    """Four samples' squared residuals in B[0]; D : (h, d) and B[a …], the last layer's input; all in E if ``keep``."""
    j, h = np.uintp(j), len(D)
    p, b = (1, a + 1) if h > 1 else (0, 1)
    if h <= 2 and not keep:
        _squares(T, rows_at(index, s), shift, j, D, np.uintp(0), np.uintp(p), B, np.uintp(a), np.uintp(b), s)
        return
    for r in range(4):
        i, q = np.uintp(index[s + r]), np.uintp(r)
        for f in range(T.shape[1]):  # at first, so that a centre far from zero costs no digits
            E[q, f] = shift[j, f] - T[i, f]
        for o in range(0, h, 2):
            u, v, y = np.uintp(o), np.uintp(min(o + 1, h - 1)), np.uintp(a + o + 1 if o + 1 < h else 1)
            _add_units(D, u, v, B, np.uintp(a + o), y, s + r, E, q)
