"""Measures of agreement between a clustering and known classes: ARI, NMI and ACC.

All are 1 for identical partitions, whatever the names of the clusters. The numbers of clusters and classes may differ.
Labels may be integers, strings or booleans.
"""

import numpy as np


def _codes(labels, name):
    """Labels as integers 0 … k − 1, after checking that they are discrete labels."""
    if np.ma.is_masked(labels):
        raise ValueError(f"{name} has {np.ma.count_masked(labels)} masked labels, expected every sample's")
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"{name} has shape {labels.shape}, expected one label per sample: (n,)")
    if not labels.size:
        raise ValueError(f"{name} is empty, expected at least one label")
    if labels.dtype.kind in "fc":
        whole = np.isfinite(labels) & (labels == np.floor(labels.real))
        if not whole.all():
            raise ValueError(f"{name} contains {labels[~whole][0]}, expected discrete labels")
    try:
        if labels.dtype == object and np.any(labels != labels):
            raise ValueError(f"{name} contains NaN, expected discrete labels")
        return np.unique(labels, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(
            f"{name} mixes labels that cannot be compared ({error}), expected all integers or all strings"
        ) from error


def _checked(y_true, y_pred):
    y_true, y_pred = _codes(y_true, "y_true"), _codes(y_pred, "y_pred")
    if len(y_true) != len(y_pred):
        raise ValueError(
            f"y_true has {len(y_true)} labels and y_pred {len(y_pred)}, expected the same number of samples"
        )
    return y_true, y_pred


def adjusted_rand_index(y_true, y_pred):
    """Adjusted Rand index (Hubert & Arabie 1985): agreement over pairs of samples, 0 by chance.

    y_true, y_pred : (n,) labels; returns float in [−0.5, 1]
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(*_checked(y_true, y_pred)))


def normalized_mutual_info(y_true, y_pred):
    """Mutual information of the two partitions over the arithmetic mean of their entropies.

    y_true, y_pred : (n,) labels; returns float in [0, 1]
    """
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(*_checked(y_true, y_pred)))


def clustering_accuracy(y_true, y_pred):
    """ACC = max over one-to-one maps m of clusters to classes of (1/n) Σ_i [m(y_pred_i) = y_true_i].

    The Hungarian method finds the best map. If the numbers of clusters and classes differ, samples of clusters (or
    classes) without a partner count as errors.

    y_true, y_pred : (n,) labels; returns float in (0, 1]

    Cost: O(n + k³) for at most k clusters or classes; a dense k × k table of counts.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics.cluster import contingency_matrix

    y_true, y_pred = _checked(y_true, y_pred)
    counts = contingency_matrix(y_true, y_pred)
    matched = counts[linear_sum_assignment(counts, maximize=True)].sum()
    return float(matched / len(y_true))


def scores(y_true, y_pred):
    """All three measures: {"ARI": float, "NMI": float, "ACC": float}."""
    return {
        "ARI": adjusted_rand_index(y_true, y_pred),
        "NMI": normalized_mutual_info(y_true, y_pred),
        "ACC": clustering_accuracy(y_true, y_pred),
    }
