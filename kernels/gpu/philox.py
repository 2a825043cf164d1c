"""CUDA twin of ``reference.philox``: Philox4x32-10 random numbers as a function of the counter.

The key is on the host; ``rows`` are a device array, or anything of the host's that makes an array of ints.
Numbers come back on the device.
"""

import numpy as np

from ._platform.launch import active, array, blocks_for, launch, xp

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10


def philox4x32(counter, key):
    """Ten rounds of Philox on every counter.

    counter : (..., 4) uint32; key : (2,) uint32; returns (..., 4) uint32
    Cost: 20 multiplications of 32 × 32 bits a counter; 32 bytes
    """
    counter = array("counter", counter, np.uint32)
    out = xp.empty(counter.shape, np.uint32)
    n = counter.size // 4
    launch("philox", "philox4x32", np.float32, blocks_for(n), counter, *_key(key), out, n)
    return out


def uniform(key, stream, step, substep, rows, width, dtype):
    """Uniforms u = (word >> 8) · 2⁻²⁴ in [0, 1), the same value in float32 and float64.

    returns (len(rows), width) of ``dtype``
    Cost: a quarter of a block an element; one number written
    """
    rows = _rows(rows, width)
    out = xp.empty((len(rows), width), dtype)
    per_row = _blocks_per_row(width, 4)
    counter = (*_key(key), stream, step, substep)
    work = len(rows) * per_row
    launch("philox", "uniform", dtype, blocks_for(work), *counter, rows, len(rows), width, per_row, out)
    return out


def uniform53(key, stream, step, substep, count):
    """Uniforms u = ((w₀ >> 5) · 2²⁶ + (w₁ >> 6)) · 2⁻⁵³ in [0, 1), for where 24 bits are too coarse.

    returns (count,) float64
    Cost: half a block an element; 8 bytes
    """
    _check_elements(0, 0, count)
    out = xp.empty(count, np.float64)
    counter = (*_key(key), stream, step, substep)
    launch("philox", "uniform53", np.float64, blocks_for((count + 1) // 2), *counter, count, out)
    return out


def normal(key, stream, step, substep, rows, width, dtype):
    """√(−2 log(1 − u₁)) cos(2π u₂), the Box–Muller transform of two 24-bit uniforms.

    Computed in float64 and cast, so that both dtypes see the same number.

    returns (len(rows), width) of ``dtype``, standard normal
    Cost: half a block, one logarithm, one root, one cosine an element; one number written
    """
    rows = _rows(rows, width)
    out = xp.empty((len(rows), width), dtype)
    per_row = _blocks_per_row(width, 2)
    counter = (*_key(key), stream, step, substep)
    work = len(rows) * per_row
    launch("philox", "normal", dtype, blocks_for(work), *counter, rows, len(rows), width, per_row, out)
    return out


def bernoulli(p, key, stream, step, substep, rows):
    """1 where u < p, else 0, with u as in ``uniform``.

    p : (n, width) float, probabilities; returns (n, width) of p's dtype
    Cost: a quarter of a block an element; one number read, one written
    """
    p = array("p", p)
    width = p.shape[1]
    rows = _rows(rows, width)
    out = xp.empty(p.shape, p.dtype)
    per_row = _blocks_per_row(width, 4)
    counter = (*_key(key), stream, step, substep)
    work = len(rows) * per_row
    launch("philox", "bernoulli", p.dtype, blocks_for(work), p, *counter, rows, len(rows), width, per_row, out)
    return out


def integers(high, key, stream, step, substep, count):
    """(word · high) >> 32, in 0 … high − 1.

    Some values are more likely than others by at most high · 2⁻³² in proportion.

    high : int, 1 … 2³²; returns (count,) int64
    Cost: a quarter of a block an element; 8 bytes
    """
    _check_elements(0, 0, count)
    out = xp.empty(count, np.int64)
    counter = (*_key(key), stream, step, substep)
    launch("philox", "integers", np.float64, blocks_for((count + 3) // 4), high, *counter, count, out)
    return out


def permutation(n, key, stream, step):
    """A random order of 0 … n − 1: the stable argsort of n random 64-bit keys, substep 0.

    returns (n,) int64
    Cost: n/2 blocks and one sort
    """
    _check_elements(0, 0, n)
    # 1. sort keys
    keys = xp.empty(n, np.uint64)
    launch("philox", "sort_keys", np.float64, blocks_for((n + 1) // 2), *_key(key), stream, step, n, keys)
    # 2. order
    return xp.argsort(keys, kind="stable").astype(np.int64, copy=False)


def _key(key):
    return int(key[0]), int(key[1])


def _blocks_per_row(width, per_block):
    """The most blocks on which a row lies: one more than a whole number where rows begin within a block."""
    return width // per_block if width % per_block == 0 else (width + 2 * (per_block - 1)) // per_block


def _rows(rows, width):
    """Rows on the device as int64; those that come from the host are checked there, where it costs nothing."""
    host = not isinstance(rows, active().array) or isinstance(rows, np.ndarray)
    rows = np.ascontiguousarray(rows, dtype=np.int64) if host else array("rows", rows, np.int64)
    if rows.size and width:
        _check_elements(int(rows.min()), int(rows.max()), width)
    return xp.asarray(rows)


def _check_elements(low, high, width):
    # In Python's unbounded integers: the product itself could wrap round.
    if high * width + width - 1 >= 2**62 or low < 0:
        raise OverflowError(
            f"random numbers for rows {low} to {high} of width {width}: elements must lie in 0 to 2**62 - 1"
        )
