"""CUDA twin of ``reference.contrastive``: contrastive losses, their gradients, draws.

Arguments are those of the reference; the key is on the host.
"""

import numpy as np

from ._platform.launch import array, blocks_for, launch, xp
from .philox import uniform

TRIPLET, COSINE = range(2)
LOSSES = {"triplet": TRIPLET, "cosine": COSINE}

_WARP = 32  # threads of a row


def losses(U, P, N, loss, reg):
    """ℓ of every triplet; returns (m,).

    Cost: 10 D flops a row
    """
    U, P, N = array("U", U), array("P", P), array("N", N)
    L = xp.empty(len(U), U.dtype)
    # 1. triplet
    # 2. norms
    launch("contrastive", "losses", U.dtype, blocks_for(_WARP * len(U)), U, P, N, *U.shape, loss, reg, L)
    return L


def gradients(U, P, N, weights, loss, reg):
    """Gradients of Σ w ℓ with respect to u, p and n.

        TRIPLET   ∂u = n − p,  ∂p = −u,  ∂n = u
        COSINE    ∂a cos(a, b) = (b/‖b‖ − cos(a, b) a/‖a‖) / ‖a‖
        norms     ∂a λ (‖a‖² − 1)² = 4 λ (‖a‖² − 1) a

    returns three of (m, D)
    Cost: 30 D flops a row
    """
    U, P, N, weights = array("U", U), array("P", P), array("N", N), array("weights", weights)
    out = tuple(xp.empty(U.shape, U.dtype) for _ in range(3))
    # 1. triplet
    # 2. norms
    arguments = U, P, N, weights, *U.shape, loss, reg, *out
    launch("contrastive", "gradients", U.dtype, blocks_for(_WARP * len(U)), *arguments)
    return out


def negatives(clusters, k, own, key, stream, step, rows):
    """For every sample and column a sample of the batch from another cluster, as its place in the batch.

    Column j's comes from a cluster other than j, or with ``own`` from one other than the sample's, in all columns the
    same. It is the ⌊u · count⌋-th of those that may be taken, the sample itself never being one. Where there is
    none, every other sample may be taken, and where there is no other sample, itself.

    clusters : (n,) int64, below k; own : bool
    returns ((n, k) int64, (1,) int64), the second how many had no sample of another cluster
    Cost: 2 n² k numbers read, from the cache
    """
    clusters, u = array("clusters", clusters, np.int64), uniform(key, stream, step, 0, rows, k, np.float64)
    n, none = len(clusters), xp.empty((len(clusters), k), np.int64)
    out = xp.empty((n, k), np.int64)
    launch("contrastive", "negatives", np.float64, blocks_for(_WARP * n * k), clusters, u, n, k, int(own), out, none)
    return out, none.sum().reshape(1)


def positives(order, begins, places, classes, key, stream, step, rows):
    """For every sample another one of the same class, as its place in the data; itself if its class has no other.

    order : (N,) int64, all samples of the data sorted by class; begins : (c + 1,) int64, class a's are
    order[begins[a]:begins[a + 1]]; places : (N,) int64, where a sample is in ``order``; classes : (N,) int64, −1 where
    it is not known, which are in no class; returns (n,) int64
    """
    rows = xp.asarray(rows, np.int64)
    u = uniform(key, stream, step, 0, rows, 1, np.float64)[:, 0]
    own = xp.maximum(classes[rows], 0)
    first, others = begins[own], begins[own + 1] - begins[own] - 1
    number = (u * others).astype(np.int64)
    number += number >= places[rows] - first
    alone = (classes[rows] < 0) | (others < 1)
    return xp.where(alone, rows, order[xp.where(alone, 0, first + number)])


def add_rows(G, index, n):
    """Sums (n, D) of the rows of G that have the same index.

    G : (m, D); index : (m,) int64, below n
    Cost: a sort of the index; memory: three numbers a row
    """
    G, index = array("G", G), array("index", index, np.int64)
    out, order = xp.empty((n, G.shape[1]), G.dtype), xp.argsort(index, kind="stable").astype(np.int64, copy=False)
    begins = xp.searchsorted(index[order], xp.arange(n + 1)).astype(np.int64, copy=False)
    launch("contrastive", "add_rows", G.dtype, blocks_for(out.size), G, order, begins, n, G.shape[1], out)
    return out
