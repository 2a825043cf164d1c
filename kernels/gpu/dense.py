"""CUDA twin of ``reference.dense``: dense layers Y = act(X W + b), and what flows back through them.

Products are the array library's; what surrounds them is one pass over memory.

The table of layers has one row a layer, in order of application, with the columns

    fan_in, fan_out, copies, weight, bias, activation

as described in ``reference.dense``; it stays on the host.
"""

import numpy as np

from . import assign
from ._platform.launch import array, blocks_for, launch, xp

FAN_IN, FAN_OUT, COPIES, WEIGHT, BIAS, ACTIVATION = range(6)

LINEAR, RELU, LEAKY_RELU, TANH, SIGMOID = range(5)
ACTIVATIONS = {"linear": LINEAR, "relu": RELU, "leaky_relu": LEAKY_RELU, "tanh": TANH, "sigmoid": SIGMOID}
LEAKY_SLOPE = 0.2  # the slope of the papers' networks


def activate(A, activation):
    """Y = act(A), elementwise.

    A : (n, m) float; activation : int, one of ``ACTIVATIONS``' codes; returns (n, m)
    Cost: one number read, one written an element
    """
    A = array("A", A)
    Y = xp.empty(A.shape, A.dtype)
    offset_activate(A, A.shape[1], 0, None, activation, Y[None])
    return Y


def activation_gradient(G, Y, activation):
    """∂/∂A of a loss whose gradient with respect to Y = act(A) is G, from the OUTPUT Y alone.

    relu' = [Y > 0], tanh' = 1 − Y², σ' = Y (1 − Y). At the kink of relu the slope is that of the left side.

    G, Y : (n, m) float; returns (n, m)
    Cost: two numbers read, one written an element
    """
    G, Y = array("G", G), array("Y", Y)
    out = xp.empty(G.shape, G.dtype)
    through_activation(G, Y, activation, out)
    return out


def forward(X, weight, bias, activation):
    """Y = act(X W + b).

    X : (n, fan_in) float; weight : (fan_in, fan_out); bias : (fan_out,), or empty for none
    returns (n, fan_out)
    Cost: 2 n fan_in fan_out flops; the output written, read and written
    """
    X, weight, bias = array("X", X), array("weight", weight), array("bias", bias)
    # 1. product
    Y = xp.matmul(X, weight)
    # 2. bias
    # 3. activation
    if bias.size or activation != LINEAR:
        offset_activate(Y, Y.shape[1], 0, bias[None] if bias.size else None, activation, Y[None])
    return Y


def backward(G, X, Y, weight, activation):
    """Gradients of a loss with respect to a layer's weight, bias and input.

    With Ĝ = G ∘ act'(A):   ∂W = Xᵀ Ĝ,   ∂b = Σ_rows Ĝ,   ∂X = Ĝ Wᵀ

    G : (n, fan_out) float, gradient with respect to Y = forward(X); X : (n, fan_in)
    returns (∂W (fan_in, fan_out), ∂b (fan_out,), ∂X (n, fan_in)), sums over the samples
    Cost: 4 n fan_in fan_out flops; the output read twice, written and read
    """
    X, weight = array("X", X), array("weight", weight)
    # 1. through the activation
    G = activation_gradient(G, Y, activation)
    # 2. weight and bias
    dW, db = xp.matmul(X.T, G), column_sums(G, xp.zeros(len(G), np.int64), 1)[0]
    # 3. input
    return dW, db, xp.matmul(G, weight.T)


def offset_activate(A, row, column, offset, activation, out):
    """out[j, i] ← act(A[i · row + j · column …] + offset[j]) for every cluster j; one pass, and ``out`` may be A.

    A : contiguous; row, column : int, numbers from a sample to the next and from a cluster to the next,
    column 0 where clusters share; offset : (k or 1, h), or None; out : (k, n, h)
    """
    k, n, h = out.shape
    per = -1 if offset is None else h if len(offset) > 1 else 0
    # Neither a null pointer nor another type is any array's: where there is no offset, one that is not read.
    given = A if offset is None else array("offset", offset)
    launch(
        *("dense", "offset_activate", A.dtype, blocks_for(out.size)),
        *(A, row, column, given, per, out, k, n, h, activation),
    )


def through_activation(G, Y, activation, out, penalty=0.0, weights=None):
    """Out ← (G + penalty · w Y) ∘ act'(A), row by row; ``out`` may be G.

    G, Y, out : (n, m); penalty : float; weights : (n,), asked for where there is a penalty
    """
    n, m = G.shape
    launch(
        *("dense", "through_activation", G.dtype, blocks_for(G.size)),
        *(G, Y, Y if weights is None else weights, penalty, out, n, m, activation),
    )


def column_sums(G, assigned, k):
    """Σ of the rows of G of every cluster, in float64 and in fixed order; returns (k, m) of G's dtype."""
    return assign.cluster_sums(G, assigned, xp.ones(len(G), G.dtype), k)[0].astype(G.dtype)
