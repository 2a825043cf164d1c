"""Loops over features that a few samples share: what the first and the last layer of a skinny autoencoder are made of.

X, T, D, W : 2-D, features innermost; rows of samples are named by their numbers in X or T. ``B`` is a work
space with samples innermost, as in ``autoencoder_blocks``. Row numbers are unsigned, since Numba looks whether a
signed one is negative, which keeps loops from being vectorised.
"""

import numpy as np

from .._engine.vectors import wide_vectors
from .blocks import _fused, _jit, _lanes


@_lanes
def dot(X, i, W, o):
    """Σ_f X[i, f] W[o, f]."""
    wide_vectors()
    total = X.dtype.type(0)
    for f in range(X.shape[1]):
        total += X[i, f] * W[o, f]
    return total


@_lanes
def add_products(totals, x, w):
    """totals + x w, four samples' at a time."""
    return totals[0] + x[0] * w, totals[1] + x[1] * w, totals[2] + x[2] * w, totals[3] + x[3] * w


@_fused
def put(B, row, s, values):
    """B[row, s + r] = values[r], r < 4."""
    B[row, s], B[row, s + 1], B[row, s + 2], B[row, s + 3] = values


@_lanes
def project5(X, rows, W, o, B, out, s):
    """B[out + p, s + r] = Σ_f X[rows[r], f] W[o + p, f], r < 4, p < 5."""
    wide_vectors()
    i0, i1, i2, i3 = rows
    o0, o1, o2, o3, o4 = np.uintp(o), np.uintp(o + 1), np.uintp(o + 2), np.uintp(o + 3), np.uintp(o + 4)
    zero = X.dtype.type(0)
    t0 = t1 = t2 = t3 = t4 = (zero, zero, zero, zero)
    for f in range(X.shape[1]):
        x = X[i0, f], X[i1, f], X[i2, f], X[i3, f]
        t0 = add_products(t0, x, W[o0, f])
        t1 = add_products(t1, x, W[o1, f])
        t2 = add_products(t2, x, W[o2, f])
        t3 = add_products(t3, x, W[o3, f])
        t4 = add_products(t4, x, W[o4, f])
    put(B, out, s, t0)
    put(B, out + 1, s, t1)
    put(B, out + 2, s, t2)
    put(B, out + 3, s, t3)
    put(B, out + 4, s, t4)


@_lanes
def project2(X, rows, W, o, last, B, out, s):
    """The same for p < 2; the row of W beyond ``last`` stands for it."""
    wide_vectors()
    i0, i1, i2, i3 = rows
    o0, o1 = np.uintp(o), np.uintp(min(o + 1, last))
    zero = X.dtype.type(0)
    t0 = t1 = (zero, zero, zero, zero)
    for f in range(X.shape[1]):
        x = X[i0, f], X[i1, f], X[i2, f], X[i3, f]
        t0 = add_products(t0, x, W[o0, f])
        t1 = add_products(t1, x, W[o1, f])
    put(B, out, s, t0)
    if o + 1 <= last:
        put(B, out + 1, s, t1)


@_jit
def project(X, index, at, W, B, out, s):
    """B[out + o, s + r] = Σ_f X[index[at + r], f] W[o, f] for all o, r < 4."""
    rows = np.uintp(index[at]), np.uintp(index[at + 1]), np.uintp(index[at + 2]), np.uintp(index[at + 3])
    fives = len(W) // 5 * 5
    for o in range(0, fives, 5):  # twenty sums, which with their factors fill the registers
        project5(X, rows, W, o, B, out + o, s)
    for o in range(fives, len(W), 2):
        project2(X, rows, W, o, len(W) - 1, B, out + o, s)


@_fused
def residual(a, u, b, v, c, t):
    """Residual a u + b v − (t − c); in this order, so that a centre far from zero costs no digits."""
    return a * u + (b * v + (c - t))


@_lanes
def squares8(T, index, at, shift, j, D, u, v, B, a, b, s):
    """B[0, s + r] = Σ_f (D[u, f] B[a, s + r] + D[v, f] B[b, s + r] − (T[index[at + r], f] − shift[j, f]))², r < 8."""
    wide_vectors()
    i0, i1, i2, i3 = np.uintp(index[at]), np.uintp(index[at + 1]), np.uintp(index[at + 2]), np.uintp(index[at + 3])
    at += 4
    i4, i5, i6, i7 = np.uintp(index[at]), np.uintp(index[at + 1]), np.uintp(index[at + 2]), np.uintp(index[at + 3])
    t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = T.dtype.type(0)
    for f in range(T.shape[1]):
        x, y, c = D[u, f], D[v, f], shift[j, f]
        e = residual(B[a, s], x, B[b, s], y, c, T[i0, f])
        t0 += e * e
        e = residual(B[a, s + 1], x, B[b, s + 1], y, c, T[i1, f])
        t1 += e * e
        e = residual(B[a, s + 2], x, B[b, s + 2], y, c, T[i2, f])
        t2 += e * e
        e = residual(B[a, s + 3], x, B[b, s + 3], y, c, T[i3, f])
        t3 += e * e
        e = residual(B[a, s + 4], x, B[b, s + 4], y, c, T[i4, f])
        t4 += e * e
        e = residual(B[a, s + 5], x, B[b, s + 5], y, c, T[i5, f])
        t5 += e * e
        e = residual(B[a, s + 6], x, B[b, s + 6], y, c, T[i6, f])
        t6 += e * e
        e = residual(B[a, s + 7], x, B[b, s + 7], y, c, T[i7, f])
        t7 += e * e
    B[0, s], B[0, s + 1], B[0, s + 2], B[0, s + 3] = t0, t1, t2, t3
    B[0, s + 4], B[0, s + 5], B[0, s + 6], B[0, s + 7] = t4, t5, t6, t7


