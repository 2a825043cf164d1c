"""A sequential network as a table of layers and one flat vector of parameters, forward and backward.

A layer is a row of two tables: ``layers`` (n_layers, 17) int64, with the columns

    kind            DENSE, CONV, TRANSPOSED_CONV, MAX_POOL, UP_SAMPLE, BATCH_NORM, DROPOUT or ACTIVATE
    clusters        k where every cluster has parameters and statistics of its own, 1 where all share one
    channels, height, width, out_channels, out_height, out_width      of input and output, 1 × 1 for vectors
    kernel, stride, padding, output_padding      pixels; of pooling and up-sampling the window or factor
    weight, bias    offsets into params, −1 for none; γ and β of batch normalisation
    state           offset into state, of running means and then running variances, −1 for none
    activation      a code of ``dense.ACTIVATIONS``, what is applied to the layer's output
    number          the layer's place in the whole network: a part of it drops the same units out

and ``reals`` (n_layers, 2) float64: (momentum, ε) of batch normalisation, (rate, 0) of dropout. In the flat vectors
arrays lie in C order with the cluster axis first: weights (clusters, fan_in, fan_out) of DENSE, (clusters, out, in,
kernel, kernel) of CONV, (clusters, in, out, kernel, kernel) of TRANSPOSED_CONV; biases, γ, β, means and variances
(clusters, out_channels), biases of DENSE (clusters, fan_out).

Rows are sorted by cluster: those of cluster j are bounds[j]:bounds[j + 1], bounds (k + 1,). Arrays between layers are
(n, features), the features of an image in the order channel, row, column.

The *tape* of a pass has what the way back needs: layer after layer its output (n, features), and after that of a batch
normalisation the means and variances that it used (clusters, 2, channels).

Everywhere: n rows, p parameters, q numbers of state; params (p,), X (n, f), state (q,), tape and G, the gradient with
respect to the output, of one float dtype; training : bool, whether dropout drops and batch normalisation uses the rows'
own statistics (a group with fewer than two values a channel has none and uses running ones).
"""

from typing import NamedTuple

import numpy as np

from . import conv, dense, norm

(KIND, CLUSTERS, CHANNELS, HEIGHT, WIDTH, OUT_CHANNELS, OUT_HEIGHT, OUT_WIDTH) = range(8)
(KERNEL, STRIDE, PADDING, OUTPUT_PADDING, WEIGHT, BIAS, STATE, ACTIVATION, NUMBER) = range(8, 17)
(DENSE, CONV, TRANSPOSED_CONV, MAX_POOL, UP_SAMPLE, BATCH_NORM, DROPOUT, ACTIVATE) = range(8)


class Network(NamedTuple):
    """A network, or a part of one."""

    layers: np.ndarray
    reals: np.ndarray


class Draws(NamedTuple):
    """Where random numbers come from: key (2,) uint32, stream and step ints, rows (n,) int64, of the data."""

    key: np.ndarray
    stream: int
    step: int
    rows: np.ndarray


def part(network, first, stop):
    """Layers first … stop − 1 of a network, with the same parameters, state and random numbers."""
    return Network(network.layers[first:stop], network.reals[first:stop])


def forward(params, network, X, bounds, state, training, draws):
    """Output of the network, with what the way back needs.

    draws : Draws, or None where nothing is dropped out
    returns (out (n, f'), tape (t,), state (q,)), the state with new running averages
    Cost: that of the layers
    """
    state, outputs, tape = state.copy(), [X], []
    for layer, real in zip(network.layers, network.reals, strict=True):
        Y = np.empty((len(X), out_features(layer)), X.dtype)
        # 1. statistics
        used = statistics(layer, real, outputs[-1], bounds, state, training)
        # 2. layer
        for j, rows in groups(layer, bounds):
            Y[rows] = _forward_one(params, layer, real, j, outputs[-1][rows], used, training, _of(draws, rows))
        outputs.append(Y)
        tape += [Y.ravel(), used.ravel()]
    return outputs[-1], np.concatenate([X[:0].ravel(), *tape]), state


