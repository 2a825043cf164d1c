"""Small networks: samples innermost, so that loops are long and vectorised however few the units are.

7 times as fast as the plain form on lines_3D of 3000 samples (piece "small" in bench/results/ladder.csv); fewer samples
take this form in a fused epoch, see ``fused``.

A block holds m samples, transposed: one quantity of all samples is a row of the work space ``B``, which with the
network stays in the first-level cache. Rows of ``B`` begin at

    0 loss, X0 input, T0 target, E0 output, then residual, Y0 x̂ or x̃ (d rows each),
    A0 outputs of all layers but the last, one after the other, G0 gradients there (units each)

and everything is addressed by row and columns a ≤ s < b: passing views costs more than the arithmetic of the smallest
networks. Row numbers are unsigned, since Numba looks whether a signed one is negative, which keeps loops from being
vectorised.
"""

import numpy as np

from .._engine.jit import compiled, jit
from ..dense import activate_row, through_activation_row

LANES = 16  # a block's width is a multiple, its last sample repeated
_BLOCK_BYTES, _MAX_BLOCK = 40960, 512  # of work space, to stay in the first-level cache

# Products and sums are contracted to fused multiply-adds, one rounding in place of two; no sampled bit depends on it.
contracted = compiled(fastmath={"contract"})
# Sums over samples moreover are added up in lanes: a plain sum waits for every addition.
in_lanes = compiled(fastmath={"contract", "reassoc"})


@jit
def units_before(layers, l):
    """Outputs of all layers before l."""
    units = np.int64(0)
    for i in range(l):
        units += layers[i, 1]
    return units


@contracted
def add_scaled(B, out, source, w, a, b):
    """B[out, a:b] += w B[source, a:b]."""
    out, source = np.uintp(out), np.uintp(source)
    for s in range(a, b):
        B[out, s] += w * B[source, s]


@in_lanes
def dot(B, p, q, a, b):
    """Σ_s B[p, s] B[q, s], a ≤ s < b."""
    p, q, total = np.uintp(p), np.uintp(q), B.dtype.type(0)
    for s in range(a, b):
        total += B[p, s] * B[q, s]
    return total


@jit
def layer_forward(params, layers, l, j, centers, B, source, out, a, b):
    """Layer l of cluster j: out = act(source W + b); of the first one the centre is taken off the input, as −c W."""
    fan_in, fan_out = layers[l, 0], layers[l, 1]
    copy = j if layers[l, 2] > 1 else 0
    w, bias = layers[l, 3] + copy * fan_in * fan_out, layers[l, 4] + copy * fan_out
    for o in range(fan_out):
        start = params[bias + o] if layers[l, 4] >= 0 else params.dtype.type(0)
        if l == 0:
            for i in range(fan_in):
                start -= centers[j, i] * params[w + i * fan_out + o]
        for s in range(a, b):
            B[np.uintp(out + o), s] = start
        for i in range(fan_in):
            add_scaled(B, out + o, source + i, params[w + i * fan_out + o], a, b)
        if layers[l, 5] != 0:
            activate_row(B[out + o, a:b], layers[l, 5])


@jit
def layer_backward(params, layers, l, j, B, g, source, back, a, b, table, gradient):
    """Layer l of cluster j backwards: adds to the gradients of weight and bias, makes that of the input.

    g : rows of the gradient with respect to source W + b; back : rows of the input's gradient, none if negative
    table, gradient : where the layers' gradients are; (n_layers, 6) as ``layers``, (q,)
    """
    fan_in, fan_out = layers[l, 0], layers[l, 1]
    w = layers[l, 3] + (j if layers[l, 2] > 1 else 0) * fan_in * fan_out
    copy = j if table[l, 2] > 1 else 0
    dw, db = table[l, 3] + copy * fan_in * fan_out, table[l, 4] + copy * fan_out
    for o in range(fan_out):
        if layers[l, 4] >= 0:
            total = B.dtype.type(0)
            for s in range(a, b):
                total += B[np.uintp(g + o), s]
            gradient[db + o] += total
        for i in range(fan_in):
            gradient[dw + i * fan_out + o] += dot(B, source + i, g + o, a, b)
    if back >= 0:
        for i in range(fan_in):
            for s in range(a, b):
                B[np.uintp(back + i), s] = 0
            for o in range(fan_out):
                add_scaled(B, back + i, g + o, params[w + i * fan_out + o], a, b)


@contracted
def _forward(params, layers, j, centers, reg, B, rows, a, b):
    """L[:, j] of a block under cluster j's network, with its activations and residual."""
    X0, T0, E0, _, A0, _ = rows
    n_layers, d, begin, end = len(layers), centers.shape[1], A0, A0
    penalty, per_feature = B.dtype.type(reg), B.dtype.type(1.0 / d)
    for s in range(a, b):
        B[0, s] = 0
    for l in range(n_layers):
        if l == n_layers // 2:
            for i in range(np.uintp(begin), np.uintp(end)):
                for s in range(a, b):
                    B[0, s] += penalty * (B[i, s] * B[i, s])
        out = E0 if l == n_layers - 1 else end
        layer_forward(params, layers, l, j, centers, B, X0 if l == 0 else begin, out, a, b)
        begin, end = end, end + layers[l, 1]
    for f in range(d):
        c, e, t = centers[j, f], np.uintp(E0 + f), np.uintp(T0 + f)
        for s in range(a, b):
            residual = B[e, s] - (B[t, s] - c)
            B[e, s] = residual
            B[0, s] += per_feature * (residual * residual)


