"""What every kind of layer does to a batch, forward and back: blocks of rows become tasks, of kernels of other stems.

A function of the way forward fills Y; one of the way back its part of the gradient, and dX unless that has no rows.
"""

from functools import lru_cache, partial
from math import prod

import numpy as np

from .. import conv, norm
from .._engine.pool import blocks, parallel
from ..conv import pooling
from ..dense import CHUNK, LINEAR, activate_row, through_activation_row
from . import products
from .layers import ACTIVATE, BATCH_NORM, CONV, DENSE, DROPOUT, MAX_POOL, TRANSPOSED_CONV, UP_SAMPLE

_FLOPS, _TASKS = 4e7, 8  # of a task of products at most, unless a product has so many tasks
_FEW = 2e6  # flops, which are done sooner than threads are woken
_PASS = 16  # flops that take as long as an activation of a number
_LANES = 16  # columns of a task are a multiple of it
_NUMBERS = 1 << 15  # of a task of one pass over memory


def _few(layer, n):
    """Rows of a block for one pass over memory."""
    return max(1, _NUMBERS // max(layer.fan_in, layer.fan_out))


def _image_tasks(layer, bounds):
    """(j, rows) of the tasks of a convolution."""
    flops, out = conv.flops_of(layer.geometry, layer.weight_shape[0]), []
    for j, rows in layer.groups(bounds):
        n = rows.stop - rows.start
        out += [(j, part) for part in conv.blocks(n, rows.start, n * flops)]
    return out


@lru_cache(maxsize=256)
def _cut(rows, columns, terms):
    """[(rows, columns)] of the tasks of a product, slices: its longer side is halved until tasks are small enough.

    BLAS copies the factors of every task, so that tasks are better few, and square.
    """
    down = across = 1
    while 2 * rows * columns * terms > _FLOPS * down * across and down * across < _TASKS:
        if rows * across >= columns * down:
            down *= 2
        else:
            across *= 2
    below, width = max(1, -(-rows // down)), -(-columns // (across * _LANES)) * _LANES
    return [(part, other) for part in blocks(rows, below) for other in blocks(columns, width)]


def _products(layer, bounds, columns, terms):
    """(j, rows, columns) of the tasks of a product of every group's rows."""
    return [
        (j, slice(group.start + rows.start, group.start + rows.stop), part)
        for j, group in layer.groups(bounds)
        for rows, part in _cut(group.stop - group.start, columns, terms)
    ]


def _share(function, tasks, flops):
    """Do tasks, by threads if that is sooner."""
    if flops > _FEW:
        parallel(function, tasks)
    else:
        for task in tasks:
            function(task)


# -- forward -------------------------------------------------------------------------------------------


def forward(layer, params, x, bounds, Y, used, training, draws):
    """Y ← the layer's output, activation included. x, Y : (n, features); used : statistics of a batch normalisation"""
    FORWARD[layer.kind](layer, params, x, bounds, Y, used, training, draws)
    if layer.activation != LINEAR and layer.kind not in (CONV, TRANSPOSED_CONV):
        tasks = layer.tasks(bounds, partial(_few, layer))
        _share(lambda task: activate_row(Y[task[1]].reshape(-1), layer.activation), tasks, _PASS * Y.size)


def _dense(layer, params, x, bounds, Y, *_):
    k, m = layer.fan_in, layer.fan_out
    views = [layer.views(params, j) for j in range(layer.clusters)]

    def block(task):
        j, rows, columns = task
        W, b = views[j]
        products.multiply(False, False, (x, rows, slice(0, k)), (W, slice(0, k), columns), (Y, rows, columns))
        if len(b):
            own = Y[rows, columns]
            np.add(own, b[columns], out=own)

    _share(block, _products(layer, bounds, m, k), 2 * Y.size * k)


def _convolution(layer, params, x, bounds, Y, *_):
    geometry, transposed = layer.geometry, layer.kind == TRANSPOSED_CONV
    way = conv.way_of(geometry, layer.weight_shape[0])
    packed = [way.pack(layer.views(params, j)[0], geometry, transposed) for j in range(layer.clusters)]

    def block(task):
        j, rows = task
        bias = layer.views(params, j)[1]
        way.convolve(x[rows], packed[j], bias, layer.activation, geometry, transposed, Y[rows])

    parallel(block, _image_tasks(layer, bounds))


def _max_pool(layer, params, x, bounds, Y, *_):
    window = *layer.image, layer.kernel, layer.stride
    parallel(lambda task: pooling.pool(x[task[1]], *window, Y[task[1]]), layer.tasks(bounds, partial(_few, layer)))


def _up_sample(layer, params, x, bounds, Y, *_):
    image = *layer.image, layer.kernel
    parallel(lambda task: pooling.grow(x[task[1]], *image, Y[task[1]]), layer.tasks(bounds, partial(_few, layer)))


def _batch_norm(layer, params, x, bounds, Y, used, *_):
    for j, rows in layer.groups(bounds):
        gamma, beta = layer.views(params, j)
        norm.normalize_rows(x[rows], layer.height * layer.width, (gamma, beta, *used[j]), layer.reals[1], Y[rows])


def _dropout(layer, params, x, bounds, Y, used, training, draws):
    if training:
        stream = draws.stream | layer.number << 8
        Y[...] = norm.dropout(x, layer.reals[0], draws.key, stream, draws.step, draws.rows)
    else:
        Y[...] = x


def _copy(layer, params, x, bounds, Y, *_):
    Y[...] = x


FORWARD = {
    DENSE: _dense,
    CONV: _convolution,
    TRANSPOSED_CONV: _convolution,
    MAX_POOL: _max_pool,
    UP_SAMPLE: _up_sample,
    BATCH_NORM: _batch_norm,
    DROPOUT: _dropout,
    ACTIVATE: _copy,
}


def statistics(layer, x, bounds, state, used, training):
    """Means and variances that a batch normalisation uses, (clusters, 2, channels); ``state`` moves on."""
    momentum, s = layer.reals[0], layer.height * layer.width
    running = state[layer.state : layer.state + layer.statistics].reshape(2, layer.clusters, layer.channels)
    used[...] = running.swapaxes(0, 1)
    for j, rows in layer.groups(bounds):
        m = (rows.stop - rows.start) * s
        if training and m >= 2:
            norm.statistics_of(x[rows], s, *used[j])
            running[0, j] = norm.running_average(running[0, j], used[j, 0], momentum)
            running[1, j] = norm.running_average(running[1, j], used[j, 1] * x.dtype.type(m / (m - 1)), momentum)


# -- back ----------------------------------------------------------------------------------------------


def backward(layer, params, x, Y, G, bounds, used, training, draws, gradient, dX):
    """Fills the layer's part of the gradient, and dX. G : (n, features), which stays as it is"""
    if layer.activation != LINEAR and layer.kind not in (CONV, TRANSPOSED_CONV):
        above, G = G, np.empty_like(G)

        def block(task):
            rows = task[1]
            G[rows] = above[rows]
            through_activation_row(G[rows].reshape(-1), Y[rows].reshape(-1), layer.activation)

        _share(block, layer.tasks(bounds, partial(_few, layer)), _PASS * G.size)
    BACKWARD[layer.kind](layer, params, x, Y, G, bounds, used, training, draws, gradient, dX)


def _dense_back(layer, params, x, Y, G, bounds, used, training, draws, gradient, dX):
    m = layer.fan_out

    def weights(task):
        j, rows, inputs, outputs = task
        dW, db = layer.views(gradient, j)
        below, above, biases = x[rows, inputs], G[rows, outputs], len(db) and inputs.start == 0
        if 0 < len(above) <= CHUNK:
            products.multiply(True, False, (x, rows, inputs), (G, rows, outputs), (dW, inputs, outputs))
            if biases:
                np.sum(above, axis=0, out=db[outputs])
            return
        chunks = blocks(len(above), CHUNK)
        dW[inputs, outputs] = sum((below[chunk].T @ above[chunk]).astype(np.float64) for chunk in chunks)
        if biases:
            db[outputs] = sum(above[chunk].sum(axis=0).astype(np.float64) for chunk in chunks)

    def below(task):
        j, rows, inputs = task
        W = layer.views(params, j)[0]
        products.multiply(False, True, (G, rows, slice(0, m)), (W, inputs, slice(0, m)), (dX, rows, inputs))

    tasks = []
    for j, rows in layer.groups(bounds):
        cut = _cut(layer.fan_in, layer.fan_out, rows.stop - rows.start)
        tasks += [(weights, (j, rows, inputs, outputs)) for inputs, outputs in cut]
    if len(dX):
        tasks += [(below, task) for task in _products(layer, bounds, layer.fan_in, layer.fan_out)]
    _share(lambda task: task[0](task[1]), tasks, 2 * (x.size + dX.size) * m)


def _convolution_back(layer, params, x, Y, G, bounds, used, training, draws, gradient, dX):
    geometry, transposed, m = layer.geometry, layer.kind == TRANSPOSED_CONV, layer.weight_shape[0]
    way = conv.way_of(geometry, m)
    packed = [way.pack(layer.views(params, j)[0], geometry, not transposed) for j in range(layer.clusters)]
    tasks, biases = _image_tasks(layer, bounds), layer.out_channels if layer.bias >= 0 else 0
    dW, db = np.zeros((len(tasks), prod(layer.weight_shape)), x.dtype), np.zeros((len(tasks), biases), x.dtype)

    def block(t):
        j, rows = tasks[t]
        arguments = packed[j], layer.activation, geometry, transposed, dW[t], db[t]
        way.convolve_back(G[rows], x[rows], Y[rows], *arguments, dX[rows] if len(dX) else dX)

    parallel(block, range(len(tasks)))
    for j, rows in layer.groups(bounds):
        own, n = slice(*np.searchsorted([cluster for cluster, _ in tasks], [j, j + 1])), rows.stop - rows.start
        weight, bias = layer.views(gradient, j)
        weight[...] = way.unpack(conv.total(dW[own], n), geometry)
        bias[:] = conv.total(db[own], n)


def _max_pool_back(layer, params, x, Y, G, bounds, used, training, draws, gradient, dX):
    window = *layer.image, layer.kernel, layer.stride
    if len(dX):
        parallel(
            lambda task: pooling.pool_back(G[task[1]], x[task[1]], *window, dX[task[1]]),
            layer.tasks(bounds, partial(_few, layer)),
        )


def _up_sample_back(layer, params, x, Y, G, bounds, used, training, draws, gradient, dX):
    image = *layer.image, layer.kernel
    if len(dX):
        parallel(
            lambda task: pooling.grow_back(G[task[1]], *image, dX[task[1]]),
            layer.tasks(bounds, partial(_few, layer)),
        )


def _batch_norm_back(layer, params, x, Y, G, bounds, used, training, draws, gradient, dX):
    s = layer.height * layer.width
    for j, rows in layer.groups(bounds):
        constants, coupled = (layer.views(params, j)[0], *used[j]), training and (rows.stop - rows.start) * s >= 2
        dx = dX[rows] if len(dX) else np.empty((rows.stop - rows.start, layer.fan_in), x.dtype)
        norm.normalize_back(G[rows], x[rows], s, constants, layer.reals[1], coupled, *layer.views(gradient, j), dx)


def _dropout_back(layer, params, x, Y, G, bounds, used, training, draws, gradient, dX):
    if len(dX):
        _dropout(layer, params, G, bounds, dX, used, training, draws)


def _copy_back(layer, params, x, Y, G, bounds, used, training, draws, gradient, dX):
    if len(dX):
        dX[...] = G


BACKWARD = {
    DENSE: _dense_back,
    CONV: _convolution_back,
    TRANSPOSED_CONV: _convolution_back,
    MAX_POOL: _max_pool_back,
    UP_SAMPLE: _up_sample_back,
    BATCH_NORM: _batch_norm_back,
    DROPOUT: _dropout_back,
    ACTIVATE: _copy_back,
}
