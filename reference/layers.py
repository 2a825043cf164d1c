"""From a list of layers that one can read to the tables of ``network``: shapes are worked out and checked.

    encoder = build([Conv(32, 3, stride=2, padding=1, activation="relu"), Dense(10)], (1, 28, 28), n_clusters=3)
    encoder.network, encoder.size, encoder.shapes, encoder.output

A layer that is ``shared`` has one copy for all clusters.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from . import conv, dense
from . import network as table
from .network import Network


@dataclass(frozen=True)
class Dense:
    """units : int, or (c, h, w) for an output that is an image."""

    units: int | tuple
    activation: str = "linear"
    bias: bool = True
    shared: bool = False
    kind = table.DENSE

    def output(self, shape):
        """(c, h, w) of the output for an input of that shape."""
        return (self.units, 1, 1) if np.isscalar(self.units) else tuple(self.units)


@dataclass(frozen=True)
class Conv:
    """A square kernel."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    activation: str = "linear"
    bias: bool = True
    shared: bool = False
    kind = table.CONV

    def output(self, shape):
        """(c, h, w) of the output for an input of that shape."""
        return self.channels, *(conv.conv_size(m, self.kernel, self.stride, self.padding) for m in shape[1:])


@dataclass(frozen=True)
class TransposedConv:
    """A square kernel; output_padding : below stride."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    output_padding: int = 0
    activation: str = "linear"
    bias: bool = True
    shared: bool = False
    kind = table.TRANSPOSED_CONV

    def output(self, shape):
        """(c, h, w) of the output for an input of that shape."""
        how = self.kernel, self.stride, self.padding, self.output_padding
        return self.channels, *(conv.transposed_size(m, *how) for m in shape[1:])


@dataclass(frozen=True)
class MaxPool:
    """The largest pixel of every square window; stride : None for windows side by side."""

    kernel: int
    stride: int | None = None
    kind = table.MAX_POOL

    def output(self, shape):
        """(c, h, w) of the output for an input of that shape."""
        return shape[0], *(conv.conv_size(m, self.kernel, self.stride or self.kernel, 0) for m in shape[1:])


@dataclass(frozen=True)
class UpSample:
    """Every pixel becomes a square of kernel × kernel."""

    kernel: int
    kind = table.UP_SAMPLE

    def output(self, shape):
        """(c, h, w) of the output for an input of that shape."""
        return shape[0], self.kernel * shape[1], self.kernel * shape[2]


@dataclass(frozen=True)
class BatchNorm:
    """With a copy a cluster, statistics are those of a cluster's own rows."""

    activation: str = "linear"
    momentum: float = 0.1
    eps: float = 1e-5
    shared: bool = False
    kind, bias = table.BATCH_NORM, True

    def output(self, shape):
        """That of the input."""
        return shape


@dataclass(frozen=True)
class Dropout:
    """rate : probability of a 0, in [0, 1)."""

    rate: float
    kind = table.DROPOUT

    def output(self, shape):
        """That of the input."""
        return shape


@dataclass(frozen=True)
class Activation:
    """An activation where the layer before has none of its own."""

    activation: str
    kind = table.ACTIVATE

    def output(self, shape):
        """That of the input."""
        return shape


@dataclass(frozen=True)
class Built:
    """A network and what belongs to it.

    network : its tables; shapes : name → shape of every parameter, in the order of the flat vector; state_shapes : the
    same of running averages; size, state_size : lengths of the flat vectors, with what stands before this network's;
    output : (c, h, w)
    """

    network: Network
    shapes: dict
    state_shapes: dict
    size: int
    state_size: int
    output: tuple


