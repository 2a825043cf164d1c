"""Autoencoder kernels for wide data and narrow layers: features innermost, in the first and the last layer.

With one to some ten units next to d features a product is too small for BLAS, and the decoder's output
(rows × d for every cluster) would cost more to write than to compute. Here a few samples share every read of
a weight, and residual, loss and gradient are taken while the output is in registers. The layers between are
those of ``autoencoder_blocks``. The work space ``B`` of a block of samples has the rows

    0 loss, 1 zeros, 2 and 3 anything, P0 … X W of the first layer, all copies, then A0 … and G0 … as there.

A task's gradient is that of one cluster's network alone, see ``local_layers``; in it the first layer's weight
lies transposed, (fan_out, fan_in).
"""

from functools import cache

import numpy as np
from numba import cfunc, types

from .._engine import team
from .._engine.arrays import aligned
from .._engine.team import read, write
from ..dense import activate_row, through_activation_row
from .blocks import _fused, _jit, layer_backward, layer_forward
from .rows import add_centred_outer, add_outer, dot, project, residual_gradients, residual_pair, squares8, take_off
from .tasks import cluster_tasks, row_tasks, sort_by_cluster

BLOCK = 128
_LINE = 16  # numbers on a cache line; a vector that lies on two takes two loads


@_jit
def local_layers(layers):
    """The table of one cluster's network on its own: (table (n_layers, 6), length of its flat vector).

    Outer layers have room for an even number of rows of features, which are computed in pairs, and every layer
    begins with a cache line where the vector does.
    """
    local = layers.copy()
    size = 0
    for l in range(len(layers)):
        local[l, 2] = 1
        local[l, 3] = size
        size += layers[l, 0] * layers[l, 1]
        if l == 0:
            size += layers[l, 1] % 2 * layers[l, 0]
        elif l == len(layers) - 1:
            size += layers[l, 0] % 2 * layers[l, 1]
        if layers[l, 4] >= 0:
            local[l, 4] = size
            size += layers[l, 1]
        size = (size + _LINE - 1) // _LINE * _LINE
    return local, size


@_jit
def local_parameters(params, layers, local, j, out):
    """The parameters of cluster j's layers but the first and the last, in its own layout."""
    for l in range(1, len(layers) - 1):
        copy = j if layers[l, 2] > 1 else 0
        size = layers[l, 0] * layers[l, 1]
        for i in range(size):
            out[local[l, 3] + i] = params[layers[l, 3] + copy * size + i]
        if layers[l, 4] >= 0:
            for i in range(layers[l, 1]):
                out[local[l, 4] + i] = params[layers[l, 4] + copy * layers[l, 1] + i]


