"""Numba twin of ``reference.contrastive``: contrastive losses, their gradients, draws.

A row is a few hundred numbers and there are a few hundred rows: one thread.
"""

import numpy as np

from ._engine.arrays import plain
from ._engine.jit import compiled, jit
from .philox import uniform

TRIPLET, COSINE = range(2)
LOSSES = {"triplet": TRIPLET, "cosine": COSINE}

# Sums of a row may be added up in any order, on which no drawn number depends.
_sum_jit = compiled(fastmath={"reassoc"})


def losses(U, P, N, loss, reg):
    """ℓ of every triplet; returns (m,).

    Cost: 10 D flops a row
    """
    L = np.empty(len(U), U.dtype)
    _losses(plain(U), plain(P), plain(N), int(loss), U.dtype.type(reg), L)
    return L


@jit
def _losses(U, P, N, loss, reg, L):
    one, half = U.dtype.type(1), U.dtype.type(0.5)
    for i in range(len(U)):
        u, p, n = U[i], P[i], N[i]
        # 1. triplet
        if loss == TRIPLET:
            L[i] = _difference(u, n, p)
        else:
            toward, away = _cosine(u, p) - one, _cosine(u, n)
            L[i] = half * (toward * toward + away * away)
        # 2. norms
        if reg != 0:
            for a in (u, p, n):
                excess = _product(a, a) - one
                L[i] += reg * excess * excess


def gradients(U, P, N, weights, loss, reg):
    """Gradients of Σ w ℓ with respect to u, p and n.

        TRIPLET   ∂u = n − p,  ∂p = −u,  ∂n = u
        COSINE    ∂a cos(a, b) = (b/‖b‖ − cos(a, b) a/‖a‖) / ‖a‖
        norms     ∂a λ (‖a‖² − 1)² = 4 λ (‖a‖² − 1) a

    returns three of (m, D)
    Cost: 30 D flops a row
    """
    U, P, N = plain(U), plain(P), plain(N)
    out = np.empty_like(U), np.empty_like(U), np.empty_like(U)
    _gradients(U, P, N, plain(weights), int(loss), U.dtype.type(reg), *out)
    return out


@jit
def _gradients(U, P, N, weights, loss, reg, dU, dP, dN):
    one, four = U.dtype.type(1), U.dtype.type(4)
    for i in range(len(U)):
        u, p, n, w = U[i], P[i], N[i], weights[i]
        # 1. triplet
        if loss == TRIPLET:
            for a in range(len(u)):
                dU[i, a], dP[i, a], dN[i, a] = w * (n[a] - p[a]), -w * u[a], w * u[a]
        else:
            like, unlike = _cosine(u, p), _cosine(u, n)
            toward, away, of_u, of_p, of_n = w * (like - one), w * unlike, _norm(u), _norm(p), _norm(n)
            for a in range(len(u)):
                x, y, z = u[a] / of_u, p[a] / of_p, n[a] / of_n
                dU[i, a] = (toward * (y - like * x) + away * (z - unlike * x)) / of_u
                dP[i, a], dN[i, a] = toward * (x - like * y) / of_p, away * (x - unlike * z) / of_n
        # 2. norms
        if reg != 0:
            for a, g in ((u, dU[i]), (p, dP[i]), (n, dN[i])):
                factor = w * four * reg * (_product(a, a) - one)
                for b in range(len(a)):
                    g[b] += factor * a[b]


@_sum_jit
def _product(a, b):
    sum = a.dtype.type(0)
    for i in range(len(a)):
        sum += a[i] * b[i]
    return sum


@_sum_jit
def _difference(u, n, p):
    sum = u.dtype.type(0)
    for i in range(len(u)):
        sum += u[i] * (n[i] - p[i])
    return sum


@jit
def _norm(a):
    """‖a‖, or 1 for zeros."""
    size = a.dtype.type(np.sqrt(_product(a, a)))
    return size if size > 0 else a.dtype.type(1)


@jit
def _cosine(a, b):
    return _product(a, b) / (_norm(a) * _norm(b))


def negatives(clusters, k, own, key, stream, step, rows):
    """For every sample and column a sample of the batch from another cluster, as its place in the batch.

    Column j's comes from a cluster other than j, or with ``own`` from one other than the sample's, in all columns the
    same. It is the ⌊u · count⌋-th of those that may be taken, the sample itself never being one. Where there is
    none, every other sample may be taken, and where there is no other sample, itself.

    clusters : (n,) int64, below k; own : bool
    returns ((n, k) int64, (1,) int64), the second how many had no sample of another cluster
    """
    u = uniform(key, stream, step, 0, rows, k, np.float64)
    out, missing = np.zeros((len(clusters), k), np.int64), np.zeros(1, np.int64)
    _negatives(plain(clusters), k, bool(own), u, out, missing)
    return out, missing


@jit
def _negatives(clusters, k, own, u, out, missing):
    n = len(clusters)
    allowed, place = np.empty(n, np.int64), np.empty(n, np.int64)
    for j in range(k):  # the samples outside cluster j, and how many come before each sample
        count = 0
        for i in range(n):
            place[i] = count
            if clusters[i] != j:
                allowed[count] = i
                count += 1
        for i in range(n):
            outside = clusters[i] != j
            if own and outside:  # this sample's own cluster is another one's turn
                continue
            others = count - 1 if outside else count
            first, last = (0, k) if own else (j, j + 1)
            number = u[i, first]
            if others > 0:
                at = int(number * others)
                chosen = allowed[at + 1 if outside and at >= place[i] else at]
            else:
                missing[0] += last - first
                at = int(number * (n - 1))
                chosen = (at + 1 if at >= i else at) if n > 1 else 0
            for column in range(first, last):
                out[i, column] = chosen


def positives(order, begins, places, classes, key, stream, step, rows):
    """For every sample another one of the same class, as its place in the data; itself if its class has no other.

    order : (N,) int64, all samples of the data sorted by class; begins : (c + 1,) int64, class a's are
    order[begins[a]:begins[a + 1]]; places : (N,) int64, where a sample is in ``order``; classes : (N,) int64, −1 where
    it is not known, which are in no class; returns (n,) int64
    """
    rows = np.asarray(rows, np.int64)
    u = uniform(key, stream, step, 0, rows, 1, np.float64)[:, 0]
    own = np.maximum(classes[rows], 0)
    first, others = begins[own], begins[own + 1] - begins[own] - 1
    number = (u * others).astype(np.int64)
    number += number >= places[rows] - first
    alone = (classes[rows] < 0) | (others < 1)
    return np.where(alone, rows, order[np.where(alone, 0, first + number)])


def add_rows(G, index, n):
    """Sums (n, D) of the rows of G that have the same index.

    G : (m, D); index : (m,) int64, below n
    """
    out = np.zeros((n, G.shape[1]), G.dtype)
    _add_rows(plain(G), plain(index), out)
    return out


@jit
def _add_rows(G, index, out):
    for i in range(len(G)):
        for a in range(G.shape[1]):
            out[index[i], a] += G[i, a]
