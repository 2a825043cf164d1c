"""Clusters that a fit leaves without samples."""

import numpy as np

from csrl_core.backends import as_numpy


def empty_clusters_message(labels, weight, n_clusters, advice="", X=None, least=1, init=True):
    """The warning that names all clusters without a sample of positive weight; None if there is no such cluster.

    labels : (n,) int; weight : (n,); advice : str, further advice for the end of the message
    X : (n, d), optional, to tell whether it has enough distinct rows
    least : int, fewest clusters that the estimator can have; init : bool, whether it has that argument
    """
    sizes = np.bincount(labels[weight > 0], minlength=n_clusters)
    empty = np.flatnonzero(sizes == 0)
    if not len(empty):
        return None
    clusters = f"clusters {', '.join(map(str, empty))} have" if len(empty) > 1 else f"cluster {empty[0]} has"
    distinct = n_clusters if X is None else distinct_rows(X, weight > 0, n_clusters)
    few = f": X has {distinct} distinct rows, fewer than n_clusters={n_clusters}" if distinct < n_clusters else ""
    filled = n_clusters - len(empty)
    remedies = [f"n_clusters={filled}"] if filled >= least else []
    remedies += ["init='k-means'"] if init else []
    return (
        f"{clusters} no samples after training (sizes: {', '.join(map(str, sizes))}){few}; parameters of empty "
        f"clusters mean nothing. Try {', '.join([*remedies, 'a larger n_init'])}{advice}"
    )


def distinct_rows(X, weighted, enough, rows=1024):
    """How many different rows X (n, d) has among those with ``weighted`` (n,) bool; ``enough`` if there are as many."""
    found = set()
    for first in range(0, len(X), rows):
        part = np.ascontiguousarray(as_numpy(X[first : first + rows]))[weighted[first : first + rows]]
        for row in part + 0.0:  # −0 is 0
            found.add(row.tobytes())
            if len(found) == enough:
                return enough
    return len(found)
