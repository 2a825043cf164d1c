"""What a model is: `ClusterModel`, with a loss for every sample and cluster, or `BatchModel`, with one for a batch.

A model overrides nothing of the loop or of the objective. It has parameters, named arrays that the optimizer trains;
it may have state, named arrays that no gradient trains and that a run carries, saves and resumes; and it may draw.
"""

from abc import ABC, abstractmethod

import numpy as np

from csrl_core.training.likelihood import Likelihood


class Model(ABC):
    """What both kinds of models have.

    In every method ``params`` maps names to arrays whose first axis is the cluster (length k, or 1 where clusters
    share), with ``params.flat`` (p,) their concatenation and ``params.state`` the run's named arrays, those of the
    model among them; ``draw`` is a `csrl_core.training.draws.Draw`.
    """

    translation_invariant = False
    """Whether losses depend on X, target and centers only through X − c and target − c. If so the
    data arrive with the training mean taken off, which keeps digits in float32."""

    loss_falls = True
    """Whether training brings the loss curve down, so that one which still falls is one that wants more epochs."""

    @abstractmethod
    def init_parameters(self, X, n_clusters, draw):
        """Initial parameters: dict of name → array (k or 1, …), float.

        X : (n, d), the training data
        """

    def init_state(self, params, data, assign, centers, draw):
        """The state that ``params.state`` lacks, a dict of name → array; at the start of a run, also of one resumed.

        A method that learns (``draw.training``) may change these arrays in place, no other may. Arrays with a length
        of n_clusters as their first are those of clusters: a cluster that is re-seeded gets a copy of its donor's.

        data : `Batch` of all samples; assign : (n,) int64; centers : (k, d), as the loss sees them

        Raises
        ------
        ValueError
            The state that there is does not fit the model.
        """
        return {}

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """Memory that losses and gradient of a batch take: an estimate, for devices that have little."""
        return rows * itemsize * (2 * n_features + 2 * n_clusters)


class ClusterModel(Model):
    """A model with one set of parameters per cluster, known by its losses and their gradient.

    Subclass it and pass an instance to `ClusterSpecific` to train a model of your own. X and target are (n, d),
    ``centers`` (k, d) (zeros where the estimator has ``center=False``), all of one float dtype. Losses may not depend
    on other samples of the batch; those of a `BatchModel` may.
    """

    codes = None
    """Optional method ``codes(params, X, centers, draw)`` → (Z (n, k, h), residuals (n, k)), which
    ``assignment="likelihood"`` needs: a code of every sample under every cluster, 1 ≤ h < d, about zero within a
    cluster, and the squared distance ‖e‖² from x of what the code stands for."""

    orthonormal_codes = False
    """Whether codes are coordinates in an orthonormal basis of a subspace and e is what they leave over. Only
    then is the likelihood the density of a mixture of Gaussians; else it is a heuristic."""

    follows_clusters = False
    """Whether `init_from_clusters` gives parameters that fit the clusters it is told: ``init="auto"`` compares starts
    by rounds of these and of assignment. Where it does not, all clusters are alike before training, and nothing
    can be compared."""

    standing_epochs = 0
    """Epochs at the beginning during which the first assignment stands, where the estimator does not say; None: all.
    With parameters near their start all clusters may look alike, and a lowest loss says nothing."""

    minimise = None
    """Optional method ``minimise(params, data, assign, centers)``: write into ``params`` those that are best for an
    assignment. Where there is one, `csrl_core.training.exact` trains the model by it instead of by gradients."""

    decode = None
    """Optional method ``decode(params, Z, assign, centers, draw)`` → (n, d), what an embedding stands for."""

    def init_from_clusters(self, data, assign, centers, draw):
        """Initial parameters where the first assignment is known; override it where they depend on that.

        data : `Batch` of all samples; assign : (n,) int64; centers : (k, d) float64, as the loss sees them, a cluster
        without samples at zero or its given centre; draw : None in the rounds of ``init="auto"``
        """
        return self.init_parameters(data.X, len(centers), draw)

    @abstractmethod
    def losses(self, params, X, target, centers, draw):
        """L (n, k): the loss of every sample under every cluster."""

    @abstractmethod
    def gradient(self, params, X, target, centers, assign, weights, draw):
        """Gradient of Σ_i weights[i] L[i, assign[i]] with respect to ``params``.

        assign : (n,) int64; weights : (n,); returns a dict with the names and shapes of ``params``
        """

    @abstractmethod
    def embed(self, params, X, centers, draw):
        """Z (n, k, latent): every sample's representation under every cluster."""

    def embed_assigned(self, params, X, centers, assign, draw):
        """Z (n, latent) under each sample's own cluster; override it where that takes less than all clusters."""
        Z = self.embed(params, X, centers, draw)
        return np.take_along_axis(Z, assign[:, None, None], axis=1)[:, 0]

    def losses_and_gradient(self, params, X, target, centers, assign, weights, draw, every=True):
        """(L, assign, gradient); override it where both can share a forward pass.

        ``assign`` None means argmin_j L. The gradient may also be flat, (p,).

        every : bool; without it only the assigned column of L is used
        """
        L = self.losses(params, X, target, centers, draw.again())
        if assign is None:
            assign = np.argmin(L, axis=1)
        return L, assign, self.gradient(params, X, target, centers, assign, weights, draw.again())

    def value_and_gradient(self, params, X, target, centers, assign, weights, fitted, draw):
        """(L, gradient) of one function of ``params``, as finite differences need it.

        fitted : (params, centers) of the estimator: a model that samples takes its samples from these
        """
        L, _, gradient = self.losses_and_gradient(params, X, target, centers, assign, weights, draw)
        return L, gradient

    def quality(self, params, data, labels, centers, draw):
        """(n,) float64, by whose mean restarts are ranked where assignment is by loss; None: by the loss."""
        return None

    def likelihood(self, backend, n_features, centered):
        """The `csrl_core.training.likelihood.Rule` of ``assignment="likelihood"``: here Gaussians of the codes.

        Raises
        ------
        ValueError
            The model has no codes.
        """
        if not callable(self.codes):
            raise ValueError(
                f"assignment='likelihood' needs a model with a method codes(params, X, centers, draw); "
                f"{type(self).__name__} has none"
            )
        return Likelihood(self, backend.mixture, n_features, backend.own)

    def fused_epoch(self, run, data, settings, options):
        """A function (order, batch_size) → (loss_sum, weight_sum, moved), or None where there is no such kernel."""
        return None


class BatchModel(Model):
    """A model with one loss of a batch, which may couple its samples; there is no assignment.

    Instance discrimination, decorrelation and divergences between clusters are such losses.
    """

    @abstractmethod
    def loss_and_gradient(self, params, batch, draw):
        """(loss_sum, weight_sum, gradient): the loss times the weight that it counts with, and its gradient.

        batch : `csrl_core.training.run.Batch`; the gradient is that of loss_sum, named or flat
        """
