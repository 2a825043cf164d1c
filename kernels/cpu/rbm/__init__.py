"""Numba twin of ``reference.rbm``: tensorized restricted Boltzmann machines.

The formulas are in ``walk``, compiled: a block of rows under one machine goes along its chain, with products by BLAS or
faster ones (``products``), and around them one pass over memory for bias, sigmoid, random number, comparison and free
energy (``units``). Here blocks become tasks for the threads of ``pool``; their bounds depend on shapes and on the
assignment alone, and nothing depends on how many threads there are.

Everywhere: n samples, d visible and m hidden units, k clusters, p parameters; params (p,), X and V (n, d), centers
(k, d), weights (n,), all of one float dtype; assign (n,) int64; rows (n,) ints, the samples' places in the data;
visible : int, BERNOULLI or GAUSSIAN.
"""

import numpy as np

from .._engine import pool
from .._engine.arrays import plain
from ..assign import CHUNK
from ..assign import assign as lowest
from ..philox import checked_rows
from . import walk
from .annealing import anneal
from .persistent import persistent_losses_and_gradient as persistent_losses_and_gradient
from .tasks import (
    Gradient,
    Kept,
    block_rows,
    chain_places,
    data_terms,
    even,
    groups_of,
    less,
    own_probabilities,
    own_rows,
    own_tasks,
    places,
    row_tasks,
)
from .units import BERNOULLI, GAUSSIAN, add_normals, draw_bits, probabilities
from .walk import VISIBLE_STREAM as VISIBLE_STREAM
from .walk import machines, words

VISIBLE = {"bernoulli": BERNOULLI, "gaussian": GAUSSIAN}


def bernoulli_units(A, offset, key, stream, step, substep, rows, width, column):
    """Binary units: 1 where u < σ(A + offset), else 0.

    A : (n, m) float; offset : (m,) float; u of row i, unit l is the uniform of element rows[i]·width + column + l
    returns (n, m) float. For equal A + offset the bits are equal on all backends
    Cost: a quarter of a block of random words and one exponential a unit
    """
    out = np.array(A, order="C")
    offset, rows, numbers = plain(offset), checked_rows(rows, width), words(key, substep, step, stream)

    def block(part):
        # 1. pre-activation
        probabilities(out[part], A.dtype.type(1), offset)
        # 2. random number and comparison
        draw_bits(out[part], numbers, rows[part], width, column)

    pool.parallel(block, even(len(A), block_rows(len(A), 1)))
    return out


def gaussian_units(A, offset, key, stream, step, substep, rows, width, column):
    """Real units of unit variance: A + offset + z, z standard normal.

    A : (n, m) float; offset : (m,) float; z of row i, unit l is the normal of element rows[i]·width + column + l
    returns (n, m) float
    Cost: half a block of random words, a logarithm, a root and a cosine a unit
    """
    out = np.array(A, order="C")
    offset, rows, numbers = plain(offset), checked_rows(rows, width), words(key, substep, step, stream)
    pool.parallel(
        lambda part: add_normals(out[part], A.dtype.type(1), offset, numbers, rows[part], width, column),
        even(len(A), block_rows(len(A), 1)),
    )
    return out


def free_energy(params, X, centers, visible):
    """F[i, j] = F_j(x_i − c_j).

    returns F (n, k)
    Cost: 2 n k d m flops; memory n k and a block of pre-activations, never n k m
    """
    params, X, centers = plain(params), plain(X), plain(centers, X.dtype)
    each, F = machines(params, *centers.shape), np.empty((len(X), len(centers)), X.dtype)

    def block(task):
        j, rows = task
        # 1. centre
        V = less(X[rows], centers[j])
        # 2. free energy
        F[rows, j] = walk.free_energies(each[j], visible, V)[0]

    with pool.single_blas_thread():
        pool.parallel(block, row_tasks(len(X), len(centers)))
    return F


