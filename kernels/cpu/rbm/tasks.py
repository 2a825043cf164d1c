"""How the rows of ``kernels.cpu.rbm`` become tasks, and how the tasks' statistics become a gradient.

Bounds depend on shapes and on the assignment alone, so it does not matter how many threads share the tasks.
"""

from functools import lru_cache

import numpy as np

from .._engine import pool
from .._engine.arrays import empty, plain
from ..assign import CHUNK
from ..autoencoder.tasks import group
from ..philox import _rows as checked_rows
from . import single
from .blocks import own_hidden, statistics
from .products import products

TASKS = 8  # of a call, if its rows are enough: more would be shorter products
_ROWS = 64, 256  # fewest and most of a task: short products are slow, and a task's buffers are to stay in cache
_PARTS, _FEATURES = 4, 64  # tasks of the gradient, likewise, and the fewest features of one


def words(key, stream, step):
    """The key, step and stream as (4,) uint32."""
    return np.array([key[0], key[1], step, stream], np.uint32)


def places(rows, k, d, m):
    """``rows`` as int64; an error where their random numbers would be beyond the last."""
    return checked_rows(rows, k * max(d, m))


@lru_cache(maxsize=16)
def chain_places(M, k, d, m):
    """Rows 0 … M − 1, as `places`; not to be written to."""
    return places(np.arange(M), k, d, m)


def hidden_units(params, k, d):
    """M, the number of a cluster's hidden units."""
    return (len(params) - d) // (k * (d + 1))


def even(size, longest, start=0):
    """Slices that cut ``size`` rows from ``start`` on into blocks of up to ``longest``, of about equal length."""
    pieces = -(-size // longest) or 1
    return pool.blocks(size, -(-size // pieces) or 1, start)


def block_rows(n, clusters):
    """Rows of a task where each of n samples is computed under that many clusters."""
    return min(max(-(-n * clusters // TASKS), _ROWS[0]), _ROWS[1])


def row_tasks(n, k):
    """Tasks (j, rows): every cluster with every sample."""
    return [(j, rows) for rows in even(n, block_rows(n, k)) for j in range(k)]


def own_rows(assign, k):
    """The samples in the order of their clusters, and each cluster's as a list of k arrays."""
    order, bounds, _ = group(assign, k)
    bounds = bounds.tolist()
    return order, [order[bounds[j] : bounds[j + 1]] for j in range(k)]


def own_tasks(assign, k):
    """The samples in the order of their clusters, and tasks (j, slice of that order)."""
    order, own = own_rows(assign, k)
    longest, start, tasks = block_rows(len(assign), 1), 0, []
    for j, index in enumerate(own):
        tasks += [(j, rows) for rows in even(len(index), longest, start) if len(index)]
        start += len(index)
    return order, tasks


def probabilities(params, X, centers, assign):
    """σ(a + Wᵀ(x − c)) of every sample under its own cluster, (n, m)."""
    P = np.empty((len(X), hidden_units(params, *centers.shape)), X.dtype)
    order, tasks = own_tasks(assign, len(centers))
    found = products(X.dtype)
    pool.parallel(
        lambda task: own_hidden(params, X, order, task[1].start, task[1].stop, task[0], centers, P, found), tasks
    )
    return P


def single_applies(k, n, M, n_steps):
    """Whether ``rbm_single`` is the way for a batch of n samples and M chains of k machines: a function of shape."""
    return k == 1 and 0 < n <= CHUNK and M <= CHUNK and n_steps > 0


def single_step(params, X, centers, weights, visible, n_steps, draw, rows, chains, hidden):
    """One machine's L (n, 1) and gradient (p,); for chains (M, d), L is F of the samples less the mean of theirs.

    hidden : (M, m), the chains' hidden units; without chains, which then begin at the samples, both are (0, ·)
    """
    own, function = len(chains) == 0, single.thread_function(X.dtype)
    params, weights = plain(params, X.dtype), plain(weights, X.dtype)
    V = np.empty_like(X) if own else chains
    plan, (board, seats) = single.plan(len(X), len(V), X.shape[1], own, n_steps), pool.summon(single.TASKS)
    L, gradient = np.empty((len(X), 1), X.dtype), empty(params.shape, X.dtype)
    single.step(
        *(board, seats, function.address, *plan, params, X, centers, weights),
        *(visible, own, n_steps, draw, rows, V, hidden, products(X.dtype), L, gradient),
    )
    return L, gradient


class Gradient:
    """Sums of −w v σ(a + Wᵀv)ᵀ and so on, chunk by chunk, in the working dtype within a chunk and float64 across.

    n : samples; M : chains of a cluster, where there are any
    """

    def __init__(self, params, k, d, visible, n, M=0):
        self._params, self._b, self._visible = params, params[len(params) - d :], visible
        self._gradient = empty(params.shape, params.dtype) if n or M else np.zeros_like(params)
        self._total = np.zeros(len(params) if max(n, M) > CHUNK else 0)
        self._sums = np.zeros((k, d))
        parts = even(d, max(_FEATURES, -(-d // -(-_PARTS // k))))
        self._tasks = [(j, part.start, part.stop) for j in range(k) for part in parts]

    def add(self, X, centers, own, weights, P0, V, others, share, PK):
        """Add Σ w ∂F over every cluster's ``own`` samples, and take off that over ``others``.

        own, others : k arrays of int64, rows of X, weights and P0[j], and of V[j], share[j] and PK[j]
        """
        found = products(X.dtype)

        def task(task):
            j, left, right = task
            statistics(
                *(j, left, right, X, centers, own[j], weights, P0[j], V[j], others[j], share[j], PK[j]),
                *(self._b, self._visible, self._gradient, self._total, self._sums, found),
            )

        pool.parallel(task, self._tasks)

    def result(self):
        """The gradient, (p,)."""
        if len(self._total):
            self._gradient[:] = self._total
        self._gradient[len(self._gradient) - len(self._b) :] = self._sums.sum(axis=0)
        return self._gradient
