"""Numba twin of ``reference.philox``: Philox4x32-10 random numbers as a function of the counter.

Consecutive elements are written run by run: whole blocks in a loop without branches, which the
compiler turns into vector instructions, and the odd words at either end one by one.
"""

import math

import numpy as np
from numba import int32, njit, uint32, uint64

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)
_inline = njit(nogil=True, cache=True, error_model="numpy", fastmath=False, inline="always")

_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_K0, _K1 = np.uint64(KEY_STEPS[0]), np.uint64(KEY_STEPS[1])
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_24, _53 = 2.0**-24, 2.0**-53


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


@_inline
def next_key(first, bits):
    """The element after ``first`` from which on the key is another, which it is every 2**bits elements."""
    return ((first >> bits) + 1) << bits


def philox4x32(counter, key):
    """Ten rounds of Philox on every counter.

    counter : (..., 4) uint32; key : (2,) uint32; returns (..., 4) uint32
    Cost: 20 multiplications of 32 × 32 bits a counter
    """
    counter = np.asarray(counter, dtype=np.uint32)
    out = np.empty(counter.shape, dtype=np.uint32)
    _philox4x32(np.ascontiguousarray(counter).reshape(-1, 4), *_key(key), out.reshape(-1, 4))
    return out


@_jit
def _philox4x32(counter, k0, k1, out):
    for i in range(len(counter)):
        w = block(counter[i, 0], counter[i, 1], counter[i, 2], counter[i, 3], k0, k1)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = w


def uniform(key, stream, step, substep, rows, width, dtype):
    """Uniforms u = (word >> 8) · 2⁻²⁴ in [0, 1), the same value in float32 and float64.

    returns (len(rows), width) of ``dtype``
    Cost: a quarter of a block an element
    """
    rows = checked_rows(rows, width)
    out = np.empty((len(rows), width), dtype=dtype)
    _uniform(*_key(key), *_counter(stream, step, substep), rows, width, out.reshape(-1))
    return out


@_jit
def _uniform(k0, k1, c1, c2, c3, rows, width, out):
    r = 0
    while r < len(rows):
        at = r * width
        first, end, r = _run(rows, width, r)
        while first < end:
            stop = min(end, next_key(first, 34))
            _uniform_run(k0, key_of(k1, first >> 2), c1, c2, c3, first, out[at : at + stop - first])
            first, at = stop, at + stop - first


@_jit
def _uniform_run(k0, k1, c1, c2, c3, first, out):
    scale = out.dtype.type(_24)
    # Odd words up to the first whole block
    head = min((-first) % 4, len(out))
    if head:
        w = block(uint32(first >> 2), c1, c2, c3, k0, k1)
        for i in range(head):
            out[i] = (_pick(w, (first + i) & 3) >> uint32(8)) * scale
    # Whole blocks
    end = head + ((len(out) - head) & ~3)
    _uniform_blocks(k0, k1, c1, c2, c3, (first + head) >> 2, out[head:end])
    # Odd words after the last
    if end < len(out):
        w = block(uint32((first + end) >> 2), c1, c2, c3, k0, k1)
        for i in range(len(out) - end):
            out[end + i] = (_pick(w, i) >> uint32(8)) * scale


