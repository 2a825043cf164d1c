"""Tensorized contrastive learning (TCL) and, with one cluster, the standard one (CL).

Source: arXiv 2412.03471. The mathematics is in `csrl_core.reference.contrastive` and `csrl_core.reference.network`.
"""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import column_or_1d

from csrl_core.backends import as_numpy
from csrl_core.estimators.arguments import estimator
from csrl_core.estimators.augmentation import AugmentationArguments
from csrl_core.estimators.base import BaseClusterSpecific
from csrl_core.estimators.networks import NetworkMethods, check_widths
from csrl_core.models.architectures import encoder_parts
from csrl_core.models.contrastive import COUNT, ContrastiveModel, Objective
from csrl_core.models.mean_embeddings import MeanEmbeddings
from csrl_core.models.network import Networks
from csrl_core.reference.contrastive import LOSSES

UNKNOWN = -1  # the label of a sample whose class is not known
STANDING_SHARE = 40  # percent of the epochs during which the first assignment stands, if the rate decays


@estimator
class TensorizedContrastive(NetworkMethods, AugmentationArguments, BaseClusterSpecific):
    """One contrastive encoder u_j for each cluster, learnt together with the clusters.

    Minimises the weighted mean of L[i, s_i], L[i, j] = u_j(x)ᵀ(u_j(x⁻) − u_j(x⁺)): the embedding of a sample x is to be
    near that of one like it, x⁺, and far from that of one unlike it, x⁻. x and x⁺ are two random changes of a sample;
    with class information x⁺ is another sample of the same class. x⁻ is a random sample of the batch from a cluster
    other than j.

    Parameters
    ----------
    n_clusters : int, default=2
        The number of clusters, k. With 1 this is standard contrastive learning, with any other sample as x⁻.
    architecture : {"dense", "conv"}, default="dense"
        Dense layers, or 3 × 3 convolutions of stride 2, each with batch normalisation and ReLU; a dense layer that
        gives the embedding is added.
    hidden : tuple of int, default=(256,)
        Widths of the dense layers before the last.
    channels : tuple of int, default=(32, 64, 128)
        Channels of the convolutions.
    encoder : sequence of str or None, default=None
        Layers instead of those of ``architecture``, up to the one that gives the embedding, which is added.
        ``"dense 200 activation=tanh shared"``, ``"conv 32 3 stride=2 padding=1"``, see
        `csrl_core.models.network.layer`.
    image_shape : (height, width) or (channels, height, width) or None, default=None
        Of a sample; switches the changes of images on. None: square images of one channel if there are convolutions,
        else vectors, to which noise is added.
    shared : int, default=0
        Number of layers, from the first on, that all clusters share.
    latent : int, default=128
        Width D of the embedding.
    loss : {"triplet", "cosine"}, default="triplet"
        The loss above, or ½ [(cos(u, u⁺) − 1)² + cos(u, u⁻)²].
    normalize : bool, default=True
        Whether embeddings are put on the unit sphere, without which the triplet loss has no lower bound.
    reg : float, default=1
        λ of λ Σ (‖u‖² − 1)² over x, x⁺ and x⁻, for ``normalize=False``; any λ > 0 bounds the loss.
    negatives : {"column", "own"}, default="column"
        "own" is the paper's rule, for comparison: one x⁻ from a cluster other than the sample's own, under all j. It
        makes a difference with ``assignment="loss"``, where it destroys clusters.
    assignment : {"prototype", "loss"}, default="prototype"
        Samples go to the cluster with the largest u_j(x)ᵀ m_j / ‖m_j‖, m_j the mean embedding of its samples at the end
        of the last epoch; or to that of the lowest loss with x⁺ = x and as x⁻ the mean embedding of other clusters'
        samples.
    class_information : bool, default=False
        Whether `fit` uses y: for x⁺ alone, never for clusters. −1 is an unknown class.
    standing_epochs : int or "auto", default="auto"
        Epochs at the start of training during which the first assignment stands; "auto": the first two fifths of
        ``epochs``, or 5 with ``learning_rate_schedule="constant"``, with which training may go on later.
    learning_rate_schedule : {"constant", "cosine"}, default="cosine"
        With "constant" embeddings still move much in the last epochs, and some clusters swallow others.
    center : False
        There is no other choice: encoders see the samples themselves.

    Attributes
    ----------
    labels_ : (n,) int64, equal to ``predict(X)``
    cluster_centers_ : (k, d), means of X over the clusters
    params_ : (p,), all trained parameters, in the order of `named_parameters`
    loss_ : float, the final objective, with x⁺ = x and mean negatives; loss_curve_ : list, the mean over each epoch's
        batches, before their steps, with random x⁺ and x⁻
    n_without_negatives_ : int, draws for which a batch had no sample of another cluster, so that any other was taken
    n_iter_, n_steps_, n_reseeded_, backend_, state_ : as for every estimator

    Examples
    --------
    >>> import numpy as np
    >>> from csrl_core import TensorizedContrastive, metrics
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 6)) + np.repeat([[-3.0], [3.0]], 100, axis=0)
    >>> model = TensorizedContrastive(hidden=(16,), latent=8, epochs=10, random_state=0).fit(X)
    >>> metrics.adjusted_rand_index(np.repeat([0, 1], 100), model.labels_)
    1.0
    >>> model.transform(X).shape
    (200, 8)
    """

    architecture: str = "dense"
    hidden: tuple = (256,)
    channels: tuple = (32, 64, 128)
    encoder: tuple | None = None
    image_shape: tuple | None = None
    shared: int = 0
    latent: int = 128
    loss: str = "triplet"
    normalize: bool = True
    reg: float = 1.0
    negatives: str = "column"
    assignment: str = "prototype"
    class_information: bool = False
    epochs: int = 100
    batch_size: int | None = 128
    learning_rate: float = 0.001
    learning_rate_schedule: str = "cosine"
    center: bool = False

    _parameter_constraints = {
        "hidden": ["array-like"],
        "shared": [Interval(Integral, 0, None, closed="left")],
        "latent": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions(set(LOSSES))],
        "normalize": ["boolean"],
        "reg": [Interval(Real, 0, None, closed="left")],
        "negatives": [StrOptions({"column", "own"})],
        "assignment": [StrOptions({"prototype", "loss"})],
        "class_information": ["boolean"],
    }
    _DESCRIBING = (
        *("n_clusters", "architecture", "hidden", "channels", "encoder", "image_shape", "shared", "latent"),
        *("loss", "normalize", "reg", "negatives", "assignment"),
    )
    takes_target = False

    @property
    def _loss_name(self):
        return f"{self.loss} loss of sample, changed copy and negative"

    _loss_at_end = "at the end, unchanged, mean negatives"

    def _validate_params(self):
        super()._validate_params()
        for name, least in (("hidden", 0), ("channels", 1)):
            check_widths(name, getattr(self, name), least)
        self._check_layers()
        self._check_shared(len(self._widths), 0)
        if self.center:
            raise ValueError("center=True, but contrastive encoders see the samples themselves; expected False")
        if self.negatives == "own" and self.assignment == "loss" and self.update == "assign-then-step":
            raise ValueError(
                "negatives='own' with assignment='loss' draws negatives by the present clusters, which new ones would "
                "have to be known from; expected update='step-then-assign', got 'assign-then-step'"
            )

    @property
    def _widths(self):
        return tuple(map(int, self.hidden if self.architecture == "dense" else self.channels))

    # The model

    def _networks(self):
        """The `Networks` that the arguments describe, for the features of the fit."""
        shape, conv = self._image(self.n_features_in_), self.architecture == "conv"
        parts = encoder_parts(shape, self.encoder, self._widths, conv, self.shared, self.latent)
        return Networks(parts, self.n_clusters)

    def _model(self, backend):
        objective = Objective(self.loss, self.reg, self.normalize, self.negatives, self.assignment)
        shape, images = self._image(self.n_features_in_), self._takes_images
        augmentation = self._augmentation(shape if images else None)
        if self.noise == "auto" and not images:
            augmentation = augmentation._replace(noise=None)  # the model knows the data, and keeps it
        return ContrastiveModel(backend, self._networks(), shape, augmentation, objective)

    def _standing_steps(self, model, batches):
        if self.standing_epochs == "auto" and self.learning_rate_schedule == "cosine":
            return STANDING_SHARE * self.epochs // 100 * batches
        return super()._standing_steps(model, batches)

    def _rule(self, model, backend):
        return MeanEmbeddings(model)

    def _has_decoder(self):
        return False

    def _state_shapes(self):
        required, optional = super()._state_shapes()
        k, width = self.n_clusters, self.latent
        required |= {
            "embedding_sums": ((k, width), np.float64),
            "embedding_total": ((k, width), np.float64),
            "embedding_weights": ((k,), np.float64),
            "without_negatives": ((1,), np.int64),
            "noise": ((1,), np.float64),
        }
        return required, optional

    @property
    def _n_features_out(self):
        self._check_fitted()
        return int(self.latent)

    @property
    def n_without_negatives_(self):
        """Draws for which a batch had no sample of another cluster."""
        self._check_fitted()
        return int(self.state_[COUNT][0])

    # Data

    def _check_target(self, target, X):
        if target is not None:
            raise ValueError("target is given, but contrastive encoders have nothing to reconstruct")
        return X

    def _supervise(self, model, y, n):
        if not self.class_information:
            return
        if y is None:
            raise ValueError("class_information=True needs y, the classes of the samples; -1 for those not known")
        model.supervise(_classes(y, n))

    def fit(self, X, y=None, **options):
        """Learn clusters and embeddings together; parameters as of every estimator.

        y : array-like (n,), the classes of the samples, −1 where one is not known; used with ``class_information=True``

        Raises
        ------
        ValueError
            As for every estimator; or y is missing, is of another length, or has a class of one sample.
        """
        if self.loss == "triplet" and not self.normalize and self.reg == 0:
            warnings.warn(
                "loss='triplet' with normalize=False and reg=0 has no lower bound; use normalize=True, or reg > 0",
                ConvergenceWarning,
                stacklevel=2,
            )
        return super().fit(X, y, **options)


def _classes(y, n):
    """Classes (n,) int64 numbered from 0 on without gaps, −1 where they are not known.

    Raises
    ------
    ValueError
        y has another length, or a class has one sample, which would have no positive.
    """
    y = column_or_1d(as_numpy(y))
    if len(y) != n:
        raise ValueError(f"y has {len(y)} labels; expected {n}, one for every sample of X")
    known = y != UNKNOWN if y.dtype.kind in "biuf" else np.ones(n, bool)
    names, numbers, sizes = np.unique(y[known], return_inverse=True, return_counts=True)
    if len(names) and sizes.min() < 2:
        alone = names[sizes < 2]
        raise ValueError(
            f"class {alone[0]} has one sample, which has no positive; mark its class as not known (y = -1)"
            + (f" (so do {len(alone) - 1} more)" if len(alone) > 1 else "")
        )
    classes = np.full(n, UNKNOWN, np.int64)
    classes[known] = numbers
    return classes
