"""Clusters that a fit leaves without samples."""

import numpy as np


def empty_clusters_message(labels, weight, n_clusters, advice=""):
    """The warning that names all clusters without a sample of positive weight; None if there is no such cluster.

    labels : (n,) int; weight : (n,); advice : str, further advice for the end of the message
    """
    sizes = np.bincount(labels[weight > 0], minlength=n_clusters)
    empty = np.flatnonzero(sizes == 0)
    if not len(empty):
        return None
    clusters = f"clusters {', '.join(map(str, empty))} have" if len(empty) > 1 else f"cluster {empty[0]} has"
    return (
        f"{clusters} no samples after training (sizes: {', '.join(map(str, sizes))}); parameters of empty "
        f"clusters mean nothing. Try n_clusters={n_clusters - len(empty)}, init='k-means', a larger n_init{advice}"
    )
