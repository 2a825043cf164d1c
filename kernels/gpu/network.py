"""CUDA twin of ``reference.network``: a sequential network as a table of layers, forward and backward.

Python walks the table; a layer is a few launches for the rows of all clusters, and a product a cluster, or one for all
where they have equally many rows, or are padded to that. Tables, flat vectors and the tape are as described in
``reference.network``: network is a record of layers (n_layers, 17) int64 and reals (n_layers, 2) float64, on the host;
rows are sorted by cluster, those of cluster j from bounds[j] to bounds[j + 1], bounds (k + 1,) on the host.

Everywhere: n rows, p parameters, q numbers of state; params (p,), X (n, f), state (q,), tape and G, the gradient with
respect to the output, of one float dtype, on the device; training : bool, whether dropout drops and batch normalisation
uses the rows' own statistics (a group with fewer than two values a channel has none and uses running ones).
"""

from typing import NamedTuple

import numpy as np

from . import conv, conv_passes, dense, dense_passes, norm, philox
from ._platform.launch import array, in_place, xp
from .conv_passes import Shape
from .groups import Groups

(KIND, CLUSTERS, CHANNELS, HEIGHT, WIDTH, OUT_CHANNELS, OUT_HEIGHT, OUT_WIDTH) = range(8)
(KERNEL, STRIDE, PADDING, OUTPUT_PADDING, WEIGHT, BIAS, STATE, ACTIVATION, NUMBER) = range(8, 17)
(DENSE, CONV, TRANSPOSED_CONV, MAX_POOL, UP_SAMPLE, BATCH_NORM, DROPOUT, ACTIVATE) = range(8)

WORKSPACE = 1 << 27  # bytes of the widest layer's output in ``predict``; more rows go through in parts


def forward(params, network, X, bounds, state, training, draws):
    """Output of the network, with what the way back needs.

    draws : Draws, or None where nothing is dropped out
    returns (out (n, f'), a view of the end of the tape; tape (t,); state (q,)), the state with new running averages
    Cost: that of the layers; memory: the tape, and ``conv_passes.WORKSPACE``
    """
    params, X, state = array("params", params), array("X", X), array("state", state)
    rows, new = _Rows.of(bounds, training, draws, network.layers), state.copy()
    tape = xp.empty(_tape_places(network.layers, len(X))[-1][2], X.dtype)
    return _walk(params, network, X, rows, new, tape), tape, new


