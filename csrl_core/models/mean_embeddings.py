"""Assignment of contrastive models: to the cluster of the nearest mean embedding, or of the lowest loss."""

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.models.network import Rows
from csrl_core.training.likelihood import SummedRule

SUMS, TOTAL, WEIGHTS = "embedding_sums", "embedding_total", "embedding_weights"  # state, see `MeanEmbeddings`
CENTERS = "embedding_centers"


class MeanEmbeddings(SummedRule):
    """Assignment by mean embeddings, of which a run's state keeps the sums, all float64.

    Samples are assigned at an epoch's end, by embeddings and means of the same parameters: within an epoch encoders
    move away from their means, those of some clusters further than others', and these lose all samples.

        "prototype"   A[i, j] = −u_j(x_i)ᵀ m_j, m_j the mean of u_j over the samples of cluster j
        "loss"        A[i, j] = ℓ_j(x_i) with the sample as its own positive and, as negative, the mean of u_j over the
                      samples of other clusters
        "k-means"     "prototype" in training; when it ends A[i, j] = Σ_l ‖u_l(x_i) − c_jl‖², c the centres of k-means
                      on samples' embeddings under all encoders, one beside the other

    embedding_sums : (k, D), Σ w u_j over cluster j; embedding_total : (k, D), over all samples
    embedding_weights : (k,), Σ w over cluster j
    embedding_centers : (k, k, D), c, with "k-means"; zeros until training ends, and again after a step of `partial_fit`
    """

    sums = SUMS, TOTAL, WEIGHTS

    def __init__(self, model):
        # By the paper's rule batches are assigned by their own losses.
        self.model, self.when = model, "never" if model.every_loss else "epoch"
        self.clusters_features = model.assignment == "k-means"
        self.names = (*self.sums, CENTERS) if self.clusters_features else self.sums

    @staticmethod
    def shapes(k, width, assignment):
        """Name → (shape, dtype) of its arrays, for k clusters and embeddings of this width."""
        means = (k, width), np.float64
        shapes = {SUMS: means, TOTAL: means, WEIGHTS: ((k,), np.float64)}
        return shapes | ({CENTERS: ((k, k, width), np.float64)} if assignment == "k-means" else {})

    def state(self, parameters, data, centers, draw):
        """Sums of no samples."""
        shapes = self.shapes(len(centers), self.model.width, self.model.assignment)
        return {name: self.model.own(np.zeros(*shape)) for name, shape in shapes.items()}

    def codes(self, parameters, X, centers, draw):
        """Embeddings (k n, D), cluster by cluster."""
        return self.model.predict(parameters, X, Rows.every(len(X), len(centers)))

    def features(self, codes):
        """Embeddings under all encoders, one beside the other, (n, k D)."""
        k = self.model.networks.n_clusters
        return codes.reshape(k, -1, codes.shape[1]).swapaxes(0, 1).reshape(-1, k * codes.shape[1])

    def set_centers(self, state, centers):
        """Keep the centres (k, k D) of these."""
        state[CENTERS][...] = centers.reshape(state[CENTERS].shape)

    def add_batch(self, state, codes, assign, weight, first):
        """Add the batch to the sums; centres of earlier parameters are dropped."""
        super().add_batch(state, codes, assign, weight, first)
        if CENTERS in state:
            state[CENTERS][...] = 0

    def costs(self, state, codes):
        """A (n, k); ∞ for a cluster without samples."""
        k = len(state[WEIGHTS])
        n, weights = len(codes) // k, state[WEIGHTS]
        if self.model.assignment == "loss":
            return self.model.losses_of(codes, self.model.mean_negatives(state, codes.dtype))
        E, A = codes.reshape(k, n, -1), np.zeros_like(codes, shape=(n, k))
        if CENTERS in state and bool(state[CENTERS].any()):
            C = state[CENTERS].astype(codes.dtype)
            for j in range(k):  # encoder by encoder
                A += (E[j] * E[j]).sum(axis=1)[:, None] - 2 * (E[j] @ C[:, j].T) + (C[:, j] * C[:, j]).sum(axis=1)
            return A
        M = (state[SUMS] / np.where(weights > 0, weights, 1)[:, None]).astype(codes.dtype)
        for j in range(k):
            A[:, j] = -(E[j] @ M[j])
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
