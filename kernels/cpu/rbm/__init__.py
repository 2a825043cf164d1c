"""Numba twin of ``reference.rbm``: tensorized restricted Boltzmann machines.

Samples are cut into blocks of rows, and a task is all that happens to a block under a cluster or a few: products by
BLAS, and around each one pass over memory for bias, sigmoid, random number, comparison and free energy
(``rbm_blocks``, ``rbm_units``). Bounds of blocks depend on shapes and on the assignment alone; tasks go to the threads
of ``pool``, and nothing depends on how many there are.

Everywhere: n samples, d visible and m hidden units, k clusters, p parameters; params (p,), X and V (n, d), centers
(k, d), weights (n,), all of one float dtype; assign (n,) int64; rows (n,) ints, the samples' places in the data;
visible : int, BERNOULLI or GAUSSIAN.
"""

import numpy as np

from .._engine import pool
from .._engine.arrays import plain
from ..assign import CHUNK
from ..assign import assign as lowest
from ..philox import _rows as checked_rows
from . import blocks as block_tasks
from .blocks import VISIBLE_STREAM as VISIBLE_STREAM
from .products import products
from .tasks import (
    TASKS,
    Gradient,
    block_rows,
    chain_places,
    even,
    hidden_units,
    own_rows,
    own_tasks,
    places,
    probabilities,
    row_tasks,
    single_applies,
    single_step,
    words,
)
from .units import BERNOULLI, GAUSSIAN

VISIBLE = {"bernoulli": BERNOULLI, "gaussian": GAUSSIAN}


def bernoulli_units(A, offset, key, stream, step, substep, rows, width, column):
    """Binary units: 1 where u < σ(A + offset), else 0.

    A : (n, m) float; offset : (m,) float; u of row i, unit l is the uniform of element rows[i]·width + column + l
    returns (n, m) float. For equal A + offset the bits are equal on all backends
    Cost: a quarter of a block of random words and one exponential a unit
    """
    # 1. pre-activation
    # 2. random number and comparison
    return _units(A, offset, False, words(key, stream, step), substep, checked_rows(rows, width), width, column)


def gaussian_units(A, offset, key, stream, step, substep, rows, width, column):
    """Real units of unit variance: A + offset + z, z standard normal.

    A : (n, m) float; offset : (m,) float; z of row i, unit l is the normal of element rows[i]·width + column + l
    returns (n, m) float
    Cost: half a block of random words, a logarithm, a root and a cosine a unit
    """
    # 1. pre-activation
    # 2. random number
    return _units(A, offset, True, words(key, stream, step), substep, checked_rows(rows, width), width, column)


def _units(A, offset, gaussian, draw, substep, rows, width, column):
    out, offset, one = np.array(A, order="C"), plain(offset), A.dtype.type(1)

    def block(part):
        row = np.empty(A.shape[1], A.dtype)
        block_tasks.sample_rows(out[part], one, offset, gaussian, draw, 0, substep, rows[part], width, column, row)

    pool.parallel(block, even(len(A), block_rows(len(A), 1)))
    return out


def free_energy(params, X, centers, visible):
    """F[i, j] = F_j(x_i − c_j).

    returns F (n, k)
    Cost: 2 n k d m flops; memory n k and a block of pre-activations, never n k m
    """
    # 1. centre
    # 2. free energy
    params, X, centers = plain(params), plain(X), plain(centers, X.dtype)
    F, found = np.empty((len(X), len(centers)), X.dtype), products(X.dtype)
    with pool.single_blas_thread():
        pool.parallel(
            lambda task: block_tasks.free_energies(
                params, X, task[1].start, task[1].stop, task[0], centers, visible, F, found
            ),
            row_tasks(len(X), len(centers)),
        )
    return F


def _nothing(dtype, m, d):
    """No places for what the gradient needs."""
    return np.empty((0, 0, m), dtype), np.empty((0, 0, d), dtype), np.empty((0, 0, m), dtype)


def hidden_probabilities(params, X, centers, assign):
    """p(h = 1 | v) = σ(a + Wᵀv) under each sample's own cluster, v = x − c.

    returns (n, m)
    Cost: 2 n d m flops
    """
    params, X, centers, assign = plain(params), plain(X), plain(centers, X.dtype), plain(assign, np.int64)
    # 1. centre
    # 2. hidden probabilities
    with pool.single_blas_thread():
        return probabilities(params, X, centers, assign)


def visible_means(params, H, assign, centers, visible):
    """E[v | h] + c under each sample's own cluster: σ(b + W h) + c, or b + W h + c for Gaussian units.

    H : (n, m) float; returns (n, d), in input space
    Cost: 2 n d m flops
    """
    params, H, centers, assign = plain(params), plain(H), plain(centers, H.dtype), plain(assign, np.int64)
    X, found = np.empty((len(H), centers.shape[1]), H.dtype), products(H.dtype)
    order, own = own_tasks(assign, len(centers))
    # 1. visible means
    # 2. un-centre
    with pool.single_blas_thread():
        pool.parallel(
            lambda task: block_tasks.own_visible(
                params, H, order, task[1].start, task[1].stop, task[0], centers, visible, X, found
            ),
            own,
        )
    return X


