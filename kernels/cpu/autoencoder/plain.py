"""The plain form: layer after layer, products by BLAS, and one pass over memory around each. For any network.

Samples are cut into blocks; a block under one cluster's network is a task. The gradient needs each sample's own network
only: of a block under network j the rows that are assigned to j go back. Sums are in the working dtype within chunks of
``CHUNK`` rows and in float64 across them.
"""

from itertools import pairwise

import numpy as np

from .._engine.jit import compiled, jit
from .._engine.pool import blocks, parallel
from ..assign import CHUNK, assign
from ..dense import LINEAR, activate_row, through_activation_row

_ROWS = 256  # of a block; fewer for few clusters, so that there are tasks for several threads
_NARROW = 64  # features up to which a block is a whole chunk: less would be computed than called


class Network:
    """Views of a flat vector: ``weights[l]`` (copies, fan_in, fan_out), ``biases[l]`` (copies or 0, fan_out)."""

    def __init__(self, flat, layers):
        self.weights, self.biases, self.activations = [], [], []
        for fan_in, fan_out, copies, weight, bias, activation in layers.tolist():
            self.weights.append(flat[weight : weight + copies * fan_in * fan_out].reshape(copies, fan_in, fan_out))
            biases = flat[:0] if bias < 0 else flat[bias : bias + copies * fan_out]
            self.biases.append(biases.reshape(-1, fan_out))
            self.activations.append(activation)
        self.half = len(self.weights) // 2
        self.size = sum(array.size for array in (*self.weights, *self.biases))
        self.shared = [len(W) == 1 for W in self.weights]

    def weight(self, l, j):
        """Cluster j's (fan_in, fan_out)."""
        return self.weights[l][0 if self.shared[l] else j]

    def bias(self, l, j):
        """Cluster j's (fan_out,), or None."""
        return self.biases[l][0 if self.shared[l] else j] if len(self.biases[l]) else None

    def shared_product(self, x):
        """The first layer's product where clusters share it, else None."""
        return x @ self.weights[0][0] if self.shared[0] else None

    def outputs(self, x, j, first, stop, center=None, product=None):
        """Outputs of layers first … stop − 1 under cluster j, y = act(x W + b); a centre is taken off x as −c W.

        product : x W of the first layer if it is known; it is not written to
        """
        outputs = []
        for l in range(first, stop):
            W, b = self.weight(l, j), self.bias(l, j)
            x = x @ W if product is None or l > 0 else product.copy()
            if center is not None and l == 0:
                b = -(center @ W) if b is None else b - center @ W
            if b is not None:
                x += b
            if self.activations[l] != LINEAR:
                activate_row(x.reshape(-1), self.activations[l])
            outputs.append(x)
        return outputs


# Added up in lanes, for a plain sum waits for every addition; no sampled bit depends on it.
@compiled(fastmath={"contract", "reassoc"})
def _square(x):
    total = x.dtype.type(0)
    for f in range(len(x)):
        total += x[f] * x[f]
    return total


@jit
def _residuals(x_hat, target, center, codes, reg, L):
    """x̂ ← e = x̂ − (t − c), in this order, and L = ‖e‖²/d + λ ‖z‖².

    x_hat, target : (m, d); codes : (m, h); L : (m,), overwritten
    """
    per_feature, penalty = x_hat.dtype.type(1.0 / x_hat.shape[1]), x_hat.dtype.type(reg)
    for i in range(len(x_hat)):
        for f in range(x_hat.shape[1]):
            x_hat[i, f] -= target[i, f] - center[f]
        L[i] = per_feature * _square(x_hat[i]) + penalty * _square(codes[i])


