"""How the rows of ``kernels.cpu.rbm`` become tasks, and how the tasks' statistics become a gradient.

Bounds depend on shapes and on the assignment alone, so it does not matter how many threads share the tasks.
"""

from collections import namedtuple
from functools import lru_cache

import numpy as np

from .._engine import pool
from ..philox import checked_rows
from .products import product
from .units import GAUSSIAN
from .walk import hidden_probabilities, views

TASKS = 8  # of a call, if its rows are enough: more would be shorter products
_ROWS = 64, 256  # fewest and most of a task: short products are slow, and a task's rows are to stay in cache
_PARTS, _FEATURES = 4, 64  # tasks of the gradient, likewise, and the fewest features of one

# Rows' part of a gradient: rows (slice or ints) of V (·, d), less ``center`` (d,), with weights, which are negative
# for what lowers the loss, and P (len(rows), m), the weights times the probabilities of hidden units
Term = namedtuple("Term", "V rows center weights P")


def term(V, rows, center, weights, P):
    """Term of P (·, m) without weights."""
    return Term(V, rows, center, weights, weights[:, None] * P[rows])


def places(rows, k, d, m):
    """``rows`` as int64; an error where their random numbers would be beyond the last."""
    return checked_rows(rows, k * max(d, m))


@lru_cache(maxsize=16)
def chain_places(M, k, d, m):
    """Rows 0 … M − 1, as `places`; not to be written to."""
    return places(np.arange(M), k, d, m)


