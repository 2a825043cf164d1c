"""Loops over the units of one row: what surrounds the products of a Boltzmann machine, while the row is in cache.

Probabilities have the bits of ``reference.sigmoid``, so that sampled units have those of the reference: nothing here
may fuse a multiplication with an addition, but in sums that no unit is drawn from. A random number is compared where
it is made; no array of them exists. A unit's number is that of its element ``first`` + i, see ``reference.philox``.

Rows are 1-D, contiguous, of one float dtype, and do not overlap: sums rely on it;
k0, k1 : the key, c1, c2, c3 : substep, step, stream, all uint32.
"""

import math

import numpy as np
from llvmlite import ir
from numba import int32, njit, types, uint32
from numba.extending import intrinsic, overload

from .._engine.vectors import wide_vectors
from ..dense import _exp_parts
from ..philox import _pick, block, key_of, next_key

BERNOULLI, GAUSSIAN = range(2)

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)
# Added up in lanes, for a plain sum waits for every addition; no sampled bit depends on it.
_lanes = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})

_24 = 2.0**-24
# artanh t = t (1 + t²/3 + t⁴/5 + …): at t = 1/3 the first term left out is 1e-8 of the sum (t¹⁶), or 1e-17 (t³²).
_ARTANH_32 = tuple(np.float32(1 / i) for i in range(15, 1, -2))
_ARTANH_64 = tuple(1 / i for i in range(31, 1, -2))
_SMALL = 1e-10
# For normals: at t = 0.172 the first left out is 6e-19 of the sum; at θ = π/4 of cosine 2e-18, of sine 3e-19.
_LOG = tuple(1 / i for i in range(21, 1, -2))
_COS = tuple((-1) ** i / math.factorial(2 * i) for i in range(8, 0, -1))
_SIN = tuple((-1) ** i / math.factorial(2 * i + 1) for i in range(8, 0, -1))
_L21, _L19, _L17, _L15, _L13, _L11, _L9, _L7, _L5, _L3 = _LOG
_C16, _C14, _C12, _C10, _C8, _C6, _C4, _C2 = _COS
_S17, _S15, _S13, _S11, _S9, _S7, _S5, _S3 = _SIN
# High parts short enough for their products with integers to be exact here.
_LN2_HIGH, _LN2_LOW = 0.6931471805598903, 5.497923018708371e-14
_HALF_PI_HIGH, _HALF_PI_LOW = 1.5707963267341256, 6.077100506506192e-11
_ROOT_HALF = np.array([math.sqrt(0.5)]).view(np.int64)[0]


@intrinsic
def _always_inlined(typing_context):
    """Let the compiler copy the calling function into its callers, however long: a call keeps a loop scalar."""

    def mark(context, builder, signature, arguments):
        builder.function.attributes.add("alwaysinline")
        return context.get_dummy_value()

    return types.void(), mark


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


@intrinsic
def _never_overlapping(typing_context):
    """Promise that no array which the calling function writes to overlaps another of its arguments.

    Without it the compiler looks whether rows begin within a few vectors of each other, and if so adds up one by one
    instead of in lanes: the last bits of a sum would depend on where buffers happen to lie.
    """

    def mark(context, builder, signature, arguments):
        for argument in builder.function.args:
            if argument.name.endswith(".4") and isinstance(argument.type, ir.PointerType):  # where an array's data lie
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), mark


@_jit
def _sigmoid(x, one):
    """(σ(x), e^−|x|)."""
    _always_inlined()
    s, q = _exp_parts(-abs(x))
    e = s + s * q
    return (one if x >= 0 else e) / (one + e), e


@_jit
def _softplus(x, e, zero, half, one, small):
    """max(x, 0) + log1p(e), e = e^−|x|; log1p(e) = 2 artanh t with 2t = e / (1 + e/2).

    Up to 2t = ``small`` the tail is below rounding; left out, nothing becomes subnormal, which is slow.
    """
    _always_inlined()
    t2 = e / (one + half * e)
    t = half * (t2 if t2 > small else zero)
    return (x if x > zero else zero) + (t2 + t2 * _artanh_tail(t * t))


@_jit
def probabilities_row(A, scale, offset, P):
    """P ← σ(scale · A + offset). A scale of 1 changes no bit."""
    wide_vectors()
    one = A.dtype.type(1)
    for i in range(len(A)):
        P[i] = _sigmoid(scale * A[i] + offset[i], one)[0]


@_jit
def _unit(x, zero, half, one, small):
    """(σ(x), softplus(x))."""
    _always_inlined()
    p, e = _sigmoid(x, one)
    return p, _softplus(x, e, zero, half, one, small)


@_lanes
def energy_row(A, offset, P):
    """P ← σ(A + offset), and Σ softplus(A + offset)."""
    wide_vectors()
    _never_overlapping()
    t = A.dtype.type
    zero, half, one, small = t(0), t(0.5), t(1), t(_SMALL)
    total = zero
    for i in range(len(A)):
        P[i], s = _unit(A[i] + offset[i], zero, half, one, small)
        total += s
    return total


@_jit
def _annealed(a, beta, before, zero, half, one, small):
    _always_inlined()
    after, now = _unit(beta * a, zero, half, one, small), _unit(before * a, zero, half, one, small)
    return after[1] - now[1]


