"""Tensorized autoencoders (TAE, PTAE) and, with one cluster, the standard autoencoder.

Sources: arXiv 2212.01046 and arXiv 2412.03471. The mathematics is in `csrl_core.reference.autoencoder`, that of other
layers than dense ones in `csrl_core.reference.network`.
"""

from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from csrl_core.estimators.arguments import estimator
from csrl_core.estimators.autoencoder_checks import AutoencoderChecks
from csrl_core.estimators.base import BaseClusterSpecific
from csrl_core.estimators.networks import NetworkMethods, check_widths
from csrl_core.models.architectures import code_parts, conv_layers
from csrl_core.models.autoencoder import AutoencoderModel, ExactAutoencoderModel, layer_rows, parameter_shapes
from csrl_core.models.network import Networks
from csrl_core.models.network_autoencoder import NetworkAutoencoderModel
from csrl_core.reference.dense import ACTIVATIONS, layer_table

# What "auto" stands for: of dense layers, and of convolutions or layers that are given.
DENSE = {"epochs": 150, "batch_size": None, "learning_rate": 0.01, "reg": 0.1}
NETWORKS = {"epochs": 50, "batch_size": 50, "learning_rate": 0.001, "reg": 0.0}


@estimator
class TensorizedAutoencoder(AutoencoderChecks, NetworkMethods, BaseClusterSpecific):
    """One autoencoder for each cluster, learnt together with the clusters.

    With x̃ = x − c_j, t̃ = t − c_j and z = f_j(x̃), it minimises the weighted mean of L[i, s_i] over parameters and
    assignments s, where L[i, j] = (1/d) ‖g_j(z) − t̃‖² + λ ‖z‖².

    Parameters
    ----------
    n_clusters : int, default=2
        The number of clusters, k. With 1 and ``center=False`` this is the standard autoencoder.
    architecture : {"dense", "conv"}, default="dense"
        The papers' dense layers, or 3 × 3 convolutions of stride 2 and their mirror image with ReLU.
    hidden : tuple of int, default=(2, 1)
        Widths of the dense encoder's layers; the last is the embedding's. The decoder mirrors them.
    channels : tuple of int, default=(8, 16)
        Channels of the convolutional encoder's layers.
    latent : int, default=2
        Width h of the embedding of ``architecture="conv"`` and of layers that are given: a last dense layer gives it.
    encoder, decoder : sequence of str or None, default=None
        Layers instead of those of ``architecture``: the encoder's up to the one that gives the embedding, which is
        added, and all of the decoder's. ``"dense 200 activation=tanh shared"``, ``"conv 32 3 stride=2 padding=1"``, see
        `csrl_core.models.network.layer`. Either both or none.
    image_shape : (height, width) or (channels, height, width) or None, default=None
        Of a sample. None: square images of one channel if there are convolutions, else no images.
    shared : int, default=0
        Number of outer layer pairs that all clusters share: 0 is the TAE, ``len(hidden) - 1`` the PTAE, of convolutions
        ``len(channels)``. Layers that are given say it themselves.
    activation : {"linear", "relu", "leaky_relu", "tanh", "sigmoid"}, default="linear"
        Follows every dense encoder layer and no decoder layer. The leaky slope is 0.2.
    output_activation : same names, default="linear"
        Follows the last decoder layer.
    bias : bool, default=False
        Whether dense layers have biases; convolutions do.
    reg : float or "auto", default="auto"
        λ, the k-means penalty on the embedding. "auto": 0.1, of convolutions and layers that are given 0: their codes
        have no scale of their own, and at the start a penalty outweighs what they explain.
    center : bool, default=True
        Whether each cluster's centre is subtracted from input and target.
    assignment : {"auto", "loss", "likelihood"}, default="auto"
        Samples go to the cluster of the lowest loss, the papers' rule, or of the highest likelihood. With "likelihood"
        every cluster is a Gaussian about its subspace, with its own noise variance, spread and proportion. The latent
        width must be below the number of features; with an output activation, and with convolutions, it is a
        heuristic. "auto": "likelihood" if it is a density (several clusters, dense layers, a linear output, and a width
        below the number of features), otherwise "loss".
    epochs : int or "auto", default="auto"
        Passes over the data. "auto": 150, of convolutions and layers that are given 50.
    batch_size : int, None or "auto", default="auto"
        Samples in a batch; None: all. "auto": all, of convolutions and layers that are given 50.
    learning_rate : float or "auto", default="auto"
        The optimizer's step size. "auto": 0.01, of convolutions and layers that are given 0.001.
    standing_epochs : int or "auto", default="auto"
        Epochs at the start of training during which the first assignment stands. "auto": none, of convolutions and
        layers that are given 10.
    solver : {"gradient", "exact"}, default="gradient"
        "exact" computes principal components of every cluster and a new assignment in turn, until nothing changes:
        the optimum that the gradient must reach. Only for linear models without biases, with ``reg=0`` and
        ``shared=0``; it ignores ``learning_rate``, ``optimizer``, ``update``, ``clip_norm`` and ``tol``.
    start : {"auto", "uniform", "components"}, default="auto"
        The initial parameters. "uniform": random, U(±1/√fan_in). "components": principal components of the target in
        the first clusters, scaled so that with ``reg > 0`` L[i, j] = ‖x_i − c_j‖²/d: training starts at the loss of
        k-means. They are not random, so that restarts differ only by ``init``. They need the gradient solver and a
        linear model without biases whose encoder widths do not rise. "auto": for such models the components with a
        tenth of "uniform" added, for all others "uniform".
    init : {"auto", "k-means++", "k-means", "random"}, labels (n,) or centres (k, d), default="auto"
        The first assignment. "auto" tries "k-means" and "k-means++", five times each (once, if X has more than 2²⁰
        values). It trains each for five rounds of principal components and assignment, and continues with the best by
        likelihood or loss. Without principal components (see ``start``) it is the best of ten "k-means".

    Attributes
    ----------
    labels_ : (n,) int64, equal to ``predict(X)``. Exception: with a ``target`` and assignment by loss they are the
        clusters of the lowest loss for the target, which `predict` does not have
    cluster_centers_ : (k, d), means of the target over the clusters
    params_ : (p,), all trained parameters, in the order of `named_parameters`
    loss_ : float, the final objective; loss_curve_ : list, its mean over each epoch's batches, before their steps
    n_iter_, n_steps_ : int, numbers of epochs and optimizer steps
    n_reseeded_ : int, number of empty clusters that were re-seeded
    backend_ : str, the backend that was used
    state_ : dict of arrays that no gradient trains

    Examples
    --------
    >>> from csrl_core import TensorizedAutoencoder, datasets
    >>> X, y = datasets.make_lines_3d(random_state=0)
    >>> model = TensorizedAutoencoder(n_clusters=3, random_state=0).fit(X)
    >>> model.transform(X).shape
    (300, 1)

    A start at principal components assigns each sample to the nearest centre, by loss:

    >>> start = TensorizedAutoencoder(n_clusters=3, start="components", assignment="loss", epochs=0, random_state=0)
    >>> start = start.set_params(init="k-means").fit(X)
    >>> nearest = ((X[:, None] - start.cluster_centers_) ** 2).sum(axis=2).argmin(axis=1)
    >>> bool((start.labels_ == nearest).all())
    True
    """

    architecture: str = "dense"
    hidden: tuple = (2, 1)
    channels: tuple = (8, 16)
    latent: int = 2
    encoder: tuple | None = None
    decoder: tuple | None = None
    image_shape: tuple | None = None
    shared: int = 0
    activation: str = "linear"
    output_activation: str = "linear"
    bias: bool = False
    reg: float | str = "auto"
    assignment: str = "auto"
    solver: str = "gradient"
    start: str = "auto"
    epochs: int | str = "auto"
    batch_size: int | str | None = "auto"
    learning_rate: float | str = "auto"

    _parameter_constraints = {
        "hidden": ["array-like"],
        "latent": [Interval(Integral, 1, None, closed="left")],
        "shared": [Interval(Integral, 0, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "bias": ["boolean"],
        "reg": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "solver": [StrOptions({"gradient", "exact"})],
        "start": [StrOptions({"auto", "uniform", "components"})],
        "assignment": [StrOptions({"auto", "loss", "likelihood"})],
        "epochs": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), None, Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    @property
    def _loss_name(self):
        return "mean squared error per feature" + (" + λ ‖z‖²" if self._meaning("reg", self.reg) else "")

    def _validate_params(self):
        super()._validate_params()
        hidden = tuple(self.hidden)
        if not hidden or not all(isinstance(width, Integral) and width >= 1 for width in hidden):
            raise ValueError(f"hidden={self.hidden!r}; expected at least one width, each an int of at least 1")
        check_widths("channels", self.channels, 1)
        self._check_layers()
        if self._has_networks:
            self._check_shared(len(self.channels) + 1, 0)
            self._check_dense_alone()
            return
        if self.shared > len(hidden):
            raise ValueError(
                f"shared={self.shared} layer pairs, but hidden={self.hidden!r} has only {len(hidden)}; "
                f"expected 0 (TAE) to {len(hidden)}"
            )
        if self.start == "components" and (needs := self._components_need(hidden)):
            raise ValueError(f"start='components' needs {needs}")
        if self.solver == "exact":
            self._check_exact()

    @property
    def _has_networks(self):
        return self.architecture == "conv" or self.encoder is not None

    @property
    def _by_likelihood(self):
        if self.assignment != "auto":
            return self.assignment == "likelihood"
        if self._has_networks:
            return False
        d = vars(self).get("n_features_in_", np.inf)
        return self.n_clusters > 1 and self.output_activation == "linear" and min(self.hidden) < d

    # How it is trained

    def _meaning(self, name, value):
        auto = name in DENSE and isinstance(value, str) and value == "auto"
        return (NETWORKS if self._has_networks else DENSE)[name] if auto else value

    def _training(self, name):
        """The value of an argument that may be "auto"."""
        return self._meaning(name, getattr(self, name))

    def _epochs(self, batches):
        return self._training("epochs")

    def _batches(self, n):
        batch_size = self._training("batch_size")
        return 1 if batch_size is None else -(-n // batch_size)

    def _settings(self, key, batches):
        own = {name: self._training(name) for name in ("batch_size", "learning_rate")}
        return replace(super()._settings(key, batches), **own)

    def _check_memory(self, backend, model, X, target, batch_size):
        """As of every estimator. batch_size : None in `partial_fit`, whose batch is X"""
        batch_size = self._training("batch_size") if batch_size is not None else None
        super()._check_memory(backend, model, X, target, batch_size)

    def partial_fit(self, X, y=None, *, target=None, sample_weight=None):
        """One optimizer step on a batch, see `BaseClusterSpecific.partial_fit`; not for ``solver="exact"``."""
        if self.solver == "exact":
            raise ValueError("partial_fit needs solver='gradient', got 'exact', which takes all samples at once")
        return super().partial_fit(X, y, target=target, sample_weight=sample_weight)

    # The model

    _DESCRIBING = (
        *("n_clusters", "architecture", "hidden", "channels", "latent", "encoder", "decoder", "image_shape", "shared"),
        *("activation", "output_activation", "bias", "assignment"),
    )

    def _networks(self):
        shape = self._image(self.n_features_in_)
        if self.encoder is not None:
            return Networks(code_parts(self.encoder, self.decoder, shape, int(self.latent)), self.n_clusters)
        channels = tuple(map(int, self.channels))
        layers = conv_layers(shape, channels, self.shared, self.output_activation)
        return Networks(
            code_parts(*layers, shape, int(self.latent), shared=self.shared > len(channels)), self.n_clusters
        )

    def _parameter_shapes(self):
        if self._has_networks:
            return super()._parameter_shapes()
        layers = self.n_features_in_, self.n_clusters, tuple(map(int, self.hidden)), self.shared
        table, _ = layer_table(layer_rows(*layers, self.activation, self.output_activation, self.bias))
        return parameter_shapes(table)

    def _code_width(self):
        if self._has_networks:
            return int(self.latent)
        return int(min(self.hidden) if self.output_activation == "linear" else self.hidden[-1])

    def _model(self, backend):
        if self._has_networks:
            return NetworkAutoencoderModel(backend, self._networks(), self._training("reg"), self.center)
        hidden = tuple(int(width) for width in self.hidden)
        needs = None if self.start == "uniform" else self._components_need(hidden, self.n_features_in_)
        if needs and self.start == "components":
            raise ValueError(f"start='components' needs {needs}")
        arguments = (
            *(backend, self.n_features_in_, self.n_clusters, hidden, self.shared),
            *(self.activation, self.output_activation, self.bias),
            *(self._training("reg"), "uniform" if needs else self.start),
        )
        if self.solver == "exact":
            return ExactAutoencoderModel(*arguments, centered=self.center)
        return AutoencoderModel(*arguments)