def hidden_probabilities(params, X, centers, assign):
    """p(h = 1 | v) = σ(a + Wᵀv) under each sample's own cluster, v = x − c.

    returns (n, m)
    Cost: 2 n d m flops
    """
    params, X, centers, assign = plain(params), plain(X), plain(centers, X.dtype), plain(assign, np.int64)
    with pool.single_blas_thread():
        return own_probabilities(machines(params, *centers.shape), X, centers, assign)


def visible_means(params, H, assign, centers, visible):
    """E[v | h] + c under each sample's own cluster: σ(b + W h) + c, or b + W h + c for Gaussian units.

    H : (n, m) float; returns (n, d), in input space
    Cost: 2 n d m flops
    """
    params, H, centers, assign = plain(params), plain(H), plain(centers, H.dtype), plain(assign, np.int64)
    each, X = machines(params, *centers.shape), np.empty((len(H), centers.shape[1]), H.dtype)

    def block(task):
        j, rows = task
        # 1. visible means
        # 2. un-centre
        X[rows] = walk.visible_means(each[j], visible, H[rows]) + centers[j]

    with pool.single_blas_thread():
        pool.parallel(block, own_tasks(assign, len(centers)))
    return X


def gibbs(params, k, V, assign, visible, n_steps, key, stream, step, substep, rows):
    """Chains of block Gibbs sampling, each under its own cluster: v → h → v → … → v.

    Step t (t = substep … substep + n_steps − 1) samples hidden units given v, then visible units given these.

    V : (n, d), where the chains stand, in their cluster's coordinates; returns (n, d)
    Cost: 4 n d m n_steps flops, and d + m random numbers a step
    """
    params, assign, V = plain(params), plain(assign, np.int64), np.array(V, order="C")
    each = machines(params, k, V.shape[1])
    random, first = places(rows, k, V.shape[1], len(each[0].a)), words(key, substep, step, stream)

    def block(task):
        j, rows = task
        v = V[rows].copy()
        walk.diverge(each[j], visible, v, walk.hidden_probabilities(each[j], v), n_steps, first, random[rows])
        V[rows] = v

    with pool.single_blas_thread():
        pool.parallel(block, own_tasks(assign, k))
    return V


def mean_field_losses(params, X, centers, visible, n_steps):
    """L[i, j] = F_j(v⁰) − F_j(v^K), with means instead of samples along the chain: deterministic.

    returns L (n, k)
    Cost: (4 n_steps + 2) n k d m flops
    """
    params, X, centers = plain(params), plain(X), plain(centers, X.dtype)
    each, L = machines(params, *centers.shape), np.empty((len(X), len(centers)), X.dtype)

    def block(task):
        j, rows = task
        # 1. centre
        F, P = walk.free_energies(each[j], visible, less(X[rows], centers[j]))
        last = F
        # 2. chain of means
        with np.errstate(all="ignore"):
            for _ in range(n_steps):
                last, P = walk.free_energies(each[j], visible, walk.visible_means(each[j], visible, P))
            # 3. difference of free energies
            L[rows, j] = F - last

    with pool.single_blas_thread():
        pool.parallel(block, row_tasks(len(X), len(centers)))
    return L


def energy_gradient(params, k, V, assign, weights, visible):
    """Gradient of Σ_i w_i F_{s_i}(v_i) with respect to the parameters.

        ∂F/∂W = −v σ(a + Wᵀv)ᵀ,     ∂F/∂a = −σ(a + Wᵀv),     ∂F/∂b = −v  or  b − v for Gaussian units

    V : (n, d), in the coordinates of each row's cluster; weights : (n,), of either sign
    returns (p,), a sum over samples
    Cost: 4 n d m flops
    """
    params, V, assign, weights = plain(params), plain(V), plain(assign, np.int64), plain(weights)
    d, chunks = V.shape[1], pool.blocks(len(V), CHUNK)
    centers, each = np.zeros((k, d), V.dtype), machines(params, k, d)
    gradient = Gradient(params, k, d, visible, len(chunks))
    with pool.single_blas_thread():
        for rows in chunks:
            # 1. hidden probabilities
            P = own_probabilities(each, V[rows], centers, assign[rows])
            # 2. statistics
            own = own_rows(assign[rows], k)
            gradient.add(data_terms(V[rows], own, centers, -weights[rows], [P] * k))
    return gradient.result()


