"""Autoencoder kernels on blocks of samples, samples innermost: for networks so small that they live in cache.

A block holds m samples, transposed: one quantity of all samples is a row of the work space, so every loop
runs over samples and is vectorised, whatever the widths. The rows of the work space ``B`` are

    0 loss, X0 … input, T0 … target, E0 … residual x̂ − t̃, Y0 … x̂ or x̃ (d each),
    A0 … outputs of all layers but the last, one after the other, G0 … gradients there (units each)

and everything is addressed by row and columns a ≤ s < b: passing views instead costs more than the
arithmetic of the smallest networks. Row and column numbers are unsigned, since Numba looks whether a signed
one is negative, which keeps loops from being vectorised.
"""

import numpy as np
from numba import njit

from ..dense import activate_row, through_activation_row

LANES = 16  # a block's width is a multiple, its last sample repeated
_BLOCK_BYTES = 40960  # of work space, to stay in the first-level cache
_MAX_BLOCK = 512

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)
# Products and sums are contracted to fused multiply-adds, one rounding in place of two; no sampled bit depends on it.
_fused = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
# Sums over samples moreover are added up in lanes: a plain sum waits for every addition.
_lanes = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})


@_jit
def four_rows(first, i, count):
    """The rows of the terms i … i + 3 of ``count``; the last one is repeated."""
    last = first + count - 1
    return (
        np.uintp(first + i),
        np.uintp(min(first + i + 1, last)),
        np.uintp(min(first + i + 2, last)),
        np.uintp(min(first + i + 3, last)),
    )


@_fused
def weighted_sum(B, out, source, a, b, count, params, w, stride, start):
    """B[out, s] = start + Σ_i params[w + i stride] B[source + i, s], a ≤ s < b, i < count.

    Four terms at a time save loads and stores of the sum; missing ones have the coefficient 0.
    """
    zero, out = params.dtype.type(0), np.uintp(out)
    for i in range(0, count, 4):
        e = params[np.uintp(w + i * stride)]
        f = params[np.uintp(w + (i + 1) * stride)] if i + 1 < count else zero
        g = params[np.uintp(w + (i + 2) * stride)] if i + 2 < count else zero
        h = params[np.uintp(w + (i + 3) * stride)] if i + 3 < count else zero
        p, q, u, v = four_rows(source, i, count)
        if i == 0:
            for s in range(a, b):
                B[out, s] = start + (e * B[p, s] + f * B[q, s] + g * B[u, s] + h * B[v, s])
        else:
            for s in range(a, b):
                B[out, s] += e * B[p, s] + f * B[q, s] + g * B[u, s] + h * B[v, s]


@_lanes
def add_dots(part, to, stride, B, source, count, g, a, b):
    """part[to + i stride] += Σ_s B[source + i, s] B[g, s], i < count: four dot products at a time."""
    g = np.uintp(g)
    for i in range(0, count, 4):
        p, q, u, v = four_rows(source, i, count)
        d0 = d1 = d2 = d3 = B.dtype.type(0)
        for s in range(a, b):
            d0 += B[p, s] * B[g, s]
            d1 += B[q, s] * B[g, s]
            d2 += B[u, s] * B[g, s]
            d3 += B[v, s] * B[g, s]
        part[to + i * stride] += d0
        if i + 1 < count:
            part[to + (i + 1) * stride] += d1
        if i + 2 < count:
            part[to + (i + 2) * stride] += d2
        if i + 3 < count:
            part[to + (i + 3) * stride] += d3


@_fused
def layer_forward(params, layers, l, j, centers, centred, B, source, out, a, b):
    """Layer l of cluster j: out = act(source W + b); ``centred``: the centre is taken off the input, as −c W."""
    fan_in, fan_out = layers[l, 0], layers[l, 1]
    copy = j if layers[l, 2] > 1 else 0
    w, bias, activation = layers[l, 3] + copy * fan_in * fan_out, layers[l, 4], layers[l, 5]
    for o in range(fan_out):
        start = params[bias + copy * fan_out + o] if bias >= 0 else params.dtype.type(0)
        if centred:
            for i in range(fan_in):
                start -= centers[j, i] * params[w + i * fan_out + o]
        weighted_sum(B, out + o, source, a, b, fan_in, params, w + o, fan_out, start)
        if activation != 0:
            activate_row(B[out + o, a:b], activation)


@_fused
def layer_backward(params, layers, l, j, B, g, y, source, back, a, b, gradient):
    """Layer l of cluster j backwards: adds to the gradients of weight and bias, makes that of the input.

    g : the gradient with respect to y = layer_forward(source), overwritten; back : the input's gradient,
    none if negative; gradient : (p,)
    """
    fan_in, fan_out, activation = layers[l, 0], layers[l, 1], layers[l, 5]
    copy = j if layers[l, 2] > 1 else 0
    w, bias = layers[l, 3] + copy * fan_in * fan_out, layers[l, 4] + copy * fan_out
    for o in range(fan_out):
        if activation != 0:
            through_activation_row(B[g + o, a:b], B[y + o, a:b], activation)
        if layers[l, 4] >= 0:
            total = B.dtype.type(0)
            for s in range(a, b):
                total += B[np.uintp(g + o), s]
            gradient[bias + o] += total
        add_dots(gradient, w + o, fan_out, B, source, fan_in, g + o, a, b)
    if back >= 0:
        for i in range(fan_in):
            weighted_sum(B, back + i, g, a, b, fan_out, params, w + i * fan_out, np.int64(1), params.dtype.type(0))


