"""Instance discrimination with feature decorrelation (IDFD); the mathematics is in `csrl_core.reference.instance`.

Source: Tao, Takagi, Nakata, Clustering-friendly representation learning via instance discrimination and feature
decorrelation, ICLR 2021.
"""

from csrl_core.estimators.arguments import estimator
from csrl_core.estimators.batch import BaseBatchModel
from csrl_core.estimators.instance_arguments import InstanceArguments


@estimator
class InstanceDiscrimination(InstanceArguments, BaseBatchModel):
    """Embeddings on the unit sphere that tell every sample from all others, in columns that do not correlate (IDFD).

    Of a changed sample v = f(x) / ‖f(x)‖ the loss is −log of the probability of its own row in a memory bank of all
    samples' embeddings, exp(v_iᵀv/τ) / Σ_m exp(v_mᵀv/τ), plus α times a decorrelation of the embedding's columns within
    a batch. When training ends, the unit-norm embeddings of the samples as they are become clusters by k-means;
    `predict` gives the nearest of their centres.

    Parameters
    ----------
    n_clusters : int, default=2
        The number of clusters, k, which only the k-means at the end needs.

    Attributes
    ----------
    labels_ : (n,) int64, equal to ``predict(X)``
    cluster_centers_ : (k, d), means of X over the clusters
    params_ : (p,), all trained parameters, in the order of `named_parameters`
    loss_curve_ : list, the mean loss of each epoch's batches, before their steps; loss_ : float, the last of them
    state_ : dict, with the memory bank, "feature_centers" (k, D) and running averages of batch normalisation
    n_iter_, n_steps_, n_reseeded_ (0), backend_ : as for every estimator

    Examples
    --------
    >>> import numpy as np
    >>> from csrl_core import InstanceDiscrimination, metrics
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat(np.eye(3), 40, axis=0).repeat(4, axis=1) + 0.1 * rng.normal(size=(120, 12))
    >>> model = InstanceDiscrimination(n_clusters=3, hidden=(16,), latent=4, epochs=30, random_state=0).fit(X)
    >>> metrics.adjusted_rand_index(np.repeat([0, 1, 2], 40), model.labels_)
    1.0
    >>> model.transform(X).shape
    (120, 4)
    """

    epochs: int = 60
    batch_size: int | None = 128
    learning_rate: float = 0.001
    learning_rate_schedule: str = "cosine"