@_jit
def pack(params, layers, centers):
    """What all blocks need of the outer layers, "outer" below, every array from a cache line on.

    returns (the first layer's weights (copies · fan_out, d); its offsets b − c W (k, fan_out); the last layer's
    weights (copies · fan_in, d); the centres with the last layer's bias added (k, d))
    """
    k, d = centers.shape
    fan_out, copies, last = layers[0, 1], layers[0, 2], len(layers) - 1
    weights, offsets = aligned(copies * fan_out, d, params), aligned(k, fan_out, params)
    for row in range(copies * fan_out):
        start = np.uintp(layers[0, 3] + row // fan_out * d * fan_out + row % fan_out)
        for i in range(d):
            weights[row, i] = params[start + np.uintp(i * fan_out)]
    decoders, shift = aligned(layers[last, 0] * layers[last, 2], d, params), aligned(k, d, params)
    decoders.reshape(-1)[:] = params[layers[last, 3] : layers[last, 3] + decoders.size]
    for j in range(k):
        copy = j if copies > 1 else 0
        for o in range(fan_out):
            offsets[j, o] = params[layers[0, 4] + copy * fan_out + o] if layers[0, 4] >= 0 else 0
            offsets[j, o] -= dot(centers, j, weights, copy * fan_out + o)
        for i in range(d):
            shift[j, i] = centers[j, i]
        if layers[last, 4] >= 0:
            copy = j if layers[last, 2] > 1 else 0
            for i in range(d):
                shift[j, i] += params[layers[last, 4] + copy * d + i]
    return weights, offsets, decoders, shift


@_fused
def decoder_squares(T, index, m, shift, j, D, B, a, U, rows):
    """B[0, s] = ‖x̂_s − t̃_s‖² for s < m, D the decoder's last weight (h, d) and B[a …] its inputs.

    index : (m,) int64, the samples' rows in T; U : (8, d), work space, and rows : 0 … 7 as int64
    """
    h = len(D)
    b = a + 1 if h > 1 else np.int64(1)
    u, v = np.uintp(0), np.uintp(min(1, h - 1))
    for s in range(0, m, 8):
        if h > 2:
            for r in range(8):
                take_off(T, np.uintp(index[s + r]), D, B, a, s + r, U, np.uintp(r))
        source, i, at = (U, rows, np.int64(0)) if h > 2 else (T, index, s)
        squares8(source, i, at, shift, j, D, u, v, B, a, b, s)


@_fused
def decoder_backward(T, index, m, shift, j, D, B, a, G0, weights, U, E, four, local, last, part):
    """The last layer of cluster j: residuals, their squares in B[0], gradients of weight, bias and input (B[G0 …]).

    weights : (m,), each w 2/d; E : (4, d) and U : (8, d), work space; four : 0 … 3; part : (q,)
    """
    h, d = len(D), T.shape[1]
    even, bias = h + h % 2, local[last, 4]
    dD = part[local[last, 3] : local[last, 3] + even * d].reshape(even, d)
    db = part[max(bias, 0) : max(bias, 0) + d]
    b, v = (a + 1, np.uintp(1)) if h > 1 else (np.int64(1), np.uintp(0))
    second = G0 + 1 if h > 1 else np.int64(2)  # rows 2 and 3 of B are work space here
    for s in range(0, m, 4):
        rows = np.uintp(index[s]), np.uintp(index[s + 1]), np.uintp(index[s + 2]), np.uintp(index[s + 3])
        weighted_codes(B, a, b, weights, s)
        if h <= 2 and bias < 0:
            residual_gradients(T, rows, shift, j, D, v, B, a, b, s, np.int64(2), np.int64(3), dD, G0, second)
        else:  # what is left of the target without the further units, and the residuals, pass through memory
            for r in range(0, 4, 2):
                i, k = np.uintp(index[s + r]), np.uintp(index[s + r + 1])
                if h > 2:
                    take_off(T, i, D, B, a, s + r, U, np.uintp(0))
                    take_off(T, k, D, B, a, s + r + 1, U, np.uintp(1))
                    i, k = np.uintp(0), np.uintp(1)
                residual_pair(U if h > 2 else T, i, k, shift, j, D, np.uintp(0), v, B, a, b, s + r, E, r, G0, second)
            if h > 2:
                project(E, four, 0, D[2:], B, G0 + 2, s)
            for o in range(0, h, 2):
                weighted_codes(B, a + o, a + o + 1 if o + 1 < h else np.int64(1), weights, s)
                add_outer(dD, o, E, B, np.int64(2), np.int64(3), s)
            if bias >= 0:
                for r in range(4):
                    for f in range(d):
                        db[f] += weights[s + r] * E[r, f]
        for o in range(h):
            for r in range(4):
                B[G0 + o, s + r] *= weights[s + r]


@_jit
def weighted_codes(B, a, b, weights, s):
    """B[2, s + r] = weights[s + r] B[a, s + r], and B[3, s + r] from B[b, s + r], r < 4."""
    for r in range(4):
        B[2, s + r] = weights[s + r] * B[a, s + r]
        B[3, s + r] = weights[s + r] * B[b, s + r]


@_fused
def encoder_backward(X, index, m, centers, j, B, G0, local, part):
    """The first layer of cluster j: adds the gradients of its weight (transposed) and bias; G0 … that of its sums."""
    fan_out, d = local[0, 1], local[0, 0]
    even = fan_out + fan_out % 2
    dW = part[local[0, 3] : local[0, 3] + d * even].reshape(even, d)
    if local[0, 4] >= 0:
        for o in range(fan_out):
            for s in range(m):
                part[local[0, 4] + o] += B[G0 + o, s]
    for s in range(0, m, 4):
        for o in range(0, fan_out, 2):
            add_centred_outer(dW, o, X, index, centers, j, B, G0 + o, G0 + o + 1 if o + 1 < fan_out else 1, s)


@_fused
def block_forward(params, layers, offsets, c, centers, B, P0, A0, m):
    """Activations of all layers but the last under cluster c, A0 …, from the products X W of the first one, P0 …"""
    P, end = P0 + (c * layers[0, 1] if layers[0, 2] > 1 else 0), A0
    for o in range(layers[0, 1]):
        source, out, offset = np.uintp(P + o), np.uintp(A0 + o), offsets[c, o]
        for s in range(m):
            B[out, s] = B[source, s] + offset
        if layers[0, 5] != 0:
            activate_row(B[A0 + o, :m], layers[0, 5])
    for l in range(1, len(layers) - 1):
        out = end + layers[l, 0]
        layer_forward(params, layers, l, c, centers, False, B, end, out, np.uintp(0), np.uintp(m))
        end = out


@_jit
def block_backward(own, layers, local, B, A0, G0, m, weights, upstream, part):
    """Gradients of all layers but the outer ones, from that of the decoder's last inputs; G0 … as in ``encoder``.

    own : (q,), the cluster's parameters in its own layout; upstream : λ d
    """
    half, row = len(layers) // 2, np.int64(0)
    for l in range(len(layers) - 2):
        row += layers[l, 1]
    for l in range(len(layers) - 2, -1, -1):
        if l == half - 1:
            for i in range(row, row + layers[l, 1]):
                g, a = np.uintp(G0 + i), np.uintp(A0 + i)
                for s in range(m):
                    B[g, s] += upstream * weights[s] * B[a, s]
        if l > 0:
            begin = row - layers[l, 0]
            layer_backward(
                *(own, local, l, 0, B, G0 + row, A0 + row, A0 + begin, G0 + begin),
                *(np.uintp(0), np.uintp(m), part),
            )
            row = begin
    if layers[0, 5] != 0:
        for o in range(layers[0, 1]):
            through_activation_row(B[G0 + o, :m], B[A0 + o, :m], layers[0, 5])


@_fused
def put_losses(B, A0, layers, reg, d, m, order, start, count, c, L):
    """L[order[start + s], c] = (1/d) B[0, s] + λ ‖z_s‖², s < count."""
    half, z, per_feature, penalty = len(layers) // 2, A0, B.dtype.type(1.0 / d), B.dtype.type(reg)
    for l in range(half - 1):
        z += layers[l, 1]
    for s in range(m):
        B[0, s] *= per_feature
    for i in range(np.uintp(z), np.uintp(z + layers[half - 1, 1])):
        for s in range(m):
            B[0, s] += penalty * (B[i, s] * B[i, s])
    row = np.uintp(start)
    for s in range(count):
        L[np.uintp(order[row + np.uintp(s)]), c] = B[0, s]


@_jit
def run_task(params, layers, outer, X, target, centers, weights, reg, order, task, every, L, part):
    """Losses and gradient of one task (j, lo, hi), the samples order[lo:hi].

    outer : see ``pack``; every : bool, whether all columns of L are computed, or none
    L : (n, k), its rows in the order of X; part : (q,), the gradient, all of cluster j; (0,) for none
    """
    packed, offsets, decoders, shift = outer
    d, k, last = X.shape[1], len(centers), len(layers) - 1
    h, width, copies = layers[last, 0], layers[0, 1], layers[0, 2]
    local, q = local_layers(layers)
    units = 0
    for l in range(last):
        units += layers[l, 1]
    P0 = np.int64(4)
    A0 = P0 + len(packed)
    G0 = A0 + units
    B = np.zeros((G0 + units, BLOCK), X.dtype)
    E, U, eight = aligned(4, d, X), aligned(8, d, X), np.arange(8)
    index, w, own = np.empty(BLOCK, np.int64), np.empty(BLOCK, X.dtype), np.empty(q, X.dtype)
    factor, upstream = X.dtype.type(2.0 / d), X.dtype.type(reg * d)  # w 2λ is (2 w / d) λ d
    (j, lo, hi), gradient = task, len(part) > 0
    if gradient:
        local_parameters(params, layers, local, j, own)
        part[:] = 0
    columns = slice(0, len(packed)) if every or copies == 1 else slice(j * width, (j + 1) * width)
    for start in range(lo, hi, BLOCK):
        count = min(hi - start, BLOCK)
        m = (count + 7) // 8 * 8
        for s in range(m):
            index[s] = order[min(start + s, hi - 1)]
            w[s] = factor * weights[index[s]] if s < count else 0
        for s in range(0, m, 4):
            project(X, index, s, packed[columns], B, P0 + columns.start, s)
        for column in range(k + 1):  # the task's own cluster last: its activations are still needed then
            c = column if column < k else j
            if c < 0 or (column < k and (c == j or not every)):
                continue
            block_forward(params, layers, offsets, c, centers, B, P0, A0, m)
            D = decoders[c * h : (c + 1) * h] if layers[last, 2] > 1 else decoders
            if column < k or not gradient:
                decoder_squares(target, index, m, shift, c, D, B, G0 - h, U, eight)
            else:
                G = G0 + units - h
                decoder_backward(target, index, m, shift, c, D, B, G0 - h, G, w, U, E, eight, local, last, part)
            if every:
                put_losses(B, A0, layers, reg, d, m, order, start, count, c, L)
        if gradient:
            block_backward(own, layers, local, B, A0, G0, m, w, upstream, part)
            encoder_backward(X, index, m, centers, j, B, G0, local, part)


@cache
def task_function(dtype):
    """``run_task`` for ``team``, of the words that ``_share`` writes; its address is good as long as it is kept."""
    dtype = dtype.type

    @cfunc(types.int64(types.int64, types.int64), cache=True, error_model="numpy", fastmath=False)
    def task(words, i):
        outer = (
            read(words, np.int64(0), dtype),
            read(words, np.int64(1), dtype),
            read(words, np.int64(2), dtype),
            read(words, np.int64(3), dtype),
        )
        X, target, centers = (
            read(words, np.int64(4), dtype),
            read(words, np.int64(5), dtype),
            read(words, np.int64(6), dtype),
        )
        L, parts = read(words, np.int64(7), dtype), read(words, np.int64(8), dtype)
        params, weights = read(words, np.int64(9), dtype).reshape(-1), read(words, np.int64(10), dtype).reshape(-1)
        layers, tasks, order = (
            read(words, np.int64(11), np.int64),
            read(words, np.int64(12), np.int64),
            read(words, np.int64(13), np.int64),
        )
        reg, every = read(words, np.int64(14), np.float64)[0, 0], read(words, np.int64(14), np.float64)[1, 0] > 0
        part = parts[i] if len(parts) else parts.reshape(-1)
        run_task(
            *(params, layers, outer, X, target, centers, weights, reg, order.reshape(-1), tasks[i], every, L, part)
        )
        return 1

    return task


@_jit
def _share(board, seats, function, matrices, params, weights, layers, tasks, order, numbers):
    """Do all tasks. What they work on are arguments here, so that nothing is freed while they do."""
    words = np.empty((15, 3), np.int64)
    for i in range(9):
        write(words, i, matrices[i])
    write(words, np.int64(9), params)
    write(words, np.int64(10), weights)
    write(words, np.int64(11), layers)
    write(words, np.int64(12), tasks)
    write(words, np.int64(13), order)
    write(words, np.int64(14), numbers)
    team.run(board, seats, function, words, len(tasks))


@_jit
def run(board, seats, function, params, layers, X, target, centers, assign, weights, reg, size, every, L, gradient):
    """Losses, if ``every``, and gradient, unless it is empty, of all samples.

    board, seats, function : see ``team.run`` and ``task_function``; assign : (n,) int64, without use for no gradient
    size : int, samples of a task at most; L : (n, k) and gradient : (p,), overwritten
    """
    order, numbers = np.arange(len(X)), np.array([reg, 1.0 if every else 0.0])
    if len(gradient):
        order = sort_by_cluster(order, assign, len(centers))
        tasks, q = cluster_tasks(order, assign, len(centers), size), local_layers(layers)[1]
    else:
        tasks, q = row_tasks(len(X), size), 0
    parts = aligned(len(tasks) if q else 0, q, X)
    matrices = (*pack(params, layers, centers), X, target, centers, L, parts)
    _share(board, seats, function, matrices, params, weights, layers, tasks, order, numbers)
    if q:
        add_parts(parts, tasks, layers, gradient)


@_jit
def put_layer(total, layers, local, l, copy, gradient):
    """A layer's sums (q,) float64 to where they belong in the whole gradient; the first one turned round."""
    fan_in, fan_out = layers[l, 0], layers[l, 1]
    start = layers[l, 3] + copy * fan_in * fan_out
    source, out = total[local[l, 3] :], gradient[start : start + fan_in * fan_out]
    if l == 0:
        for o in range(fan_out):
            column = source[o * fan_in : (o + 1) * fan_in]
            for i in range(fan_in):
                out[np.uintp(i * fan_out + o)] = column[i]
    else:
        for i in range(fan_in * fan_out):
            out[i] = source[i]
    if layers[l, 4] >= 0:
        source, out = total[local[l, 4] :], gradient[layers[l, 4] + copy * fan_out :]
        for o in range(fan_out):
            out[o] = source[o]


@_jit
def add_parts(parts, tasks, layers, gradient):
    """The whole gradient from those of the tasks, added up in float64 in their order, cluster by cluster.

    parts : (n_tasks, q) float; gradient : (p,) float, overwritten
    Cost: 2 n_tasks q flops
    """
    local, q = local_layers(layers)
    total, shared = np.zeros(q), np.zeros(q)
    any_shared = layers[:, 2].min() == 1
    gradient[:] = 0
    for t in range(len(parts)):
        part, j = parts[t], tasks[t, 0]
        if t > 0 and tasks[t - 1, 0] == j:
            for i in range(q):
                total[i] += part[i]
        else:
            for i in range(q):
                total[i] = part[i]
        if t + 1 == len(parts) or tasks[t + 1, 0] != j:
            for l in range(len(layers)):
                if layers[l, 2] > 1:
                    put_layer(total, layers, local, l, j, gradient)
            if any_shared:
                for i in range(q):
                    shared[i] += total[i]
    for l in range(len(layers)):
        if layers[l, 2] == 1:
            put_layer(shared, layers, local, l, np.int64(0), gradient)
