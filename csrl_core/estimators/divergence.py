"""Deep divergence-based clustering, DDC, and with companion objectives DDC-AE and DDC-UCO.

Sources: Kampffmeyer, Løkse, Bianchi, Livi, Salberg, Jenssen, Deep divergence-based approach to clustering, arXiv
1902.04981; Trosten, Løkse, Jenssen, Kampffmeyer, Leveraging tensor kernels to reduce objective function mismatch in
deep clustering, arXiv 2001.07026. The mathematics is in `csrl_core.reference.divergence`.
"""

from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from csrl_core.estimators.arguments import estimator
from csrl_core.estimators.augmentation import AugmentationArguments
from csrl_core.estimators.batch import BaseBatchModel
from csrl_core.estimators.mismatch_curves import MismatchCurves
from csrl_core.estimators.networks import NetworkMethods, check_widths
from csrl_core.estimators.row_by_row import row_by_row
from csrl_core.models.divergence import DivergenceModel
from csrl_core.models.divergence_layers import backbone, divergence_parts
from csrl_core.models.divergence_mismatch import terms_of
from csrl_core.models.divergence_terms import RATES, Objective, block_weights
from csrl_core.models.mismatch_log import NAME, PAIRS, MismatchLog
from csrl_core.models.network import Networks
from csrl_core.training.parameters import Layout

WEIGHTS = {None: 0.0, "autoencoder": 0.1, "uco": 0.01}  # λ
LEARNING_RATES = {None: 1e-3, "autoencoder": 1e-3, "uco": 1e-4}


