"""What estimators of networks have in common: layers as text, images as rows, shapes of parameters and state."""

from abc import abstractmethod
from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import StrOptions

from csrl_core.models.network import layer

VECTORS = {"dense", "batch_norm", "dropout", "activation"}  # kinds of layers that need no images


class NetworkMethods:
    """Mixin of estimators whose model is made of `csrl_core.models.network.Networks`, before `BaseClusterSpecific`.

    The estimator has the arguments ``architecture``, ``encoder`` and ``image_shape``, and ``decoder`` if it decodes.
    """

    _parameter_constraints = {
        "architecture": [StrOptions({"dense", "conv"})],
        "channels": ["array-like"],
        "encoder": [None, list, tuple],
        "decoder": [None, list, tuple],
        "image_shape": [None, "array-like"],
    }

    @abstractmethod
    def _networks(self):
        """The `Networks` that the arguments describe, for the features of the fit."""

    @property
    def _has_networks(self):
        """Whether the model that the arguments describe is made of `Networks`."""
        return True

    @property
    def _decodes(self):
        """Whether the model that the arguments describe has a decoder."""
        return hasattr(self, "decoder")

    # Arguments

    def _check_layers(self):
        """Refuse layers, and shapes of images, that no network can have."""
        if self.image_shape is not None:
            check_widths("image_shape", self.image_shape, 2)
            if len(self.image_shape) > 3:
                raise ValueError(
                    f"image_shape={self.image_shape!r}; expected (height, width) or (channels, height, width)"
                )
        if self._decodes and (self.encoder is None) != (self.decoder is None):
            raise ValueError("encoder and decoder are given together or not at all")
        for text in (*(self.encoder or ()), *(vars(self).get("decoder") or ())):
            if not isinstance(text, str):
                raise ValueError(f"layers are given as text, such as 'dense 200 activation=relu'; got {text!r}")
            layer(text)

    def _check_shared(self, pairs, unset):
        """Refuse a number of shared layers that there are not.

        pairs : int, outer pairs of layers; unset : the value of ``shared`` beside layers that are given
        """
        if self.encoder is not None:
            if self.shared != unset:
                given = "encoder and decoder are given" if hasattr(self, "decoder") else "encoder is given"
                raise ValueError(f"shared={self.shared!r}, but {given}: their layers say 'shared'")
        elif self.shared != "auto" and self.shared > pairs:
            raise ValueError(
                f"shared={self.shared}, but there are only {pairs} outer pairs of layers; expected 0 to {pairs}"
            )

    # Images

    @property
    def _takes_images(self):
        """Whether samples are images: their shape is given, or there are convolutions."""
        if self.encoder is None:
            return self.architecture == "conv" or self.image_shape is not None
        return self.image_shape is not None or not {text.split()[0] for text in self.encoder} <= VECTORS

    def _image(self, d):
        """(c, h, w) of a sample with d features; (d, 1, 1) if it is no image.

        Raises
        ------
        ValueError
            The features are not those of such an image.
        """
        if not self._takes_images:
            return d, 1, 1
        if self.image_shape is not None:
            shape = tuple(int(length) for length in self.image_shape)
            shape = shape if len(shape) == 3 else (1, *shape)
            if np.prod(shape) != d:
                raise ValueError(f"X has {d} features; expected {np.prod(shape)}, those of image_shape={shape}")
            return shape
        side = int(np.sqrt(d) + 0.5)
        if side * side != d:
            raise ValueError(
                f"X has {d} features, which are no square image of one channel; "
                f"give image_shape=(channels, height, width)"
            )
        return 1, side, side

    def _flat(self, X, name):
        """Images (n, h, w) or (n, c, h, w) as rows."""
        shape = np.shape(X) if hasattr(X, "shape") else ()
        if not self._takes_images or len(shape) not in (3, 4):
            return X
        image = shape[1:] if len(shape) == 4 else (1, *shape[1:])
        expected = self._image(int(np.prod(image)))
        if image != expected:
            raise ValueError(
                f"{name} has images of shape {image}; expected {expected} (image_shape={self.image_shape})"
            )
        return X.reshape(shape[0], -1)

    def _check_X(self, X, reset, **options):
        X = super()._check_X(self._flat(X, "X"), reset, **options)
        if reset:  # what does not fit images of this size is an error before anything is done
            if self._has_networks:
                self._networks()
            elif self._takes_images:
                self._image(X.shape[1])
        return X

    def _check_target(self, target, X):
        return super()._check_target(self._flat(target, "target"), X)

    # Parameters and state

    def _parameter_shapes(self):
        return self._networks().shapes if self._has_networks else super()._parameter_shapes()

    def _state_shapes(self):
        required, optional = super()._state_shapes()
        if not self._has_networks:
            return required, optional
        return required | {name: (shape, None) for name, shape in self._networks().state_shapes.items()}, optional


def check_widths(name, values, least):
    """Refuse anything but at least ``least`` ints of at least 1."""
    if len(values) < least or not all(isinstance(width, Integral) and width >= 1 for width in values):
        raise ValueError(f"{name}={values!r}; expected at least {least} numbers, each an int of at least 1")
