"""Autoencoder kernels on blocks of samples, samples innermost: for networks so small that they live in cache.

A block holds m ≤ ``BLOCK`` samples, transposed: a unit of a layer is a row of m numbers, so every loop runs
over samples and is vectorised, whatever the widths. m is a multiple of ``LANES``; what is missing
repeats the last sample with weight 0.

A *task* is (j, lo, hi): the samples ``order[lo:hi]``, at most 1024, all of cluster j (or of any, j = -1).
Its gradient has the layout of ONE cluster's network, see ``local_layers``; ``autoencoder`` adds the tasks up.
"""

import numpy as np
from numba import njit

from .dense import activate_row, through_activation

BLOCK, LANES = 128, 16

_jit = njit(nogil=True, cache=True, error_model="numpy")
# Products and sums are contracted to fused multiply-adds, one rounding in place of two; no sampled bit depends on it.
_fused = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
# A dot product moreover adds up in lanes: a plain sum waits for every addition.
_lanes = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})


@_lanes
def dot(a, b):
    """Σ_s a_s b_s of two rows."""
    total = a.dtype.type(0)
    for s in range(len(a)):
        total += a[s] * b[s]
    return total


@_lanes
def add_up(a):
    """Σ_s a_s of a row."""
    total = a.dtype.type(0)
    for s in range(len(a)):
        total += a[s]
    return total


@_fused
def add_multiple(out, c, x):
    """Out += c x, rows."""
    for s in range(len(out)):
        out[s] += c * x[s]


@_fused
def add_squares(out, c, x):
    """Out += c x², rows."""
    for s in range(len(out)):
        out[s] += c * (x[s] * x[s])


@_fused
def unit(params, layer, j, o, start, source, out):
    """Output o of a layer for a block: out = act(start + Σ_i W[i, o] source_i + b_o).

    source : (fan_in, m); out : (m,); start : float, instead of which a bias is added where there is one
    """
    fan_in, fan_out = layer[0], layer[1]
    copy = j if layer[2] > 1 else 0
    w = layer[3] + copy * fan_in * fan_out + o
    first = start
    if layer[4] >= 0:
        first += params[layer[4] + copy * fan_out + o]
    out[:] = first
    i = 0
    while i + 1 < fan_in:  # two inputs at a time: half the stores
        a, b, x, y = params[w], params[w + fan_out], source[i], source[i + 1]
        for s in range(len(out)):
            out[s] += a * x[s] + b * y[s]
        w += 2 * fan_out
        i += 2
    if i < fan_in:
        add_multiple(out, params[w], source[i])
    activate_row(out, layer[5])


@_fused
def forward_layer(params, layer, j, source, out):
    """All outputs of a layer of cluster j for a block.

    source : (fan_in, m); out : (fan_out, m)
    """
    for o in range(layer[1]):
        unit(params, layer, j, o, params.dtype.type(0), source, out[o])


@_fused
def first_offset(params, layer, j, o, center):
    """−c W for output o of the first layer: what centring its input amounts to."""
    fan_in, fan_out = layer[0], layer[1]
    w = layer[3] + (j if layer[2] > 1 else 0) * fan_in * fan_out + o
    total = params.dtype.type(0)
    for i in range(fan_in):
        total -= center[i] * params[w + i * fan_out]
    return total


@_fused
def backward_layer(params, layer, local, j, G, Y, source, back, part):
    """A layer of cluster j backwards: adds to the gradients of its weight and bias, gives that of its input.

    G : (fan_out, m), gradient with respect to Y = forward_layer(source), overwritten; back : (fan_in,
    m), or (0, m) where nobody asks; part : (q,), a network's gradient; local : where the layer lies in it
    """
    fan_in, fan_out = layer[0], layer[1]
    w = layer[3] + (j if layer[2] > 1 else 0) * fan_in * fan_out
    back[:] = 0
    for o in range(fan_out):
        g = G[o]
        through_activation(g, Y[o], layer[5])
        if layer[4] >= 0:
            part[local[4] + o] += add_up(g)
        for i in range(fan_in):
            part[local[3] + i * fan_out + o] += dot(source[i], g)
        for i in range(len(back)):
            add_multiple(back[i], params[w + i * fan_out + o], g)


@_fused
def network(params, layers, j, x, t, center, reg, rows, keep, loss):
    """L[:, j] of a block under cluster j's network, and its activations.

    x, t : (d, m); rows : (units, m), gets the outputs of all layers but the last, one after the
    other; keep : (d, m), gets the residual x̂ − t̃, or (1, m) where it is not wanted; loss : (m,)
    """
    n_layers, d = len(layers), len(x)
    one = x.dtype.type(1)
    for o in range(layers[0, 1]):
        unit(params, layers[0], j, o, first_offset(params, layers[0], j, o, center), x, rows[o])
    begin, end = 0, layers[0, 1]
    loss[:] = 0
    for l in range(1, n_layers):
        if l == n_layers // 2:
            for i in range(begin, end):
                add_squares(loss, x.dtype.type(reg), rows[i])
        if l < n_layers - 1:
            forward_layer(params, layers[l], j, rows[begin:end], rows[end:])
            begin, end = end, end + layers[l, 1]
    for f in range(d):
        e = keep[f if len(keep) == d else 0]
        unit(params, layers[n_layers - 1], j, f, x.dtype.type(0), rows[begin:end], e)
        c, target = center[f], t[f]
        for s in range(len(e)):
            e[s] -= target[s] - c
        add_squares(loss, one / x.dtype.type(d), e)


