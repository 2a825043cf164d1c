"""Cases of the ``network`` kernels: every kind of layer, shared and not, parts, groups of no row and of one."""

import numpy as np

from csrl_core.contract.cases import ON_HOST, Case, Kernel
from csrl_core.reference import network as reference
from csrl_core.reference.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    MaxPool,
    TransposedConv,
    UpSample,
    build,
)

ARGUMENTS = {
    "network": ("", "Network", "tables of layers: record of (n_layers, 17) int64 and (n_layers, 2) float64", ON_HOST),
    "X": ("(n, f)", "float", "input, rows sorted by cluster"),
    "bounds": ("(k+1,)", "int64", "rows of cluster j are bounds[j]:bounds[j+1]", ON_HOST),
    "state": ("(q,)", "float", "running means and variances"),
    "training": ("", "bool", "whether dropout drops and batches have statistics of their own"),
    "draws": ("", "Draws", "key, stream, step, rows of the data; None where nothing is dropped out", ON_HOST),
    "tape": ("(t,)", "float", "what forward kept"),
    "G": ("(n, f')", "float", "gradient with respect to the output"),
    "wanted": ("", "bool", "whether the gradient with respect to the input is wanted"),
    "gradient": ("(p,)", "float", "that with respect to params, a sum over rows; of other layers left as it is"),
}
FUNCTIONS = [
    Kernel(reference.forward, "out (n, f'), tape (t,), state (q,) float", "sum", "batch"),
    Kernel(reference.predict, "(n, f') float", "sum", "sample"),
    Kernel(reference.backward, "∂X (n, f) float", "sum", "batch", changes="gradient"),
]
CONSTANTS = (
    *("KIND", "CLUSTERS", "CHANNELS", "HEIGHT", "WIDTH", "OUT_CHANNELS", "OUT_HEIGHT", "OUT_WIDTH", "KERNEL", "STRIDE"),
    *("PADDING", "OUTPUT_PADDING", "WEIGHT", "BIAS", "STATE", "ACTIVATION", "NUMBER"),
    *("DENSE", "CONV", "TRANSPOSED_CONV", "MAX_POOL", "UP_SAMPLE", "BATCH_NORM", "DROPOUT", "ACTIVATE"),
)
KEY = np.array([0xA4093822, 0x299F31D0], dtype=np.uint32)

# layers, shape of the input
NETWORKS = {
    "dense": ([Dense(13, "tanh"), Dense(6, "leaky_relu", shared=True), Dense(4, bias=False)], 9),
    "dense, shared": ([Dense(13, "sigmoid", shared=True), Dense(5, shared=True)], 9),
    "batch norm of vectors": ([Dense(11), BatchNorm("relu"), Dense(8), BatchNorm("tanh", shared=True), Dense(3)], 7),
    "convolution": (
        [
            Conv(8, 3, 2, 1, "leaky_relu", shared=True),
            Conv(17, 3, 1, 1, "tanh"),
            Dense((4, 3, 3), "sigmoid"),
            TransposedConv(3, 3, 2, 1, 1, "tanh"),
            TransposedConv(1, 4, 2, 1, shared=True),
        ],
        (1, 12, 12),
    ),
    "every kind": (
        [
            Conv(6, 3, 1, 0, bias=False),
            BatchNorm("leaky_relu"),
            MaxPool(2),
            Dropout(0.3),
            Activation("tanh"),
            Conv(20, 2, 1, 0, shared=True),
            BatchNorm(shared=True, momentum=0.3, eps=1e-3),
            UpSample(2),
            TransposedConv(2, 3, 2, 1, 1, bias=False),
            Dropout(0.5),
            Dense(5, "sigmoid"),
        ],
        (2, 8, 10),
    ),
}
# Rows of every cluster.
ROWS = {
    "three clusters": (11, 7, 9),
    "an empty one and one of one row": (6, 0, 1, 8),
    "one cluster": (14,),
    "one row": (1,),
    "no rows": (0, 0),
}
STREAM, STEP = 19, 3


