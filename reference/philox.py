"""Random numbers as a function of (key, stream, step, substep, element): Philox4x32-10.

Source: Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.

A counter of four 32-bit words goes through ten rounds of multiplication and exclusive or with a
64-bit key and comes out as four random words, a *block*. No state is kept: whoever knows the
counter has the number, so threads, devices and a resumed run see the same numbers in any order.

    counter = (block, substep, step, stream),   key = (2,) uint32,   element e = row · width + column

An element takes one word (word e % 4 of block e // 4) or two (words 0, 1 or 2, 3 of block e // 2). A block's number
has 64 bits; the upper half, which the counter has no room for, is exclusive-ored into key[1], so that no two blocks of
a key share counter and key.

Everywhere: key (2,) uint32; stream, step, substep ints below 2³²; rows (n,) ints from 0 on.
Raises OverflowError for elements from 2⁶² on.
"""

from itertools import pairwise

import numpy as np

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

_CHUNK = 8192  # counters worked on at a time, so that the intermediate words stay in cache


def philox4x32(counter, key):
    """Ten rounds of Philox on every counter.

    One round: (c0, c1, c2, c3) → (hi(M₁c2) ⊕ c1 ⊕ k0, lo(M₁c2), hi(M₀c0) ⊕ c3 ⊕ k1, lo(M₀c0)),
    and the key grows by KEY_STEPS between rounds.

    counter : (..., 4) uint32; key : (2,) uint32; returns (..., 4) uint32
    Cost: 20 multiplications of 32 × 32 bits a counter
    """
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter).astype(np.uint64), -1, 0)
    k0, k1 = (int(k) for k in key)
    for _ in range(ROUNDS):
        # 1. multiply
        p0, p1 = c0 * np.uint64(MULTIPLIERS[0]), c2 * np.uint64(MULTIPLIERS[1])
        # 2. exchange
        c0, c1, c2, c3 = (
            (p1 >> shift) ^ c1 ^ np.uint64(k0),
            p1 & mask,
            (p0 >> shift) ^ c3 ^ np.uint64(k1),
            p0 & mask,
        )
        # 3. next key
        k0, k1 = (k0 + KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + KEY_STEPS[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


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
    return np.argsort(w[:, 0] << np.uint64(32) | w[:, 1], kind="stable").astype(np.int64)


def _elements(rows, width):
    """The element numbers e = row · width + column, (len(rows), width) int64."""
    rows = np.asarray(rows, dtype=np.int64)
    if rows.size and width:
        # The furthest element in Python's unbounded integers: the product itself could wrap round.
        low, last = int(rows.min()), int(rows.max()) * width + width - 1
        if last >= 2**62 or low < 0:
            raise OverflowError(
                f"random numbers for rows {low} to {int(rows.max())} of width {width}: "
                f"elements must lie in 0 to 2**62 - 1"
            )
    return rows[:, None] * width + np.arange(width)


def _words(rows, width, per_block, key, stream, step, substep):
    """The random words of each element, of which a block serves ``per_block``.

    returns (len(rows), width, 4 // per_block) uint32
    """
    elements = _elements(rows, width)
    if not elements.size:
        return np.empty((*elements.shape, 4 // per_block), dtype=np.uint32)
    blocks = elements // per_block
    low, high = int(blocks.min()), int(blocks.max())
    # Each block is computed once: their whole range where the elements fill it, else those that occur.
    if high - low <= 2 * elements.size // per_block:
        needed, where = np.arange(low, high + 1), blocks - low
    else:
        needed, where = np.unique(blocks, return_inverse=True)
    words = np.empty((len(needed), 4), dtype=np.uint32)
    # Cut also where the upper half of the blocks' numbers changes: each half has a key of its own.
    halves = np.flatnonzero(np.diff(needed >> 32)) + 1
    cuts = sorted({0, *range(_CHUNK, len(needed), _CHUNK), *halves.tolist(), len(needed)})
    for start, end in pairwise(cuts):
        part = needed[start:end]
        counter = np.empty((len(part), 4), dtype=np.uint32)
        counter[:, 0], counter[:, 1], counter[:, 2], counter[:, 3] = part & 0xFFFFFFFF, substep, step, stream
        words[start:end] = philox4x32(counter, (int(key[0]), int(key[1]) ^ int(part[0] >> 32)))
    return words.reshape(len(needed), per_block, -1)[where.reshape(blocks.shape), elements % per_block]