@contracted
def _backward(params, layers, j, centers, reg, B, weights, rows, a, b, gradient):
    """Adds the gradient of Σ_s w_s L[s, j] over columns of a block to ``gradient``, after `_forward`.

    weights : (m,), of the block's samples; the residual is overwritten
    """
    X0, T0, E0, Y0, A0, G0 = rows
    last, d = len(layers) - 1, centers.shape[1]
    factor, penalty = B.dtype.type(2.0 / d), B.dtype.type(2.0 * reg)
    for f in range(d):
        c, e, t, x, y = centers[j, f], np.uintp(E0 + f), np.uintp(T0 + f), np.uintp(X0 + f), np.uintp(Y0 + f)
        if layers[last, 5] != 0:
            for s in range(a, b):
                B[y, s] = B[e, s] + (B[t, s] - c)  # x̂ once more, for act'
        for s in range(a, b):
            B[e, s] *= weights[s] * factor
        if layers[last, 5] != 0:
            through_activation_row(B[E0 + f, a:b], B[Y0 + f, a:b], layers[last, 5])
        for s in range(a, b):
            B[y, s] = B[x, s] - c
    row, upstream = units_before(layers, last), E0  # a layer's inputs, the outputs of the one before, begin at ``row``
    for l in range(last, -1, -1):
        row -= layers[l, 0] if l > 0 else row
        source, back = (A0 + row, G0 + row) if l > 0 else (Y0, np.int64(-1))
        layer_backward(params, layers, l, j, B, upstream, source, back, a, b, layers, gradient)
        for i in range(layers[l, 0] if l > 0 else 0):
            g, y = np.uintp(back + i), np.uintp(source + i)
            if l == len(layers) // 2:
                for s in range(a, b):
                    B[g, s] += penalty * weights[s] * B[y, s]
            if layers[l - 1, 5] != 0:
                through_activation_row(B[back + i, a:b], B[source + i, a:b], layers[l - 1, 5])
        upstream = back


@jit
def run(network, data, order, tasks, every, L, parts):
    """Losses and gradients of tasks (…, lo, hi), the samples order[lo:hi].

    network : (params, layers, centers, reg); data : (X, target, weights, assign), all samples
    order : (n,) int64, sorted by cluster where there are gradients
    every : bool, whether all columns of L are computed, or none; L : (n, k), its rows in the order of X
    parts : (n_tasks, p), every task's gradient; (0, p) for none
    """
    (params, layers, centers, reg), (X, target, weights, assign) = network, data
    d, k, units = X.shape[1], len(centers), units_before(layers, len(layers) - 1)
    same = X.ctypes.data == target.ctypes.data
    A0 = 1 + 3 * d
    G0 = A0 + units
    rows = np.int64(1), np.int64(1) if same else G0 + units, 1 + d, 1 + 2 * d, A0, G0
    height = G0 + units + (0 if same else d)
    width = max(LANES, min(_MAX_BLOCK, _BLOCK_BYTES // (height * X.itemsize) // LANES * LANES))
    B, w = np.empty((height, width), X.dtype), np.empty(width, X.dtype)
    for task in range(len(tasks)):
        for i in range(parts.shape[1] if len(parts) else 0):
            parts[task, i] = 0
        end = tasks[task, 2]
        for start in range(tasks[task, 1], end, width):
            count = min(end - start, width)
            m = (count + LANES - 1) // LANES * LANES
            for s in range(m):
                i = order[min(start + s, end - 1)]
                w[s] = weights[i]
                for f in range(d):
                    B[1 + f, s] = X[i, f]
                    B[rows[1] + f, s] = target[i, f]
            left = right = 0  # the columns of cluster j's own samples
            for j in range(k):
                if len(parts):
                    left = right
                    while right < count and assign[order[start + right]] == j:
                        right += 1
                a, b = (0, m) if every else (left, right)
                if a < b:
                    _forward(params, layers, j, centers, reg, B, rows, np.uintp(a), np.uintp(b))
                for s in range(count if every else 0):
                    L[order[start + s], j] = B[0, s]
                if left < right:
                    own = np.uintp(left), np.uintp(right)
                    _backward(params, layers, j, centers, reg, B, w, rows, own[0], own[1], parts[task])


@jit
def add_parts(parts, gradient):
    """The gradient from those of the tasks, added up in float64 in their order.

    parts : (n_tasks, p) float; gradient : (p,) float, overwritten
    """
    for i in range(len(gradient)):
        total = 0.0
        for t in range(len(parts)):
            total += parts[t, i]
        gradient[i] = total