def predict(params, network, X, bounds, state):
    """Output of the network after training: running averages, nothing dropped out; a row depends on no other.

    returns (n, f')
    Cost: that of the layers; memory: the outputs of two layers at a time, of rows that fit ``WORKSPACE``
    """
    params, X, state = array("params", params), array("X", X), array("state", state)
    widest = max([1, *(_out_features(layer) for layer in network.layers)])
    most = max(1, WORKSPACE // (widest * X.itemsize))
    if len(X) <= most:
        return _walk(params, network, X, _Rows.of(bounds, False, None, network.layers), state, None)
    out = xp.empty((len(X), _out_features(network.layers[-1])), X.dtype)
    for start in range(0, len(X), most):
        part = slice(start, min(start + most, len(X)))
        own = _Rows.of(np.clip(np.asarray(bounds) - start, 0, part.stop - start), False, None, network.layers)
        out[part] = _walk(params, network, X[part], own, state, None)
    return out


def backward(params, network, X, tape, G, bounds, training, draws, wanted, gradient):
    """Gradients of a loss with respect to parameters and input of ``forward``, whose tape this is.

    G : (n, f'); wanted : bool, whether that of the input is wanted
    gradient : (p,), the parameters' is written to it, a sum over rows; entries of other layers stay as they are
    returns ∂X (n, f), or (0, f) if not wanted
    Cost: twice that of ``forward``
    """
    params, X, tape, G = (array(*named) for named in (("params", params), ("X", X), ("tape", tape), ("G", G)))
    places, rows = _tape_places(network.layers, len(X)), _Rows.of(bounds, training, draws, network.layers)
    with in_place(gradient=gradient) as (gradient,):
        for l in reversed(range(len(network.layers))):
            layer, real, (start, end, last) = network.layers[l], network.reals[l], places[l + 1]
            below = tape[places[l][0] : places[l][1]].reshape(len(X), _out_features(network.layers[l - 1])) if l else X
            # 1. activation
            if layer[ACTIVATION] != dense.LINEAR:
                out = xp.empty(G.shape, G.dtype)
                dense.through_activation(G, tape[start:end].reshape(G.shape), int(layer[ACTIVATION]), out)
                G = out
            # 2. layer
            # 3. its parameters
            views = _views(params, layer), _views(gradient, layer)
            G = _layer_back(views, layer, real, G, below, tape[end:last], rows, wanted or l > 0)
    return G if wanted else xp.empty((0, X.shape[1]), X.dtype)


# -- rows ----------------------------------------------------------------------------------------------


class _Rows(NamedTuple):
    """What all layers are told of the rows.

    every : groups of layers whose clusters have parameters of their own; one : of those that share them
    """

    every: Groups
    one: Groups
    training: bool
    counter: tuple  # key, stream, step
    numbers: object  # of the rows in the data, on the device

    @classmethod
    def of(cls, bounds, training, draws, layers):
        """Of the arguments of a public function; what is drawn for is checked and copied to the device once."""
        every = Groups.of(bounds)
        one = every if len(every) == 1 else Groups.one(every.n)
        widths = [_out_features(layer) for layer in layers if layer[KIND] == DROPOUT]
        if not (training and widths):
            return cls(every, one, training, None, None)
        return cls(every, one, training, draws[:3], philox._rows(draws.rows, max(widths)))

    def groups(self, layer):
        """Groups of rows with the same parameters."""
        return self.one if layer[CLUSTERS] == 1 else self.every

    def least(self):
        """With how many values a channel a group has statistics of its own."""
        return 2 if self.training else norm.NEVER

    def drop(self, layer, rate, X, out):
        """Out ← X with the layer's units dropped out."""
        key, stream, step = self.counter
        norm.drop(X, float(rate), (key, int(stream) | int(layer[NUMBER]) << 8, step), self.numbers, out)


# -- tables --------------------------------------------------------------------------------------------


def _out_features(layer):
    return int(layer[OUT_CHANNELS] * layer[OUT_HEIGHT] * layer[OUT_WIDTH])


def _tape_places(layers, n):
    """(start, end, last) of the input, which lies elsewhere, and of every layer: output start:end, used end:last."""
    places = [(0, 0, 0)]
    for layer in layers:
        start = places[-1][2]
        end = start + n * _out_features(layer)
        used = int(2 * layer[CLUSTERS] * layer[CHANNELS]) if layer[KIND] == BATCH_NORM else 0
        places.append((start, end, end + used))
    return places


def _views(params, layer):
    """Weight (clusters, rows, columns) as products take it and bias (clusters · width,) or None; γ and β flat."""
    kind, clusters, c, o = (int(layer[at]) for at in (KIND, CLUSTERS, CHANNELS, OUT_CHANNELS))
    window = int(layer[KERNEL]) ** 2
    matrix, width = {
        DENSE: ((c * int(layer[HEIGHT] * layer[WIDTH]), _out_features(layer)), _out_features(layer)),
        CONV: ((o, c * window), o),
        TRANSPOSED_CONV: ((c, o * window), o),
        BATCH_NORM: ((1, c), c),
    }.get(kind, ((0, 0), 0))
    weight, bias, size = int(layer[WEIGHT]), int(layer[BIAS]), clusters * matrix[0] * matrix[1]
    return (
        params[weight : weight + size].reshape(clusters, *matrix) if size else None,
        params[bias : bias + clusters * width] if bias >= 0 and width else None,
    )


def _images(X, layer, first=CHANNELS):
    """Rows as images; first : CHANNELS for a layer's input, OUT_CHANNELS for its output."""
    return X.reshape(len(X), *(int(size) for size in layer[first : first + 3]))


def _shape(layer):
    """`Shape` of a convolution: from the larger image to the smaller one, whichever is the input."""
    sides = layer[CHANNELS:OUT_CHANNELS], layer[OUT_CHANNELS:KERNEL]
    large, small = sides if layer[KIND] == CONV else sides[::-1]
    entries = *large, layer[KERNEL], layer[KERNEL], *small[1:], layer[STRIDE], layer[PADDING]
    return Shape(*(int(entry) for entry in entries))


# -- layers --------------------------------------------------------------------------------------------


def _walk(params, network, X, rows, state, tape):
    """Output of the last layer; outputs go to the tape where there is one. Running averages change in place."""
    Y, places = X, _tape_places(network.layers, len(X))[1:]
    for layer, real, (start, end, last) in zip(network.layers, network.reals, places, strict=True):
        at = xp.empty(last - start, X.dtype) if tape is None else tape[start:last]
        out, used = at[: end - start].reshape(len(X), _out_features(layer)), at[end - start :]
        # 1. statistics
        if layer[KIND] == BATCH_NORM:
            used = used.reshape(int(layer[CLUSTERS]), 2, -1)
            begin, momentum = int(layer[STATE]), float(real[0])
            running = state[begin : begin + used.size]
            norm.statistics(_channels(Y, layer), rows.groups(layer), rows.least(), momentum, running, used)
        # 2. layer
        _layer(_views(params, layer), layer, real, Y, used, rows, out)
        Y = out
    return Y


def _channels(X, layer):
    """Rows as (n, c, s)."""
    return X.reshape(len(X), int(layer[CHANNELS]), int(layer[HEIGHT] * layer[WIDTH]))


def _layer(views, layer, real, X, used, rows, out):
    """Out ← a layer's output, activation included."""
    (W, b), kind, activation, groups = views, layer[KIND], int(layer[ACTIVATION]), rows.groups(layer)
    if kind == DENSE:
        dense_passes.forward(W, b, activation, X, out, groups)
    elif kind == CONV:
        conv_passes.to_small(X, W, b, activation, out, _shape(layer), groups)
    elif kind == TRANSPOSED_CONV:
        conv_passes.to_large(X, W, b, activation, out, _shape(layer), groups)
    elif kind == BATCH_NORM:
        norm.normalize(_channels(X, layer), groups, used, (W, b), real[1], activation, out)
    else:
        if kind == MAX_POOL:
            conv.pool(_images(X, layer), int(layer[KERNEL]), int(layer[STRIDE]), _images(out, layer, OUT_CHANNELS))
        elif kind == UP_SAMPLE:
            conv.repeat(_images(X, layer), int(layer[KERNEL]), out)
        elif kind == DROPOUT and rows.training:
            rows.drop(layer, real[0], X, out)
        else:
            out[...] = X
        if activation != dense.LINEAR:
            dense_passes.add_bias(out, 0, out, groups, None, activation)


def _layer_back(views, layer, real, G, X, used, rows, wanted):
    """Gradient of a layer's input, None where it is not wanted; those of its parameters are written."""
    ((W, _), (dW, db)), kind, groups = views, layer[KIND], rows.groups(layer)
    size, stride = int(layer[KERNEL]), int(layer[STRIDE])
    if kind == DROPOUT and rows.training:
        dX = xp.empty(X.shape, X.dtype)
        rows.drop(layer, real[0], G, dX)
        return dX
    if kind in (DROPOUT, ACTIVATE):
        return G
    if kind == MAX_POOL:
        return conv.max_pool_backward(_images(G, layer, OUT_CHANNELS), _images(X, layer), size, stride).reshape(X.shape)
    if kind == UP_SAMPLE:
        return conv.up_sample_backward(_images(G, layer, OUT_CHANNELS), size).reshape(X.shape)
    if kind == BATCH_NORM:
        dX, shape = xp.empty(X.shape, X.dtype), _channels(X, layer).shape
        arguments = groups, used, W, real[1], rows.least(), (dW, db), dX
        norm.normalize_back(G.reshape(shape), X.reshape(shape), *arguments)
        return dX
    for j in groups.empty:  # products leave them out
        dW[j] = 0
    if db is not None:
        width = db.size // len(groups)
        norm.channel_sums(G.reshape(len(G), width, G.shape[1] // width), groups, db)
    dX = xp.empty(X.shape, X.dtype) if wanted else None
    if kind == CONV:
        conv_passes.back(X, G, W, dW, dX, None, _shape(layer), groups)
    elif kind == TRANSPOSED_CONV:
        conv_passes.back(G, X, W, dW, None, dX, _shape(layer), groups)
    else:
        dense_passes.back(W, dW, G, X, dX, groups)
    return dX
