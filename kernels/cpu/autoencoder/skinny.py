"""Many features and few units: features innermost in the first and the last layer, reconstructions never kept.

With one to some ten units next to d features a product is too small for BLAS, and the decoder's output (rows × d for
every cluster) would cost more to write than to compute. Here four samples share every read of a weight, and their
residuals stay in registers or the first-level cache until loss and gradient are taken of them: 4 times as fast as the
plain form on MNIST-5 (piece "skinny" in bench/results/ladder.csv). The layers between are those of ``small``, with
samples innermost: the work space ``B`` of a block of samples has the rows

    0 loss, 1 zeros, 2 … X W of the first layer, all copies, then A0 … and G0 … as in ``small``.

A task's gradient is that of one cluster's network alone (``one_network``); in it the first layer's weight lies
transposed.
"""

import numpy as np

from .._engine.jit import jit
from ..dense import activate_row, through_activation_row
from .rows import add_outer, decode, pair_gradients, project, rows_at
from .small import layer_backward, layer_forward, units_before

BLOCK = 128


def one_network(layers):
    """The table of one cluster's network on its own: (table (n_layers, 6), length of its flat vector).

    The last layer has room for an even number of units, which are computed in pairs.
    """
    table, size = layers.copy(), 0
    for row in table:
        row[2], row[3] = 1, size
        size += int(row[0] * row[1])
        if row[4] >= 0:
            row[4] = size
            size += int(row[1])
    return table, size + int(layers[-1, 0] % 2 * layers[-1, 1])


def outer_layers(params, layers, centers):
    """What all blocks need of the first and the last layer, of every copy where it says k or 1.

    returns (first weight, transposed (k or 1 · fan_out, d); its offset b − c W (k, fan_out); last weight
    (k or 1 · fan_in, d); the centre less the last bias, which targets are compared with (k, d))
    """
    (d, h, copies, weight, bias, _), (h_last, _, copies_last, weight_last, bias_last, _) = layers[[0, -1]].tolist()
    W = params[weight : weight + copies * d * h].reshape(copies, d, h)
    offset = -np.matmul(centers[:, None], W)[:, 0]
    if bias >= 0:
        offset += params[bias : bias + copies * h].reshape(copies, h)
    D = params[weight_last : weight_last + copies_last * h_last * d].reshape(copies_last * h_last, d)
    shift = centers
    if bias_last >= 0:
        shift = centers + params[bias_last : bias_last + (copies_last if bias_last >= 0 else 0) * d].reshape(-1, d)
    return np.ascontiguousarray(W.transpose(0, 2, 1)).reshape(copies * h, d), offset, D, shift


@jit
def _hidden(network, offsets, j, B, P, A0, m):
    """Activations of all layers but the last under cluster j, A0 …, from the products X W of the first one, P …"""
    params, layers, centers, _ = network
    for o in range(layers[0, 1]):
        source, out, offset = np.uintp(P + o), np.uintp(A0 + o), offsets[j, o]
        for s in range(m):
            B[out, s] = B[source, s] + offset
        if layers[0, 5] != 0:
            activate_row(B[A0 + o, :m], layers[0, 5])
    source = A0
    for l in range(1, len(layers) - 1):
        out = source + layers[l, 0]
        layer_forward(params, layers, l, j, centers, B, source, out, np.uintp(0), np.uintp(m))
        source = out