@_lanes
def residual_pair(T, i, k, shift, j, D, u, v, B, a, b, s, E, r, g, e):
    """E[r] = B[a, s] D[u] + B[b, s] D[v] − (T[i] − shift[j]), and E[r + 1] likewise with s + 1 and T[k].

    Also B[0, …] = Σ E², and the gradients B[g, …] = Σ E D[u] and B[e, …] = Σ E D[v] (e may be a spare row).
    """
    wide_vectors()
    r = np.uintp(r)
    square = first = second = square_ = first_ = second_ = T.dtype.type(0)
    for f in range(T.shape[1]):
        x, y, c = D[u, f], D[v, f], shift[j, f]
        p = residual(B[a, s], x, B[b, s], y, c, T[i, f])
        E[r, f] = p
        square += p * p
        first += p * x
        second += p * y
        q = residual(B[a, s + 1], x, B[b, s + 1], y, c, T[k, f])
        E[r + np.uintp(1), f] = q
        square_ += q * q
        first_ += q * x
        second_ += q * y
    B[0, s], B[g, s], B[e, s] = square, first, second
    B[0, s + 1], B[g, s + 1], B[e, s + 1] = square_, first_, second_


@_lanes
def add_squares(totals, e):
    """totals + e², four samples' at a time."""
    return totals[0] + e[0] * e[0], totals[1] + e[1] * e[1], totals[2] + e[2] * e[2], totals[3] + e[3] * e[3]


@_lanes
def inner(a, x):
    """Σ_r a[r] x[r], r < 4."""
    return a[0] * x[0] + a[1] * x[1] + a[2] * x[2] + a[3] * x[3]


@_fused
def get(B, row, s):
    """B[row, s + r], r < 4."""
    return B[row, s], B[row, s + 1], B[row, s + 2], B[row, s + 3]


@_lanes
def residual_gradients(T, rows, shift, j, D, v, B, a, b, s, p, q, dD, g, h):
    """With e_r = B[a, s + r] D[0] + B[b, s + r] D[v] − (T[rows[r]] − shift[j]), r < 4, never stored:

    B[0, s + r] = Σ e_r², B[g, s + r] = Σ e_r D[0], B[h, s + r] = Σ e_r D[v],
    dD[0] += Σ_r B[p, s + r] e_r, dD[1] += Σ_r B[q, s + r] e_r.
    """
    wide_vectors()
    i0, i1, i2, i3 = rows
    a0, a1, a2, a3 = get(B, a, s)
    b0, b1, b2, b3 = get(B, b, s)
    for_first, for_second, zero = get(B, p, s), get(B, q, s), T.dtype.type(0)
    squares = first = second = (zero, zero, zero, zero)
    for f in range(T.shape[1]):
        x, y, c = D[0, f], D[v, f], shift[j, f]
        e = (
            residual(a0, x, b0, y, c, T[i0, f]),
            residual(a1, x, b1, y, c, T[i1, f]),
            residual(a2, x, b2, y, c, T[i2, f]),
            residual(a3, x, b3, y, c, T[i3, f]),
        )
        squares = add_squares(squares, e)
        first = add_products(first, e, x)
        second = add_products(second, e, y)
        dD[0, f] += inner(for_first, e)
        dD[1, f] += inner(for_second, e)
    put(B, np.int64(0), s, squares)
    put(B, g, s, first)
    put(B, h, s, second)


@_fused
def take_off(T, i, D, B, a, s, U, r):
    """U[r] = T[i] − Σ_{i ≥ 2} B[a + i, s] D[i]: what more than two units contribute."""
    wide_vectors()
    h = len(D)
    for o in range(2, h, 2):
        u, v = np.uintp(o), np.uintp(min(o + 1, h - 1))
        x, y = B[a + o, s], B[a + o + 1, s] if o + 1 < h else B[1, s]
        if o == 2:
            for f in range(T.shape[1]):
                U[r, f] = T[i, f] - (x * D[u, f] + y * D[v, f])
        else:
            for f in range(T.shape[1]):
                U[r, f] -= x * D[u, f] + y * D[v, f]


@_fused
def add_outer(out, o, E, B, a, b, s):
    """out[o] += Σ_r B[a, s + r] E[r] and out[o + 1] += Σ_r B[b, s + r] E[r], r < 4."""
    wide_vectors()
    p, q = np.uintp(o), np.uintp(o + 1)
    a0, a1, a2, a3 = B[a, s], B[a, s + 1], B[a, s + 2], B[a, s + 3]
    b0, b1, b2, b3 = B[b, s], B[b, s + 1], B[b, s + 2], B[b, s + 3]
    for f in range(E.shape[1]):
        x0, x1, x2, x3 = E[0, f], E[1, f], E[2, f], E[3, f]
        out[p, f] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
        out[q, f] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3


@_fused
def add_centred_outer(out, o, X, index, C, j, B, a, b, s):
    """The same with X[index[s + r]] − C[j] in place of E[r]."""
    wide_vectors()
    p, q = np.uintp(o), np.uintp(o + 1)
    i0, i1, i2, i3 = np.uintp(index[s]), np.uintp(index[s + 1]), np.uintp(index[s + 2]), np.uintp(index[s + 3])
    a0, a1, a2, a3 = B[a, s], B[a, s + 1], B[a, s + 2], B[a, s + 3]
    b0, b1, b2, b3 = B[b, s], B[b, s + 1], B[b, s + 2], B[b, s + 3]
    for f in range(X.shape[1]):
        c = C[j, f]
        x0, x1, x2, x3 = X[i0, f] - c, X[i1, f] - c, X[i2, f] - c, X[i3, f] - c
        out[p, f] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
        out[q, f] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
