"""Numba twin of ``reference.philox``: Philox4x32-10 random numbers as a function of the counter.

Only the rounds are compiled; what becomes of the words is said in NumPy: whoever fits a model waits for the compiler,
and does not notice a fit's draws.
"""

import numpy as np
from numba import uint32, uint64

from ._engine.jit import compiled, jit

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

_inline = compiled(fastmath=False, inline="always")

_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_K0, _K1 = np.uint64(KEY_STEPS[0]), np.uint64(KEY_STEPS[1])
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@_inline
def block(c0, c1, c2, c3, k0, k1):
    """The four random words of one counter; all arguments uint32."""
    # In words of 64 bits, whose upper halves are anything and only masked off where they are multiplied: that mask is
    # free, for vectors multiply lower halves, while words of 32 bits are widened and narrowed again in every round.
    c0, c1, c2, c3, k0, k1 = uint64(c0), uint64(c1), uint64(c2), uint64(c3), uint64(k0), uint64(k1)
    for _ in range(10):
        # 1. multiply
        p0, p1 = _M0 * (c0 & _LOW), _M1 * (c2 & _LOW)
        # 2. exchange
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1, (p0 >> _HALF) ^ c3 ^ k1, p0
        # 3. next key
        k0, k1 = k0 + _K0, k1 + _K1
    return uint32(c0), uint32(c1), uint32(c2), uint32(c3)


@_inline
def key_of(k1, number):
    """The second word of the key for a block of that number: the upper half goes in, see ``reference.philox``."""
    return uint32(k1 ^ uint32(number >> 32))


def philox4x32(counter, key):
    """Ten rounds of Philox on every counter.

    counter : (..., 4) uint32; key : (2,) uint32; returns (..., 4) uint32
    Cost: 20 multiplications of 32 × 32 bits a counter
    """
    counter = np.asarray(counter, dtype=np.uint32)
    out = np.empty(counter.shape, dtype=np.uint32)
    _philox4x32(np.ascontiguousarray(counter).reshape(-1, 4), *np.asarray(key, np.uint32), out.reshape(-1, 4))
    return out


@jit
def _philox4x32(counter, k0, k1, out):
    for i in range(len(counter)):
        w = block(counter[i, 0], counter[i, 1], counter[i, 2], counter[i, 3], k0, k1)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = w


def uniform(key, stream, step, substep, rows, width, dtype):
    """Uniforms u = (word >> 8) · 2⁻²⁴ in [0, 1), the same value in float32 and float64.

    returns (len(rows), width) of ``dtype``
    Cost: a quarter of a block an element
    """
    words = _words(rows, width, 4, key, stream, step, substep)[..., 0]
    return ((words >> 8) * 2.0**-24).astype(dtype)


def uniform53(key, stream, step, substep, count):
    """Uniforms u = ((w₀ >> 5) · 2²⁶ + (w₁ >> 6)) · 2⁻⁵³ in [0, 1), for where 24 bits are too coarse.

    returns (count,) float64
    Cost: half a block an element
    """
    w = _words([0], count, 2, key, stream, step, substep)[0]
    return ((w[:, 0] >> 5) * 2.0**26 + (w[:, 1] >> 6)) * 2.0**-53


def normal(key, stream, step, substep, rows, width, dtype):
    """√(−2 log(1 − u₁)) cos(2π u₂), the Box–Muller transform of two 24-bit uniforms.

    Computed in float64 and cast, so that both dtypes see the same number.

    returns (len(rows), width) of ``dtype``, standard normal
    Cost: half a block, one logarithm, one root, one cosine an element
    """
    # 1. two uniforms
    u = (_words(rows, width, 2, key, stream, step, substep) >> 8) * 2.0**-24
    # 2. radius and angle
    return (np.sqrt(-2 * np.log(1 - u[..., 0])) * np.cos(2 * np.pi * u[..., 1])).astype(dtype)


def bernoulli(p, key, stream, step, substep, rows):
    """1 where u < p, else 0, with u as in ``uniform``.

    p : (n, width) float, probabilities; returns (n, width) of p's dtype
    """
    return (uniform(key, stream, step, substep, rows, p.shape[1], p.dtype) < p).astype(p.dtype)


def integers(high, key, stream, step, substep, count):
    """(word · high) >> 32, in 0 … high − 1.

    Some values are more likely than others by at most high · 2⁻³² in proportion.

    high : int, 1 … 2³²; returns (count,) int64
    """
    words = _words([0], count, 4, key, stream, step, substep)[0, :, 0]
    return ((words.astype(np.uint64) * np.uint64(high)) >> np.uint64(32)).astype(np.int64)


def permutation(n, key, stream, step):
    """A random order of 0 … n − 1: the stable argsort of n random 64-bit keys, substep 0.

    returns (n,) int64
    Cost: n/2 blocks and one sort
    """
    # 1. sort keys
    w = _words([0], n, 2, key, stream, step, 0)[0].astype(np.uint64)
    # 2. order
    return np.argsort(w[:, 0] << np.uint64(32) | w[:, 1], kind="stable").astype(np.int64, copy=False)


def _words(rows, width, per_block, key, stream, step, substep):
    """The random words of each element, of which a block serves ``per_block``: (len(rows), width, 4 // per_block)."""
    rows, each = checked_rows(rows, width), 4 // per_block
    counter = np.uint32(substep), np.uint32(step), np.uint32(stream)
    blocks = np.empty((len(rows), -(-(width + per_block - 1) // per_block), 4), np.uint32)
    _blocks(*np.asarray(key, np.uint32), *counter, rows, width, per_block, blocks)
    words = blocks.reshape(len(rows), blocks.shape[1] * per_block, each)
    if width % per_block == 0:
        return words[:, :width]
    return words[np.arange(len(rows))[:, None], (rows * width % per_block)[:, None] + np.arange(width)]


@jit
def _blocks(k0, k1, c1, c2, c3, rows, width, per_block, out):
    """out (len(rows), ·, 4) ← the blocks from that of every row's first element on."""
    for i in range(len(rows)):
        first = rows[i] * width // per_block
        for b in range(out.shape[1]):
            out[i, b, 0], out[i, b, 1], out[i, b, 2], out[i, b, 3] = block(
                uint32(first + b), c1, c2, c3, k0, key_of(k1, first + b)
            )


def checked_rows(rows, width):
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    if rows.size and width:
        # The furthest element in Python's unbounded integers: the product itself could wrap round.
        low, last = int(rows.min()), int(rows.max()) * width + width - 1
        if last >= 2**62 or low < 0:
            raise OverflowError(
                f"random numbers for rows {low} to {int(rows.max())} of width {width}: "
                f"elements must lie in 0 to 2**62 - 1"
            )
    return rows