@_fused
def network_gradient(params, layers, local, j, x, t, center, reg, w, rows, residual, G, part):
    """Adds the gradient of Σ_s w_s L[s, j] of a block to ``part``, after ``network`` with the same arguments.

    w : (m,); residual : (d, m), overwritten; G : (units, m), work space
    """
    n_layers, d = len(layers), len(x)
    half, last = n_layers // 2, n_layers - 1
    factor, penalty = x.dtype.type(2.0 / d), x.dtype.type(2.0 * reg)
    end = 0
    for l in range(last):
        end += layers[l, 1]
    begin = end - layers[last, 0]
    for f in range(d):
        e = residual[f]
        if layers[last, 5] != 0:  # act' is taken from x̂ = e + t̃, made once more in t
            for s in range(len(e)):
                t[f, s] = e[s] + (t[f, s] - center[f])
        for s in range(len(e)):
            e[s] *= w[s] * factor
    backward_layer(params, layers[last], local[last], j, residual, t, rows[begin:end], G[begin:end], part)
    for l in range(last - 1, -1, -1):
        if l == half - 1:
            for i in range(begin, end):
                for s in range(len(w)):
                    G[i, s] += penalty * w[s] * rows[i, s]
        if l > 0:
            below = begin - layers[l, 0]
            backward_layer(
                params, layers[l], local[l], j, G[begin:end], rows[begin:end], rows[below:begin], G[below:begin], part
            )
            begin, end = below, begin
        else:
            for f in range(d):
                for s in range(len(w)):
                    x[f, s] -= center[f]
            backward_layer(params, layers[0], local[0], j, G[:end], rows[:end], x, G[:0], part)


@_jit
def gather(X, order, lo, hi, out):
    """out[f, s] = X[order[lo + s], f], the last sample repeated to the end of the block.

    X : (n, d); out : (d, m)
    """
    for s in range(out.shape[1]):
        row = X[order[min(lo + s, hi - 1)]]
        for f in range(len(out)):
            out[f, s] = row[f]


@_jit
def gather_weights(weights, order, lo, hi, out):
    """The weights of a block, 0 for repeated samples."""
    out[:] = 0
    for s in range(min(hi - lo, len(out))):
        out[s] = weights[order[lo + s]]


@_jit
def table(flat, rows, width):
    """A contiguous (rows, width) view of the start of ``flat``."""
    return flat[: rows * width].reshape(rows, width)


@_jit
def run_tasks(params, layers, local, X, target, centers, weights, reg, order, tasks, first, last, every, L, parts):
    """Losses and gradients of the tasks first … last − 1, with the network in cache.

    every : bool, whether all columns of L are computed, or none; L : (n, k), its rows in the order of X
    parts : (n_tasks, q), every task's gradient; (0, q) for none
    """
    d, k = X.shape[1], len(centers)
    units = 0
    for l in range(len(layers) - 1):
        units += layers[l, 1]
    dtype = X.dtype
    flat_x, flat_t, flat_e = np.empty(d * BLOCK, dtype), np.empty(d * BLOCK, dtype), np.empty(d * BLOCK, dtype)
    flat_rows, flat_G = np.empty(units * BLOCK, dtype), np.empty(units * BLOCK, dtype)
    flat_loss, flat_w = np.empty(BLOCK, dtype), np.empty(BLOCK, dtype)
    for task in range(first, last):
        j, lo, hi = tasks[task]
        if len(parts):
            parts[task] = 0
        for start in range(lo, hi, BLOCK):
            m = min(hi - start, BLOCK)
            width = (m + LANES - 1) // LANES * LANES
            x, t, residual = table(flat_x, d, width), table(flat_t, d, width), table(flat_e, d, width)
            rows, G = table(flat_rows, units, width), table(flat_G, units, width)
            loss, w = flat_loss[:width], flat_w[:width]
            gather(X, order, start, hi, x)
            gather(target, order, start, hi, t)
            for c in range(k + 1):  # the task's own cluster last: its activations are still needed then
                own = c == k
                if (own and j < 0) or (not own and (c == j or not every)):
                    continue
                cluster = j if own else c
                keep = residual if own else residual[:1]
                network(params, layers, cluster, x, t, centers[cluster], reg, rows, keep, loss)
                if every:
                    for s in range(m):
                        L[order[start + s], cluster] = loss[s]
            if len(parts):
                gather_weights(weights, order, start, hi, w)
                network_gradient(
                    params, layers, local, j, x, t, centers[j], reg, w, rows, residual, G, parts[task]
                )
