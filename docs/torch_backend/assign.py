"""The functions of the stem ``assign``, in PyTorch. One of them is wrong: ``csrl verify`` says which, and where.

Arrays come as NumPy's; ``torch.from_numpy`` shares their memory, so what changes in place is seen by the caller.
"""

import numpy as np
import torch


def _tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def assign(costs):
    """The lowest cost, ties to the lowest cluster; NaN counts as +∞."""
    return torch.nan_to_num(_tensor(costs), nan=torch.inf, posinf=torch.inf, neginf=-torch.inf).argmin(1)


def nearest(X, centers):
    """The nearest centre, by differences in float64."""
    X, centers = _tensor(X).double(), _tensor(centers).double()
    return ((X[:, None] - centers) ** 2).sum(2).argmin(1)


def objective(losses, assign, weights):
    """Σ w L[i, s_i] and Σ w."""
    own = _tensor(losses).gather(1, _tensor(assign)[:, None])[:, 0]
    weights = _tensor(weights)
    return float((weights * own).sum(dtype=torch.float64)), float(weights.sum(dtype=torch.float64))


def cluster_sums(X, assign, weights, k):
    """Σ w x, Σ w and the number of samples with w > 0 of every cluster."""
    X, assign, weights = _tensor(X), _tensor(assign), _tensor(weights)
    sums = torch.zeros((k, X.shape[1]), dtype=torch.float64).index_add_(0, assign, (weights[:, None] * X).double())
    totals = torch.zeros(k, dtype=torch.float64).index_add_(0, assign, weights.double())
    return sums, totals, torch.bincount(assign[weights > 0], minlength=k)


def move(X, index, new, assign, weights, sums, totals, counts):
    """Carry what moved from the old clusters' sums to the new ones', in place."""
    old = assign[index]
    moved = (old != new) & (weights > 0)
    assign[index] = new
    wx, w = (weights[:, None] * X).astype(np.float64), weights.astype(np.float64)
    for clusters, sign in ((old, -1), (new, 1)):
        for i in np.flatnonzero(moved):
            sums[clusters[i]] += sign * wx[i]
            totals[clusters[i]] += sign * w[i]
            counts[clusters[i]] += sign
    empty = counts == 0
    sums[empty] = totals[empty] = 0
    return int(moved.sum())


def means(sums, totals, centers, b):
    """(b c + mean) / (b + 1), in place. The fault: a cluster without weight should keep its centre."""
    mean = _tensor(sums) / _tensor(totals).clamp(min=1e-300)[:, None]
    centers[...] = ((b * _tensor(centers) + mean) / (b + 1)).numpy()
