"""Cases of the ``conv`` kernels: strides, paddings and kernels that fit together badly, odd channels, no images."""

import numpy as np

from csrl_core.contract.cases import Case, Kernel
from csrl_core.reference import conv as reference

ARGUMENTS = {
    "X": ("(n, c, h, w)", "float", "images"),
    "G": ("(n, o, h', w')", "float", "gradient with respect to the output"),
    "weight": ("(o, c, kh, kw)", "float", "W"),
    "bias": ("(o,)", "float", "empty for none"),
    "stride": ("", "int", "pixels from one output to the next, s"),
    "padding": ("", "int", "rows and columns of zeros on every side, p"),
    "output_padding": ("", "int", "further rows and columns of the output, below s"),
    "size": ("", "int", "of a square window"),
    "factor": ("", "int", "by which an image grows"),
}
_TRANSPOSED = {"weight": ("(c, o, kh, kw)", "float", "W")}
_GRADIENTS = "∂W, ∂b (o,), ∂X float"
FUNCTIONS = [
    Kernel(reference.conv2d, "(n, o, h', w') float", "sum", "sample"),
    Kernel(reference.conv2d_backward, _GRADIENTS, "sum", "sum over samples"),
    Kernel(reference.transposed_conv2d, "(n, o, h', w') float", "sum", "sample", arguments=_TRANSPOSED),
    Kernel(reference.transposed_conv2d_backward, _GRADIENTS, "sum", "sum over samples", arguments=_TRANSPOSED),
    Kernel(reference.max_pool, "(n, c, h', w') float", "exact", "sample"),
    Kernel(reference.max_pool_backward, "(n, c, h, w) float", "sum", "sample"),
    Kernel(reference.up_sample, "(n, c, h', w') float", "exact", "sample"),
    Kernel(reference.up_sample_backward, "(n, c, h, w) float", "sum", "sample"),
]

# n, c, h, w, o, kh, kw, stride, padding, output padding
SIZES = {
    "tiny": (1, 1, 1, 1, 1, 1, 1, 1, 0, 0),
    "one channel, 3x3 stride 2": (5, 1, 28, 28, 32, 3, 3, 2, 1, 1),
    "one channel, 5x5 stride 2": (3, 1, 28, 28, 7, 5, 5, 2, 2, 1),
    "one channel, 5x5": (2, 1, 28, 28, 32, 5, 5, 1, 0, 0),
    "3x3 stride 2": (9, 32, 14, 14, 64, 3, 3, 2, 1, 1),
    "3x3 stride 1": (3, 32, 11, 11, 33, 3, 3, 1, 0, 0),
    "3x3 same size": (4, 17, 9, 7, 16, 3, 3, 1, 1, 0),
    "5x5": (2, 19, 12, 13, 21, 5, 5, 1, 0, 0),
    "odd sizes": (3, 3, 11, 7, 5, 3, 2, 2, 1, 0),
    "4x4, strips of tiles": (2, 16, 24, 26, 17, 4, 4, 1, 2, 0),
    "3x3, groups of images": (19, 16, 9, 12, 18, 3, 3, 1, 1, 0),
    "kernel as large as the image": (4, 2, 5, 6, 3, 5, 6, 1, 0, 0),
    "stride over kernel": (2, 4, 11, 10, 3, 2, 2, 3, 1, 2),
    "columns left over": (2, 16, 10, 12, 16, 3, 3, 3, 0, 1),
    "stride 3": (2, 3, 13, 13, 4, 5, 5, 3, 2, 1),
    "1x1": (5, 18, 4, 4, 6, 1, 1, 1, 0, 0),
    "many images": (1100, 2, 5, 5, 3, 3, 3, 2, 1, 0),
    "many channels": (2, 70, 6, 6, 65, 3, 3, 1, 1, 0),
    "no images": (0, 3, 8, 8, 4, 3, 3, 1, 1, 0),
}


def images(dtype, *shape):
    """Standard normal numbers, the same for the same shape."""
    return np.random.default_rng(shape).normal(size=shape).astype(dtype)


def _conv(n, c, h, w, o, kh, kw, stride, padding, output_padding, dtype, bias=True):
    return [images(dtype, n, c, h, w), images(dtype, o, c, kh, kw), images(dtype, o * bias), stride, padding]


def _conv_backward(n, c, h, w, o, kh, kw, stride, padding, output_padding, dtype):
    size = [reference.conv_size(m, k, stride, padding) for m, k in ((h, kh), (w, kw))]
    return [images(dtype, n, o, *size), images(dtype, n, c, h, w), images(dtype, o, c, kh, kw), stride, padding]


def _transposed(n, c, h, w, o, kh, kw, stride, padding, output_padding, dtype, bias=True):
    # From the small image of a convolution to the large one: o channels come in, c go out.
    h, w = (reference.conv_size(m, k, stride, padding) for m, k in ((h, kh), (w, kw)))
    X, weight = images(dtype, n, o, h, w), images(dtype, o, c, kh, kw)
    return [X, weight, images(dtype, c * bias), stride, padding, output_padding]


