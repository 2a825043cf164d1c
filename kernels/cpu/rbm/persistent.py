"""Persistent contrastive divergence, the chains' and the samples' tasks side by side; names as in the package."""

import numpy as np

from .._engine import pool
from .._engine.arrays import plain
from ..assign import CHUNK
from ..assign import assign as lowest
from . import walk
from .tasks import (
    Gradient,
    chain_and_data_tasks,
    chain_places,
    chain_terms,
    data_terms,
    joined,
    less,
    own_probabilities,
    own_rows,
)
from .walk import machines, words


def persistent_losses_and_gradient(
    params, X, centers, assign, weights, visible, chains, hidden, n_steps, key, stream, step
):
    """Persistent contrastive divergence: L[i, j] = F_j(v⁰) − mean over cluster j's chains of F_j.

    The chains go on from where the last batch left them; they belong to no sample, so the gradient of
    Σ_i w_i L[i, s_i] is Σ_i w_i ∂F(v⁰_i) − Σ_j (Σ_{i of j} w_i) · mean_chains ∂F_j. A step goes h → v → h: the last
    probabilities of hidden units are those of the gradient and of the next step's h, which saves a product.

    chains : (k, M, d) float, where the visible units stand; hidden : (k, M, m) float, bits, where the hidden ones do,
    from which chains go on; both are moved on by ``n_steps``; random numbers of chain c as of row c
    assign : (n,) int64 or None; returns (L (n, k), assign (n,) int64, gradient (p,))
    Cost: 2 n k d m + 4 n_steps k M d m flops, 2 (n + k M) d m for the gradient, 4 n d m more without ``assign``
    """
    params, X, weights, centers = plain(params), plain(X), plain(weights), plain(centers, X.dtype)
    (k, M, d), n, moving, units = chains.shape, len(X), plain(chains, X.dtype), plain(hidden, X.dtype)
    each, first, m = machines(params, k, d), words(key, 0, step, stream), hidden.shape[2]
    random = chain_places(M, k, d, m)
    if assign is None and k == 1:
        assign = np.zeros(n, np.int64)
    known, s = assign is not None, np.empty(n, np.int64) if assign is None else plain(assign, np.int64)
    L, F, PK, P0 = (np.empty(shape, X.dtype) for shape in ((n, k), (k, M), (k, M, m), (min(n, CHUNK), m)))
    chunks, walks = pool.blocks(n, CHUNK) or [slice(0, 0)], pool.blocks(M, CHUNK)
    gradient = Gradient(params, k, d, visible, max(len(chunks), len(walks)))

    def block(task):
        part, j, rows = task
        if part is None:
            # 1. chains
            F[j, rows], PK[j, rows] = walk.persist(
                each[j], visible, moving[j, rows], units[j, rows], n_steps, first, random[rows]
            )
            return
        L[part][rows, j], P = walk.free_energies(each[j], visible, less(X[part][rows], centers[j]))
        if known:
            own = rows if k == 1 else rows.start + np.flatnonzero(s[part][rows] == j)
            P0[own] = P if k == 1 else P[own - rows.start]

    with pool.single_blas_thread():
        for part in chunks:
            x, w = X[part], weights[part]
            pool.parallel(block, chain_and_data_tasks(M if part.start == 0 else 0, part, k))
            # 2. difference of free energies
            with np.errstate(all="ignore"):  # infinite where parameters diverge
                L[part] -= F.mean(axis=1, dtype=np.float64).astype(X.dtype)
            # 3. assignment
            if not known:
                s[part] = lowest(L[part])
                P0[: len(x)] = own_probabilities(each, x, centers, s[part])
            # 4. gradient: data less chains
            terms = data_terms(x, own_rows(s[part], k), centers, -w, [P0] * k)
            if part is chunks[-1]:  # only now is every cluster's share of the weight known
                share = np.bincount(s, weights, k) / M
                terms = joined(terms, chain_terms(moving, walks[0], share, PK))
            gradient.add(terms)
        for rows in walks[1:]:
            gradient.add(chain_terms(moving, rows, share, PK))
    _write_back(chains, moving)
    _write_back(hidden, units)
    return L, s, gradient.result()


def _write_back(array, moved):
    """What became of an array that had to be copied to be worked on."""
    if moved is not array:
        array[...] = moved
