"""Assignment of contrastive models: to the cluster of the nearest mean embedding, or of the lowest loss."""

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.models.network import Rows
from csrl_core.training.likelihood import SummedRule

SUMS, TOTAL, WEIGHTS = "embedding_sums", "embedding_total", "embedding_weights"  # state, see `MeanEmbeddings`


class MeanEmbeddings(SummedRule):
    """Assignment by mean embeddings, of which a run's state keeps the sums, all float64.

    Samples are assigned at an epoch's end, by embeddings and means of the same parameters: within an epoch encoders
    move away from their means, those of some clusters further than others', and these lose all samples.

        "prototype"   A[i, j] = −u_j(x_i)ᵀ m_j / ‖m_j‖, m_j the mean of u_j over the samples of cluster j. Without the
                      norm a cluster whose embeddings are spread, with a short mean, loses its samples to one
                      whose embeddings are not, and with them what its encoder learns from
        "loss"        A[i, j] = ℓ_j(x_i) with the sample as its own positive and, as negative, the mean of u_j over the
                      samples of other clusters

    embedding_sums : (k, D), Σ w u_j over cluster j; embedding_total : (k, D), over all samples
    embedding_weights : (k,), Σ w over cluster j
    """

    names = sums = SUMS, TOTAL, WEIGHTS

    def __init__(self, model):
        # By the paper's rule batches are assigned by their own losses.
        self.model, self.when = model, "never" if model.every_loss else "epoch"

    def state(self, parameters, data, centers, draw):
        """Sums of no samples."""
        k, own = len(centers), self.model.own
        shape = k, self.model.width
        return {SUMS: own(np.zeros(shape)), TOTAL: own(np.zeros(shape)), WEIGHTS: own(np.zeros(k))}

    def codes(self, parameters, X, centers, draw):
        """Embeddings (k n, D), cluster by cluster."""
        return self.model.predict(parameters, X, Rows.every(len(X), len(centers)))

    def costs(self, state, codes):
        """A (n, k); ∞ for a cluster without samples."""
        k = len(state[WEIGHTS])
        n, weights = len(codes) // k, state[WEIGHTS]
        if not self.model.by_prototype:
            return self.model.losses_of(codes, self.model.mean_negatives(state, codes.dtype))
        M = self.model.norm.unit_rows(state[SUMS])[0].astype(codes.dtype)
        A = np.zeros_like(codes, shape=(n, k))
        for j in range(k):
            A[:, j] = -(codes[j * n : (j + 1) * n] @ M[j])
        A[:, weights <= 0] = np.inf
        return A

    def log_density(self, costs):
        """−min_j A, (n,) float64 on the host; no density."""
        return -as_numpy(costs).min(axis=1).astype(np.float64)

    def _add(self, state, codes, assign, weight):
        k = len(state[WEIGHTS])
        n = len(assign)
        for j in range(k):
            own = weight.astype(np.float64) * (assign == j)
            E = codes[j * n : (j + 1) * n].astype(np.float64)
            state[SUMS][j] += own @ E
            state[TOTAL][j] += weight.astype(np.float64) @ E
            state[WEIGHTS][j] += own.sum()