@_fused
def network_forward(params, layers, j, centers, reg, B, X0, T0, E0, A0, a, b):
    """L[:, j] of a block under cluster j's network, with its activations and residual."""
    n_layers, d = len(layers), centers.shape[1]
    last, half = n_layers - 1, n_layers // 2
    penalty, per_feature = B.dtype.type(reg), B.dtype.type(1.0 / d)
    begin, end = A0, A0
    for s in range(a, b):
        B[0, s] = 0
    for l in range(n_layers):  # one call for all layers, which is compiled once
        if l == half:
            for i in range(np.uintp(begin), np.uintp(end)):
                for s in range(a, b):
                    B[0, s] += penalty * (B[i, s] * B[i, s])
        source, out = X0 if l == 0 else begin, E0 if l == last else end
        layer_forward(params, layers, l, j, centers, l == 0, B, source, out, a, b)
        begin, end = end, end + layers[l, 1]
    for f in range(d):
        c, e, t = centers[j, f], np.uintp(E0 + f), np.uintp(T0 + f)
        for s in range(a, b):
            residual = B[e, s] - (B[t, s] - c)
            B[e, s] = residual
            B[0, s] += per_feature * (residual * residual)


@_fused
def network_backward(params, layers, j, centers, reg, B, weights, X0, T0, E0, Y0, A0, G0, a, b, gradient):
    """Adds the gradient of Σ_s w_s L[s, j] over columns of a block to ``gradient``, after ``network_forward``.

    weights : (m,), of the block's samples; the residual is overwritten
    """
    n_layers, d = len(layers), centers.shape[1]
    last, half = n_layers - 1, n_layers // 2
    factor, penalty = B.dtype.type(2.0 / d), B.dtype.type(2.0 * reg)
    for f in range(d):
        c, e, t, y = centers[j, f], np.uintp(E0 + f), np.uintp(T0 + f), np.uintp(Y0 + f)
        for s in range(a, b):
            B[y, s] = B[e, s] + (B[t, s] - c)  # x̂ once more, for act'
        for s in range(a, b):
            B[e, s] *= weights[s] * factor
    begin, row = np.int64(0), np.int64(0)  # a layer's inputs begin at ``begin``, its outputs at ``row``
    for l in range(last):
        begin += layers[l, 1]
    for l in range(last, -1, -1):
        begin -= layers[l, 0] if l > 0 else begin
        if l == half - 1:
            for i in range(row, row + layers[l, 1]):
                g, z = np.uintp(G0 + i), np.uintp(A0 + i)
                for s in range(a, b):
                    B[g, s] += penalty * weights[s] * B[z, s]
        if l == 0:
            for f in range(d):
                c, x, y = centers[j, f], np.uintp(X0 + f), np.uintp(Y0 + f)
                for s in range(a, b):
                    B[y, s] = B[x, s] - c
        outputs, upstream = (Y0, E0) if l == last else (A0 + row, G0 + row)
        source, back = (A0 + begin, G0 + begin) if l > 0 else (Y0, -1)
        layer_backward(params, layers, l, j, B, upstream, outputs, source, back, a, b, gradient)
        row = begin


@_jit
def gather(X, order, lo, hi, B, out, m):
    """B[out + f, s] = X[order[lo + s], f] for s < m, the last sample repeated where hi − lo < m."""
    for s in range(m):
        i = order[min(lo + s, hi - 1)]
        for f in range(X.shape[1]):
            B[out + f, s] = X[i, f]


@_jit
def run_tasks(params, layers, X, target, centers, assign, weights, reg, order, tasks, first, last, every, L, parts):
    """Losses and gradients of the tasks first … last − 1, with the network in cache.

    A task (-1, lo, hi) is the samples order[lo:hi], at most 1024.

    assign : (n,) int64, by which ``order`` is sorted where there are gradients
    every : bool, whether all columns of L are computed, or none; L : (n, k), its rows in the order of X
    parts : (n_tasks, p), every task's gradient; (0, p) for none
    """
    d, k = X.shape[1], len(centers)
    units = 0
    for l in range(len(layers) - 1):
        units += layers[l, 1]
    same = X.ctypes.data == target.ctypes.data
    X0, E0, Y0, A0 = np.int64(1), 1 + d, 1 + 2 * d, 1 + 3 * d
    G0, own_T0 = A0 + units, A0 + 2 * units
    T0 = X0 if same else own_T0
    rows = own_T0 if same else own_T0 + d
    width = _BLOCK_BYTES // (rows * X.itemsize) // LANES * LANES
    width = max(LANES, min(_MAX_BLOCK, width))
    B, w = np.empty((rows, width), X.dtype), np.empty(width, X.dtype)
    for task in range(first, last):
        lo, hi = tasks[task, 1], tasks[task, 2]
        if len(parts):
            for i in range(parts.shape[1]):
                parts[task, i] = 0
        for start in range(lo, hi, width):
            count = min(hi - start, width)
            m = (count + LANES - 1) // LANES * LANES
            for turn in range(1 if same else 2):
                gather(X if turn == 0 else target, order, start, hi, B, X0 if turn == 0 else T0, m)
            if len(parts):
                for s in range(count):
                    w[s] = weights[order[start + s]]
            a = b = 0  # the columns of cluster j's own samples
            for j in range(k):
                if len(parts):
                    a = b
                    while b < count and assign[order[start + b]] == j:
                        b += 1
                if every or a < b:
                    left, right = np.uintp(0 if every else a), np.uintp(m if every else b)
                    network_forward(params, layers, j, centers, reg, B, X0, T0, E0, A0, left, right)
                if every:
                    for s in range(count):
                        L[order[start + s], j] = B[0, s]
                if a < b:
                    left, right = np.uintp(a), np.uintp(b)
                    network_backward(
                        *(params, layers, j, centers, reg, B, w, X0, T0, E0, Y0, A0, G0, left, right, parts[task])
                    )