def _blocks(n, k, d):
    """Rows of the blocks, by shape alone; k : tasks of a block. Products of few rows take as long as those of many."""
    rows = CHUNK if d <= _NARROW else _ROWS if k > 3 else 64 * k
    return blocks(n, rows, more=rows // 4)


def _forward(network, x, target, center, reg, j, L, product):
    """Losses L (m,) of samples under cluster j; returns all layers' outputs, the last one less its target."""
    outputs = network.outputs(x, j, 0, len(network.weights), center, product)
    _residuals(outputs[-1], target, center, outputs[network.half - 1], float(reg), L)
    return outputs


def _backward(network, x, target, center, weights, reg, j, outputs, gradient):
    """Gradient of Σ_i w_i L[i, j] with respect to cluster j's network, from `_forward`'s outputs.

    gradient : Network, to whose shared layers is added, and whose others are overwritten
    """
    last, d = len(network.weights) - 1, x.shape[1]
    G = outputs[last] * (weights * x.dtype.type(2 / d))[:, None]
    if network.activations[last] != LINEAR:
        x_hat = outputs[last] + (target - center)
        through_activation_row(G.reshape(-1), x_hat.reshape(-1), network.activations[last])
    for l in range(last, -1, -1):
        below = outputs[l - 1] if l > 0 else x - center
        if network.shared[l]:
            gradient.weight(l, j)[...] += below.T @ G
        else:
            np.matmul(below.T, G, out=gradient.weight(l, j))
        if len(network.biases[l]):
            bias = gradient.bias(l, j)
            bias[...] = bias + G.sum(axis=0) if network.shared[l] else G.sum(axis=0)
        if l > 0:
            G = G @ network.weight(l, j).T
            if l == network.half:
                G += (weights * x.dtype.type(2 * reg))[:, None] * below
            if network.activations[l - 1] != LINEAR:
                through_activation_row(G.reshape(-1), below.reshape(-1), network.activations[l - 1])


def losses(params, layers, X, target, centers, reg):
    """L (n, k), see ``reference.autoencoder``.

    Cost: 2 n k Σ_layers fan_in fan_out flops, once for a shared first layer; memory a block's Σ widths a thread
    """
    network, k = Network(params, layers), len(centers)
    L = np.empty((len(X), k), X.dtype)

    def task(share):
        rows, js = share
        x, t = X[rows], target[rows]
        product = network.shared_product(x)
        for j in js:
            _forward(network, x, t, centers[j], reg, j, L[rows, j], product)

    each = [range(k)] if network.shared[0] else [(j,) for j in range(k)]
    parallel(task, [(rows, js) for rows in _blocks(len(X), len(each), X.shape[1]) for js in each])
    return L


def losses_and_gradient(params, layers, X, target, centers, s, weights, reg):
    """All losses, the assignment (argmin_j L where ``s`` is None), and the gradient of Σ_i w_i L[i, s_i].

    Cost: that of ``losses``, and 4 n Σ_layers fan_in fan_out flops for the one column that goes back, 6 where it is
    not known before; memory 4 p numbers or so besides
    """
    network, k = Network(params, layers), len(centers)
    L = losses(params, layers, X, target, centers, reg) if s is None else np.empty((len(X), k), X.dtype)
    known, s = s is not None, assign(L) if s is None else s
    chunks = blocks(len(X), CHUNK, more=CHUNK // 4)
    gradient, total = np.zeros_like(params), np.zeros(len(params) if len(chunks) > 1 else 0)
    for chunk in chunks:
        arguments = X[chunk], target[chunk], centers, s[chunk], weights[chunk], reg, L[chunk] if known else None
        gradient = _chunk(network, layers, len(params), *arguments)
        if len(total):
            total += gradient
    return L, s, total.astype(X.dtype) if len(total) else gradient


def _chunk(network, layers, size, X, target, centers, s, weights, reg, L):
    """The gradient of a chunk; float64 if it is not the only one. L : (m, k), overwritten, or None for no losses."""
    k, shared = len(centers), any(network.shared)
    sizes = 1 if shared else k
    if L is None:  # rows of one cluster each
        sort = np.argsort(s, kind="stable")
        ends = np.cumsum(np.bincount(s, minlength=k)).tolist()
        pieces = [
            (part, sort[lo:end][rows], j)
            for j, (lo, end) in enumerate(pairwise([0, *ends]))
            for part, rows in enumerate(_blocks(end - lo, sizes, X.shape[1]))
        ]
    else:
        pieces = [(part, rows, j) for part, rows in enumerate(_blocks(len(X), sizes, X.shape[1])) for j in range(k)]
    n_parts = 1 + max(part for part, _, _ in pieces)
    gradients = np.empty((n_parts, size), X.dtype)  # which is faster than zeros, its memory having been used before
    if shared or n_parts > 1 or L is None or network.size < size:
        gradients[...] = 0
    parts = [Network(part, layers) for part in gradients]
    if shared:  # a thread has to itself what it adds to
        shares = [[piece for piece in pieces if piece[0] == part] for part in range(n_parts)]
    else:
        shares = [[piece] for piece in pieces]

    def task(share):
        product = network.shared_product(X[share[0][1]]) if L is not None else None
        for part, rows, j in share:
            x, t, w, center = X[rows], target[rows], weights[rows], centers[j]
            column = np.empty(len(x), X.dtype) if L is None else L[rows, j]
            outputs = _forward(network, x, t, center, reg, j, column, product)
            if L is not None:
                own = np.flatnonzero(s[rows] == j)
                x, t, w, outputs = x[own], t[own], w[own], [y[own] for y in outputs]
            if not shared or len(x):  # without samples that is 0
                _backward(network, x, t, center, w, reg, j, outputs, parts[part])

    parallel(task, shares)
    return gradients[0] if n_parts == 1 else gradients.sum(axis=0)


def encode(params, layers, X, centers):
    """z_j = f_j(x − c_j) for every cluster, (n, k, h)."""
    network, k = Network(params, layers), len(centers)
    Z = np.empty((len(X), k, network.weights[network.half - 1].shape[2]), X.dtype)

    def task(share):
        rows, j = share
        Z[rows, j] = network.outputs(X[rows] - centers[j], j, 0, network.half)[-1]

    parallel(task, [(rows, j) for rows in _blocks(len(X), k, X.shape[1]) for j in range(k)])
    return Z


def decode(params, layers, Z, s, centers):
    """The decoder of each sample's own cluster, in input space: x = g_s(z) + c_s, (n, d)."""
    network, k = Network(params, layers), len(centers)
    X = np.empty((len(Z), centers.shape[1]), Z.dtype)

    own = [np.flatnonzero(s == j) for j in range(k)]

    def task(share):
        rows, j = share
        X[rows] = network.outputs(Z[rows], j, network.half, len(network.weights))[-1] + centers[j]

    parallel(task, [(own[j][part], j) for j in range(k) for part in _blocks(len(own[j]), k, X.shape[1])])
    return X
