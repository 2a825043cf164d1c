"""Tasks of ``kernels.cpu.autoencoder.composed`` on the CPU: products and the loops around them in one call.

A call never takes the interpreter's lock, for which threads with products of some ten microseconds would mostly
wait. What the tasks of a chunk of m samples share lies flat in two arrays, the samples in the order of their
clusters: ``inputs``, layer by layer (m, fan_in), and ``G``, layer by layer (m, fan_out), the gradients with respect
to the outputs.
"""

import numpy as np
from numba import njit

from .._engine.phases import finish, take, wait
from .._engine.product import multiply, multiply_transposed
from ..dense import activate_row, through_activation_row

FORWARD, BACKWARD, OWN, WEIGHT = range(4)  # what a task does; OWN is FORWARD and then BACKWARD of the same samples

_PANEL = 24  # rows whose reconstructions are made and compared with their targets while they are in cache

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
def _add_bias_activate(A, params, layers, l, j, center):
    """A ← act(A + b), in place; the first layer's b is less c W, as centring the input amounts to."""
    fan_out, activation = layers[l, 1], layers[l, 5]
    offset = np.zeros(fan_out, A.dtype)
    if l == 0:
        multiply(center.reshape(1, len(center)), _weight(params, layers, l, j), offset.reshape(1, fan_out), False)
        for o in range(fan_out):
            offset[o] = -offset[o]
    if layers[l, 4] >= 0:
        start = layers[l, 4] + (j if layers[l, 2] > 1 else 0) * fan_out
        for o in range(fan_out):
            offset[o] += params[start + o]
    if l == 0 or layers[l, 4] >= 0:
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
    begin, end = 0, 0
    for l in range(len(layers) - 1):
        out = A[end : end + m * layers[l, 1]].reshape(m, layers[l, 1])
        if l > 0:
            multiply(A[begin:end].reshape(m, layers[l, 0]), _weight(params, layers, l, j), out, False)
        _add_bias_activate(out, params, layers, l, j, center)
        begin, end = end, end + m * layers[l, 1]


@_jit
def _finish(params, layers, j, x, target, center, reg, A, x_hat, first, L, s, place, total, weights, inputs, G):
    """From ``x_hat`` of samples ``first`` and following: losses, and cluster j's own samples for the gradient."""
    (m, d), last, half, dtype = x.shape, len(layers) - 1, len(layers) // 2, x.dtype
    if layers[last, 4] >= 0 or layers[last, 5] != 0:
        _add_bias_activate(x_hat, params, layers, last, j, center)
    per_feature, penalty, factor = dtype.type(1.0 / d), dtype.type(reg), dtype.type(2.0 / d)
    h = layers[half - 1, 1]
    z = A[m * _begin(layers, 1, half - 1) :]
    for i in range(first, first + len(x_hat)):
        y, t = x_hat[i - first], target[i]
        if len(L):
            code = dtype.type(0)
            for e in z[i * h : (i + 1) * h]:
                code += e * e
            L[i, j] = per_feature * _square(y, t, center) + penalty * code
        if len(place) and s[i] == j:
            r, w = place[i], weights[i] * factor
            row = _part(inputs, 0, total, d, r, r + 1)[0]
            for f in range(d):
                row[f] = x[i, f] - center[f]
            for l in range(last):
                width = layers[l, 1]
                row = _part(inputs, _begin(layers, 0, l + 1), total, width, r, r + 1)[0]
                source = A[m * _begin(layers, 1, l) + i * width :]
                for e in range(width):
                    row[e] = source[e]
            row = _part(G, _begin(layers, 1, last), total, d, r, r + 1)[0]
            for f in range(d):
                row[f] = w * _difference(y[f], t[f], center[f])
            if layers[last, 5] != 0:
                through_activation_row(row, y, layers[last, 5])


