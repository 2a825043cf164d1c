"""CUDA twin of ``reference.augment``: random changes of images, one launch.

Arguments are those of the reference; the key is on the host.
"""

from functools import lru_cache

import numpy as np

from . import philox
from ._platform.launch import array, launch, xp

ZEROS, REPLICATED = range(2)
BORDERS = {"zeros": ZEROS, "replicated": REPLICATED}
NUMBERS = 12  # of an image in substep 0

_BLOCKS = 2048  # of threads at most, each with memory for an image's field


def augment(X, shape, options, key, stream, step, rows):
    """Changed images; returns (n, d) of X's dtype.

    Cost: of the field half a block of random numbers and 4 (h + w) flops a pixel; a number read and one written
    """
    (c, h, w), X, o = (int(length) for length in shape), array("X", X), options
    rows, out = philox._rows(rows, max(NUMBERS, 2 * h * w + 4, c * h * w + 2)), xp.empty(X.shape, X.dtype)
    down, across = (xp.asarray(_gaussian(length, float(o.smoothing), X.dtype.str)) for length in (h, w))
    blocks = min(len(X), _BLOCKS)
    scratch = xp.zeros(blocks * 12 * ((2 * h * w + 3) // 4) if o.elastic else 0, X.dtype)
    strengths = o.shift, np.deg2rad(o.rotation), o.scale, o.elastic, o.noise
    moved = bool(o.shift or o.rotation or o.scale or o.elastic)
    # 1. move
    # 2. noise
    # 3. erase
    launch(
        *("augment", "augment", X.dtype, blocks, X, rows, len(X), c, h, w, *strengths),
        *(int(o.erase), int(o.border), int(moved), down, across, int(key[0]), int(key[1]), stream, step, scratch, out),
    )
    return out


@lru_cache(32)
def _gaussian(length, sigma, dtype):
    """The matrix (length, length) that convolves a line with a Gaussian, zeros around it; on the host."""
    reach = int(4 * sigma + 0.5)
    if reach == 0:
        return np.eye(length, dtype=dtype)
    g = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    apart = np.subtract.outer(np.arange(length), np.arange(length))
    return np.where(np.abs(apart) <= reach, (g / g.sum())[np.clip(apart, -reach, reach) + reach], 0).astype(dtype)
