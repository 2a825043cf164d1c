"""Networks of cluster models: layers that one can read, names and shapes of parameters, a batch under every cluster.

    encoder, decoder = [layer("dense 9 activation=tanh"), layer("dense 2")], [layer("dense 1x28x28")]
    networks = Networks({"encoder": Part(encoder, (1, 28, 28)), "decoder": Part(decoder, 2, (1, 28, 28))}, n_clusters=3)

A layer is a record of `csrl_core.reference.layers`, or its text: ``"conv 32 3 stride=2 padding=1 activation=relu"``.
Kernels want rows sorted by cluster, which `Rows` does and undoes. What clusters share at the beginning of a network is
a `Piece` of its own: it runs once a sample, not once a sample and cluster.
"""

from dataclasses import dataclass, fields
from math import prod

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.reference import layers as records
from csrl_core.reference import network as table
from csrl_core.reference.network import Network, tape_places
from csrl_core.training.parameters import Layout

KINDS = {
    "dense": records.Dense,
    "conv": records.Conv,
    "transposed_conv": records.TransposedConv,
    "max_pool": records.MaxPool,
    "up_sample": records.UpSample,
    "batch_norm": records.BatchNorm,
    "dropout": records.Dropout,
    "activation": records.Activation,
}


def layer(text):
    """The record of a layer from its text: kind, values in the record's order, name=value, and ``shared``.

    "dense 200 activation=leaky_relu", "dense 128x4x4", "conv 32 3 stride=2 padding=1 shared", "batch_norm", …

    Raises
    ------
    ValueError
        The text is none; the message says what was expected.
    """
    kind, *words = text.split() or [""]
    if kind not in KINDS:
        raise ValueError(f"layer {text!r}: {kind!r} is no kind of layer; expected one of {', '.join(KINDS)}")
    names = [field.name for field in fields(KINDS[kind])]
    given = {}
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not equals:
            name, value = (word, "True") if word in ("shared",) else (names[min(place, len(names) - 1)], word)
        if name not in names or name in given:
            raise ValueError(f"layer {text!r}: {word!r} is not understood; a {kind} has {', '.join(names)}")
        given[name] = _value(value)
    try:
        return KINDS[kind](**given)
    except TypeError as error:
        raise ValueError(f"layer {text!r}: {str(error).partition(' ')[2]}; a {kind} has {', '.join(names)}") from None


def _value(text):
    """An int, a float, a tuple of ints (4x8x8), True, False, or the word itself."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float, lambda word: tuple(int(number) for number in word.split("x"))):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@dataclass(frozen=True)
class Part:
    """A part of a model: layers, shape of its input, shape of its output (None: any): (c, h, w) or a number each."""

    layers: list
    input: tuple | int
    output: tuple | int | None = None


@dataclass(frozen=True)
class Piece:
    """Consecutive layers of a part, and where their parameters and running averages lie in flat vectors."""

    network: Network
    params: slice
    state: slice


@dataclass(frozen=True)
class Pass:
    """A piece's pass over rows: its input, its output and what the way back needs."""

    X: np.ndarray
    out: np.ndarray
    tape: np.ndarray


