"""The operations of ``kernels.cpu.autoencoder.composed`` on the CPU."""

import numpy as np
from numba import njit

from .._engine import phases
from .._engine.arrays import empty as empty
from .._engine.pool import blocks as blocks
from .._engine.pool import parallel as parallel
from ..assign import assign as assign
from ..dense import offset_activate as offset_activate
from .tasks import group as group
from .wide import BACKWARD, FORWARD, OWN, WEIGHT
from .wide import run as _run

zeros, matmul = np.zeros, np.matmul

_ROWS = 256  # of a forward task
_SHARED_ROWS, _OWN_ROWS = 64, 64  # of one whose clusters share their first product; of one that goes back
_SPLIT = 1 << 14  # entries of a weight from which on its gradient is several tasks,
_PIECES = 4  # so many or more in all copies

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


def forward_tasks(layers, n, k):
    """Rows and clusters for ``run``: a task has one cluster, unless clusters share their first product."""
    shared = bool(layers[0, 2] == 1)
    rows, clusters = (_SHARED_ROWS, 1) if shared else (_ROWS, k)
    tasks = _table(-(-n // rows) * clusters)
    _forward_tasks(n, k, rows, clusters, tasks)
    return tasks


@_jit
def _forward_tasks(n, k, rows, clusters, tasks):
    for t in range(len(tasks)):
        lo, j = t // clusters * rows, t % clusters
        _put(tasks[t], FORWARD, lo, min(lo + rows, n), j, j + k // clusters, 0, 0)


def backward_tasks(bounds, forward):
    """Rows of one cluster each for ``run``, which go forward before where ``forward``."""
    tasks = _table(int(bounds[-1]) // _OWN_ROWS + len(bounds))
    return tasks[: _backward_tasks(bounds, OWN if forward else BACKWARD, tasks)]


@_jit
def _backward_tasks(bounds, kind, tasks):
    count = 0
    for j in range(len(bounds) - 1):
        for lo in range(bounds[j], bounds[j + 1], _OWN_ROWS):
            _put(tasks[count], kind, lo, min(lo + _OWN_ROWS, bounds[j + 1]), j, j + 1, 0, 0)
            count += 1
    return count


def weight_tasks(layers, bounds):
    """What of the gradient one task of ``run`` makes: a weight, or a part of its longer side."""
    tasks = _table(int((layers[:, 2] + _PIECES).sum()))
    return tasks[: _weight_tasks(layers, bounds, tasks)]


@_jit
def _weight_tasks(layers, bounds, tasks):
    count = 0
    for l in range(len(layers)):
        side, copies = max(layers[l, 0], layers[l, 1]), layers[l, 2]
        pieces = (_PIECES + copies - 1) // copies if layers[l, 0] * layers[l, 1] >= _SPLIT else 1
        for copy in range(copies):
            lo, hi = (bounds[copy], bounds[copy + 1]) if copies > 1 else (0, bounds[-1])
            for piece in range(pieces):
                first, last = side * piece // pieces, side * (piece + 1) // pieces
                _put(tasks[count], WEIGHT, lo, hi, l, copy, first, last)
                count += 1
    return count


def _table(count):
    return np.empty((count, 7), np.int64)


@_jit
def _put(task, *numbers):
    for column, number in enumerate(numbers):
        task[column] = number


def run(tables, *arguments):
    """Tasks, phase after phase, on the threads of the context; ``arguments`` as in ``autoencoder_wide.run``."""
    tasks, ends = np.concatenate(tables), np.cumsum([len(table) for table in tables])
    counters = phases.counters(len(tables))
    phases.run(lambda: _run(tasks, ends, counters, *arguments), len(tasks))


def everywhere(m):
    """As ``place``: samples lie where they are."""
    return np.arange(m)


def no_gradient(dtype):
    """The arguments of ``run`` from ``s`` on where losses are all that is wanted."""
    none, nowhere = np.empty(0, dtype), np.empty(0, np.int64)
    return nowhere, nowhere, none, none, none, none, none, np.empty(0)
