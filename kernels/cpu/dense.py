"""Numba twin of ``reference.dense``: dense layers Y = act(X W + b), and what flows back through them.

Products are NumPy's; what surrounds them is one pass over memory. exp and tanh are polynomials of our
own, since calls to the mathematical library would keep the loops from being vectorised.
"""

import math

import numpy as np
from numba import types
from numba.extending import overload

from ._engine.jit import jit
from ._engine.pool import blocks, parallel, single_blas_thread

FAN_IN, FAN_OUT, COPIES, WEIGHT, BIAS, ACTIVATION = range(6)  # columns of the table, see ``reference.dense``

LINEAR, RELU, LEAKY_RELU, TANH, SIGMOID = range(5)  # the last two saturate
ACTIVATIONS = {"linear": LINEAR, "relu": RELU, "leaky_relu": LEAKY_RELU, "tanh": TANH, "sigmoid": SIGMOID}
LEAKY_SLOPE = 0.2  # the slope of the papers' networks

CHUNK = 1024  # rows summed in the working dtype; across chunks sums are float64
_ROWS, _ELEMENTS = 256, 1 << 16  # of a task

_LOG2E = 1 / math.log(2)
# ln 2 = high + low, the high part short enough for k · high to be exact.
_LN2_32 = np.float32(0.693145751953125), np.float32(1.4286068203094173e-06)
_LN2_64 = 0.6931471805598903, 5.497923018708371e-14
# Taylor's coefficients 1/i!: with |r| ≤ ln 2 / 2 the first one left out adds 5e-9 (i = 8) and 4e-18 (i = 14).
_TAYLOR_32 = tuple(np.float32(1 / math.factorial(i)) for i in range(7, 0, -1))
_TAYLOR_64 = tuple(1 / math.factorial(i) for i in range(13, 0, -1))


def exp_parts(y):
    """(s, q) with exp(y) = s (1 + q), s a power of two, for y ≤ 0; below the smallest normal number, that."""


@overload(exp_parts, jit_options={"error_model": "numpy", "fastmath": False})
def exp_parts_of_type(y):
    if y == types.float32:
        lowest, log2e, half = np.float32(-87), np.float32(_LOG2E), np.float32(0.5)
        (high, low), (t7, t6, t5, t4, t3, t2, t1) = _LN2_32, _TAYLOR_32

        def parts(y):
            y = lowest if y < lowest else y  # and NaN stays NaN
            k = np.int32(y * log2e - half)
            s = np.int32((k + np.int32(127)) << np.int32(23)).view(np.float32)
            f = np.float32(k)
            r = (y - f * high) - f * low
            q = (((((t7 * r + t6) * r + t5) * r + t4) * r + t3) * r + t2) * r + t1
            return s, q * r

        return parts
    log2e = _LOG2E
    (high, low), (u13, u12, u11, u10, u9, u8, u7, u6, u5, u4, u3, u2, u1) = _LN2_64, _TAYLOR_64

    def parts(y):
        y = -708.0 if y < -708.0 else y
        k = np.int32(y * log2e - 0.5)
        s = np.int64((np.int64(k) + 1023) << 52).view(np.float64)
        f = np.float64(k)
        r = (y - f * high) - f * low
        q = (((((u13 * r + u12) * r + u11) * r + u10) * r + u9) * r + u8) * r + u7
        q = (((((q * r + u6) * r + u5) * r + u4) * r + u3) * r + u2) * r + u1
        return s, q * r

    return parts


@jit
def squashed(a, steepness):
    """σ(a) for steepness 1; for 2 tanh(a), as −t / (t + 2) with t = e^(−2 |a|) − 1, whose digits are right near 0."""
    one = steepness / steepness
    s, q = exp_parts(-steepness * abs(a))
    e, t = s + s * q, s * q + (s - one)
    if steepness > one:
        return math.copysign(t / (t + one + one), a)
    return (one if a >= 0 else e) / (one + e)


