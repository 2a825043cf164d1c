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

    def add(totals, block, s, w):
        for first in range(0, len(block), kernel.CHUNK):
            chunk = slice(first, first + kernel.CHUNK)
            for total, part in zip(totals, kernel.cluster_sums(block[chunk], s[chunk], w[chunk], k), strict=True):
                total += part
        return totals

    totals = no_sums(k, X.shape[1])
    if not X.elsewhere:
        for rows in blocks(len(X)):
            add(totals, X[rows], assign[rows], weight[rows])
        return totals
    d = X.shape[1]
    for parts in X.map(lambda *block: add(no_sums(k, d), *block), assign, weight):
        for total, part in zip(totals, parts, strict=True):
            total += part
    return totals


def no_sums(k, d):
    """Sums (k, d), totals (k,) and counts (k,) of clusters without samples."""
    return np.zeros((k, d)), np.zeros(k), np.zeros(k, np.int64)


def nearest(kernel, X, centers):
    """``kernel.nearest`` of all samples, (n,) int64."""
    if not isinstance(X, Samples):
        return kernel.nearest(X, centers)
    return np.concatenate(list(X.map(lambda block: kernel.nearest(block, centers))))


def move(kernel, batch, new, state):
    """``kernel.move`` of a batch, which may be all samples; returns how many moved. state : a run's"""
    sums, known = (state["sums"], state["totals"], state["counts"]), state["assign"]
    if not isinstance(batch.target, Samples):
        return kernel.move(batch.target, batch.index, new, known, batch.weight, *sums)
    if batch.target.elsewhere:
        return _move_elsewhere(kernel, batch, new, known, sums)
    moved = 0
    for rows in blocks(len(batch.target)):
        if bool((known[batch.index[rows]] != new[rows]).any()):  # else nothing has to be read
            moved += kernel.move(batch.target[rows], batch.index[rows], new[rows], known, batch.weight[rows], *sums)
    return moved


def _move_elsewhere(kernel, batch, new, known, sums):
    before, moved = known[batch.index], 0
    if bool((before == new).all()):
        return 0
    k, d = sums[0].shape
    for changed, changes in batch.target.map(
        lambda *block: moves(kernel, *block, no_sums(k, d)), before, new, batch.weight
    ):
        moved += changed
        for total, change in zip(sums, changes, strict=True):
            total += change
    known[batch.index] = new
    return moved


def moves(kernel, target, before, new, weight, sums):
    """(how many samples move, sums) of samples that go from one cluster to another; sums are changed in place."""
    known = before.copy()
    return kernel.move(target, np.arange(len(new)), new, known, weight, *sums), sums


def weighted_mean(X, weight):
    """Σ w x / Σ w, (d,) float64. weight : (n,)"""
    weight = weight.astype(np.float64)
    if not isinstance(X, Samples):
        return as_numpy(np.average(X, axis=0, weights=weight))
    total = column_sums(X, lambda rows, w: np.multiply(rows, w[:, None], dtype=np.float64), weight)
    return total / weight.reshape(-1, 1).sum(axis=0)


def deviation(X, weight):
    """Standard deviations (d,) float64 of the samples with a positive weight, of which each counts once."""
    kept = weight > 0
    if not isinstance(X, Samples):
        return as_numpy(X[kept].std(axis=0, dtype=np.float64))
    if kept.all():
        return X.std()
    n = int(kept.sum())
    mean = column_sums(X, lambda rows, own: rows[own].astype(np.float64), kept) / n
    return np.sqrt(column_sums(X, lambda rows, own: np.square(rows[own] - mean), kept) / n)


def of_rows(X, function):
    """What ``function(block)`` gives of every row, (n,) float64: one number a row, whatever the blocks."""
    if isinstance(X, Samples):
        return np.concatenate(list(X.map(function)))
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
    return np.concatenate(list(X.map(lambda block: block[:, j])))