def build(layers, shape, n_clusters, *, output=None, after=None):
    """Work out shapes and offsets of a list of layers.

    layers : list of the records above; shape : (c, h, w) of the input, or its number of features; output : what the
    output's shape must be, None for any; after : Built whose parameters and state stand before these in flat vectors

    Raises
    ------
    ValueError
        A layer does not fit, or the output has another shape; the message has all shapes, layer by layer.
    """
    shape = (shape, 1, 1) if np.isscalar(shape) else tuple(shape)
    rows, reals, shapes, state_shapes, said = [], [], {}, {}, [f"input {shape}"]
    size, state_size = (after.size, after.state_size) if after else (0, 0)
    number = int(after.network.layers[-1, table.NUMBER]) + 1 if after else 0
    for l, layer in enumerate(layers):
        problem, out = _problem(layer), ()
        if not problem:
            out = tuple(int(m) for m in layer.output(shape))
            problem = f"of an input of shape {shape} nothing is left" if min(out) < 1 else None
        said.append(f"{l} {layer} → {out}")
        if problem:
            raise ValueError("\n  ".join([f"layer {l} does not fit: {problem}", *said]))
        row, real = _row(layer, shape, out, n_clusters, number + l)
        for name, column, own in zip(("weight", "bias"), (table.WEIGHT, table.BIAS), table.shapes(row), strict=True):
            if row[column] >= 0 and prod(own):
                shapes[f"{l}.{name}"] = (int(row[table.CLUSTERS]), *own)
                row[column], size = size, size + prod(shapes[f"{l}.{name}"])
        if row[table.STATE] >= 0:
            state_shapes[f"{l}.mean"] = state_shapes[f"{l}.variance"] = int(row[table.CLUSTERS]), out[0]
            row[table.STATE], state_size = state_size, state_size + 2 * int(row[table.CLUSTERS]) * out[0]
        rows.append(row)
        reals.append(real)
        shape = out
    if output is not None and tuple(output) != shape:
        raise ValueError("\n  ".join([f"the network's output has shape {shape}, expected {tuple(output)}:", *said]))
    tables = Network(np.array(rows, np.int64).reshape(-1, 17), np.array(reals, np.float64).reshape(-1, 2))
    return Built(tables, shapes, state_shapes, size, state_size, shape)


def _problem(layer):
    """Why a layer fits to no input, or None."""
    if getattr(layer, "output_padding", 0) and layer.output_padding >= layer.stride:
        return f"output_padding={layer.output_padding} must be below stride={layer.stride}"
    for name, low in (("kernel", 1), ("stride", 1), ("padding", 0), ("output_padding", 0)):
        value = getattr(layer, name, None)
        if value is not None and value < low:
            return f"{name}={value} must be at least {low}"
    if not 0 <= getattr(layer, "rate", 0) < 1:
        return f"rate={layer.rate} must be in [0, 1)"
    if getattr(layer, "activation", "linear") not in dense.ACTIVATIONS:
        return f"activation={layer.activation!r} is unknown; expected one of {', '.join(dense.ACTIVATIONS)}"
    return None


def _row(layer, shape, out, n_clusters, number):
    """(row of the table with 0 for offsets to come and −1 for none, reals)."""
    has = layer.kind in (table.DENSE, table.CONV, table.TRANSPOSED_CONV, table.BATCH_NORM)
    clusters = n_clusters if has and not layer.shared else 1
    kernel, padding = getattr(layer, "kernel", 0), getattr(layer, "padding", 0)
    stride = getattr(layer, "stride", 0) or (kernel if layer.kind == table.MAX_POOL else 0)
    offsets = 0 if has else -1, 0 if has and layer.bias else -1, 0 if layer.kind == table.BATCH_NORM else -1
    row = [layer.kind, clusters, *shape, *out, kernel, stride, padding, getattr(layer, "output_padding", 0), *offsets]
    row += [dense.ACTIVATIONS[getattr(layer, "activation", "linear")], number]
    reals = {table.BATCH_NORM: ("momentum", "eps"), table.DROPOUT: ("rate",)}.get(layer.kind, ())
    return np.array(row, np.int64), ([getattr(layer, name) for name in reals] + [0.0, 0.0])[:2]
