"""Passes over a block of rows of units: σ, softplus, random bits and normals. Products are elsewhere.

Every entry is computed by itself, and nothing here fuses a multiplication with an addition, so that probabilities have
the bits of ``reference.sigmoid`` and sampled units those of the reference.

A : (r, m) float, contiguous, overwritten; scale : of its dtype; offset : (m,) float
words : (5,) uint32, the key, substep, step and stream; places : (r,) int64. Row i's unit l takes the random number of
element places[i]·width + column + l, see ``reference.philox``.
"""

import math

import numpy as np
from numba import int32, types, uint32
from numba.extending import overload

from .._engine.jit import compiled, jit
from ..dense import exp_parts
from ..philox import block, key_of

BERNOULLI, GAUSSIAN = range(2)

# For the bodies of loops: a call would keep them from becoming vector instructions.
_inline = compiled(fastmath=False, forceinline=True)

_24 = 2.0**-24
SMALL = 1e-10
# artanh t = t (1 + t²/3 + t⁴/5 + …): at t = 1/3 the first term left out is 1e-8 of the sum (t¹⁶), or 1e-17 (t³²).
_ARTANH_32 = tuple(np.float32(1 / i) for i in range(15, 1, -2))
_ARTANH_64 = tuple(1 / i for i in range(31, 1, -2))
# For normals: at t = 0.172 the first left out is 6e-19 of the sum; at θ = π/4 of cosine 2e-18, of sine 3e-19.
_L21, _L19, _L17, _L15, _L13, _L11, _L9, _L7, _L5, _L3 = (1 / i for i in range(21, 1, -2))
_C16, _C14, _C12, _C10, _C8, _C6, _C4, _C2 = ((-1) ** i / math.factorial(2 * i) for i in range(8, 0, -1))
_S17, _S15, _S13, _S11, _S9, _S7, _S5, _S3 = ((-1) ** i / math.factorial(2 * i + 1) for i in range(8, 0, -1))
# High parts short enough for their products with integers to be exact here.
_LN2_HIGH, _LN2_LOW = 0.6931471805598903, 5.497923018708371e-14
_HALF_PI_HIGH, _HALF_PI_LOW = 1.5707963267341256, 6.077100506506192e-11
_ROOT_HALF = np.array([math.sqrt(0.5)]).view(np.int64)[0]


def _artanh_tail(z):
    """z/3 + z²/5 + …, so that artanh t = t (1 + tail(t²))."""


@overload(_artanh_tail, jit_options={"error_model": "numpy", "fastmath": False})
def _artanh_tail_of_type(z):
    if z == types.float32:
        t15, t13, t11, t9, t7, t5, t3 = _ARTANH_32

        def tail(z):
            return ((((((t15 * z + t13) * z + t11) * z + t9) * z + t7) * z + t5) * z + t3) * z

        return tail
    u31, u29, u27, u25, u23, u21, u19, u17, u15, u13, u11, u9, u7, u5, u3 = _ARTANH_64

    def tail(z):
        p = (((((((u31 * z + u29) * z + u27) * z + u25) * z + u23) * z + u21) * z + u19) * z + u17) * z
        return (((((((p + u15) * z + u13) * z + u11) * z + u9) * z + u7) * z + u5) * z + u3) * z

    return tail


@_inline
def _sigmoid(x, one):
    """(σ(x), e^−|x|)."""
    s, q = exp_parts(-abs(x))
    e = s + s * q
    return (one if x >= 0 else e) / (one + e), e


@_inline
def softplus(x, e, zero, half, one, small):
    """max(x, 0) + log1p(e), e = e^−|x|; log1p(e) = 2 artanh t with 2t = e / (1 + e/2).

    Up to 2t = ``small`` the tail is below rounding; left out, nothing becomes subnormal, which is slow.
    """
    t2 = e / (one + half * e)
    t = half * (t2 if t2 > small else zero)
    return (x if x > zero else zero) + (t2 + t2 * _artanh_tail(t * t))


@jit
def probabilities(A, scale, offset):
    """A ← σ(scale · A + offset). A scale of 1 changes no bit."""
    one = A.dtype.type(1)
    for i in range(len(A)):
        x = A[i]
        for l in range(len(x)):
            x[l] = _sigmoid(scale * x[l] + offset[l], one)[0]