def gibbs(params, k, V, assign, visible, n_steps, key, stream, step, substep, rows):
    """Chains of block Gibbs sampling, each under its own cluster: v → h → v → … → v.

    Step t (t = substep … substep + n_steps − 1) samples hidden units given v, then visible units given these.

    V : (n, d), where the chains stand, in their cluster's coordinates; returns (n, d)
    Cost: 4 n d m n_steps flops, and d + m random numbers a step
    """
    params, assign, V = plain(params), plain(assign, np.int64), np.array(V, order="C")
    rows, draw = places(rows, k, V.shape[1], hidden_units(params, k, V.shape[1])), words(key, stream, step)
    (order, own), found = own_tasks(assign, k), products(V.dtype)
    # 1. hidden units
    # 2. visible units
    with pool.single_blas_thread():
        pool.parallel(
            lambda task: block_tasks.own_chains(
                *(params, k, V, order, task[1].start, task[1].stop, task[0], visible, n_steps, draw),
                *(substep, rows, found),
            ),
            own,
        )
    return V


def mean_field_losses(params, X, centers, visible, n_steps):
    """L[i, j] = F_j(v⁰) − F_j(v^K), with means instead of samples along the chain: deterministic.

    returns L (n, k)
    Cost: (4 n_steps + 2) n k d m flops
    """
    params, X, centers = plain(params), plain(X), plain(centers, X.dtype)
    L, k, found = np.empty((len(X), len(centers)), X.dtype), len(centers), products(X.dtype)
    # 1. centre
    # 2. chain of means
    # 3. difference of free energies
    with pool.single_blas_thread():
        pool.parallel(
            lambda task: block_tasks.mean_field(
                params, X, task[1].start, task[1].stop, task[0], centers, visible, n_steps, L, found
            ),
            row_tasks(len(X), k),
        )
    return L