def even(size, longest, start=0):
    """Slices that cut ``size`` rows from ``start`` on into blocks of up to ``longest``, of about equal length."""
    pieces = -(-size // longest) or 1
    return pool.blocks(size, -(-size // pieces) or 1, start)


def block_rows(n, clusters):
    """Rows of a task where each of n samples is computed under that many clusters."""
    return min(max(-(-n * clusters // TASKS), _ROWS[0]), _ROWS[1])


def row_tasks(n, k):
    """Tasks (j, slice): every cluster with every row."""
    return [(j, rows) for rows in even(n, block_rows(n, k)) for j in range(k)]


def chain_and_data_tasks(M, part, k):
    """Tasks (None, j, slice) of M chains and (part, j, slice) of the samples of a part, slice.

    Each end of the list, where threads begin, gets half of the chains', which are longer.
    """
    chains = [(None, *task) for task in row_tasks(M, k)] if M else []
    data, half = [(part, *task) for task in row_tasks(part.stop - part.start, k)], len(chains) // 2
    return [*chains[:half], *data, *chains[half:]]


def own_rows(assign, k):
    """Each cluster's rows, list of k arrays of ints; a slice where there is one cluster."""
    if k == 1:
        return [slice(0, len(assign))]
    return np.split(np.argsort(assign, kind="stable"), np.cumsum(np.bincount(assign, minlength=k))[:-1])


def own_tasks(assign, k):
    """Tasks (j, rows) of each cluster's own rows; rows : slice or ints."""
    longest = block_rows(len(assign), 1)
    if k == 1:
        return [(0, rows) for rows in even(len(assign), longest)]
    return [(j, own[rows]) for j, own in enumerate(own_rows(assign, k)) for rows in even(len(own), longest)]


def own_probabilities(each, X, centers, assign):
    """σ(a + Wᵀv) of every sample under its own cluster's machine, (n, m). each : list of Machine"""
    P = np.empty((len(X), len(each[0].a)), X.dtype)

    def block(task):
        j, rows = task
        # 1. centre
        V = less(X[rows], centers[j])
        # 2. hidden probabilities
        P[rows] = hidden_probabilities(each[j], V)

    pool.parallel(block, own_tasks(assign, len(each)))
    return P


def less(V, center):
    """V − c, or V itself where that is the same."""
    return V - center if center.any() else V


class Gradient:
    """Σ w ∂F, chunk by chunk of rows: in the working dtype within a chunk, in float64 across.

    chunks : int, how many there will be
    """

    def __init__(self, params, k, d, visible, chunks):
        self._out = np.zeros_like(params)  # the part of b is added up elsewhere, and memory may hold anything
        self._sums = np.zeros_like(params, np.float64) if chunks > 1 else None
        self._b, self._visible, self._sums_b = params[len(params) - d :], visible, np.zeros((k, d))
        self._k, self._d, parts = k, d, even(d, max(_FEATURES, -(-d // -(-_PARTS // k))))
        self._tasks = [(j, part) for j in range(k) for part in parts]

    def add(self, terms):
        """Add a chunk of at most 1024 rows a term. terms : list of k lists of Term"""
        W, a, _ = views(self._out, self._k, self._d)

        def part(task):
            j, features = task
            for number, (V, rows, center, weights, P) in enumerate(terms[j]):
                V = less(V[rows][:, features], center[features])
                with np.errstate(all="ignore"):  # what overflows is infinite, and found later
                    # ∂F/∂W = −v σ(a + Wᵀv)ᵀ, ∂F/∂a = −σ(a + Wᵀv)
                    product(np.ascontiguousarray(V.T), P, W[j, features], number > 0)
                    if features.start == 0:
                        a[j] = P.sum(axis=0) + (a[j] if number else 0)
                    # ∂F/∂b = −v, or b − v
                    self._sums_b[j, features] += weights @ (V - self._b[features] if self._visible == GAUSSIAN else V)

        pool.parallel(part, self._tasks)
        if self._sums is not None:
            self._sums += self._out

    def result(self):
        """The gradient (p,)."""
        if self._sums is not None:
            self._out[:] = self._sums
        views(self._out, self._k, self._d)[2][:] = self._sums_b.sum(axis=0)
        return self._out


def data_terms(X, own, centers, weights, P):
    """Terms of samples, list of k lists of one. own : as of ``own_rows``; P : list of k arrays (n, m)"""
    return [[term(X, rows, centers[j], weights[rows], P[j])] for j, rows in enumerate(own)]


def chain_terms(chains, rows, weights, P):
    """Terms of some rows of every cluster's persistent chains. weights : (k,), of a chain of each cluster"""
    k, _, d = chains.shape
    count = rows.stop - rows.start
    return [[term(chains[j], rows, np.zeros(d, P.dtype), np.full(count, weights[j], P.dtype), P[j])] for j in range(k)]


class Kept:
    """What the gradient needs of a chunk's chains: each sample's under its own cluster.

    Where that is not known yet, of every group of clusters that under the one with the lowest loss.

    slots : list of k ints, each cluster's group; n, d, m : samples, visible and hidden units
    """

    def __init__(self, slots, n, d, m, dtype):
        self._slots = slots
        self._P0, self._V, self._P = (np.empty((slots[-1] + 1, n, width), dtype) for width in (m, d, m))

    def take(self, j, rows, P0, V, P):
        """Of rows (slice or ints) under cluster j: probabilities (·, m) where chains begin, and V (·, d), P at ends."""
        for kept, array in ((self._P0, P0), (self._V, V), (self._P, P)):
            kept[self._slots[j], rows] = array

    def terms(self, X, own, centers, weights):
        """Data less chains, for ``Gradient``. own : as of ``own_rows``"""
        P0, V, P = ([kept[slot] for slot in self._slots] for kept in (self._P0, self._V, self._P))
        return joined(
            data_terms(X, own, centers, -weights, P0),
            [[term(V[j], rows, np.zeros_like(centers[j]), weights[rows], P[j])] for j, rows in enumerate(own)],
        )


def joined(one, other):
    """Each cluster's terms of both."""
    return [[*a, *b] for a, b in zip(one, other, strict=True)]


def groups_of(n, k):
    """Tasks (rows, first cluster, next) of every sample under every cluster, and each cluster's group, list of ints."""
    rows = even(n, block_rows(n, k))
    count = min(k, -(-TASKS // len(rows)))
    groups = [(k * g // count, k * (g + 1) // count) for g in range(count)]
    tasks = [(part, *group) for part in rows for group in groups]
    return tasks, [g for g, group in enumerate(groups) for _ in range(*group)]
