"""Layers of networks: of autoencoders the dense and the convolutional form, of instance discrimination the same."""

import numpy as np

from csrl_core.models.network import Part
from csrl_core.reference.layers import BatchNorm, Conv, Dense, TransposedConv


def dense_parts(n_features, hidden, latent, shared):
    """Encoder and decoder of dense layers, leaky ReLU between them: widths ``hidden``, and their mirror image.

    n_features : int, or (c, h, w); shared : int, outer pairs of layers that clusters share; returns dict of `Part`
    """
    encoder = [Dense(width, "leaky_relu", shared=l < shared) for l, width in enumerate(hidden)]
    widths = [n_features, *hidden]
    decoder = [Dense(hidden[-1], "leaky_relu")] if hidden else []
    decoder += [
        Dense(widths[l], "leaky_relu" if l else "linear", shared=l < shared) for l in reversed(range(len(hidden)))
    ]
    return parts(encoder, decoder or [Dense(n_features)], n_features, latent)


def conv_parts(shape, channels, latent, shared):
    """The parts of a variational autoencoder from `conv_layers`; arguments as there, latent : int."""
    return parts(*conv_layers(shape, channels, shared), shape, latent)


def conv_layers(shape, channels, shared, output_activation="linear"):
    """Convolutions 3 × 3 of stride 2 and their mirror image, ReLU between them.

    Images are padded with zeros to sides that can be halved as often as there are layers (28 to 32), which the padding
    of the outer layers does; the decoder leaves the padding out.

    shape : (c, h, w); channels : of the encoder's layers; shared : int, outer pairs of layers that clusters share, of
        which the dense layers about the code are the last
    returns (encoder, decoder), lists of layers without the dense layer that gives the code

    Raises
    ------
    ValueError
        Height and width would need different paddings.
    """
    (c, *sides), halves = shape, 2 ** len(channels)
    missing = {-side % halves for side in sides}
    if len(missing) > 1:
        raise ValueError(
            f"architecture='conv' pads images of {sides[0]} × {sides[1]} to multiples of {halves}, by "
            f"{-sides[0] % halves} and {-sides[1] % halves}; expected the same for both, or layers of your own"
        )
    pad, encoder, decoder = missing.pop(), [], []
    padding = [1 + pad // 2] + [1] * (len(channels) - 1)
    extra = [1 - pad % 2] + [1] * (len(channels) - 1)
    widths = [c, *channels]
    small = [-(-side // halves) for side in sides]
    for l, width in enumerate(channels):
        encoder.append(Conv(width, 3, 2, padding[l], "relu", shared=l < shared))
        activation = "relu" if l else output_activation
        decoder.append(TransposedConv(widths[l], 3, 2, padding[l], extra[l], activation, shared=l < shared))
    first = Dense((widths[-1], *small), "relu", shared=len(channels) < shared)
    return encoder, [first, *reversed(decoder)]


def encoder_parts(shape, layers, widths, conv, shared, width):
    """The part "encoder" of contrastive models: layers with batch normalisation and ReLU, and one for the embedding.

    shape : (c, h, w); layers : list of layers instead, or None; widths : of the layers, or their channels
    conv : bool, 3 × 3 convolutions of stride 2; shared : int, first layers that clusters share; width : D
    """
    if layers is None:
        layers = []
        for l, size in enumerate(widths):
            own = {"bias": False, "shared": l < shared}
            layers.append(Conv(size, 3, 2, 1, **own) if conv else Dense(size, **own))
            layers.append(BatchNorm("relu", shared=l < shared))
    return {"encoder": Part([*layers, Dense(width)], tuple(shape))}


def code_parts(encoder, decoder, shape, latent, shared=False):
    """The parts of an autoencoder: layers, and a last one of the encoder for the code, of every cluster or shared."""
    last = Dense(latent, shared=shared)
    return {"encoder": Part([*encoder, last], shape), "decoder": Part(list(decoder), latent, shape)}


def parts(encoder, decoder, shape, latent):
    """The parts of a variational autoencoder: layers, and a last one of every cluster for means and log-variances."""
    shape = (shape, 1, 1) if np.isscalar(shape) else tuple(shape)
    return {"encoder": Part([*encoder, Dense(2 * latent)], shape), "decoder": Part(list(decoder), latent, shape)}


def instance_parts(shape, widths, latent, conv, given=None):
    """The encoder of instance discrimination, without cluster axis, as a dict of `Part`.

    Dense layers with ReLU, or convolutions, each with batch normalisation and ReLU: 5 × 5 of stride 2, 3 × 3 of
    stride 2, and 3 × 3 without padding; then a dense layer to the embedding.

    shape : (c, h, w); widths : units or channels of the layers; latent : D; given : layers instead of these
    """
    if given is not None:
        layers = list(given)
    elif conv:
        layers = []
        for l, width in enumerate(widths):
            kernel, stride, padding = ((5, 2, 2), (3, 2, 1), (3, 1, 0))[min(l, 2)]
            layers += [Conv(width, kernel, stride, padding, bias=False), BatchNorm("relu")]
    else:
        layers = [Dense(width, "relu") for width in widths]
    return {"encoder": Part([*layers, Dense(latent)], tuple(shape))}