def energy_gradient(params, k, V, assign, weights, visible):
    """Gradient of Σ_i w_i F_{s_i}(v_i) with respect to the parameters.

        ∂F/∂W = −v σ(a + Wᵀv)ᵀ,     ∂F/∂a = −σ(a + Wᵀv),     ∂F/∂b = −v  or  b − v for Gaussian units

    V : (n, d), in the coordinates of each row's cluster; weights : (n,), of either sign
    returns (p,), a sum over samples
    Cost: 4 n d m flops
    """
    params, V, assign, weights = plain(params), plain(V), plain(assign, np.int64), plain(weights)
    centers, none = np.zeros((k, V.shape[1]), V.dtype), [np.empty(0, np.int64)] * k
    gradient = Gradient(params, k, V.shape[1], visible, len(V))
    with pool.single_blas_thread():
        for part in pool.blocks(len(V), CHUNK):
            # 1. hidden probabilities
            P = probabilities(params, V[part], centers, assign[part])
            # 2. statistics
            own = own_rows(assign[part], k)[1]
            gradient.add(V[part], centers, own, weights[part], [P] * k, [V] * k, none, [weights] * k, [P] * k)
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
    m = hidden_units(params, k, d)
    rows, draw = places(rows, k, d, m), words(key, stream, step)
    if assign is None and k == 1:
        assign = np.zeros(n, np.int64)
    known = assign is not None
    s = plain(assign, np.int64) if known else np.empty(n, np.int64)
    if single_applies(k, n, 0, n_steps):
        with pool.single_blas_thread():
            L, gradient = single_step(params, X, centers, weights, visible, n_steps, draw, rows, X[:0], X[:0])
        return L, s, gradient
    L, found = np.zeros((n, k), X.dtype), products(X.dtype)
    gradient = Gradient(params, k, d, visible, n)

    def chunk(X, weights, s, L, rows):
        n, slots = len(X), [0] * k
        if known and not every:
            order, blocks = own_tasks(s, k)
            blocks = [(part, j, j + 1, 0) for j, part in blocks]
        else:
            order, blocks = np.arange(n), even(n, block_rows(n, k))
            groups = k if known else min(k, -(-TASKS // len(blocks)))
            bounds = [k * g // groups for g in range(groups + 1)]
            if not known:
                slots = [g for g in range(groups) for _ in range(bounds[g], bounds[g + 1])]
            blocks = [(part, bounds[g], bounds[g + 1], slots[bounds[g]]) for part in blocks for g in range(groups)]
        P0, VK, PK = (np.empty((slots[-1] + 1, n, width), X.dtype) for width in (m, d, m))
        # 1. centre
        # 2. chain
        # 3. difference of free energies
        pool.parallel(
            lambda task: block_tasks.divergence(
                *(params, X, order, task[0].start, task[0].stop, task[1], task[2], centers, s if known else s[:0]),
                *(visible, n_steps, draw, rows, L, task[3], P0, VK, PK, found),
            ),
            blocks,
        )
        # 4. assignment
        if not known:
            s[:] = lowest(L)
        # 5. gradient: data less chain
        own = own_rows(s, k)[1]
        P0, VK, PK = ([kept[slot] for slot in slots] for kept in (P0, VK, PK))
        gradient.add(X, centers, own, weights, P0, VK, own, [weights] * k, PK)

    with pool.single_blas_thread():
        for part in pool.blocks(n, CHUNK):
            chunk(X[part], weights[part], s[part], L[part], rows[part])
    return L, s, gradient.result()


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
    Cost: 2 n k d m + 4 n_steps k M d m flops, and 2 (n + k M) d m for the gradient, 4 n d m more where the assignment
    is not known before
    """
    params, X, weights, centers = plain(params), plain(X), plain(weights), plain(centers, X.dtype)
    (k, M, d), n, moving, units = chains.shape, len(X), plain(chains, X.dtype), plain(hidden, X.dtype)
    m, draw = hidden_units(params, k, d), words(key, stream, step)
    chain_rows = chain_places(M, k, d, m)
    if assign is None and k == 1:
        assign = np.zeros(n, np.int64)
    known = assign is not None
    s = plain(assign, np.int64) if known else np.empty(n, np.int64)
    if single_applies(k, n, M, n_steps):
        with pool.single_blas_thread():
            L, gradient = single_step(
                params, X, centers, weights, visible, n_steps, draw, chain_rows, moving[0], units[0]
            )
        _write_back(chains, moving)
        _write_back(hidden, units)
        return L, s, gradient
    L, found = np.empty((n, k), X.dtype), products(X.dtype)
    F, PK, index = np.empty((k, M), X.dtype), np.empty((k, M, m), X.dtype), np.arange(n)
    gradient, none, pieces = Gradient(params, k, d, visible, n, M), index[:0], pool.blocks(n, CHUNK)

    def chain(task):
        # 1. chains
        j, rows = task
        block_tasks.persist(params, moving, units, j, rows.start, rows.stop, visible, n_steps, draw, F, PK, found)

    def chunk(part, walks):
        x = X[part]
        P0, VK, _ = _nothing(X.dtype, m, d)
        if known:
            P0 = np.empty((1, len(x), m), X.dtype)

        def data(task):
            block_tasks.divergence(
                *(params, x, index, task[1].start, task[1].stop, task[0], task[0] + 1, centers),
                *(s[part] if known else none, visible, -1, draw, index, L[part], 0, P0, VK, P0[:0], found),
            )

        # Each end of the list, where threads begin, gets half of the longer blocks.
        work, half = [(data, task) for task in row_tasks(len(x), k)], len(walks) // 2
        work = [(chain, task) for task in walks[:half]] + work + [(chain, task) for task in walks[half:]]
        pool.parallel(lambda call: call[0](call[1]), work)
        # 2. difference of free energies
        L[part] -= F.mean(axis=1, dtype=np.float64).astype(X.dtype)
        # 3. assignment
        if not known:
            s[part] = lowest(L[part])
            P0 = probabilities(params, x, centers, s[part])[None]
        # 4. gradient: data less chains
        last = part.stop >= n  # only then is every cluster's share of the weight known
        others = [np.arange(M) if last else none] * k
        share = np.bincount(s, weights, k) / M if last else np.zeros(k)
        share = [np.full(M, w, X.dtype) for w in share]
        own = own_rows(s[part], k)[1]
        gradient.add(x, centers, own, weights[part], [P0[0]] * k, moving, others, share, PK)

    with pool.single_blas_thread():
        for part in pieces or [slice(0, 0)]:
            chunk(part, row_tasks(M, k) if part.start == 0 else [])
    _write_back(chains, moving)
    _write_back(hidden, units)
    return L, s, gradient.result()


def _write_back(array, moved):
    """What became of an array that had to be copied to be worked on."""
    if moved is not array:
        array[...] = moved


def ais(params, base, visible, betas, n_chains, key, stream, step):
    """Annealed importance sampling: log weights whose mean exponential is Z_j / Z⁰_j; see ``reference.rbm.ais``.

    base : (k, d) float; betas : (T,) float64, from 0 up to 1; random numbers of chain c as of row c, substep t
    returns (k, n_chains) float64
    Cost: 4 k n_chains T d m flops
    """
    params, base, betas = plain(params), plain(base, params.dtype), plain(betas, np.float64)
    (k, d), log_weights, draw = base.shape, np.empty((len(base), n_chains)), words(key, stream, step)
    places([0, max(n_chains - 1, 0)], k, d, hidden_units(params, k, d))
    found = products(params.dtype)
    # 1. sample of the base model
    # 2. what the next temperature adds
    # 3. hidden units
    # 4. visible units
    with pool.single_blas_thread():
        pool.parallel(
            lambda task: block_tasks.anneal(
                params, base, task[0], task[1].start, task[1].stop, visible, betas, draw, log_weights, found
            ),
            row_tasks(n_chains, k),
        )
    return log_weights
