"""Numba twin of ``reference.network``: sequential networks as a table of layers and one flat vector of parameters.

    layers.py    a row of the table, the views of its parameters, the rows that share them
    passes.py    what every kind of layer does, forward and back, in tasks for the threads of ``pool``
    products.py  products of dense layers, in tiles

Layers go one after the other over the whole batch, kernels of the stems ``dense``, ``conv`` and ``norm`` within a
layer: only those are compiled that a network needs. Blocks of rows depend on shapes and ``bounds`` alone. The table,
the tape and all arguments are as in ``reference.network``.
"""

import numpy as np

from .._engine.arrays import plain
from .._engine.pool import single_blas_thread
from . import passes
from .layers import layers_of

(DENSE, CONV, TRANSPOSED_CONV, MAX_POOL, UP_SAMPLE, BATCH_NORM, DROPOUT, ACTIVATE) = range(8)
(KIND, CLUSTERS, CHANNELS, HEIGHT, WIDTH, OUT_CHANNELS, OUT_HEIGHT, OUT_WIDTH) = range(8)
(KERNEL, STRIDE, PADDING, OUTPUT_PADDING, WEIGHT, BIAS, STATE, ACTIVATION, NUMBER) = range(8, 17)

PREDICTED = 256  # rows that go through a network at a time where nothing is kept


def forward(params, network, X, bounds, state, training, draws):
    """Output of the network, with what the way back needs.

    draws : Draws, or None where nothing is dropped out
    returns (out (n, f'), tape (t,), state (q,)), the state with new running averages
    Cost: that of the layers
    """
    params, below, state, layers = plain(params), plain(X), np.array(state, order="C"), layers_of(network)
    places = _places(layers, len(X))
    tape = np.empty(places[-1][2] if places else 0, X.dtype)
    with single_blas_thread():
        for layer, (start, end, last) in zip(layers, places, strict=True):
            Y, used = tape[start:end].reshape(len(X), layer.fan_out), _used(tape[end:last], layer)
            # 1. statistics
            if layer.kind == BATCH_NORM:
                passes.statistics(layer, below, bounds, state, used, training)
            # 2. layer
            passes.forward(layer, params, below, bounds, Y, used, training, draws)
            below = Y
    return below, tape, state


def predict(params, network, X, bounds, state):
    """Output of the network after training: running averages, nothing dropped out; a row depends on no other.

    returns (n, f')
    """
    params, X, state, layers = plain(params), plain(X), plain(state), layers_of(network)
    if not layers:
        return X.copy()
    out = np.empty((len(X), layers[-1].fan_out), X.dtype)
    for first in range(0, len(X), PREDICTED):
        rows = slice(first, first + PREDICTED)
        own = np.clip(bounds, first, min(first + PREDICTED, len(X))) - first
        out[rows] = forward(params, network, X[rows], own, state, False, None)[0]
    return out


def backward(params, network, X, tape, G, bounds, training, draws, wanted, gradient):
    """Gradients of a loss with respect to parameters and input of ``forward``, whose tape this is.

    G : (n, f'); wanted : bool, whether that of the input is wanted
    gradient : (p,), the parameters' is written to it, a sum over rows; entries of other layers stay as they are
    returns ∂X (n, f), or (0, f) if not wanted
    Cost: twice that of ``forward``
    """
    params, X, tape, G = plain(params), plain(X), plain(tape), plain(G)
    layers, written = layers_of(network), plain(gradient)
    places = _places(layers, len(X))
    with single_blas_thread():
        for l in reversed(range(len(layers))):
            layer, (start, end, last) = layers[l], places[l]
            below = X if l == 0 else tape[slice(*places[l - 1][:2])].reshape(len(X), layer.fan_in)
            Y, used = tape[start:end].reshape(len(X), layer.fan_out), _used(tape[end:last], layer)
            dX = np.empty((len(X) if l or wanted else 0, layer.fan_in), X.dtype)
            passes.backward(layer, params, below, Y, G, bounds, used, training, draws, written, dX)
            G = dX
    if written is not gradient:
        gradient[...] = written
    return G if wanted else G[:0]


def _places(layers, n):
    """(start, end, last) of every layer in the tape: its output is start:end, its statistics end:last."""
    sizes = [size for layer in layers for size in (n * layer.fan_out, layer.statistics)]
    ends = np.cumsum([0, *sizes]).tolist()
    return [(ends[2 * l], ends[2 * l + 1], ends[2 * l + 2]) for l in range(len(layers))]


def _used(statistics, layer):
    return statistics.reshape(-1, 2, layer.channels)
