"""Base classes of models: `ClusterModel`, with a loss for every sample and cluster, and `BatchModel`, one for a batch.

A model has parameters, named arrays that the optimizer trains. It may have state: named arrays that no gradient trains
and that are saved and resumed with a run. It may draw random numbers. It overrides no method of the loop or of the
objective.
"""

from abc import ABC, abstractmethod

import numpy as np

from csrl_core.training.likelihood import Likelihood


class Model(ABC):
    """Common base of both kinds of models.

    In every method ``params`` maps names to arrays. Their first axis is the cluster, of length k, or 1 for parameters
    that clusters share. ``params.flat`` (p,) is their concatenation, ``params.state`` holds the run's named arrays,
    among them the model's state. ``draw`` is a `csrl_core.training.draws.Draw`.
    """

    translation_invariant = False
    """Whether losses depend on X, target and centers only through X − c and target − c. If so, the training mean is
    subtracted from the data first, which keeps digits in float32."""

    homogeneous = False
    """Whether losses of c X, c target and c centers are c² those of X, target and centers, for every c > 0 and the same
    parameters. If so, training may divide the data by a unit (`csrl_core.training.units`)."""

    loss_falls = True
    """Whether training lowers the loss. If so, a loss that still falls at the end calls for more epochs."""

    @abstractmethod
    def init_parameters(self, X, n_clusters, draw):
        """Initial parameters: dict of name → float array (k or 1, …).

        X : (n, d), the training data
        """

    def init_state(self, params, data, assign, centers, draw):
        """The arrays of the model's state that ``params.state`` does not have yet, a dict of name → array.

        Called at the start of a run, and when a run is resumed. Methods may change these arrays in place while
        ``draw.training`` is true, and at no other time. An array whose first axis has length n_clusters belongs to the
        clusters: a re-seeded cluster gets a copy of its donor's entry.

        data : `Batch` of all samples; assign : (n,) int64; centers : (k, d), as the loss uses them

        Raises
        ------
        ValueError
            The present state does not fit the model.
        """
        return {}

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """An estimate of the memory for losses and gradient of a batch, for devices with little of it."""
        return rows * itemsize * (2 * n_features + 2 * n_clusters)


class ClusterModel(Model):
    """A model with a loss for every sample under every cluster.

    Subclass it and pass an instance to `ClusterSpecific` to train your own model. X and target are (n, d), ``centers``
    (k, d) (zeros if the estimator has ``center=False``), all of one float dtype. The loss of a sample may not depend on
    other samples of the batch; the loss of a `BatchModel` may.
    """

    codes = None
    """Optional method ``codes(params, X, centers, draw)`` → (Z (n, k, h), residuals (n, k)), which
    ``assignment="likelihood"`` needs. Z : a code of every sample under every cluster, 1 ≤ h < d, with mean zero within
    a cluster; residuals : ‖e‖², the squared distance of x from the point that the code stands for."""

    orthonormal_codes = False
    """Whether codes are coordinates in an orthonormal basis of a subspace, and e is the residual. Only then is the
    likelihood the density of a mixture of Gaussians; otherwise it is a heuristic."""

    follows_clusters = False
    """Whether `init_from_clusters` returns parameters that fit the given clusters. If so, ``init="auto"`` compares
    starts by rounds of fitting and assignment. If not, all clusters are alike before training, and starts cannot be
    compared."""

    standing_epochs = 0
    """Epochs at the start of training during which the first assignment stands; None: all epochs. The estimator's
    argument of this name overrides it. Near their initial parameters all clusters may look alike, and then the lowest
    loss says nothing about clusters."""

    couples_batch = False
    """Whether the gradient of a batch is more than the sum of those of its parts, as with batch normalisation."""

    minimise = None
    """Optional method ``minimise(params, data, assign, centers)``: write the best parameters for an assignment into
    ``params``. If a model has it, `csrl_core.training.exact` trains it without gradients."""

    decode = None
    """Optional method ``decode(params, Z, assign, centers, draw)`` → (n, d), the samples that embeddings stand for."""

    def init_from_clusters(self, data, assign, centers, draw):
        """Initial parameters for a given first assignment; override it if they depend on the assignment.

        data : `Batch` of all samples; assign : (n,) int64; draw : None in the rounds of ``init="auto"``
        centers : (k, d) float64, as the loss uses them; for a cluster without samples zero or its given centre
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
        """Z (n, k, latent): the representation of every sample under every cluster."""

    def embed_assigned(self, params, X, centers, assign, draw):
        """Z (n, latent) under each sample's own cluster; override it if that is cheaper than all clusters."""
        Z = self.embed(params, X, centers, draw)
        return np.take_along_axis(Z, assign[:, None, None], axis=1)[:, 0]

    def losses_and_gradient(self, params, X, target, centers, assign, weights, draw, every=True):
        """(L, assign, gradient); override it if losses and gradient can share a forward pass.

        With ``assign`` None the assignment is argmin_j L. The gradient may also be flat, (p,).

        every : bool; if False, only the assigned column of L is used
        """
        L = self.losses(params, X, target, centers, draw.again())
        if assign is None:
            assign = np.argmin(L, axis=1)
        return L, assign, self.gradient(params, X, target, centers, assign, weights, draw.again())

    def value_and_gradient(self, params, X, target, centers, assign, weights, fitted, draw):
        """(L, gradient) of one function of ``params``, for finite differences.

        fitted : (params, centers) of the estimator; a model that samples draws its samples with these
        """
        L, _, gradient = self.losses_and_gradient(params, X, target, centers, assign, weights, draw)
        return L, gradient

    def quality(self, params, data, labels, centers, draw):
        """Scores (n,) float64 whose mean ranks restarts if assignment is by loss; None: the loss ranks them."""
        return None

    def likelihood(self, backend, n_features, centered):
        """The `csrl_core.training.likelihood.Rule` for ``assignment="likelihood"``; by default Gaussians of the codes.

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
        """A function (order, batch_size) → (loss_sum, weight_sum, moved) for a whole epoch; None without such a kernel.

        options : `csrl_core.reference.assign.JointOptions`
        """
        return None


class BatchModel(Model):
    """A model with one loss for a whole batch, which may couple its samples; there is no assignment while it learns.

    Examples are instance discrimination, decorrelation and divergences between clusters. An estimator of it
    (`csrl_core.estimators.batch`) also asks for ``features`` and ``costs``.
    """

    clusters_features = False
    """Whether clusters are found by k-means on the features when training ends; ``params.state["feature_centers"]``
    (k, h) then has their means."""

    of_samples = ()
    """Names of arrays of the state that have a row for each of the training samples."""

    features = None
    """Optional method ``features(params, X)`` → (n, h), the representation of samples, each by itself."""

    costs = None
    """Optional method ``costs(params, Z)`` → (n, k): what assignment minimises, from features (n, h)."""

    def extend_state(self, params, data):
        """Add the samples of another batch of `partial_fit` to the state; returns their row numbers (n,) in it."""
        return data.index

    @abstractmethod
    def loss_and_gradient(self, params, batch, draw):
        """(loss_sum, weight_sum, gradient): the loss times its weight, this weight, and the gradient of loss_sum.

        batch : `csrl_core.training.run.Batch`; the gradient is a dict of named arrays or flat, (p,)
        """
