"""The operations of ``kernels.composed.autoencoder`` on the CPU."""

import numpy as np
from numba import njit

from .assign import assign as assign
from .autoencoder_tasks import sort_by_cluster
from .autoencoder_wide import backward as backward
from .autoencoder_wide import forward as forward
from .autoencoder_wide import weight_gradient as weight_gradient
from .dense import offset_activate as offset_activate
from .pool import blocks as blocks
from .pool import parallel as parallel

zeros, matmul = np.zeros, np.matmul


def empty(shape, dtype):
    """An array that begins at a multiple of 64 bytes, so that no vector straddles a cache line."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=False)
def _group(s, k):
    order = sort_by_cluster(np.arange(len(s)), s, k)
    bounds, place = np.zeros(k + 1, np.int64), np.empty(len(s), np.int64)
    for r in range(len(s)):
        place[order[r]] = r
        bounds[s[r] + 1] += 1
    for j in range(k):
        bounds[j + 1] += bounds[j]
    return order, bounds, place


def group(s, k):
    """Rows grouped by cluster: order (m,), of which j's are bounds[j] … bounds[j + 1] − 1, and its inverse, place (m,).

    s : (m,) int64; bounds is a list of ints
    """
    order, bounds, place = _group(s, k)
    return order, bounds.tolist(), place


def nowhere():
    """As ``place``: nothing is wanted for the gradient."""
    return np.empty(0, np.int64)


def everywhere(m):
    """As ``place``: samples lie where they are."""
    return np.arange(m)


def nothing(dtype):
    """The arguments (s, place, weights, inputs, G) of ``forward`` where losses are all that is wanted."""
    none = np.empty(0, dtype)
    return nowhere(), nowhere(), none, none, none