def losses_and_gradient(params, X, centers, assign, weights, visible, n_steps, every, key, stream, step, rows):
    """Contrastive divergence: L[i, j] = F_j(v⁰) − F_j(v^K), and the gradient of Σ_i w_i L[i, s_i].

    s = argmin_j L where ``assign`` is None. v^K is a constant of the gradient, which is therefore
    Σ w (∂F(v⁰) − ∂F(v^K)) of the assigned cluster's chain.

    assign : (n,) int64 or None; every : bool, whether all columns of L are wanted; without, chains run under the
    assigned cluster alone, and the other columns are 0
    returns (L (n, k), assign (n,) int64, gradient (p,)), the gradient a sum over samples
    Cost: (4 n_steps + 2) n k d m flops (k = 1 in effect without ``every``), and 4 n d m for the gradient; memory:
    a chunk of samples' units, those of their own cluster or of a few
    """
    params, X, weights, centers = plain(params), plain(X), plain(weights), plain(centers, X.dtype)
    (k, d), n = centers.shape, len(X)
    each = machines(params, k, d)
    random, first = places(rows, k, d, len(each[0].a)), words(key, 0, step, stream)
    if assign is None and k == 1:
        assign = np.zeros(n, np.int64)
    known, s = assign is not None, np.empty(n, np.int64) if assign is None else plain(assign, np.int64)
    L, chunks = np.zeros((n, k), X.dtype), pool.blocks(n, CHUNK)
    gradient = Gradient(params, k, d, visible, len(chunks))

    def chunk(X, s, weights, random, L):
        if every or not known:
            tasks, slots = groups_of(len(X), k)
        else:
            tasks = [(rows, j, j + 1) for j, rows in own_tasks(s, k)]
        kept = Kept([0] * k if known else slots, len(X), d, len(each[0].a), X.dtype)

        def block(task):
            rows, left, right = task
            least = np.full(len(X[rows]), np.inf)
            for j in range(left, right):
                # 1. centre
                V = X[rows] - centers[j]
                F, P0 = walk.free_energies(each[j], visible, V)
                # 2. chain
                walk.diverge(each[j], visible, V, P0, n_steps, first, random[rows])
                last, P = walk.free_energies(each[j], visible, V)
                # 3. difference of free energies
                with np.errstate(all="ignore"):  # infinite where parameters diverge
                    L[rows, j] = loss = F - last
                if known and not every:
                    kept.take(j, rows, P0, V, P)
                    continue
                own = np.flatnonzero(s[rows] == j if known else (loss < least) | (j == left))
                least[own] = loss[own]
                kept.take(j, rows.start + own, P0[own], V[own], P[own])

        pool.parallel(block, tasks)
        # 4. assignment
        if not known:
            s[:] = lowest(L)
        # 5. gradient: data less chain
        gradient.add(kept.terms(X, own_rows(s, k), centers, weights))

    with pool.single_blas_thread():
        for rows in chunks:
            chunk(X[rows], s[rows], weights[rows], random[rows], L[rows])
    return L, s, gradient.result()


def ais(params, base, visible, betas, n_chains, key, stream, step):
    """Annealed importance sampling: log weights whose mean exponential is Z_j / Z⁰_j; see ``reference.rbm.ais``.

    base : (k, d) float; betas : (T,) float64, from 0 up to 1; random numbers of chain c as of row c, substep t
    returns (k, n_chains) float64
    Cost: 4 k n_chains T d m flops
    """
    params, base, betas = plain(params), plain(base, params.dtype), plain(betas, np.float64)
    (k, d), log_weights = base.shape, np.empty((len(base), n_chains))
    each = machines(params, k, d)
    random = chain_places(n_chains, k, d, len(each[0].a))

    def block(task):
        j, rows = task
        log_weights[j, rows] = anneal(each[j], visible, base[j], betas, key, step, stream, random[rows])

    with pool.single_blas_thread():
        pool.parallel(block, row_tasks(n_chains, k))
    return log_weights