@_lanes
def annealed_row(A, offset, beta, before):
    """A ← A + offset, and Σ softplus(beta · A) − softplus(before · A)."""
    wide_vectors()
    _never_overlapping()
    t = A.dtype.type
    zero, half, one, small = t(0), t(0.5), t(1), t(_SMALL)
    total = zero
    for i in range(len(A)):
        a = A[i] + offset[i]
        A[i] = a
        total += _annealed(a, beta, before, zero, half, one, small)
    return total


@_lanes
def outside_row(v, b, visible):
    """What visible units add to the free energy: −bᵀv, or ½‖v − b‖² for Gaussian ones."""
    wide_vectors()
    total = v.dtype.type(0)
    if visible == GAUSSIAN:
        for i in range(len(v)):
            difference = v[i] - b[i]
            total += difference * difference
        return v.dtype.type(0.5) * total
    for i in range(len(v)):
        total += v[i] * b[i]
    return -total


@_jit
def bernoulli_row(P, k0, k1, c1, c2, c3, first, out):
    """Out ← 1 where u < P, else 0."""
    i = 0
    while i < len(P):
        end = min(len(P), next_key(first + i, 34) - first)
        _bernoulli_run(P[i:end], k0, key_of(k1, (first + i) >> 2), c1, c2, c3, first + i, out[i:end])
        i = end


@_jit
def _bernoulli_run(P, k0, k1, c1, c2, c3, first, out):
    t, n = P.dtype.type, len(P)
    one, zero, scale = t(1), t(0), t(_24)
    # Odd words up to the first whole block of four
    head = min((-first) & 3, n)
    if head:
        w = block(uint32(first >> 2), c1, c2, c3, k0, k1)
        for i in range(head):
            out[i] = one if t(_pick(w, (first + i) & 3) >> uint32(8)) * scale < P[i] else zero
    # Whole blocks
    end = head + ((n - head) & ~3)
    _bernoulli_blocks(P[head:end], k0, k1, c1, c2, c3, (first + head) >> 2, out[head:end])
    # Odd words after the last
    if end < n:
        w = block(uint32((first + end) >> 2), c1, c2, c3, k0, k1)
        for i in range(end, n):
            out[i] = one if t(_pick(w, i - end) >> uint32(8)) * scale < P[i] else zero


@_jit
def _bernoulli_blocks(P, k0, k1, c1, c2, c3, low, out):
    # A function of its own, with indices from 0: only so does the loop become vector instructions.
    wide_vectors()
    t = P.dtype.type
    one, zero, scale = t(1), t(0), t(_24)
    for b in range(len(P) // 4):
        w0, w1, w2, w3 = block(uint32(low + b), c1, c2, c3, k0, k1)
        out[4 * b] = one if t(int32(w0 >> uint32(8))) * scale < P[4 * b] else zero
        out[4 * b + 1] = one if t(int32(w1 >> uint32(8))) * scale < P[4 * b + 1] else zero
        out[4 * b + 2] = one if t(int32(w2 >> uint32(8))) * scale < P[4 * b + 2] else zero
        out[4 * b + 3] = one if t(int32(w3 >> uint32(8))) * scale < P[4 * b + 3] else zero


@_jit
def _normal(w0, w1):
    """Box–Muller of two words, √(−2 log(1 − u₁)) cos(2π u₂), by polynomials: the library's would be scalar calls."""
    _always_inlined()
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


@_jit
def gaussian_row(A, scale, offset, k0, k1, c1, c2, c3, first, out):
    """Out ← scale · A + offset + z, z standard normal."""
    i = 0
    while i < len(A):
        end = min(len(A), next_key(first + i, 33) - first)
        key = key_of(k1, (first + i) >> 1)
        _gaussian_run(A[i:end], scale, offset[i:end], k0, key, c1, c2, c3, first + i, out[i:end])
        i = end


@_jit
def _gaussian_run(A, scale, offset, k0, k1, c1, c2, c3, first, out):
    t, n = A.dtype.type, len(A)
    head = min(first & 1, n)
    if head:
        w = block(uint32(first >> 1), c1, c2, c3, k0, k1)
        out[0] = (scale * A[0] + offset[0]) + t(_normal(w[2], w[3]))
    end = head + ((n - head) & ~1)
    _gaussian_blocks(A[head:end], scale, offset[head:end], k0, k1, c1, c2, c3, (first + head) >> 1, out[head:end])
    if end < n:
        w = block(uint32((first + end) >> 1), c1, c2, c3, k0, k1)
        out[end] = (scale * A[end] + offset[end]) + t(_normal(w[0], w[1]))


@_jit
def _gaussian_blocks(A, scale, offset, k0, k1, c1, c2, c3, low, out):
    wide_vectors()
    t = A.dtype.type
    for b in range(len(A) // 2):
        w0, w1, w2, w3 = block(uint32(low + b), c1, c2, c3, k0, k1)
        out[2 * b] = (scale * A[2 * b] + offset[2 * b]) + t(_normal(w0, w1))
        out[2 * b + 1] = (scale * A[2 * b + 1] + offset[2 * b + 1]) + t(_normal(w2, w3))
