"""Sums over all samples of a fit, in memory or on disk, to the same last bit.

An array goes to the backend's kernel as it is. `Samples` are read a block at a time; what a kernel adds up within its
own chunks of rows, and then chunk by chunk, is added up in the same order here.
"""

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.training.on_disk import Samples, blocks, column_sums


def cluster_sums(kernel, X, assign, weight, k):
    """``kernel.cluster_sums`` of all samples. kernel : a backend's ``assign``"""
    if not isinstance(X, Samples):
        return kernel.cluster_sums(X, assign, weight, k)
    totals = [np.zeros((k, X.shape[1])), np.zeros(k), np.zeros(k, np.int64)]
    for rows in blocks(len(X)):
        block, s, w = X[rows], assign[rows], weight[rows]
        for first in range(0, len(block), kernel.CHUNK):
            chunk = slice(first, first + kernel.CHUNK)
            for total, part in zip(totals, kernel.cluster_sums(block[chunk], s[chunk], w[chunk], k), strict=True):
                total += part
    return tuple(totals)


def nearest(kernel, X, centers):
    """``kernel.nearest`` of all samples, (n,) int64."""
    if not isinstance(X, Samples):
        return kernel.nearest(X, centers)
    return np.concatenate([kernel.nearest(X[rows], centers) for rows in blocks(len(X))])


def move(kernel, batch, new, state):
    """``kernel.move`` of a batch, which may be all samples; returns how many moved. state : a run's"""
    sums = state["sums"], state["totals"], state["counts"]
    if not isinstance(batch.target, Samples):
        return kernel.move(batch.target, batch.index, new, state["assign"], batch.weight, *sums)
    moved = 0
    for rows in blocks(len(batch.target)):
        if bool((state["assign"][batch.index[rows]] != new[rows]).any()):  # else nothing has to be read
            own = batch.target[rows], batch.index[rows], new[rows], state["assign"], batch.weight[rows]
            moved += kernel.move(*own, *sums)
    return moved


def weighted_mean(X, weight):
    """Σ w x / Σ w, (d,) float64. weight : (n,)"""
    weight = weight.astype(np.float64)
    if not isinstance(X, Samples):
        return as_numpy(np.average(X, axis=0, weights=weight))
    total = column_sums(X, lambda rows, numbers: np.multiply(rows, weight[numbers, None], dtype=np.float64))
    return total / weight.reshape(-1, 1).sum(axis=0)


def deviation(X, weight):
    """Standard deviations (d,) float64 of the samples with a positive weight, of which each counts once."""
    kept = weight > 0
    if not isinstance(X, Samples):
        return as_numpy(X[kept].std(axis=0, dtype=np.float64))
    if kept.all():
        return X.std()
    n = int(kept.sum())
    mean = column_sums(X, lambda rows, numbers: rows[kept[numbers]].astype(np.float64)) / n
    return np.sqrt(column_sums(X, lambda rows, numbers: np.square(rows[kept[numbers]] - mean)) / n)


def of_rows(X, function):
    """What ``function(block)`` gives of every row, (n,) float64: one number a row, whatever the blocks."""
    return np.concatenate([function(as_numpy(X[rows])) for rows in blocks(len(X))])


def largest(X):
    """The largest absolute value, a float."""
    if not isinstance(X, Samples):
        return float(np.abs(X).max())
    return float(max(-X.min(), X.max()))


def column(X, j):
    """Column j, (n,)."""
    if not isinstance(X, Samples):
        return X[:, j]
    return np.concatenate([X[rows][:, j] for rows in blocks(len(X))])