class Networks:
    """The networks of a model, its ``parts`` one after the other in one flat vector of parameters.

    parts : dict of name → `Part`
    shapes, state_shapes : dict of name → shape of parameters and of running averages, cluster axis first
    output : dict of part → (c, h, w)

    Raises
    ------
    ValueError
        Layers do not fit; the message has expected and computed shapes, layer by layer.
    """

    def __init__(self, parts, n_clusters):
        self.n_clusters, self.shapes, self.state_shapes, self.output = n_clusters, {}, {}, {}
        self._tables, self._sizes, number = {}, {}, 0
        for name, part in parts.items():
            layers = [layer(each) if isinstance(each, str) else each for each in part.layers]
            output = (part.output, 1, 1) if isinstance(part.output, int) else part.output
            try:
                built = records.build(layers, part.input, n_clusters, output=output)
            except (ValueError, TypeError) as error:
                raise ValueError(f"the {name}'s layers do not fit.\n{error}") from None
            built.network.layers[:, table.NUMBER] += number
            number += len(layers)
            self._tables[name], self.output[name] = built.network, built.output
            starts = [_size(self.shapes), _size(self.state_shapes)]
            sizes = [[], []]
            for l in range(len(layers)):
                for size, own in zip(sizes, (built.shapes, built.state_shapes), strict=True):
                    size.append(sum(prod(shape) for key, shape in own.items() if key.partition(".")[0] == str(l)))
            self._sizes[name] = [start + np.cumsum([0, *size]) for start, size in zip(starts, sizes, strict=True)]
            self.shapes |= {f"{name}.{key}": shape for key, shape in built.shapes.items()}
            self.state_shapes |= {f"{name}.{key}": shape for key, shape in built.state_shapes.items()}
        self._states = Layout(self.state_shapes)

    def shared(self, name):
        """How many layers at the beginning of a part all clusters share."""
        return int(np.cumprod(self._tables[name].layers[:, table.CLUSTERS] == 1).sum()) if self.n_clusters > 1 else 0

    def piece(self, name, first=0, stop=None):
        """Layers first … stop − 1 of a part."""
        whole = self._tables[name]
        stop = len(whole.layers) if stop is None else stop
        layers, (params, state) = whole.layers[first:stop].copy(), self._sizes[name]
        begins = self._sizes[name][0][0], self._sizes[name][1][0]
        for columns, begin, sizes in (
            ((table.WEIGHT, table.BIAS), begins[0], params),
            ((table.STATE,), begins[1], state),
        ):
            for column in columns:
                own = layers[:, column] >= 0
                layers[own, column] -= sizes[first] - begin
        cuts = (slice(int(sizes[first]), int(sizes[stop])) for sizes in (params, state))
        return Piece(Network(layers, whole.reals[first:stop]), *cuts)

    def kinds(self):
        """The codes of all layers' kinds, a set."""
        return {int(kind) for each in self._tables.values() for kind in each.layers[:, table.KIND]}

    def fewest_rows(self):
        """The least number of rows of a batch of which every batch normalisation has statistics: 1, or 2."""
        norms = [row for each in self._tables.values() for row in each.layers if row[table.KIND] == table.BATCH_NORM]
        return 2 if any(row[table.HEIGHT] * row[table.WIDTH] < 2 for row in norms) else 1

    def widest(self):
        """Numbers of a row of all layers' outputs together."""
        return sum(
            int(np.prod(row[table.OUT_CHANNELS : table.OUT_WIDTH + 1]))
            for each in self._tables.values()
            for row in each.layers
        )

    # Parameters and state

    def initial(self, draw):
        """Parameters as PyTorch's layers start: U(±1/√fan_in) for weights and biases; 1 and 0 for γ and β."""
        named = {}
        for name, own_table in self._tables.items():
            for l, row in enumerate(own_table.layers):
                own = [f"{name}.{l}.{what}" for what in ("weight", "bias") if f"{name}.{l}.{what}" in self.shapes]
                if row[table.KIND] == table.BATCH_NORM:
                    named |= {key: np.full(self.shapes[key], float(key.endswith("weight"))) for key in own}
                elif own:
                    weight = self.shapes[own[0]]
                    # Of (k, in, out) the second length, of (k, out, in, h, w) and (k, in, out, h, w) the third on.
                    bound = 1 / np.sqrt(weight[1] if row[table.KIND] == table.DENSE else prod(weight[2:]))
                    named |= {key: draw.uniform(self.shapes[key], -bound, bound) for key in own}
        return named

    def initial_state(self, known, dtype):
        """Means 0 and variances 1 of the running averages that are not known yet, a dict."""
        return {
            name: np.full(shape, float(name.endswith("variance")), dtype)
            for name, shape in self.state_shapes.items()
            if name not in known
        }

    def state(self, named, like):
        """The flat vector of running averages, in the dtype and on the device of ``like``."""
        if not self.state_shapes:
            return np.empty_like(like, shape=(0,))
        return self._states.flatten({name: named[name] for name in self.state_shapes}, like.dtype)

    def keep(self, named, state):
        """Write a flat vector of running averages into the named arrays."""
        for name, view in self._states.views(state).items():
            named[name][...] = view


def _size(shapes):
    return sum(map(prod, shapes.values()))


def picked(piece, done, index):
    """The `Pass` of some of its rows; not of pieces with batch normalisation, whose rows are coupled."""
    n, X = len(done.X), done.X[index]
    tape, out, first = np.empty_like(done.tape, shape=len(done.tape) // n * len(X)) if n else done.tape, X, 0
    for start, end, _ in tape_places(piece.network.layers, n):
        out = tape[first : first + (end - start) // n * len(X)].reshape(len(X), -1)
        out[...] = done.tape[start:end].reshape(n, -1)[index]
        first += out.size
    return Pass(X, out, tape)


@dataclass(frozen=True)
class Rows:
    """Rows of networks, each a sample under a cluster, sorted by cluster.

    bounds : (k + 1,) int64 on the host, the rows of cluster j are bounds[j]:bounds[j + 1]
    order : (m,) int64, the sample of every row, on the backend; None: all n samples under every cluster
    """

    bounds: np.ndarray
    order: np.ndarray | None = None

    @classmethod
    def every(cls, n, k):
        """All n samples under every cluster."""
        return cls(n * np.arange(k + 1))

    @classmethod
    def of(cls, assign, k, own):
        """Every sample under its cluster. own : function that brings an array to the backend"""
        assign = as_numpy(assign)
        order = np.argsort(assign, kind="stable")
        return cls(np.concatenate([[0], np.cumsum(np.bincount(assign, minlength=k))]), own(order))

    def spread(self, array):
        """The rows' entries of an array (n, …) of samples."""
        if self.order is not None:
            return array[self.order]
        k = len(self.bounds) - 1
        return array if k == 1 else np.concatenate([array] * k)

    def gather(self, array):
        """Sums (n, …) over each sample's rows, in the order of the samples."""
        if self.order is None:
            k = len(self.bounds) - 1
            return array if k == 1 else array.reshape(k, -1, *array.shape[1:]).sum(axis=0)
        out = np.empty_like(array)
        out[self.order] = array
        return out

    def clusters(self):
        """The cluster of every row, (m,) int64, on the host."""
        return np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))

    def alone(self):
        """The bounds of the samples themselves, for layers that clusters share."""
        k = len(self.bounds) - 1
        n = int(self.bounds[-1]) // (1 if self.order is not None else k)
        return np.array([0] * k + [n])
