"""Contrastive losses of triplets, their gradients, and draws of positives and negatives.

Source: Sabanayagam, Al-Dabooni, Esser, Cluster specific representation learning, arXiv 2412.03471. For embeddings u of
a sample (the anchor), p of one like it (the positive) and n of one unlike it (the negative):

    TRIPLET   ℓ = uᵀ(n − p)                            COSINE   ℓ = ½ [(cos(u, p) − 1)² + cos(u, n)²]

each plus λ [(‖u‖² − 1)² + (‖p‖² − 1)² + (‖n‖² − 1)²]. On the unit sphere uᵀ(n − p) ≥ −2. Otherwise it is bounded for
every λ > 0 and for no other: along u = −n = p = t v it is −2 t² + 3 λ (t² − 1)².

Everywhere: m rows, D dimensions; U = u, P = p, N = n (m, D), weights (m,), of one float dtype; loss TRIPLET or COSINE,
reg = λ float; n samples of a batch, k clusters; key (2,) uint32; stream, step ints; rows (n,) ints, the samples' places
in the data.
"""

import numpy as np

from . import philox
from .norm import unit_rows, unit_rows_gradient

TRIPLET, COSINE = range(2)
LOSSES = {"triplet": TRIPLET, "cosine": COSINE}


def losses(U, P, N, loss, reg):
    """ℓ of every triplet; returns (m,).

    Cost: 10 D flops a row
    """
    # 1. triplet
    if loss == TRIPLET:
        L = (U * (N - P)).sum(axis=1)
    else:
        L = ((_cosine(U, P) - 1) ** 2 + _cosine(U, N) ** 2) / 2
    # 2. norms
    for A in (U, P, N) if reg else ():
        L = L + A.dtype.type(reg) * ((A * A).sum(axis=1) - 1) ** 2
    return L


def gradients(U, P, N, weights, loss, reg):
    """Gradients of Σ w ℓ with respect to u, p and n.

        TRIPLET   ∂u = n − p,  ∂p = −u,  ∂n = u
        COSINE    ∂a cos(a, b) = (b/‖b‖ − cos(a, b) a/‖a‖) / ‖a‖
        norms     ∂a λ (‖a‖² − 1)² = 4 λ (‖a‖² − 1) a

    returns three of (m, D)
    Cost: 30 D flops a row
    """
    w = weights[:, None]
    # 1. triplet
    if loss == TRIPLET:
        dU, dP, dN = w * (N - P), -w * U, w * U
    else:
        toward, away = w * (_cosine(U, P) - 1)[:, None], w * _cosine(U, N)[:, None]
        dU = toward * _cosine_gradient(U, P) + away * _cosine_gradient(U, N)
        dP, dN = toward * _cosine_gradient(P, U), away * _cosine_gradient(N, U)
    if not reg:
        return dU, dP, dN
    # 2. norms
    factor = w * U.dtype.type(4 * reg)
    return tuple(G + factor * ((A * A).sum(axis=1, keepdims=True) - 1) * A for G, A in ((dU, U), (dP, P), (dN, N)))


def negatives(clusters, k, own, key, stream, step, rows):
    """For every sample and column a sample of the batch from another cluster, as its place in the batch.

    Column j's comes from a cluster other than j, or with ``own`` from one other than the sample's, in all columns the
    same. It is the ⌊u · count⌋-th of those that may be taken, the sample itself never being one. Where there is
    none, every other sample may be taken, and where there is no other sample, itself.

    clusters : (n,) int64, below k; own : bool
    returns ((n, k) int64, (1,) int64), the second how many had no sample of another cluster
    """
    n = len(clusters)
    u = philox.uniform(key, stream, step, 0, rows, k, np.float64)
    out, missing, every = np.zeros((n, k), np.int64), 0, np.arange(n)
    for i in range(n):
        for j in range(k):
            barred, at = (clusters[i], 0) if own else (j, j)
            allowed = every[(clusters != barred) & (every != i)]
            if not len(allowed):
                missing += 1
                allowed = every[every != i] if n > 1 else every
            out[i, j] = allowed[int(u[i, at] * len(allowed))]
    return out, np.array([missing])


def positives(order, begins, places, classes, key, stream, step, rows):
    """For every sample another one of the same class, as its place in the data; itself if its class has no other.

    order : (N,) int64, all samples of the data sorted by class; begins : (c + 1,) int64, class a's are
    order[begins[a]:begins[a + 1]]; places : (N,) int64, where a sample is in ``order``; classes : (N,) int64, −1 where
    it is not known, which are in no class; returns (n,) int64
    """
    rows = np.asarray(rows, np.int64)
    u = philox.uniform(key, stream, step, 0, rows, 1, np.float64)[:, 0]
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
    np.add.at(out, index, G)
    return out


def _cosine(A, B):
    return (unit_rows(A)[0] * unit_rows(B)[0]).sum(axis=1)


def _cosine_gradient(A, B):
    """∂/∂a of cos(a, b), (m, D)."""
    V, norms = unit_rows(A)
    return unit_rows_gradient(unit_rows(B)[0], V, norms)
