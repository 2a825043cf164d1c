"""Clusters that a fit leaves without samples."""

import numpy as np


def of_empty_clusters(labels, weight, n_clusters, advice=""):
    """What to tell the user of all clusters that have no sample with weight: a line, or None where there is none.

    labels : (n,) int; weight : (n,); advice : str, what else than the start may be changed
    """
    sizes = np.bincount(labels[weight > 0], minlength=n_clusters)
    empty = np.flatnonzero(sizes == 0)
    if not len(empty):
        return None
    clusters = f"clusters {', '.join(map(str, empty))} have" if len(empty) > 1 else f"cluster {empty[0]} has"
    return (
        f"{clusters} no samples after training (sizes: {', '.join(map(str, sizes))}); what they learnt says nothing. "
        f"Try n_clusters={n_clusters - len(empty)}, init='k-means', a larger n_init{advice}"
    )
