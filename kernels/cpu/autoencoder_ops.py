"""The operations of ``kernels.composed.autoencoder`` on the CPU."""

import numpy as np
from numba import njit

from . import phases
from .arrays import empty as empty
from .assign import assign as assign
from .autoencoder_tasks import group as group
from .autoencoder_wide import BACKWARD, FORWARD, OWN, WEIGHT
from .autoencoder_wide import run as _run
from .dense import offset_activate as offset_activate
from .pool import blocks as blocks
from .pool import parallel as parallel

zeros, matmul = np.zeros, np.matmul

_ROWS = 256  # of a forward task
_SHARED_ROWS, _OWN_ROWS = 64, 64  # of one whose clusters share their first product; of one that goes back
_SPLIT = 1 << 14  # entries of a weight from which on its gradient is several tasks, four or more in all copies

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@_jit
def forward_tasks(layers, n, k):
    """Rows and clusters for ``run``: a task has one cluster, unless clusters share their first product."""
    shared = layers[0, 2] == 1
    rows = _SHARED_ROWS if shared else _ROWS
    tasks, clusters = [], 1 if shared else k
    for lo in range(0, n, rows):
        for j in range(clusters):
            tasks.append((FORWARD, lo, min(lo + rows, n), j, k if shared else j + 1, 0, 0))
    return _table(tasks)


@_jit
def backward_tasks(bounds, forward):
    """Rows of one cluster each for ``run``, which go forward before where ``forward``."""
    tasks = []
    for j in range(len(bounds) - 1):
        for lo in range(bounds[j], bounds[j + 1], _OWN_ROWS):
            tasks.append((OWN if forward else BACKWARD, lo, min(lo + _OWN_ROWS, bounds[j + 1]), j, j + 1, 0, 0))
    return _table(tasks)


@_jit
def weight_tasks(layers, bounds):
    """What of the gradient one task of ``run`` makes: a weight, or a part of its longer side."""
    tasks = []
    for l in range(len(layers)):
        side, copies = max(layers[l, 0], layers[l, 1]), layers[l, 2]
        pieces = (4 + copies - 1) // copies if layers[l, 0] * layers[l, 1] >= _SPLIT else 1
        for copy in range(copies):
            lo, hi = (bounds[copy], bounds[copy + 1]) if copies > 1 else (0, bounds[-1])
            for piece in range(pieces):
                tasks.append((WEIGHT, lo, hi, l, copy, side * piece // pieces, side * (piece + 1) // pieces))
    return _table(tasks)


@_jit
def _table(tasks):
    table = np.empty((len(tasks), 7), np.int64)
    for i in range(len(tasks)):
        for column, number in enumerate(tasks[i]):
            table[i, column] = number
    return table


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
