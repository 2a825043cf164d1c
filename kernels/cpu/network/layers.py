"""A layer of a network as its row of the table says it, and the rows of a batch that share its parameters."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np

from .._engine.pool import blocks
from ..conv import columns

(DENSE, CONV, TRANSPOSED_CONV, MAX_POOL, UP_SAMPLE, BATCH_NORM, DROPOUT, ACTIVATE) = range(8)


@dataclass(frozen=True)
class Layer:
    """The columns of the table, see ``reference.network``, and (momentum, ε) or (rate, 0)."""

    kind: int
    clusters: int
    channels: int
    height: int
    width: int
    out_channels: int
    out_height: int
    out_width: int
    kernel: int
    stride: int
    padding: int
    output_padding: int
    weight: int
    bias: int
    state: int
    activation: int
    number: int
    reals: tuple

    @property
    def image(self):
        """(c, h, w) of the input."""
        return self.channels, self.height, self.width

    @cached_property
    def fan_in(self):
        """Numbers of a row of the input."""
        return self.channels * self.height * self.width

    @cached_property
    def fan_out(self):
        """Numbers of a row of the output."""
        return self.out_channels * self.out_height * self.out_width

    @property
    def statistics(self):
        """Numbers that a batch normalisation leaves in the tape."""
        return 2 * self.clusters * self.channels if self.kind == BATCH_NORM else 0

    @cached_property
    def weight_shape(self):
        """Of one cluster; (0,) for none."""
        kernel = self.kernel, self.kernel
        if self.kind == DENSE:
            return self.fan_in, self.fan_out
        if self.kind == CONV:
            return self.out_channels, self.channels, *kernel
        if self.kind == TRANSPOSED_CONV:
            return self.channels, self.out_channels, *kernel
        return (self.channels,) if self.kind == BATCH_NORM else (0,)

    def views(self, params, j):
        """Weight and bias of cluster j's copy, as views; the bias is empty for none."""
        shape, biases = self.weight_shape, self.fan_out if self.kind == DENSE else self.out_channels
        size = prod(shape)
        weight = params[self.weight + j * size : self.weight + (j + 1) * size] if size else params[:0]
        bias = params[self.bias + j * biases : self.bias + (j + 1) * biases] if self.bias >= 0 else params[:0]
        return weight.reshape(shape), bias

    def groups(self, bounds):
        """(j, rows) of every group of rows that shares parameters: one of all where clusters share them."""
        if self.clusters == 1:
            return [(0, slice(0, int(bounds[-1])))]
        return [(j, slice(int(bounds[j]), int(bounds[j + 1]))) for j in range(self.clusters)]

    def tasks(self, bounds, rows):
        """(j, rows) cut into blocks. rows : function, of a group's rows how many are a block"""
        return [
            (j, part)
            for j, group in self.groups(bounds)
            for part in blocks(group.stop - group.start, rows(group.stop - group.start), group.start)
        ]

    @cached_property
    def geometry(self):
        """Of the convolution, see ``conv.columns``, or of the one that a transposed convolution is the way back of."""
        image, size = (self.channels, self.height, self.width), (self.out_channels, self.out_height, self.out_width)
        if self.kind == TRANSPOSED_CONV:
            image, size = size, image
        return columns.plan(image, size[1:], (self.kernel, self.kernel), self.stride, self.padding)


def layers_of(network):
    """The layers of a network, in order; the tables of the last ones are remembered."""
    return _layers(np.asarray(network.layers, np.int64).tobytes(), np.asarray(network.reals, np.float64).tobytes())


@lru_cache(maxsize=64)
def _layers(rows, reals):
    rows, reals = np.frombuffer(rows, np.int64).reshape(-1, 17), np.frombuffer(reals).reshape(-1, 2)
    return [Layer(*row, reals=tuple(real)) for row, real in zip(rows.tolist(), reals.tolist(), strict=True)]
