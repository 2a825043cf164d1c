"""What both estimators of instance discrimination have: arguments, layers, checks."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval

from csrl_core.estimators.augmentation import AugmentationArguments
from csrl_core.estimators.networks import NetworkMethods, check_widths
from csrl_core.models.architectures import instance_parts
from csrl_core.models.instance import InstanceModel, Losses
from csrl_core.models.network import Networks

_POSITIVE = Interval(Real, 0, None, closed="neither")


@dataclass(kw_only=True, eq=False, repr=False, match_args=False)
class InstanceArguments(NetworkMethods, AugmentationArguments):
    """Arguments of estimators of instance discrimination.

    Parameters
    ----------
    architecture : {"dense", "conv"}
        Dense layers with ReLU, or convolutions, 5 × 5 of stride 2, 3 × 3 of stride 2, and 3 × 3, each with batch
        normalisation and ReLU; then a dense layer to the embedding.
    hidden : tuple of int
        Widths of the dense layers before the embedding.
    channels : tuple of int
        Channels of the convolutions.
    encoder : sequence of str or None
        Layers instead of those of ``architecture``, up to the one that gives the embedding, which is added:
        ``"conv 32 3 stride=2 padding=1"``, ``"batch_norm activation=relu"``, see `csrl_core.models.network.layer`.
    image_shape : (height, width) or (channels, height, width) or None
        Of a sample. None: square images of one channel if there are convolutions, else no images, but vectors, which
        are changed by noise alone.
    latent : int
        Width D of the embedding.
    temperature : float
        τ of instance discrimination.
    decorrelation : float
        α, the weight of feature decorrelation; 0 leaves it out.
    decorrelation_temperature : float
        τ₂.
    momentum : float
        Of the memory bank: the share of the old embedding.
    """

    architecture: str = "dense"
    hidden: tuple = (512, 256)
    channels: tuple = (32, 64, 128)
    encoder: tuple | None = None
    image_shape: tuple | None = None
    latent: int = 16
    temperature: float = 1.0
    decorrelation: float = 1.0
    decorrelation_temperature: float = 2.0
    momentum: float = 0.5

    _parameter_constraints = {
        "hidden": ["array-like"],
        "latent": [Interval(Integral, 1, None, closed="left")],
        "temperature": [_POSITIVE],
        "decorrelation": [Interval(Real, 0, None, closed="left")],
        "decorrelation_temperature": [_POSITIVE],
        "momentum": [Interval(Real, 0, 1, closed="left")],
    }

    _DESCRIBING = ("n_clusters", "architecture", "hidden", "channels", "encoder", "image_shape", "latent")

    @property
    def _loss_name(self):
        return "instance discrimination, −log P(i | v)" + (" + α · decorrelation" if self.decorrelation else "")

    def _validate_params(self):
        super()._validate_params()
        for name, least in (("hidden", 0), ("channels", 1)):
            check_widths(name, getattr(self, name), least)
        self._check_layers()

    def _networks(self):
        """The `Networks` that the arguments describe, for the features of the fit; all clusters share them."""
        shape, conv = self._image(self.n_features_in_), self.architecture == "conv"
        widths = tuple(map(int, self.channels if conv else self.hidden))
        return Networks(instance_parts(shape, widths, int(self.latent), conv, self.encoder), 1)

    def _losses(self):
        return Losses(self.temperature, self.decorrelation_temperature, self.decorrelation, self.momentum)

    def _model(self, backend, X=None, weight=None, others=(), key=None):
        image = self._image(self.n_features_in_) if self._takes_images else None
        options = self._augmentation(image, X)
        shape = image or (self.n_features_in_, 1, 1)
        return InstanceModel(backend, self._networks(), shape, options, self._losses())

    @property
    def _n_features_out(self):
        self._check_fitted()
        return int(self.latent)

    def _state_shapes(self):
        required, optional = super()._state_shapes()
        k, D = self.n_clusters, int(self.latent)
        required |= {"bank": ((None, D), None), "bank_weight": ((None,), None), "noise": ((1,), np.float64)}
        return required, optional | {"feature_centers": ((k, D), None)}