@jit
def _last_layer_gradient(D, shift, target, index, w, j, B, place, row, E, part):
    """Residuals of cluster j's own samples, the gradient of the last layer, and that of its inputs, B[g …].

    D : (h, d), its weight; place : (a, g, m), B[a …] its inputs; row : of the table; others as of `_own_gradient`
    """
    (a, g, m), (h, d), four = place, D.shape, np.arange(4)
    none, first_row, here = np.zeros((1, d), B.dtype), np.uintp(0), rows_at(four, 0)
    dD = part[row[3] : row[3] + (h + h % 2) * d].reshape(h + h % 2, d)
    v, b, second = (1, a + 1, g + 1) if h > 1 else (0, 1, g)
    places = np.uintp(a), np.uintp(b), np.uintp(g), np.uintp(second)
    for s in range(0, m, 4):
        w0, w1, w2, w3 = w[s], w[s + 1], w[s + 2], w[s + 3]
        if h <= 2 and row[4] < 0:
            p = w0 * B[a, s], w1 * B[a, s + 1], w2 * B[a, s + 2], w3 * B[a, s + 3]
            q = w0 * B[b, s], w1 * B[b, s + 1], w2 * B[b, s + 2], w3 * B[b, s + 3]
            pair_gradients(target, rows_at(index, s), shift[j], D, np.uintp(v), B, places, s, p, q, dD)
        else:
            decode(target, index, s, shift, j, D, B, a, E, True)
            project(E, four, 0, D, 0, h, B, g, s)
            for o in range(h):
                y = np.uintp(a + o)
                v0, v1, v2, v3 = w0 * B[y, s], w1 * B[y, s + 1], w2 * B[y, s + 2], w3 * B[y, s + 3]
                add_outer(part, row[3] + o * d, E, here, none, first_row, v0, v1, v2, v3)
            if row[4] >= 0:
                add_outer(part, row[4], E, here, none, first_row, w0, w1, w2, w3)
        for o in range(h):
            for r in range(4):
                B[g + o, s + r] *= w[s + r]


@jit
def _own_gradient(network, outer, data, index, w, j, B, place, table, E, part):
    """The gradient of cluster j's own samples, added to ``part``.

    index, w : (m,), the samples' rows and weights times 2/d; place : (A0, G0, m); E : (4, d), work space
    """
    (params, layers, centers, reg), (_, _, decoders, shift), (X, target) = network, outer, data
    (A0, G0, m), last, d, width = place, len(layers) - 1, X.shape[1], layers[0, 1]
    h, units = layers[last, 0], G0 - A0
    first, row = j * h if layers[last, 2] > 1 else 0, units - h
    D, ends = decoders[first : first + h], (A0 + row, G0 + row, m)
    _last_layer_gradient(D, shift, target, index, w, j, B, ends, table[last], E, part)
    upstream = E.dtype.type(reg * d)  # w 2λ is (2 w / d) λ d
    for l in range(last - 1, -1, -1):  # outputs of layer l are the rows A0 + row …
        for o in range(layers[l, 1]):
            g, y = np.uintp(G0 + row + o), np.uintp(A0 + row + o)
            if l == len(layers) // 2 - 1:
                for s in range(m):
                    B[g, s] += upstream * w[s] * B[y, s]
            if layers[l, 5] != 0:
                through_activation_row(B[G0 + row + o, :m], B[A0 + row + o, :m], layers[l, 5])
        if l > 0:
            below = row - layers[l, 0]
            places, columns = (A0 + below, G0 + below), (np.uintp(0), np.uintp(m))
            layer_backward(params, layers, l, j, B, G0 + row, *places, *columns, table, part)
            row = below
    for s in range(0, m, 4):
        for o in range(width):
            v0, v1, v2, v3 = B[G0 + o, s], B[G0 + o, s + 1], B[G0 + o, s + 2], B[G0 + o, s + 3]
            add_outer(part, table[0, 3] + o * d, X, rows_at(index, s), centers, np.uintp(j), v0, v1, v2, v3)
    for o in range(width if table[0, 4] >= 0 else 0):
        for s in range(m):
            part[table[0, 4] + o] += B[np.uintp(G0 + o), s]


