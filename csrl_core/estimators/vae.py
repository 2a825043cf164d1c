"""Tensorized variational autoencoders (TVAE) and, with one cluster, the standard one.

Source: arXiv 2412.03471. The mathematics is in `csrl_core.reference.vae` and `csrl_core.reference.network`.
"""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from csrl_core.estimators.arguments import estimator
from csrl_core.estimators.base import BaseClusterSpecific
from csrl_core.estimators.input_checks import in_unit_interval
from csrl_core.estimators.latent_methods import LatentMethods
from csrl_core.estimators.networks import NetworkMethods, check_widths
from csrl_core.models.architectures import conv_parts, dense_parts, parts
from csrl_core.models.network import Networks
from csrl_core.models.vae import VAEModel
from csrl_core.reference.vae import OUTPUTS


@estimator
class TensorizedVAE(LatentMethods, NetworkMethods, BaseClusterSpecific):
    """One variational autoencoder for each cluster, with layers that clusters share, learnt together with the clusters.

    An encoder gives mean and logvar, z = mean + exp(½ logvar) ε is decoded, and the weighted mean of L[i, s_i] is
    minimised over parameters and assignments s, where
    L[i, j] = reconstruction + β Σ (mean² + exp(logvar) − 1 − logvar). ε is that of the sample, the same under every
    cluster; after training it is 0.

    Parameters
    ----------
    n_clusters : int, default=2
        The number of clusters, k. With 1 this is the standard variational autoencoder.
    architecture : {"dense", "conv"}, default="dense"
        Dense layers with leaky ReLU, or 3 × 3 convolutions of stride 2 and their mirror image with ReLU.
    hidden : tuple of int, default=(400, 200)
        Widths of the dense encoder's layers before the last, which gives mean and logvar; the decoder mirrors them.
    channels : tuple of int, default=(32, 64, 128)
        Channels of the convolutional encoder's layers.
    encoder, decoder : sequence of str or None, default=None
        Layers instead of those of ``architecture``: the encoder's up to the one that gives mean and logvar, which is
        added, and all of the decoder's. ``"dense 200 activation=tanh shared"``, ``"conv 32 3 stride=2 padding=1"``, see
        `csrl_core.models.network.layer`. Either both or none.
    image_shape : (height, width) or (channels, height, width) or None, default=None
        Of a sample. None: square images of one channel if there are convolutions, else no images.
    shared : int or "auto", default="auto"
        Number of outer pairs of layers that all clusters share. "auto": all but mean, logvar and the layer after z. 0:
        none. It has no meaning for layers that are given, which say it themselves.
    latent : int, default=2
        Width h of the latent space.
    reconstruction_loss : {"bernoulli", "gaussian", "mse"}, default="bernoulli"
        Binary cross-entropy summed over features, for data in [0, 1]; ½ ‖x̂ − x‖²/σ²; or the mean squared error.
    noise_variance : float, default=1
        σ² of Gaussian output.
    reg : float, default=2
        β. With ½ and Bernoulli or Gaussian output the loss is the negative evidence lower bound.
    bound_samples : int, default=100
        Codes of every sample and cluster for the bound of `score_samples`.
    center : bool, default=False
        Whether each cluster's centre is subtracted from input and target. With Bernoulli output the difference is
        squashed to σ(x − c).
    assignment : {"loss"}, default="loss"
        Samples go to the cluster of the lowest loss.
    standing_epochs : int or "auto", default="auto"
        Epochs at the start of training during which the first assignment stands; "auto": 20.

    Attributes
    ----------
    labels_ : (n,) int64, equal to ``predict(X)`` unless there is a ``target``
    cluster_centers_ : (k, d), means of the target over the clusters
    params_ : (p,), all trained parameters, in the order of `named_parameters`. Of the encoder's last layer the first h
        columns give the mean, the others logvar
    loss_ : float, the final objective; loss_curve_ : list, its mean over each epoch's batches, before their steps
    n_iter_, n_steps_, n_reseeded_, backend_, state_ : as for every estimator

    Examples
    --------
    >>> import numpy as np
    >>> from csrl_core import TensorizedVAE, metrics
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.random((200, 12)) < np.repeat([[0.1], [0.9]], 100, axis=0)).astype(float)
    >>> model = TensorizedVAE(hidden=(8,), epochs=30, random_state=0).fit(X)
    >>> metrics.adjusted_rand_index(np.repeat([0, 1], 100), model.labels_)
    1.0
    >>> model.sample(5, cluster=1)[0].shape
    (5, 12)
    """

    architecture: str = "dense"
    hidden: tuple = (400, 200)
    channels: tuple = (32, 64, 128)
    encoder: tuple | None = None
    decoder: tuple | None = None
    image_shape: tuple | None = None
    shared: int | str = "auto"
    latent: int = 2
    reconstruction_loss: str = "bernoulli"
    noise_variance: float = 1.0
    reg: float = 2.0
    bound_samples: int = 100
    epochs: int = 100
    batch_size: int | None = 50
    learning_rate: float = 0.001
    center: bool = False
    update: str = "assign-then-step"

    _parameter_constraints = {
        "hidden": ["array-like"],
        "shared": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "latent": [Interval(Integral, 1, None, closed="left")],
        "reconstruction_loss": [StrOptions(set(OUTPUTS))],
        "noise_variance": [Interval(Real, 0, None, closed="neither")],
        "reg": [Interval(Real, 0, None, closed="left")],
        "bound_samples": [Interval(Integral, 1, None, closed="left")],
        "assignment": [StrOptions({"loss"})],
    }

    _DESCRIBING = (
        *("n_clusters", "architecture", "hidden", "channels", "encoder", "decoder", "image_shape", "shared", "latent"),
        *("reconstruction_loss", "assignment"),
    )

    @property
    def _loss_name(self):
        if self.reconstruction_loss == "mse":
            return f"mean squared error per feature + {2 * self.reg:g} KL divergence"
        if self.reg == 0.5:
            return "negative evidence lower bound of a sample, nats"
        return f"−log p(x | z) + {2 * self.reg:g} KL divergence, nats\nwith 1 it is the negative lower bound"

    def _validate_params(self):
        super()._validate_params()
        for name, least in (("hidden", 0), ("channels", 1)):
            check_widths(name, getattr(self, name), least)
        self._check_layers()
        self._check_shared(len(self._widths), "auto")

    @property
    def _widths(self):
        return tuple(map(int, self.hidden if self.architecture == "dense" else self.channels))

    def _networks(self):
        """The `Networks` that the arguments describe, for the features of the fit."""
        shape = self._image(self.n_features_in_)
        shared = len(self._widths) if self.shared == "auto" else self.shared
        if self.encoder is not None:
            return Networks(parts(self.encoder, self.decoder, shape, self.latent), self.n_clusters)
        if self.architecture == "conv":
            return Networks(conv_parts(shape, self._widths, self.latent, shared), self.n_clusters)
        return Networks(dense_parts(shape, self._widths, self.latent, shared), self.n_clusters)

    def _model(self, backend):
        return VAEModel(
            backend, self._networks(), self.reconstruction_loss, self.noise_variance, self.reg, self._centred
        )

    @property
    def _n_features_out(self):
        self._check_fitted()
        return int(self.latent)

    # Data

    @property
    def _made_for_a_size(self):
        return self.reconstruction_loss != "bernoulli"  # whose data are in [0, 1] anyway

    def _check_X(self, X, reset, **options):
        X = super()._check_X(X, reset, **options)
        return self._check_range(X, "X")

    def _check_target(self, target, X):
        target = super()._check_target(target, X)
        return target if target is X else self._check_range(target, "target")

    def _check_range(self, X, name):
        if self.reconstruction_loss != "bernoulli" or not X.size:
            return X
        return in_unit_interval(X, name, "reconstruction_loss='bernoulli'", "reconstruction_loss='gaussian'")