@estimator
class DeepDivergenceClustering(MismatchCurves, NetworkMethods, AugmentationArguments, BaseBatchModel):
    """A network whose soft assignments A are clusters of its own hidden features H that overlap little (DDC).

    Minimises D_cs(A, K_H) + 2/(n(n − 1)) Σ_{a<b} A_a · A_b + D_cs(M, K_H) of batches of n samples: the Cauchy–Schwarz
    divergence of clusters with a Gaussian kernel K_H of H, samples in different clusters, and every sample near a
    corner of the simplex, M_ij = exp(−‖A_i − e_j‖²). Batches of fewer samples than ``batch_size``, the last of an
    epoch, are not learnt from. A sample's cluster is argmax A.

    Parameters
    ----------
    n_clusters : int, default=2
        The number of clusters, k, at least 2.
    companion : {None, "autoencoder", "uco"}, default=None
        What is minimised beside it: nothing; the squared error of a decoder's reconstruction (DDC-AE); or unsupervised
        companion objectives, D_cs(A, K_l) with a kernel K_l of the output of every block l of the network (DDC-UCO).
    kernel : {"tensor", "vector"}, default="tensor"
        What the blocks' outputs are compared as: tensors, by the row spaces of all their modes, or flat vectors.
    companion_weight : float or "auto", default="auto"
        λ, the companion's weight. "auto": 0.1 of the mean squared error, 0.01 of the blocks' divergences.
    block_weights : {"constant", "linear", "exponential"}, default="constant"
        Of B blocks the weight of block l is 1, l/B or 10^(l − B).
    invariance : float, default=0
        Weight of −mean log Σ_j A_ij A'_ij, A' the assignments of a changed copy of the sample; 0 leaves it out.
    architecture : {"dense", "conv"}, default="dense"
        Dense layers with ReLU, each a block; or blocks of two convolutions without padding, 5 × 5 in the first block
        and 3 × 3 in others, batch normalisation, ReLU and pooling.
    hidden : tuple of int, default=(512, 256)
        Widths of the dense layers.
    channels : tuple of int, default=(32, 32)
        Channels of the blocks of convolutions.
    encoder : sequence of str or None, default=None
        Layers instead of those of ``architecture``: ``"conv 32 3 padding=1"``, ``"batch_norm activation=relu"``, see
        `csrl_core.models.network.layer`.
    decoder : sequence of str or None, default=None
        Layers of the decoder, from the encoder's output to the sample; given together with ``encoder``, and not without
        ``companion="autoencoder"``.
    blocks : tuple of int or None, default=None
        After how many layers of ``encoder`` each block ends. None: one block, all layers.
    image_shape : (height, width) or (channels, height, width) or None, default=None
        Of a sample. None: square images of one channel if there are convolutions, else no images, but vectors, which
        are changed by noise alone.
    latent : int, default=100
        Width of H, the dense layer with ReLU and batch normalisation before the assignments.
    learning_rate : float or "auto", default="auto"
        The optimizer's step size. "auto": 0.001, and 0.0001 with ``companion="uco"``.
    mismatch : int, default=0
        Batches of every epoch, evenly spread, in which the gradients of the objective and of its companion are
        compared; with more than 0, their values in all batches are kept as well. What is learnt stays the same. A
        batch that is compared takes up to three times as long.
    mismatch_pairs : bool, default=False
        Whether the gradients of all pairs of terms are compared as well.

    Attributes
    ----------
    labels_ : (n,) int64, equal to ``predict(X)``
    cluster_centers_ : (k, d), means of X over the clusters
    params_ : (p,), all trained parameters, in the order of `named_parameters`
    loss_curve_ : list, the mean loss of each epoch's batches, before their steps; loss_ : float, the last of them, by
        which the best of ``n_init`` is chosen
    ofm_curve_, ofm_detached_curve_ : (epochs,), mean cosine of the gradients of L_DDC and of the companion with respect
        to the encoder's parameters; with A constant in the companion. With ``mismatch`` and a companion
    ofm_regression_curve_ : (epochs, 4), slope of the change of L_DDC on that of the companion from batch to batch, both
        ends of its 95 % interval, correlation
    ofm_pairs_ : dict of (term, term) → (epochs,), cosines of the gradients of terms, with ``mismatch_pairs``
    state_ : dict, with running averages of batch normalisation
    n_iter_, n_steps_, n_reseeded_ (0), backend_ : as for every estimator

    Examples
    --------
    >>> import numpy as np
    >>> from csrl_core import DeepDivergenceClustering, metrics
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat(np.eye(3), 40, axis=0).repeat(4, axis=1) + 0.1 * rng.normal(size=(120, 12))
    >>> model = DeepDivergenceClustering(n_clusters=3, hidden=(16,), latent=10, epochs=60, random_state=0).fit(X)
    >>> metrics.adjusted_rand_index(np.repeat([0, 1, 2], 40), model.labels_)
    1.0
    >>> model.predict_proba(X).shape
    (120, 3)
    """

    companion: str | None = None
    kernel: str = "tensor"
    companion_weight: float | str = "auto"
    block_weights: str = "constant"
    invariance: float = 0.0
    architecture: str = "dense"
    hidden: tuple = (512, 256)
    channels: tuple = (32, 32)
    encoder: tuple | None = None
    decoder: tuple | None = None
    blocks: tuple | None = None
    image_shape: tuple | None = None
    latent: int = 100
    epochs: int = 100
    batch_size: int | None = 120
    learning_rate: float | str = "auto"
    mismatch: int = 0
    mismatch_pairs: bool = False
    clip_norm: float | None = 10.0

    _parameter_constraints = {
        "n_clusters": [Interval(Integral, 2, None, closed="left")],
        "companion": [None, StrOptions({"autoencoder", "uco"})],
        "kernel": [StrOptions({"tensor", "vector"})],
        "companion_weight": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "block_weights": [StrOptions(set(RATES))],
        "invariance": [Interval(Real, 0, None, closed="left")],
        "hidden": ["array-like"],
        "blocks": [None, list, tuple],
        "latent": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    _fewest_clusters = 2
    _DESCRIBING = (
        *("n_clusters", "companion", "architecture", "hidden", "channels", "encoder", "decoder", "blocks"),
        *("image_shape", "latent"),
    )

    @property
    def _loss_name(self):
        more = {"autoencoder": "\n+ λ · mean squared error", "uco": "\n+ λ · divergences of the blocks"}
        return f"Cauchy–Schwarz divergences of clusters, and overlap{more.get(self.companion, '')}"

    def _validate_params(self):
        super()._validate_params()
        for name in ("hidden", "channels"):
            check_widths(name, getattr(self, name), 1)
        self._check_layers()
        self._check_mismatch()
        if self.batch_size is not None and self.batch_size < self.n_clusters:
            raise ValueError(
                f"batch_size={self.batch_size} is smaller than n_clusters={self.n_clusters}: a batch has to have "
                f"samples of all clusters; choose a batch_size of several samples a cluster"
            )
        if self.blocks is not None:
            count = len(self.encoder or ())
            ends = list(self.blocks)
            if self.encoder is None or not ends or ends != sorted(set(ends)) or not 1 <= ends[0] <= ends[-1] <= count:
                raise ValueError(
                    f"blocks={self.blocks!r}; expected rising numbers of layers of a given encoder, from 1 to {count}"
                )

        if self.decoder is not None and not self._decodes:
            raise ValueError(f"decoder is given, but companion={self.companion!r} has none; expected 'autoencoder'")

    @property
    def _decodes(self):
        return self.companion == "autoencoder"

    def _layers(self):
        """(encoder, decoder or None, blocks) that the arguments describe, for the features of the fit."""
        conv = self.architecture == "conv"
        if self.encoder is not None:
            layers = self.encoder, self.decoder, tuple(map(int, self.blocks or (len(self.encoder),)))
        else:
            widths = tuple(map(int, self.channels if conv else self.hidden))
            layers = backbone(self._image(self.n_features_in_), widths, conv)
        encoder, decoder, blocks = layers
        return encoder, decoder if self._decodes else None, blocks

    def _networks(self):
        """The `Networks` that the arguments describe; all clusters share them."""
        encoder, decoder, _ = self._layers()
        shape, sizes = self._image(self.n_features_in_), (int(self.latent), int(self.n_clusters))
        return Networks(divergence_parts(shape, encoder, decoder, *sizes), 1)

    def _model(self, backend, X=None, weight=None, others=(), key=None):
        image = self._image(self.n_features_in_) if self._takes_images else None
        blocks = self._layers()[2]
        objective = Objective(
            self.companion,
            float(WEIGHTS[self.companion] if self.companion_weight == "auto" else self.companion_weight),
            self.kernel,
            block_weights(self.block_weights, len(blocks)),
            float(self.invariance),
        )
        shape, options = image or (self.n_features_in_, 1, 1), self._augmentation(image, X)
        least = 0 if X is None else min(len(X), self.batch_size or len(X))
        return DivergenceModel(backend, self._networks(), blocks, shape, options, objective, least)

    def _new_fit(self, backend, given, others, resume):
        fit = super()._new_fit(backend, given, others, resume)
        if self.mismatch:
            n, size = len(given[0]), self.batch_size
            full = 1 if size is None or size >= n else n // size
            fit.objective.model.log = MismatchLog(self.epochs, self._batches(n), full, self.mismatch, self._pairs())
        return fit

    def _term_names(self):
        return terms_of(self.companion, len(self._layers()[2]), self.invariance)

    def _pairs(self):
        """How many pairs of terms are compared."""
        count = len(self._term_names())
        return count * (count - 1) // 2 if self.mismatch_pairs else 0

    def _settings(self, key, batches):
        rate = LEARNING_RATES[self.companion] if self.learning_rate == "auto" else self.learning_rate
        return replace(super()._settings(key, batches), learning_rate=float(rate))

    @row_by_row
    def predict_proba(self, X):
        """The soft assignments A (n, k)."""
        return self._map(X, lambda fitted, x: np.exp(-fitted.losses(x)))

    def objective_gradients(self, X, index=None, *, params=None):
        """Gradients of parts of the objective for `csrl_core.mismatch`; arguments as of `value_and_gradient`.

        Returns
        -------
        dict of name → dict of parameter → array
            "clustering", L_DDC; "companion", and "companion, A constant" without its part through the assignments; and
            every term: "separation", "orthogonality", "corners", "autoencoder" or "block 1", …, "invariance".
        """
        fitted, batch, convert = self._evaluated_batch(X, index, params)
        with fitted.threads():
            found = fitted.model.objective_gradients(fitted.parameters, batch, fitted.draw())
        layout = Layout(self._shapes)
        return {name: layout.views(convert(gradient)) for name, gradient in found.items()}

    @property
    def _n_features_out(self):
        self._check_fitted()
        return int(self.latent)

    def _state_shapes(self):
        required, optional = super()._state_shapes()
        if self.mismatch:
            optional = optional | {NAME: ((None, None, PAIRS + self._pairs()), np.float64)}
        return required | {"noise": ((1,), np.float64)}, optional
