"""How samples become tasks, and how the tasks' gradients become one.

A task (j, lo, hi) is a run of samples ``order[lo:hi]`` of one cluster, at most 1024: within it sums
are in the working dtype, across tasks in float64, in the tasks' order. Tasks depend on shapes and on
the assignment alone, so it does not matter how many threads share them.

A task's gradient is that of one cluster's network: the layers one after the other, shared or not, in
the layout of ``local_layers``. With ``transposed`` the weight of the first layer lies as (fan_out, fan_in).
"""

import numpy as np
from numba import njit

_jit = njit(nogil=True, cache=True, error_model="numpy")


@_jit
def local_layers(layers):
    """The table of one cluster's network on its own: (table (n_layers, 6), length of its flat vector)."""
    local = layers.copy()
    size = 0
    for l in range(len(layers)):
        local[l, 2] = 1
        local[l, 3] = size
        size += layers[l, 0] * layers[l, 1]
        if layers[l, 4] >= 0:
            local[l, 4] = size
            size += layers[l, 1]
    return local, size


@_jit
def cluster_tasks(index, assign, k, size):
    """Sort samples by cluster, stably, and cut every cluster's share into tasks of up to ``size`` samples.

    index : (b,) int64, rows of the data; assign : (n,) int64
    returns (order (b,) int64, tasks (n_tasks, 3) int64)
    """
    counts = np.zeros(k, np.int64)
    for i in index:
        counts[assign[i]] += 1
    place, n_tasks, end = np.empty(k, np.int64), 0, 0
    for j in range(k):
        place[j] = end
        end += counts[j]
        n_tasks += (counts[j] + size - 1) // size
    tasks = np.empty((n_tasks, 3), np.int64)
    t = 0
    for j in range(k):
        for start in range(0, counts[j], size):
            tasks[t, 0], tasks[t, 1] = j, place[j] + start
            tasks[t, 2] = place[j] + min(start + size, counts[j])
            t += 1
    order = np.empty(len(index), np.int64)
    for i in index:
        order[place[assign[i]]] = i
        place[assign[i]] += 1
    return order, tasks


@_jit
def row_tasks(n, size):
    """Tasks for samples in any order, of no cluster: (n_tasks, 3) int64."""
    tasks = np.empty(((n + size - 1) // size, 3), np.int64)
    for t in range(len(tasks)):
        tasks[t, 0], tasks[t, 1], tasks[t, 2] = -1, t * size, min((t + 1) * size, n)
    return tasks


@_jit
def add_tasks(parts, tasks, layers, local, transposed, gradient):
    """The whole gradient from those of the tasks, added up in float64 in their order.

    parts : (n_tasks, q) float; gradient : (p,) float, overwritten
    Cost: 2 n_tasks q flops
    """
    total = np.zeros(len(gradient))
    for t in range(len(tasks)):
        for l in range(len(layers)):
            copy = tasks[t, 0] if layers[l, 2] > 1 else 0
            size = layers[l, 0] * layers[l, 1]
            to, source = layers[l, 3] + copy * size, local[l, 3]
            for i in range(size):
                total[to + i] += parts[t, source + i]
            if layers[l, 4] >= 0:
                to, source = layers[l, 4] + copy * layers[l, 1], local[l, 4]
                for i in range(layers[l, 1]):
                    total[to + i] += parts[t, source + i]
    for i in range(len(gradient)):
        gradient[i] = total[i]
    if transposed:
        fan_in, fan_out = layers[0, 0], layers[0, 1]
        for copy in range(layers[0, 2]):
            start = layers[0, 3] + copy * fan_in * fan_out
            for o in range(fan_out):
                for i in range(fan_in):
                    gradient[start + i * fan_out + o] = total[start + o * fan_in + i]