@_jit
def _uniform_blocks(k0, k1, c1, c2, c3, low, out):
    # A function of its own, with indices from 0: only so does the loop become vector instructions.
    scale = out.dtype.type(_24)
    for b in range(len(out) // 4):
        w0, w1, w2, w3 = block(uint32(low + b), c1, c2, c3, k0, k1)
        out[4 * b] = (w0 >> uint32(8)) * scale
        out[4 * b + 1] = (w1 >> uint32(8)) * scale
        out[4 * b + 2] = (w2 >> uint32(8)) * scale
        out[4 * b + 3] = (w3 >> uint32(8)) * scale


def uniform53(key, stream, step, substep, count):
    """Uniforms u = ((w₀ >> 5) · 2²⁶ + (w₁ >> 6)) · 2⁻⁵³ in [0, 1), for where 24 bits are too coarse.

    returns (count,) float64
    Cost: half a block an element
    """
    checked_rows([0], count)
    out = np.empty(count + count % 2)
    _uniform53(*_key(key), *_counter(stream, step, substep), out)
    return out[:count]


@_jit
def _uniform53(k0, k1, c1, c2, c3, out):
    for b in range(len(out) // 2):
        w0, w1, w2, w3 = block(uint32(b), c1, c2, c3, k0, key_of(k1, b))
        out[2 * b] = (int32(w0 >> uint32(5)) * 2.0**26 + int32(w1 >> uint32(6))) * _53
        out[2 * b + 1] = (int32(w2 >> uint32(5)) * 2.0**26 + int32(w3 >> uint32(6))) * _53


def normal(key, stream, step, substep, rows, width, dtype):
    """√(−2 log(1 − u₁)) cos(2π u₂), the Box–Muller transform of two 24-bit uniforms.

    Computed in float64 and cast, so that both dtypes see the same number.

    returns (len(rows), width) of ``dtype``, standard normal
    Cost: half a block, one logarithm, one root, one cosine an element
    """
    rows = checked_rows(rows, width)
    out = np.empty((len(rows), width), dtype=dtype)
    _normal(*_key(key), *_counter(stream, step, substep), rows, width, out.reshape(-1))
    return out


@_jit
def _normal(k0, k1, c1, c2, c3, rows, width, out):
    r = 0
    while r < len(rows):
        at = r * width
        first, end, r = _run(rows, width, r)
        for b in range(first >> 1, (end + 1) >> 1):
            # 1. two uniforms
            w0, w1, w2, w3 = block(uint32(b), c1, c2, c3, k0, key_of(k1, b))
            # 2. radius and angle
            if 2 * b >= first:
                out[at] = _box_muller(w0, w1)
                at += 1
            if 2 * b + 1 < end:
                out[at] = _box_muller(w2, w3)
                at += 1


@_inline
def _box_muller(w0, w1):
    u1, u2 = (w0 >> uint32(8)) * _24, (w1 >> uint32(8)) * _24
    return math.sqrt(-2 * math.log(1 - u1)) * math.cos(2 * math.pi * u2)


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
    checked_rows([0], count)
    out = np.empty(count + -count % 4, dtype=np.int64)
    _integers(np.uint64(high), *_key(key), *_counter(stream, step, substep), out)
    return out[:count]


@_jit
def _integers(high, k0, k1, c1, c2, c3, out):
    for b in range(len(out) // 4):
        w0, w1, w2, w3 = block(uint32(b), c1, c2, c3, k0, key_of(k1, b))
        out[4 * b] = (uint64(w0) * high) >> uint64(32)
        out[4 * b + 1] = (uint64(w1) * high) >> uint64(32)
        out[4 * b + 2] = (uint64(w2) * high) >> uint64(32)
        out[4 * b + 3] = (uint64(w3) * high) >> uint64(32)


def permutation(n, key, stream, step):
    """A random order of 0 … n − 1: the stable argsort of n random 64-bit keys, substep 0.

    returns (n,) int64
    Cost: n/2 blocks and one sort
    """
    checked_rows([0], n)
    # 1. sort keys
    keys = np.empty(n + n % 2, dtype=np.uint64)
    _sort_keys(*_key(key), *_counter(stream, step, 0), keys)
    # 2. order
    return np.argsort(keys[:n], kind="stable").astype(np.int64, copy=False)


@_jit
def _sort_keys(k0, k1, c1, c2, c3, out):
    for b in range(len(out) // 2):
        w0, w1, w2, w3 = block(uint32(b), c1, c2, c3, k0, key_of(k1, b))
        out[2 * b] = uint64(w0) << uint64(32) | uint64(w1)
        out[2 * b + 1] = uint64(w2) << uint64(32) | uint64(w3)


@_inline
def _pick(w, i):
    # A tuple cannot be indexed by a variable inside a loop that is to stay in registers.
    return w[0] if i == 0 else w[1] if i == 1 else w[2] if i == 2 else w[3]


@_jit
def _run(rows, width, r):
    # The elements [first, end) of consecutive rows from the r-th on, and the row after them.
    first = rows[r] * width
    r += 1
    while r < len(rows) and rows[r] == rows[r - 1] + 1:
        r += 1
    return first, (rows[r - 1] + 1) * width, r


def _key(key):
    return np.uint32(key[0]), np.uint32(key[1])


def _counter(stream, step, substep):
    # In the order in which the words stand in the counter, after the block.
    return np.uint32(substep), np.uint32(step), np.uint32(stream)


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