def problem(name, rows, dtype, seed=0):
    """A network, parameters, input, bounds, state and draws of a case."""
    layers, shape = NETWORKS[name]
    random = np.random.default_rng([len(rows), sum(rows), seed])
    built = build(layers, shape, len(rows))
    params, start = np.empty(built.size), 0
    for shape_of in built.shapes.values():
        size, fan_in = int(np.prod(shape_of)), max(int(np.prod(shape_of[2:])), shape_of[1], 1)
        around = 1.0 if len(shape_of) == 2 else 0.0  # also biases: they are to matter
        params[start : start + size] = around * random.choice([-1, 1], size) + random.uniform(-1, 1, size) / fan_in**0.5
        start += size
    X = random.normal(size=(sum(rows), int(np.prod(shape))))
    state = random.uniform(0.5, 2, built.state_size)
    bounds = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    draws = reference.Draws(KEY, STREAM, STEP, random.permutation(10 * len(X) + 1)[: len(X)].astype(np.int64))
    return built, params.astype(dtype), X.astype(dtype), bounds, state.astype(dtype), draws


def _forward(name, rows, training, dtype):
    built, params, X, bounds, state, draws = problem(name, rows, dtype)
    return [params, built.network, X, bounds, state, training, draws if training else None]


def _predict(name, rows, dtype):
    return _forward(name, rows, False, dtype)[:5]


def _backward(name, rows, training, dtype, wanted=True, seed=1):
    params, network, X, bounds, state, training, draws = _forward(name, rows, training, dtype)
    out, tape, _ = reference.forward(params, network, X, bounds, state, training, draws)
    G = np.random.default_rng([len(X), seed]).normal(size=out.shape).astype(dtype)
    return [params, network, X, tape, G, bounds, training, draws, wanted, _found(params)]


def _found(params):
    """What is in a gradient before."""
    return np.random.default_rng(len(params)).normal(size=params.shape).astype(params.dtype)


def _part(arguments):
    """The last layers alone, whose input has another number of features."""
    params, network, X, bounds, *rest = arguments
    last = reference.part(network, 3, len(network.layers))
    width = int(np.prod(last.layers[0, reference.CHANNELS : reference.OUT_CHANNELS]))
    return [params, last, np.resize(X, (len(X), width)), bounds, *rest]


def _strided(arguments):
    return [
        np.repeat(a, 2, axis=-1)[..., ::2] if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
        for a in arguments
    ]


def _of_part(dtype):
    params, network, X, bounds, state, training, draws = _part(_forward("every kind", (11, 7, 9), True, dtype))
    out, tape, _ = reference.forward(params, network, X, bounds, state, training, draws)
    return [params, network, X, tape, out, bounds, training, draws, True, _found(params)]


CASES = []
for _name in NETWORKS:
    for _which, _rows in ROWS.items():
        for _training in (True, False):
            _how = f"{_name}, {_which}, {'training' if _training else 'trained'}"
            _arguments = _name, _rows, _training
            CASES += [
                Case("network", "forward", _how, lambda dtype, a=_arguments: _forward(*a, dtype)),
                Case("network", "backward", _how, lambda dtype, a=_arguments: _backward(*a, dtype)),
            ]
        CASES.append(
            Case("network", "predict", f"{_name}, {_which}", lambda dtype, a=(_name, _rows): _predict(*a, dtype))
        )
_MANY = (1300, 40, 700)
CASES += [
    Case("network", "forward", "many rows", lambda dtype: _forward("batch norm of vectors", _MANY, True, dtype)),
    Case("network", "backward", "many rows", lambda dtype: _backward("batch norm of vectors", _MANY, True, dtype)),
    Case("network", "predict", "many rows", lambda dtype: _predict("convolution", _MANY, dtype)),
    Case("network", "forward", "a part", lambda dtype: _part(_forward("every kind", (11, 7, 9), True, dtype))),
    Case("network", "backward", "a part", _of_part),
    Case(
        "network",
        "backward",
        "no gradient of the input",
        lambda dtype: _backward("convolution", (11, 7, 9), True, dtype, wanted=False),
    ),
]
for _function, _arguments in (("forward", _forward), ("backward", _backward)):
    CASES.append(
        Case(
            "network",
            _function,
            "non-contiguous",
            lambda dtype, f=_arguments: _strided(f("every kind", (11, 7, 9), True, dtype)),
        )
    )