@_jit
def forward(params, layers, X, target, lo, hi, centers, reg, first, stop, L, s, place, weights, inputs, G):
    """Losses of samples lo … hi − 1 under the clusters first … stop − 1, and what the gradient needs of them.

    L : (n, k) or (0, k), in which case no losses are kept; place : (n,) int64, where a sample of cluster s lies
    in ``inputs`` and ``G``, which get x̃, the layers' outputs, and w (2/d) (x̂ − t̃) act'; or (0,) for none of that
    """
    n_layers, m, d, h = len(layers), hi - lo, X.shape[1], layers[0, 1]
    units, latent = _begin(layers, 1, n_layers - 1), layers[n_layers - 1, 0]
    A, panel, rows = np.empty(m * units, X.dtype), np.empty((min(m, _PANEL), d), X.dtype), slice(lo, hi)
    x, product, code = X[rows], A[: m * h].reshape(m, h), A[m * (units - latent) :].reshape(m, latent)
    shared = np.empty((m if layers[0, 2] == 1 else 0, h), X.dtype)  # one product for all clusters
    if len(shared):
        multiply(x, _weight(params, layers, 0, 0), shared, False)
    for j in range(first, stop):
        if len(shared):
            product[...] = shared
        else:
            multiply(x, _weight(params, layers, 0, j), product, False)
        _hidden(params, layers, j, centers[j], A, m)
        for i in range(0, m, _PANEL):
            x_hat = panel[: min(_PANEL, m - i)]
            multiply(code[i : i + _PANEL], _weight(params, layers, n_layers - 1, j), x_hat, False)
            _finish(
                *(params, layers, j, x, target[rows], centers[j], reg, A, x_hat, i, L[rows]),
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
        multiply_transposed(g, _weight(params, layers, l, j), below)
        if l == n_layers // 2 and reg != 0:
            penalty = G.dtype.type(2.0 * reg)
            for i in range(len(g)):
                for h in range(fan_in):
                    below[i, h] += penalty * w[lo + i] * Y[i, h]
        if layers[l - 1, 5] != 0:
            through_activation_row(below.reshape(below.size), Y.reshape(Y.size), layers[l - 1, 5])


@_jit
def _add(total, part):
    """total ← total + part, in float64."""
    for i in range(len(part)):
        for o in range(part.shape[1]):
            total[i, o] += part[i, o]


@_jit
def weight_gradient(layers, l, copy, lo, hi, left, right, m, inputs, G, gradient, total):
    """A copy's weight gradient from rows lo … hi − 1: entries left … right − 1 of its longer side; also its bias's.

    gradient : (p,), where it is put; total : (p,) float64, to which it is added, or (0,)
    """
    fan_in, fan_out = layers[l, 0], layers[l, 1]
    a, g = _part(inputs, _begin(layers, 0, l), m, fan_in, lo, hi), _part(G, _begin(layers, 1, l), m, fan_out, lo, hi)
    start = layers[l, 3] + copy * fan_in * fan_out
    entries = slice(start, start + fan_in * fan_out)
    if fan_in < fan_out:
        rows, columns = slice(0, fan_in), slice(left, right)
    else:
        rows, columns = slice(left, right), slice(0, fan_out)
    out = gradient[entries].reshape(fan_in, fan_out)[rows, columns]
    multiply(a[:, rows].T, g[:, columns], out, False)
    if len(total):
        _add(total[entries].reshape(fan_in, fan_out)[rows, columns], out)
    if layers[l, 4] >= 0 and left == 0:
        start = layers[l, 4] + copy * fan_out
        out = gradient[start : start + fan_out]
        out[...] = 0
        for i in range(len(g)):
            for o in range(fan_out):
                out[o] += g[i, o]
        if len(total):
            _add(total[start : start + fan_out].reshape(1, fan_out), out.reshape(1, fan_out))


@_jit
def run(
    tasks,
    ends,
    counters,
    params,
    layers,
    X,
    target,
    centers,
    reg,
    L,
    s,
    place,
    weights,
    sorted_weights,
    inputs,
    G,
    gradient,
    total,
):
    """Tasks, phase after phase, with whatever threads call this with the same arguments; False: to be called again.

    tasks : (n_tasks, 7) int64: FORWARD, lo, hi, first, stop; BACKWARD or OWN, lo, hi, j, j + 1;
    WEIGHT, lo, hi, layer, copy, left, right; ends : (n_phases,) int64, where each phase's tasks end
    """
    begin = np.int64(0)
    for phase in range(len(ends)):
        while True:
            i = begin + take(counters, phase)
            if i >= ends[phase]:
                break
            task = tasks[i]
            kind, lo, hi, a, b = task[0], task[1], task[2], task[3], task[4]
            if kind in (FORWARD, OWN):
                forward(params, layers, X, target, lo, hi, centers, reg, a, b, L, s, place, weights, inputs, G)
            if kind in (BACKWARD, OWN):
                backward(params, layers, a, lo, hi, reg, sorted_weights, inputs, G)
            if kind == WEIGHT:
                weight_gradient(layers, a, b, lo, hi, task[5], task[6], len(X), inputs, G, gradient, total)
            finish(counters, phase)
        if not wait(counters, phase, ends[phase] - begin):
            return False
        begin = ends[phase]
    return True
