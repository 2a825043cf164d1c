"""The layers of deep clustering by divergences: blocks, clustering head, decoder."""

from csrl_core.models.network import Networks, Part
from csrl_core.reference.layers import BatchNorm, Conv, Dense, MaxPool, TransposedConv, UpSample


def backbone(shape, widths, conv):
    """(encoder, decoder, blocks): layers, and after how many of the encoder's layers a block ends.

    Dense layers with ReLU, each a block; or of every width two convolutions without padding, 5 × 5 and then 3 × 3,
    batch normalisation, ReLU, and pooling, which comes after the block's end but for the last block.

    shape : (c, h, w); widths : units of the layers, or channels of the blocks; conv : bool
    """
    if not conv:
        sizes = [tuple(shape), *widths]
        decoder = [Dense(sizes[l], "relu" if l else "linear") for l in reversed(range(len(widths)))]
        return [Dense(width, "relu") for width in widths], decoder, tuple(range(1, len(widths) + 1))
    encoder, decoder, blocks = [], [], []
    for l, width in enumerate(widths):
        kernel, below = (3, widths[l - 1]) if l else (5, shape[0])
        encoder += [Conv(width, kernel, activation="relu"), Conv(width, kernel), BatchNorm("relu")]
        blocks.append(len(encoder) + (l == len(widths) - 1))
        encoder.append(MaxPool(2))
        last = TransposedConv(below, kernel, activation="relu" if l else "linear")
        decoder = [UpSample(2), TransposedConv(width, kernel), BatchNorm("relu"), last, *decoder]
    return encoder, decoder, tuple(blocks)


def divergence_parts(shape, encoder, decoder, hidden, n_clusters):
    """The parts of the model, a dict of `Part`: encoder, clustering head, and decoder unless that is None.

    shape : (c, h, w); hidden : width of H
    """
    parts = {"encoder": Part(list(encoder), tuple(shape))}
    code = Networks(parts, 1).output["encoder"]
    parts["head"] = Part([Dense(hidden, "relu"), BatchNorm(), Dense(n_clusters)], code)
    if decoder is not None:
        parts["decoder"] = Part(list(decoder), code, tuple(shape))
    return parts
