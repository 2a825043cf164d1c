"""Tasks of ``kernels.composed.autoencoder`` on the CPU: BLAS products and the loops around them in one call.

A call never takes the interpreter's lock, for which threads with products of some ten microseconds would mostly
wait. ``np.dot`` is BLAS here as well, one thread by ``pool``. What the tasks of a chunk of m samples share lies
flat in two arrays, the samples in the order of their clusters: ``inputs``, layer by layer (m, fan_in), and ``G``,
layer by layer (m, fan_out), the gradients with respect to the outputs.
"""

import numpy as np
from numba import njit

from .dense import activate_row, through_activation_row

_UNPACKED = 1_000_000  # multiplications up to which OpenBLAS does without copying its operands into panels

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)
# Added up in lanes, for a plain sum waits for every addition; no sampled bit depends on it.
_lanes = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})


@_jit
def _weight(params, layers, l, j):
    """Cluster j's weight of layer l, (fan_in, fan_out)."""
    fan_in, fan_out = layers[l, 0], layers[l, 1]
    start = layers[l, 3] + (j if layers[l, 2] > 1 else 0) * fan_in * fan_out
    return params[start : start + fan_in * fan_out].reshape(fan_in, fan_out)


@_jit
def _part(flat, begin, m, width, lo, hi):
    """Rows lo … hi − 1 of the layer whose columns begin at ``begin`` in a flat array of m samples."""
    start = begin * m + lo * width
    return flat[start : start + (hi - lo) * width].reshape(hi - lo, width)


@_jit
def _begin(layers, side, l):
    """Where layer l's columns begin among all layers' inputs (side 0) or outputs (side 1)."""
    total = np.int64(0)
    for i in range(l):
        total += layers[i, side]
    return total


@_jit
def _add_bias_activate(A, params, layers, l, j, center, centred):
    """A ← act(A + b), in place; ``centred``: b is less c W, as centring the input amounts to."""
    fan_out, activation = layers[l, 1], layers[l, 5]
    offset = np.zeros(fan_out, A.dtype)
    if centred:
        W = _weight(params, layers, l, j)
        for i in range(len(W)):
            for o in range(fan_out):
                offset[o] -= center[i] * W[i, o]
    if layers[l, 4] >= 0:
        start = layers[l, 4] + (j if layers[l, 2] > 1 else 0) * fan_out
        for o in range(fan_out):
            offset[o] += params[start + o]
    if centred or layers[l, 4] >= 0:
        for i in range(len(A)):
            for o in range(fan_out):
                A[i, o] += offset[o]
    if activation != 0:
        activate_row(A.reshape(A.size), activation)


@_jit
def _difference(x_hat, t, c):
    """x̂ − (t − c), in this order."""
    return x_hat - (t - c)


@_lanes
def _square(x_hat, t, c):
    """Σ_f (x̂_f − (t_f − c_f))²."""
    total = x_hat.dtype.type(0)
    for f in range(len(x_hat)):
        e = _difference(x_hat[f], t[f], c[f])
        total += e * e
    return total


@_jit
def _hidden(params, layers, j, center, A, m):
    """Outputs of all layers but the last, one after the other in A, for m samples; the first product is there."""
    begin, end = 0, m * layers[0, 1]
    _add_bias_activate(A[:end].reshape(m, layers[0, 1]), params, layers, 0, j, center, True)
    for l in range(1, len(layers) - 1):
        out = A[end : end + m * layers[l, 1]].reshape(m, layers[l, 1])
        np.dot(A[begin:end].reshape(m, layers[l, 0]), _weight(params, layers, l, j), out)
        _add_bias_activate(out, params, layers, l, j, center, False)
        begin, end = end, end + m * layers[l, 1]


@_jit
def _finish(params, layers, j, x, target, center, reg, A, x_hat, L, s, place, total, weights, inputs, G):
    """From the last product, ``x_hat``: losses, and cluster j's own samples to where the gradient takes them from."""
    (m, d), last, half, dtype = x.shape, len(layers) - 1, len(layers) // 2, x.dtype
    if layers[last, 4] >= 0 or layers[last, 5] != 0:
        _add_bias_activate(x_hat, params, layers, last, j, center, False)
    per_feature, penalty, factor = dtype.type(1.0 / d), dtype.type(reg), dtype.type(2.0 / d)
    h = layers[half - 1, 1]
    z = A[m * _begin(layers, 1, half - 1) :]
    for i in range(m):
        if len(L):
            code = dtype.type(0)
            for e in z[i * h : (i + 1) * h]:
                code += e * e
            L[i, j] = per_feature * _square(x_hat[i], target[i], center) + penalty * code
        if len(place) and s[i] == j:
            r, t, w = place[i], target[i], weights[i] * factor
            row = _part(inputs, 0, total, d, r, r + 1)[0]
            for f in range(d):
                row[f] = x[i, f] - center[f]
            for l in range(last):
                width = layers[l, 1]
                row = _part(inputs, _begin(layers, 0, l + 1), total, width, r, r + 1)[0]
                source = A[m * _begin(layers, 1, l) + i * width :]
                for e in range(width):
                    row[e] = source[e]
            row, y = _part(G, _begin(layers, 1, last), total, d, r, r + 1)[0], x_hat[i]
            for f in range(d):
                row[f] = w * _difference(y[f], t[f], center[f])
            if layers[last, 5] != 0:
                through_activation_row(row, y, layers[last, 5])