def predict(params, network, X, bounds, state):
    """Output of the network after training: running averages, nothing dropped out; a row depends on no other.

    returns (n, f')
    """
    return forward(params, network, X, bounds, state, False, None)[0]


def backward(params, network, X, tape, G, bounds, training, draws, wanted, gradient):
    """Gradients of a loss with respect to parameters and input of ``forward``, whose tape this is.

    G : (n, f'); wanted : bool, whether that of the input is wanted
    gradient : (p,), the parameters' is written to it, a sum over rows; entries of other layers stay as they are
    returns ∂X (n, f), or (0, f) if not wanted
    Cost: twice that of ``forward``
    """
    places = tape_places(network.layers, len(X))
    for l in reversed(range(len(network.layers))):
        layer, real, (start, end, last) = network.layers[l], network.reals[l], places[l]
        below = (
            X
            if l == 0
            else tape[places[l - 1][0] : places[l - 1][1]].reshape(len(X), out_features(network.layers[l - 1]))
        )
        # 1. activation
        G = dense.activation_gradient(G, tape[start:end].reshape(G.shape), int(layer[ACTIVATION]))
        # 2. layer
        used = tape[end:last].reshape(-1, 2, layer[CHANNELS])
        dX = np.empty(below.shape, X.dtype)
        for j, rows in groups(layer, bounds):
            arguments = below[rows], used, training, _of(draws, rows)
            dW, db, dX[rows] = _backward_one(params, layer, real, j, G[rows], *arguments)
            # 3. its parameters
            for view, own in zip(views(gradient, layer, j), (dW, db), strict=True):
                view[...] = own
        G = dX
    return G if wanted else G[:0]


def out_features(layer):
    """Numbers of a row of a layer's output."""
    return int(layer[OUT_CHANNELS] * layer[OUT_HEIGHT] * layer[OUT_WIDTH])


def groups(layer, bounds):
    """(j, rows) of every group of rows that shares a layer's parameters: one of all where clusters share them."""
    if layer[CLUSTERS] == 1:
        return [(0, slice(0, int(bounds[-1])))]
    return [(j, slice(int(bounds[j]), int(bounds[j + 1]))) for j in range(layer[CLUSTERS])]


def tape_places(layers, n):
    """(start, end, last) of every layer in the tape: its output is start:end, its statistics end:last."""
    places, last = [], 0
    for layer in layers:
        start = last
        end = start + n * out_features(layer)
        last = end + int(2 * layer[CLUSTERS] * layer[CHANNELS] if layer[KIND] == BATCH_NORM else 0)
        places.append((start, end, last))
    return places


def shapes(layer):
    """Shapes of the weight and the bias that one cluster has of a layer; (0,) for none."""
    kind, c, o = layer[KIND], int(layer[CHANNELS]), int(layer[OUT_CHANNELS])
    size, fan_in = int(layer[KERNEL]), int(layer[CHANNELS] * layer[HEIGHT] * layer[WIDTH])
    weight = {
        DENSE: (fan_in, out_features(layer)),
        CONV: (o, c, size, size),
        TRANSPOSED_CONV: (c, o, size, size),
        BATCH_NORM: (c,),
    }.get(kind, (0,))
    bias = out_features(layer) if kind == DENSE else o
    return weight, (bias if layer[BIAS] >= 0 else 0,)


def views(params, layer, j):
    """Weight and bias of cluster j's copy of a layer, as views; writing to them writes to ``params``."""
    found = []
    for offset, shape in zip((layer[WEIGHT], layer[BIAS]), shapes(layer), strict=True):
        size = int(np.prod(shape))
        start = max(int(offset) + j * size, 0)
        found.append(params[start : start + size].reshape(shape))
    return found