@jit
def activate_row(row, activation):
    """Activation of a row, in place.

    row : (m,) float; activation : int
    """
    t = row.dtype.type
    zero, slope, steepness = t(0), t(LEAKY_SLOPE), t(2 if activation == TANH else 1)
    if activation >= TANH:
        for i in range(len(row)):
            row[i] = squashed(row[i], steepness)
    elif activation != LINEAR:
        for i in range(len(row)):
            below = slope * row[i] if activation == LEAKY_RELU else zero
            row[i] = below if row[i] < zero else row[i]


@jit
def through_activation_row(g, y, activation):
    """Gradient g ← g act'(a) of a row in place, from the output y = act(a) alone.

    g, y : (m,) float; activation : int
    """
    zero, one = g.dtype.type(0), g.dtype.type(1)
    slope = g.dtype.type(LEAKY_SLOPE)
    if activation >= TANH:
        for i in range(len(g)):
            g[i] *= one - y[i] * y[i] if activation == TANH else y[i] * (one - y[i])
    elif activation != LINEAR:
        for i in range(len(g)):
            below = slope * g[i] if activation == LEAKY_RELU else zero
            g[i] = g[i] if y[i] > zero else below


def activate(A, activation):
    """Y = act(A), elementwise.

    A : (n, m) float; activation : int, one of ``ACTIVATIONS``' codes; returns (n, m)
    """
    Y = np.array(A, order="C")
    parallel(lambda part: activate_row(Y.reshape(-1)[part], activation), blocks(Y.size, _ELEMENTS))
    return Y


def activation_gradient(G, Y, activation):
    """∂/∂A of a loss whose gradient with respect to Y = act(A) is G, from the OUTPUT Y alone.

    relu' = [Y > 0], tanh' = 1 − Y², σ' = Y (1 − Y). At the kink of relu the slope is that of the left side.

    G, Y : (n, m) float; returns (n, m)
    """
    out, flat = np.array(G, order="C"), np.ascontiguousarray(Y).reshape(-1)
    parallel(
        lambda part: through_activation_row(out.reshape(-1)[part], flat[part], activation), blocks(out.size, _ELEMENTS)
    )
    return out


def forward(X, weight, bias, activation):
    """Y = act(X W + b).

    X : (n, fan_in) float; weight : (fan_in, fan_out); bias : (fan_out,), or empty for none
    returns (n, fan_out)
    Cost: 2 n fan_in fan_out flops
    """
    Y = np.empty((len(X), weight.shape[1]), dtype=X.dtype)

    def block(rows):
        # 1. product
        np.matmul(X[rows], weight, out=Y[rows])
        # 2. bias
        if bias.size:
            Y[rows] += bias
        # 3. activation
        if activation != LINEAR:
            activate_row(Y[rows].reshape(-1), activation)

    with single_blas_thread():
        parallel(block, blocks(len(X), _ROWS))
    return Y


def backward(G, X, Y, weight, activation):
    """Gradients of a loss with respect to a layer's weight, bias and input.

    With Ĝ = G ∘ act'(A):   ∂W = Xᵀ Ĝ,   ∂b = Σ_rows Ĝ,   ∂X = Ĝ Wᵀ

    G : (n, fan_out) float, gradient with respect to Y = forward(X); X : (n, fan_in)
    returns (∂W (fan_in, fan_out), ∂b (fan_out,), ∂X (n, fan_in)), sums over the samples
    Cost: 4 n fan_in fan_out flops
    """
    # 1. through the activation
    G = activation_gradient(G, Y, activation)
    dW, dX = np.empty_like(weight, order="C"), np.empty((len(G), len(weight)), dtype=G.dtype)
    chunks = blocks(len(G), CHUNK)

    def columns(part):
        total = 0.0
        for rows in chunks:
            total = total + (X[rows, part].T @ G[rows]).astype(np.float64)
        dW[part] = total

    def block(rows):
        np.matmul(G[rows], weight.T, out=dX[rows])

    with single_blas_thread():
        # 2. weight and bias
        parallel(columns, blocks(len(weight), _ROWS))
        db = sum((G[rows].sum(axis=0).astype(np.float64) for rows in chunks), np.zeros(G.shape[1]))
        # 3. input
        parallel(block, blocks(len(G), _ROWS))
    return dW, db.astype(G.dtype), dX