@jit
def softplus_and_probabilities(A, scale, offset, P):
    """A ← softplus(scale · A + offset), P ← σ(scale · A + offset)."""
    t = A.dtype.type
    zero, half, one, small = t(0), t(0.5), t(1), t(SMALL)
    for i in range(len(A)):
        x, p = A[i], P[i]
        for l in range(len(x)):
            y = scale * x[l] + offset[l]
            p[l], e = _sigmoid(y, one)
            x[l] = softplus(y, e, zero, half, one, small)


@jit
def draw_bits(A, words, places, width, column):
    """A ← 1 where u < A, else 0: random bits of probabilities A."""
    m, one, zero = A.shape[1], A.dtype.type(1), A.dtype.type(0)
    u = np.empty((m + 6) // 4 * 4, A.dtype)
    for i in range(len(A)):
        first = places[i] * width + column
        _uniforms(words, first >> 2, u)
        x, v = A[i], u[first & 3 : (first & 3) + m]
        for l in range(m):
            x[l] = one if v[l] < x[l] else zero


@jit
def _uniforms(words, first, u):
    """u ← the uniforms of the blocks of random words from that of number ``first`` on, four of a block."""
    t, k0, k1, c1, c2, c3 = u.dtype.type, words[0], words[1], words[2], words[3], words[4]
    scale = t(_24)
    for b in range(len(u) // 4):
        w0, w1, w2, w3 = block(uint32(first + b), c1, c2, c3, k0, key_of(k1, first + b))
        u[4 * b] = t(int32(w0 >> uint32(8))) * scale
        u[4 * b + 1] = t(int32(w1 >> uint32(8))) * scale
        u[4 * b + 2] = t(int32(w2 >> uint32(8))) * scale
        u[4 * b + 3] = t(int32(w3 >> uint32(8))) * scale


@jit
def add_normals(A, scale, offset, words, places, width, column):
    """A ← scale · A + offset + z, z standard normal."""
    m = A.shape[1]
    z = np.empty((m + 2) // 2 * 2, A.dtype)
    for i in range(len(A)):
        first = places[i] * width + column
        _normals(words, first >> 1, z)
        x, own = A[i], z[first & 1 : (first & 1) + m]
        for l in range(m):
            x[l] = (scale * x[l] + offset[l]) + own[l]


@jit
def _normals(words, first, z):
    """z ← the normals of the blocks of random words from that of number ``first`` on, two of a block."""
    t, k0, k1, c1, c2, c3 = z.dtype.type, words[0], words[1], words[2], words[3], words[4]
    for b in range(len(z) // 2):
        w0, w1, w2, w3 = block(uint32(first + b), c1, c2, c3, k0, key_of(k1, first + b))
        z[2 * b] = t(_normal(w0, w1))
        z[2 * b + 1] = t(_normal(w2, w3))


@_inline
def _normal(w0, w1):
    """Box–Muller of two words, √(−2 log(1 − u₁)) cos(2π u₂), by polynomials: the library's would be scalar calls."""
    # log x = k ln 2 + 2 artanh((f − 1) / (f + 1)), x = 2^k f, √½ ≤ f < √2
    x = 1.0 - np.float64(int32(w0 >> uint32(8))) * _24
    bits = np.float64(x).view(np.int64)
    k = (bits - _ROOT_HALF) >> 52
    f = np.int64(bits - (k << 52)).view(np.float64)
    t = (f - 1.0) / (f + 1.0)
    z = t * t
    p = ((((_L21 * z + _L19) * z + _L17) * z + _L15) * z + _L13) * z
    p = (((((p + _L11) * z + _L9) * z + _L7) * z + _L5) * z + _L3) * z
    log = np.float64(k) * _LN2_HIGH + (t + t + ((t + t) * p + np.float64(k) * _LN2_LOW))
    # cos(π q / 2 + θ), |θ| ≤ π/4, is ± cos θ or ± sin θ
    u = np.float64(int32(w1 >> uint32(8))) * _24
    q = np.int64(4.0 * u + 0.5)
    turns = np.float64(q)
    angle = (2 * math.pi * u - turns * _HALF_PI_HIGH) - turns * _HALF_PI_LOW
    y = angle * angle
    cosine = (((((((_C16 * y + _C14) * y + _C12) * y + _C10) * y + _C8) * y + _C6) * y + _C4) * y + _C2) * y
    sine = (((((((_S17 * y + _S15) * y + _S13) * y + _S11) * y + _S9) * y + _S7) * y + _S5) * y + _S3) * y
    value = angle + angle * sine if q & 1 else 1.0 + cosine
    return math.sqrt(-2.0 * log) * (-value if (q + 1) & 2 else value)