def statistics(layer, real, X, bounds, state, training):
    """Means and variances that a batch normalisation uses for every group, (clusters, 2, channels); ``state`` moves on.

    Of other layers (0, 2, channels).
    """
    c, clusters = int(layer[CHANNELS]), int(layer[CLUSTERS]) if layer[KIND] == BATCH_NORM else 0
    start = max(int(layer[STATE]), 0)
    running = state[start : start + 2 * clusters * c].reshape(2, clusters, c)
    used = running.swapaxes(0, 1).copy()
    for j, rows in groups(layer, bounds) if clusters else []:
        x = X[rows].reshape(-1, c, int(layer[HEIGHT] * layer[WIDTH]))
        m = x.shape[0] * x.shape[2]
        if training and m >= 2:
            used[j] = mean, variance = norm.batch_statistics(x)
            running[0, j] = norm.running_average(running[0, j], mean, real[0])
            running[1, j] = norm.running_average(running[1, j], variance * X.dtype.type(m / (m - 1)), real[0])
    return used


def images(X, layer, first=CHANNELS):
    """Rows (n, features) as images (n, c, h, w); first : CHANNELS for a layer's input, OUT_CHANNELS for its output."""
    return X.reshape(-1, *(int(size) for size in layer[first : first + 3]))


def _forward_one(params, layer, real, j, x, used, training, draws):
    """Output of a layer for one group of rows, (m, features)."""
    W, b = views(params, layer, j)
    kind, (size, stride, padding, output_padding) = (
        layer[KIND],
        (int(entry) for entry in layer[KERNEL : OUTPUT_PADDING + 1]),
    )
    if kind == DENSE:
        A = x @ W + b if b.size else x @ W
    elif kind == CONV:
        A = conv.conv2d(images(x, layer), W, b, stride, padding)
    elif kind == TRANSPOSED_CONV:
        A = conv.transposed_conv2d(images(x, layer), W, b, stride, padding, output_padding)
    elif kind == MAX_POOL:
        A = conv.max_pool(images(x, layer), size, stride)
    elif kind == UP_SAMPLE:
        A = conv.up_sample(images(x, layer), size)
    elif kind == BATCH_NORM:
        A = norm.batch_norm(x.reshape(len(x), len(W), int(layer[HEIGHT] * layer[WIDTH])), W, b, *used[j], real[1])
    elif kind == DROPOUT and training:
        A = norm.dropout(x, real[0], draws.key, draws.stream | int(layer[NUMBER]) << 8, draws.step, draws.rows)
    else:
        A = x
    return dense.activate(A.reshape(len(x), out_features(layer)), int(layer[ACTIVATION]))


def _backward_one(params, layer, real, j, G, x, used, training, draws):
    """(∂weight, ∂bias, ∂x) of a layer for one group of rows; 0 where it has no such parameters."""
    W, b = views(params, layer, j)
    kind, (size, stride, padding) = layer[KIND], (int(entry) for entry in layer[KERNEL : PADDING + 1])
    dW = db = 0
    if kind == DENSE:
        dW, db, dx = dense.backward(G, x, G, W, dense.LINEAR)
    elif kind == CONV:
        dW, db, dx = conv.conv2d_backward(images(G, layer, OUT_CHANNELS), images(x, layer), W, stride, padding)
    elif kind == TRANSPOSED_CONV:
        dW, db, dx = conv.transposed_conv2d_backward(
            images(G, layer, OUT_CHANNELS), images(x, layer), W, stride, padding
        )
    elif kind == MAX_POOL:
        dx = conv.max_pool_backward(images(G, layer, OUT_CHANNELS), images(x, layer), size, stride)
    elif kind == UP_SAMPLE:
        dx = conv.up_sample_backward(images(G, layer, OUT_CHANNELS), size)
    elif kind == BATCH_NORM:
        shape = len(x), len(W), int(layer[HEIGHT] * layer[WIDTH])
        coupled = bool(training and shape[0] * shape[2] >= 2)
        dW, db, dx = norm.batch_norm_backward(G.reshape(shape), x.reshape(shape), W, *used[j], real[1], coupled)
    elif kind == DROPOUT and training:
        dx = norm.dropout(G, real[0], draws.key, draws.stream | int(layer[NUMBER]) << 8, draws.step, draws.rows)
    else:
        dx = G
    return dW, db if b.size else 0, dx.reshape(x.shape)


def _of(draws, rows):
    """The draws of some rows."""
    return None if draws is None else draws._replace(rows=draws.rows[rows])