def _transposed_backward(n, c, h, w, o, kh, kw, stride, padding, output_padding, dtype):
    h, w = (reference.conv_size(m, k, stride, padding) for m, k in ((h, kh), (w, kw)))
    size = [reference.transposed_size(m, k, stride, padding, output_padding) for m, k in ((h, kh), (w, kw))]
    return [images(dtype, n, c, *size), images(dtype, n, o, h, w), images(dtype, o, c, kh, kw), stride, padding]


def _strided(arguments):
    """The same values in arrays that skip every other entry, the first two axes exchanged in memory."""
    return [
        np.repeat(a.swapaxes(0, 1), 2, axis=-1).swapaxes(0, 1)[..., ::2]
        if isinstance(a, np.ndarray) and a.ndim > 1
        else a
        for a in arguments
    ]


CASES = []
for _name, _size in SIZES.items():
    for _function, _arguments in (
        ("conv2d", _conv),
        ("conv2d_backward", _conv_backward),
        ("transposed_conv2d", _transposed),
        ("transposed_conv2d_backward", _transposed_backward),
    ):
        CASES.append(Case("conv", _function, _name, lambda dtype, size=_size, f=_arguments: f(*size, dtype)))
_ODD, _WIDE = SIZES["odd sizes"], SIZES["3x3 same size"]
CASES += [
    Case("conv", "conv2d", "no bias", lambda dtype: _conv(*_ODD, dtype, bias=False)),
    Case("conv", "transposed_conv2d", "no bias", lambda dtype: _transposed(*_ODD, dtype, bias=False)),
    Case("conv", "conv2d", "non-contiguous", lambda dtype: _strided(_conv(*_WIDE, dtype))),
    Case("conv", "conv2d_backward", "non-contiguous", lambda dtype: _strided(_conv_backward(*_WIDE, dtype))),
    Case("conv", "transposed_conv2d", "non-contiguous", lambda dtype: _strided(_transposed(*_ODD, dtype))),
    Case(
        "conv",
        "transposed_conv2d_backward",
        "non-contiguous",
        lambda dtype: _strided(_transposed_backward(*_ODD, dtype)),
    ),
]

# n, c, h, w, size, stride
POOLS = {
    "tiny": (1, 1, 1, 1, 1, 1),
    "2x2": (3, 5, 12, 12, 2, 2),
    "odd sizes": (4, 3, 11, 7, 2, 2),
    "overlapping": (2, 3, 9, 10, 3, 2),
    "gaps": (2, 3, 9, 10, 2, 3),
    "whole image": (3, 2, 4, 4, 4, 4),
    "several tasks": (300, 8, 12, 12, 2, 2),
    "no images": (0, 3, 4, 4, 2, 2),
}


def _pool(n, c, h, w, size, stride, dtype):
    return [images(dtype, n, c, h, w), size, stride]


def _ties(dtype):
    """Many pixels of one value, as after a ReLU."""
    return [np.maximum(images(dtype, 3, 4, 10, 10) - 1, 0), 2, 2]


def _gradient(X, size, stride):
    out = [reference.conv_size(m, size, stride, 0) for m in X.shape[2:]]
    return [images(X.dtype, *X.shape[:2], *out), X, size, stride]


for _name, _size in POOLS.items():
    CASES += [
        Case("conv", "max_pool", _name, lambda dtype, size=_size: _pool(*size, dtype)),
        Case("conv", "max_pool_backward", _name, lambda dtype, size=_size: _gradient(*_pool(*size, dtype))),
    ]
CASES += [
    Case("conv", "max_pool", "ties", _ties),
    Case("conv", "max_pool_backward", "ties", lambda dtype: _gradient(*_ties(dtype))),
    Case("conv", "max_pool", "non-contiguous", lambda dtype: _strided(_pool(4, 3, 11, 7, 2, 2, dtype))),
    Case(
        "conv",
        "max_pool_backward",
        "non-contiguous",
        lambda dtype: _strided(_gradient(*_pool(4, 3, 11, 7, 2, 2, dtype))),
    ),
]
for _name, _shape, _factor in (
    ("tiny", (1, 1, 1, 1), 1),
    ("twice", (3, 4, 5, 7), 2),
    ("three times", (2, 3, 4, 3), 3),
    ("several tasks", (300, 8, 7, 7), 2),
    ("no images", (0, 2, 3, 3), 2),
):
    CASES += [
        Case("conv", "up_sample", _name, lambda dtype, s=_shape, f=_factor: [images(dtype, *s), f]),
        Case(
            "conv",
            "up_sample_backward",
            _name,
            lambda dtype, s=_shape, f=_factor: [images(dtype, *s[:2], f * s[2], f * s[3]), f],
        ),
    ]
CASES += [
    Case("conv", "up_sample", "non-contiguous", lambda dtype: _strided([images(dtype, 3, 4, 5, 7), 2])),
    Case("conv", "up_sample_backward", "non-contiguous", lambda dtype: _strided([images(dtype, 3, 4, 10, 14), 2])),
]
