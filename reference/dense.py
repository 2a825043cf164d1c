"""Dense layers: Y = act(X W + b), and what flows back through them.

A network is a flat parameter vector and an integer table with one row a layer, in order of
application. The columns of the table are

    fan_in, fan_out, copies, weight, bias, activation

``copies`` is k for a cluster-specific layer and 1 for a shared one; ``weight`` and ``bias`` are
offsets into the flat vector (``bias`` is -1 for a layer without one), where the arrays lie in C
order with the cluster axis first: (copies, fan_in, fan_out) and (copies, fan_out).
"""

import numpy as np

FAN_IN, FAN_OUT, COPIES, WEIGHT, BIAS, ACTIVATION = range(6)

LINEAR, RELU, LEAKY_RELU, TANH, SIGMOID = range(5)
ACTIVATIONS = {"linear": LINEAR, "relu": RELU, "leaky_relu": LEAKY_RELU, "tanh": TANH, "sigmoid": SIGMOID}
LEAKY_SLOPE = 0.2  # the slope of the papers' networks


def layer_table(rows):
    """Lay out layers one after the other in a flat vector.

    rows : iterable of (fan_in, fan_out, copies, activation, bias), the activation by name, bias a bool
    returns (table, size) : table (n_layers, 6) int64 as above, size the length of the flat vector
    """
    table, size = [], 0
    for fan_in, fan_out, copies, activation, bias in rows:
        weight, size = size, size + copies * fan_in * fan_out
        offset, size = (size, size + copies * fan_out) if bias else (-1, size)
        table.append((fan_in, fan_out, copies, weight, offset, ACTIVATIONS[activation]))
    return np.array(table, dtype=np.int64).reshape(-1, 6), size


def layer_views(params, layer, cluster):
    """Weight (fan_in, fan_out) and bias (fan_out,) of one cluster's copy of a layer, as views.

    A layer without bias has an empty one. Writing to the views writes to ``params``.
    """
    fan_in, fan_out, copies, weight, bias, _ = (int(entry) for entry in layer)
    copy = cluster if copies > 1 else 0
    start = weight + copy * fan_in * fan_out
    W = params[start : start + fan_in * fan_out].reshape(fan_in, fan_out)
    b = params[:0] if bias < 0 else params[bias + copy * fan_out : bias + (copy + 1) * fan_out]
    return W, b


def activate(A, activation):
    """Y = act(A), elementwise.

    A : (n, m) float; activation : int, one of ``ACTIVATIONS``' codes; returns (n, m)
    """
    if activation == RELU:
        return np.maximum(A, 0)
    if activation == LEAKY_RELU:
        return np.where(A > 0, A, A.dtype.type(LEAKY_SLOPE) * A)
    if activation == TANH:
        return np.tanh(A)
    if activation == SIGMOID:
        return 1 / (1 + np.exp(-np.abs(A))) * np.where(A >= 0, 1, np.exp(-np.abs(A))).astype(A.dtype)
    return A


def activation_gradient(G, Y, activation):
    """∂/∂A of a loss whose gradient with respect to Y = act(A) is G, from the OUTPUT Y alone.

    Every activation here can be differentiated from its output, so A need not be kept:
    relu' = [Y > 0], tanh' = 1 − Y², σ' = Y (1 − Y). At the kink of relu the slope is that of the
    left side.

    G, Y : (n, m) float; returns (n, m)
    """
    if activation == RELU:
        return np.where(Y > 0, G, 0).astype(G.dtype)
    if activation == LEAKY_RELU:
        return np.where(Y > 0, G, G.dtype.type(LEAKY_SLOPE) * G)
    if activation == TANH:
        return G * (1 - Y * Y)
    if activation == SIGMOID:
        return G * (Y * (1 - Y))
    return G


def forward(X, weight, bias, activation):
    """Y = act(X W + b).

    X : (n, fan_in) float; weight : (fan_in, fan_out); bias : (fan_out,), or empty for none
    returns (n, fan_out)
    Cost: 2 n fan_in fan_out flops
    """
    # 1. product
    A = X @ weight
    # 2. bias
    if bias.size:
        A = A + bias
    # 3. activation
    return activate(A, activation)


def backward(G, X, Y, weight, activation):
    """Gradients of a loss with respect to a layer's weight, bias and input.

    With Ĝ = G ∘ act'(A):   ∂W = Xᵀ Ĝ,   ∂b = Σ_rows Ĝ,   ∂X = Ĝ Wᵀ

    G : (n, fan_out) float, gradient with respect to Y = forward(X); X : (n, fan_in)
    returns (∂W (fan_in, fan_out), ∂b (fan_out,), ∂X (n, fan_in)), sums over the samples
    Cost: 4 n fan_in fan_out flops
    """
    # 1. through the activation
    G = activation_gradient(G, Y, activation)
    # 2. weight and bias
    dW, db = X.T @ G, G.sum(axis=0)
    # 3. input
    return dW, db, G @ weight.T
