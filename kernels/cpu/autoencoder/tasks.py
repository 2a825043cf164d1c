"""How samples become tasks.

A task is (j, lo, hi): the samples ``order[lo:hi]``, at most 1024, all of cluster j, or of any for j = −1. Within it
sums are in the working dtype, across tasks in float64, in the tasks' order. Tasks depend on shapes and on the
assignment alone, so it does not matter how many threads share them.
"""

import numpy as np
from numba import njit
from numba.extending import register_jitable

from ..assign import CHUNK


@register_jitable(error_model="numpy", fastmath=False)
def sort_by_cluster(index, assign, k):
    """Samples sorted by their cluster, stably.

    index : (b,) int64, rows of the data; assign : (n,) int64; returns (b,) int64
    """
    order = np.empty(len(index), np.int64)
    _sort(index, assign, np.zeros(k + 1, np.int64), order)
    return order


@njit(nogil=True, cache=True, error_model="numpy", fastmath=False)
def _sort(index, assign, place, order):
    """place : (k + 1,) zeros, overwritten; order : (b,), overwritten."""
    for i in index:
        place[assign[i] + 1] += 1
    for j in range(len(place) - 1):
        place[j + 1] += place[j]
    for i in index:
        order[place[assign[i]]] = i
        place[assign[i]] += 1


def task_size(n):
    """Samples of a task: at most a chunk, and enough tasks for several threads."""
    return min(CHUNK, max(128, n // 1024 * 128))


def row_tasks(n, size):
    """Tasks of ``size`` samples of any cluster: (n_tasks, 3) int64."""
    return _table([(-1, lo, min(lo + size, n)) for lo in range(0, n, size)])


def cluster_tasks(assign, k, size):
    """Tasks of one cluster each, of samples sorted by cluster: (n_tasks, 3) int64.

    Up to ``size`` samples, a multiple of 8; a cluster's are about equally many, in eights, in which they are computed.

    assign : (n,) int64
    """
    tasks, end = [], 0
    for j, count in enumerate(np.bincount(assign, minlength=k).tolist()):
        start, end = end, end + count
        pieces = -(-count // size) or 1
        step = -(-count // (8 * pieces)) * 8 or 1
        tasks += [(j, lo, min(lo + step, end)) for lo in range(start, end, step)]
    return _table(tasks)


def _table(tasks):
    return np.array(tasks, np.int64).reshape(len(tasks), 3)