def forward(params, layers, X, target, lo, hi, centers, reg, first, stop, L, s, place, weights, inputs, G):
    """Losses of samples lo … hi − 1 under the clusters first … stop − 1, and what the gradient needs of them.

    L : (n, k) or (0, k), in which case no losses are kept; place : (n,) int64, where a sample of cluster s lies
    in ``inputs`` and ``G``, which get x̃, the layers' outputs, and w (2/d) (x̂ − t̃) act'; or (0,) for none of that
    """
    (d, h, copies, start, *_), last = layers[0].tolist(), layers[-1].tolist()
    m, units = hi - lo, int(layers[:-1, 1].sum())
    x, A, x_hat = X[lo:hi], np.empty((hi - lo) * units, X.dtype), np.empty((m, d), X.dtype)
    W = params[start : start + copies * d * h].reshape(copies, d, h)
    D = params[last[3] : last[3] + last[2] * last[0] * d].reshape(last[2], last[0], d)
    rows = slice(lo, hi)
    product, code = A[: m * h].reshape(m, h), A[m * (units - last[0]) :].reshape(m, last[0])
    shared = np.matmul(x, W[0]) if copies == 1 else None  # one product for all clusters
    for j in range(first, stop):
        if shared is None:
            np.matmul(x, W[j], out=product)
        else:
            product[...] = shared
        _hidden(params, layers, j, centers[j], A, m)
        np.matmul(code, D[j if len(D) > 1 else 0], out=x_hat)
        _finish(
            *(params, layers, j, x, target[rows], centers[j], reg, A, x_hat, L[rows]),
            *(s[rows], place[rows], len(place), weights[rows], inputs, G),
        )


@_jit
def backward(params, layers, j, lo, hi, reg, w, inputs, G):
    """Rows lo … hi − 1 of G, all of cluster j, from the last layer down to the first.

    w : (m,), in the order of the rows
    """
    n_layers, m = len(layers), len(w)
    for l in range(n_layers - 1, 0, -1):
        fan_in, fan_out = layers[l, 0], layers[l, 1]
        g = _part(G, _begin(layers, 1, l), m, fan_out, lo, hi)
        below = _part(G, _begin(layers, 1, l - 1), m, fan_in, lo, hi)
        Y = _part(inputs, _begin(layers, 0, l), m, fan_in, lo, hi)
        W = _weight(params, layers, l, j)
        pieces = (len(g) * fan_in * fan_out + _UNPACKED - 1) // _UNPACKED
        if pieces > 4 or len(g) < 16 * pieces:
            pieces = 1
        for piece in range(pieces):
            a, b = len(g) * piece // pieces, len(g) * (piece + 1) // pieces
            np.dot(g[a:b], W.T, below[a:b])
        if l == n_layers // 2 and reg != 0:
            penalty = G.dtype.type(2.0 * reg)
            for i in range(len(g)):
                for h in range(fan_in):
                    below[i, h] += penalty * w[lo + i] * Y[i, h]
        if layers[l - 1, 5] != 0:
            through_activation_row(below.reshape(below.size), Y.reshape(Y.size), layers[l - 1, 5])


@_jit
def weight_gradient(layers, l, copy, lo, hi, left, right, m, inputs, G, gradient, total):
    """A copy's weight gradient from rows lo … hi − 1: entries left … right − 1 of its longer side; also its bias's.

    gradient : (p,), where it is put; total : (p,) float64, to which it is added, or (0,)

    The product is made in pieces in cache and then copied to where nobody has looked for long.
    """
    fan_in, fan_out, rows = layers[l, 0], layers[l, 1], hi - lo
    a, g = _part(inputs, _begin(layers, 0, l), m, fan_in, lo, hi), _part(G, _begin(layers, 1, l), m, fan_out, lo, hi)
    start = layers[l, 3] + copy * fan_in * fan_out
    out = gradient[start : start + fan_in * fan_out].reshape(fan_in, fan_out)
    wide = fan_in < fan_out
    short = fan_in if wide else fan_out
    step = max(16, _UNPACKED // max(1, rows * short))
    pieces = (right - left + step - 1) // step
    if pieces > 4:
        pieces = 1
    for piece in range(pieces):
        p, q = left + (right - left) * piece // pieces, left + (right - left) * (piece + 1) // pieces
        long = np.empty((rows, q - p), gradient.dtype)
        source = g if wide else a
        for i in range(rows):
            for f in range(p, q):
                long[i, f - p] = source[i, f]
        if wide:
            product = np.dot(a.T, long)
            for o in range(fan_in):
                for f in range(p, q):
                    out[o, f] = product[o, f - p]
        else:
            product = np.dot(long.T, g)
            for f in range(p, q):
                for o in range(fan_out):
                    out[f, o] = product[f - p, o]
        if len(total):
            sums = total[start : start + fan_in * fan_out].reshape(fan_in, fan_out)
            for i in range(0 if wide else p, fan_in if wide else q):
                for o in range(p if wide else 0, q if wide else fan_out):
                    sums[i, o] += out[i, o]
    if layers[l, 4] >= 0 and left == 0:
        start = layers[l, 4] + copy * fan_out
        for o in range(fan_out):
            gradient[start + o] = 0
        for i in range(rows):
            for o in range(fan_out):
                gradient[start + o] += g[i, o]
        if len(total):
            for o in range(fan_out):
                total[start + o] += gradient[start + o]
