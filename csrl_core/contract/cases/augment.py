"""Cases of the ``augment`` kernel: each change alone and all at once, odd sizes, channels, vectors, no images."""

import numpy as np

from csrl_core.contract.cases import Case, Kernel
from csrl_core.reference import augment as reference
from csrl_core.reference.augment import REPLICATED, Augmentation

ARGUMENTS = {
    "shape": ("", "int", "(channels, height, width) of an image, (d, 1, 1) of a vector"),
    "options": (Augmentation, "how strong the changes are, 0 for none"),
    "shift": ("", "float64", "furthest shift, pixels"),
    "rotation": ("", "float64", "largest angle, degrees"),
    "scale": ("", "float64", "largest |log| of the factors of height and width"),
    "elastic": ("", "float64", "α, what the smoothed field is multiplied by, pixels"),
    "smoothing": ("", "float64", "σ of the field's Gaussian, pixels"),
    "noise": ("", "float64", "standard deviation"),
    "erase": ("", "int", "longest side of the rectangle, pixels"),
    "border": ("", "int", "ZEROS or REPLICATED, what lies around an image"),
}
FUNCTIONS = [Kernel(reference.augment, "(n, d) float", "sum", "sample")]
CONSTANTS = ("ZEROS", "REPLICATED", "BORDERS", "NUMBERS")

DRAW = np.array([0xA4093822, 0x299F31D0], dtype=np.uint32), 22, 3
USUAL = Augmentation(shift=2.0, rotation=15.0, scale=0.1, elastic=42.0, smoothing=5.0)
ALL = Augmentation(1.5, 30.0, 0.2, 8.0, 2.0, 0.1, 4)

# n, shape, options
SIZES = {
    "nothing": (5, (1, 6, 7), Augmentation()),
    "digits": (11, (1, 28, 28), USUAL),
    "digits, border replicated": (11, (1, 28, 28), USUAL._replace(border=REPLICATED)),
    "shift": (9, (1, 9, 12), Augmentation(shift=3.0)),
    "far outside": (9, (2, 5, 6), Augmentation(shift=40.0)),
    "far outside, border replicated": (9, (2, 5, 6), Augmentation(shift=40.0, border=REPLICATED)),
    "rotation": (9, (1, 11, 8), Augmentation(rotation=180.0)),
    "scale": (9, (1, 10, 10), Augmentation(scale=0.7, border=REPLICATED)),
    "elastic, not smoothed": (7, (1, 7, 9), Augmentation(elastic=1.0)),
    "elastic, smoothed over all": (7, (1, 5, 4), Augmentation(elastic=9.0, smoothing=8.0)),
    "odd numbers in a field": (7, (1, 5, 7), Augmentation(elastic=4.0, smoothing=1.0)),
    "noise": (13, (1, 5, 5), Augmentation(noise=0.3)),
    "vectors": (101, (17, 1, 1), Augmentation(noise=0.5)),
    "erase": (40, (2, 8, 6), Augmentation(erase=5)),
    "erase more than all": (40, (1, 3, 2), Augmentation(erase=9)),
    "all, three channels": (12, (3, 13, 11), ALL),
    "one row of pixels": (6, (1, 1, 19), ALL),
    "one pixel": (6, (2, 1, 1), ALL),
    "one image": (1, (1, 28, 28), ALL),
    "many images": (301, (1, 10, 9), ALL),
    "wide": (2, (1, 40, 70), USUAL),
    "no images": (0, (1, 6, 6), ALL),
}


def images(n, shape, dtype):
    """Smooth images and rows of which some are far from 0, in no order."""
    c, h, w = shape
    random = np.random.default_rng([n, c, h, w])
    y, x = np.arange(h)[:, None], np.arange(w)
    phase, slope = random.uniform(0, 6, (n, c, 1, 1)), random.uniform(0.1, 0.8, (2, n, c, 1, 1))
    X = np.sin(slope[0] * y + slope[1] * x + phase).reshape(n, c * h * w).astype(dtype)
    return X, random.permutation(3 * n)[:n] + 10_000_000 * (np.arange(n) % 3 == 2)


def _arguments(n, shape, options, dtype):
    X, rows = images(n, shape, dtype)
    return [X, shape, options, *DRAW, rows]


def _strided(arguments):
    X, *others, rows = arguments
    return [np.repeat(X, 2, axis=1)[:, ::2], *others, np.repeat(rows, 2)[::2]]


CASES = [
    Case("augment", "augment", name, lambda dtype, size=size: _arguments(*size, dtype)) for name, size in SIZES.items()
]
CASES += [
    Case("augment", "augment", "non-contiguous", lambda dtype: _strided(_arguments(*SIZES["digits"], dtype))),
    Case("augment", "augment", "many large rows", lambda dtype: _large_rows(*SIZES["odd numbers in a field"], dtype)),
]


def _large_rows(n, shape, options, dtype):
    X, _ = images(n, shape, dtype)
    return [X, shape, options, *DRAW, 2**34 // 72 + np.arange(n) - 3]