@jit
def _put_losses(network, B, z, m, index, count, j, L):
    """L[index[s], j] = (1/d) B[0, s] + λ ‖z_s‖², s < count; z : row of the first code."""
    _, layers, centers, reg = network
    per_feature, penalty = B.dtype.type(1.0 / centers.shape[1]), B.dtype.type(reg)
    for s in range(count):
        code = B.dtype.type(0)
        for i in range(layers[len(layers) // 2 - 1, 1]):
            code += B[z + i, s] * B[z + i, s]
        L[index[s], j] = per_feature * B[0, s] + penalty * code


@jit
def run(network, outer, data, order, tasks, every, L, table, parts):
    """Losses and gradients of tasks (j, lo, hi), the samples order[lo:hi].

    network : (params, layers, centers, reg); outer : see `outer_layers`; data : (X, target, weights), all samples
    every : bool, whether all columns of L are computed, or none; L : (n, k), its rows in the order of X
    table, parts : see `one_network`, (n_tasks, q), every task's gradient; (0, q) for none
    """
    (_, layers, _, _), (X, target, weights), (packed, offsets, decoders, shift) = network, data, outer
    d, k, last, width = X.shape[1], len(shift), len(layers) - 1, layers[0, 1]
    units, codes = units_before(layers, last), units_before(layers, len(layers) // 2 - 1)
    A0, h = 2 + len(packed), layers[last, 0]
    G0 = A0 + units
    B, E = np.zeros((G0 + units, BLOCK), X.dtype), np.empty((4, d), X.dtype)
    index, w, factor = np.empty(BLOCK, np.int64), np.empty(BLOCK, X.dtype), X.dtype.type(2.0 / d)
    for task in range(len(tasks)):
        own, end, gradient = tasks[task, 0], tasks[task, 2], len(parts) > 0
        for i in range(parts.shape[1] if gradient else 0):
            parts[task, i] = 0
        begin, stop = (0, len(packed)) if every or layers[0, 2] == 1 else (own * width, (own + 1) * width)
        for start in range(tasks[task, 1], end, BLOCK):
            count = min(end - start, BLOCK)
            m = (count + 3) // 4 * 4
            for s in range(m):
                index[s] = order[min(start + s, end - 1)]
                w[s] = factor * weights[index[s]] if s < count else 0
            for s in range(0, m, 4):
                project(X, index, s, packed, begin, stop, B, 2 + begin, s)
            for j in range(k):
                if every or j == own:
                    _hidden(network, offsets, j, B, 2 + (j * width if layers[0, 2] > 1 else 0), A0, m)
                    if j == own and gradient:
                        _own_gradient(network, outer, (X, target), index, w, j, B, (A0, G0, m), table, E, parts[task])
                    else:
                        first = j * h if layers[last, 2] > 1 else 0
                        for s in range(0, m, 4):
                            decode(target, index, s, shift, j, decoders[first : first + h], B, G0 - h, E, False)
                    if every:
                        _put_losses(network, B, A0 + codes, m, index, count, j, L)


@jit
def _add_by_cluster(parts, tasks, totals):
    """Adds every task's gradient to its cluster's, in order; totals : (k, q) float64."""
    for t in range(len(tasks)):
        for i in range(parts.shape[1]):
            totals[tasks[t, 0], i] += parts[t, i]


def add_parts(parts, tasks, layers, table, k, gradient):
    """The whole gradient from those of the tasks.

    parts : (n_tasks, q) float; gradient : (p,) float, overwritten
    """
    totals = np.zeros((k, parts.shape[1]))
    _add_by_cluster(parts, tasks, totals)
    gradient[:] = 0

    def put(start, copies, values):
        gradient[start : start + copies * values[0].size].reshape(copies, -1)[...] = (
            values.reshape(k, -1) if copies > 1 else values.sum(axis=0).reshape(1, -1)
        )

    for l, ((fan_in, fan_out, copies, weight, bias, _), row) in enumerate(
        zip(layers.tolist(), table.tolist(), strict=True)
    ):
        values = totals[:, row[3] : row[3] + fan_in * fan_out]
        put(weight, copies, values.reshape(k, fan_out, fan_in).transpose(0, 2, 1) if l == 0 else values)
        if bias >= 0:
            put(bias, copies, totals[:, row[4] : row[4] + fan_out])
