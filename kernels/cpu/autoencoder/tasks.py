"""How samples become tasks, and how the tasks' gradients become one.

A task is (j, lo, hi): the samples ``order[lo:hi]``, at most 1024, all of cluster j, or of any for j = -1.
Within it sums are in the working dtype, across tasks in float64, in the tasks' order. Tasks depend on shapes and
on the assignment alone, so it does not matter how many threads share them.
"""

import numpy as np
from numba import njit
from numba.extending import register_jitable

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@register_jitable(error_model="numpy", fastmath=False)
def sort_by_cluster(index, assign, k):
    """Samples sorted by their cluster, stably.

    index : (b,) int64, rows of the data; assign : (n,) int64; returns (b,) int64
    """
    order = np.empty(len(index), np.int64)
    _sort(index, assign, np.zeros(k + 1, np.int64), order)
    return order


@_jit
def _sort(index, assign, place, order):
    """place : (k + 1,) zeros, overwritten; order : (b,), overwritten."""
    for i in index:
        place[assign[i] + 1] += 1
    for j in range(len(place) - 1):
        place[j + 1] += place[j]
    for i in index:
        order[place[assign[i]]] = i
        place[assign[i]] += 1


def group(s, k):
    """Rows grouped by cluster: order (m,), of which j's are bounds[j] … bounds[j + 1] − 1, and its inverse, place (m,).

    s : (m,) int64
    """
    order = sort_by_cluster(np.arange(len(s)), s, k)
    bounds, place = np.zeros(k + 1, np.int64), np.empty(len(s), np.int64)
    _group(s, order, bounds, place)
    return order, bounds, place


@_jit
def _group(s, order, bounds, place):
    for r in range(len(s)):
        place[order[r]] = r
        bounds[s[r] + 1] += 1
    for j in range(len(bounds) - 1):
        bounds[j + 1] += bounds[j]


@register_jitable(error_model="numpy", fastmath=False)
def row_tasks(n, size):
    """Tasks of ``size`` samples of any cluster: (n_tasks, 3) int64."""
    tasks = np.empty(((n + size - 1) // size, 3), np.int64)
    _cut(n, size, tasks)
    return tasks


@_jit
def _cut(n, size, tasks):
    for t in range(len(tasks)):
        tasks[t, 0], tasks[t, 1], tasks[t, 2] = -1, t * size, min((t + 1) * size, n)


@_jit
def cluster_tasks(order, assign, k, size):
    """Tasks of one cluster each: (n_tasks, 3) int64.

    Up to ``size`` samples, a multiple of 8; a cluster's are about equally many, in eights, in which they are computed.

    order : (b,) int64, sorted by cluster
    """
    tasks = np.empty((len(order) // 8 + k, 3), np.int64)
    count = start = 0
    while start < len(order):
        j, end = assign[order[start]], start
        while end < len(order) and assign[order[end]] == j:
            end += 1
        pieces = (end - start + size - 1) // size
        step = ((end - start + pieces - 1) // pieces + 7) // 8 * 8
        for first in range(start, end, step):
            tasks[count, 0], tasks[count, 1], tasks[count, 2] = j, first, min(first + step, end)
            count += 1
        start = end
    return tasks[:count]


@_jit
def add_parts(parts, gradient):
    """The gradient from those of the tasks, added up in float64 in their order.

    parts : (n_tasks, p) float; gradient : (p,) float, overwritten
    """
    total = np.zeros(len(gradient))
    for t in range(len(parts)):
        for i in range(len(gradient)):
            total[i] += parts[t, i]
    for i in range(len(gradient)):
        gradient[i] = total[i]
