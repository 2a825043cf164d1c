"""Cases of the ``dense`` kernels: every activation, also where it saturates, bias or none, several chunks and tasks."""

import numpy as np

from csrl_core.contract.cases import Case, Kernel
from csrl_core.reference import dense as reference
from csrl_core.reference.dense import ACTIVATIONS

ARGUMENTS = {
    "activation": ("", "int", "a code of dense.ACTIVATIONS"),
    "G": ("(n, m)", "float", "gradient with respect to the output"),
    "Y": ("(n, m)", "float", "output"),
    "bias": ("(m,)", "float", "empty for none"),
}
FUNCTIONS = [
    Kernel(reference.activate, "(n, m) float", "elementwise", "element"),
    Kernel(reference.activation_gradient, "(n, m) float", "elementwise", "element"),
    Kernel(
        reference.forward,
        "(n, m) float",
        "sum",
        "sample",
        arguments={"X": ("(n, fan_in)", "float", "input"), "weight": ("(fan_in, m)", "float", "W")},
    ),
    Kernel(
        reference.backward,
        "∂W (fan_in, m), ∂b (m,), ∂X (n, fan_in) float",
        "sum",
        "sum over samples",
        arguments={"X": ("(n, fan_in)", "float", "input"), "weight": ("(fan_in, m)", "float", "W")},
    ),
]
CONSTANTS = (
    "FAN_IN",
    "FAN_OUT",
    "COPIES",
    "WEIGHT",
    "BIAS",
    "ACTIVATION",
    "LINEAR",
    "RELU",
    "LEAKY_RELU",
    "TANH",
    "SIGMOID",
    "ACTIVATIONS",
    "LEAKY_SLOPE",
)

# n, fan_in, fan_out
SIZES = {
    "tiny": (1, 1, 1),
    "odd": (37, 5, 3),
    "one sample": (1, 40, 7),
    "narrow": (300, 784, 1),
    "several chunks": (2500, 6, 4),
    "no samples": (0, 4, 3),
}


def _normal(dtype, *shape):
    return np.random.default_rng(shape).normal(size=shape).astype(dtype)


def _away_from_zero(dtype, *shape):
    """Numbers of both signs that stay clear of a kink under rounding."""
    A = _normal(np.float64, *shape)
    return (A + np.sign(A) * 0.01).astype(dtype)


def _activate(scale, activation):
    return lambda dtype: [scale * _away_from_zero(dtype, 23, 9), ACTIVATIONS[activation]]


def _output(activation, dtype):
    """Outputs that the activation can have."""
    Y = _away_from_zero(np.float64, 23, 9)
    if activation in ("tanh", "sigmoid"):
        Y = np.tanh(Y) if activation == "tanh" else 1 / (1 + np.exp(-Y))
    return (np.maximum(Y, 0) if activation == "relu" else Y).astype(dtype)


def _forward(n, fan_in, fan_out, activation, bias, dtype):
    b = _normal(dtype, fan_out) if bias else np.empty(0, dtype)
    return [_normal(dtype, n, fan_in), _normal(dtype, fan_in, fan_out), b, ACTIVATIONS[activation]]


def _backward(n, fan_in, fan_out, activation, dtype):
    Y = np.tanh(_away_from_zero(np.float64, n, fan_out)).astype(dtype)
    X, W = _normal(dtype, n, fan_in), _normal(dtype, fan_in, fan_out)
    return [_normal(dtype, n, fan_out, 1)[..., 0], X, Y, W, ACTIVATIONS[activation]]


def _strided(arguments):
    """The same values in arrays that skip every other entry, the first two axes exchanged in memory."""
    return [
        np.asfortranarray(np.repeat(a, 2, axis=-1))[..., ::2] if isinstance(a, np.ndarray) else a for a in arguments
    ]


CASES = []
for _name in ACTIVATIONS:
    for _scale in (1e-4, 1, 50):
        CASES.append(Case("dense", "activate", f"{_name}, scale {_scale:g}", _activate(_scale, _name)))
    CASES += [
        Case(
            "dense",
            "activation_gradient",
            _name,
            lambda dtype, a=_name: [_normal(dtype, 23, 9), _output(a, dtype), ACTIVATIONS[a]],
        ),
        Case("dense", "forward", _name, lambda dtype, a=_name: _forward(37, 5, 3, a, True, dtype)),
        Case("dense", "backward", _name, lambda dtype, a=_name: _backward(37, 5, 3, a, dtype)),
    ]
CASES += [
    Case("dense", "activate", "no entries", lambda dtype: [np.empty((0, 4), dtype), ACTIVATIONS["tanh"]]),
    Case("dense", "activate", "several tasks", lambda dtype: [_normal(dtype, 700, 301), ACTIVATIONS["sigmoid"]]),
    Case("dense", "activate", "non-contiguous", lambda dtype: [_normal(dtype, 23, 9).T[::2], ACTIVATIONS["tanh"]]),
    Case(
        "dense",
        "activation_gradient",
        "non-contiguous",
        lambda dtype: [_normal(dtype, 9, 23).T[::2], _output("tanh", dtype)[::2], ACTIVATIONS["tanh"]],
    ),
]
for _name, _size in SIZES.items():
    CASES += [
        Case("dense", "forward", _name, lambda dtype, size=_size: _forward(*size, "tanh", True, dtype)),
        Case(
            "dense", "forward", f"{_name}, no bias", lambda dtype, size=_size: _forward(*size, "linear", False, dtype)
        ),
        Case("dense", "backward", _name, lambda dtype, size=_size: _backward(*size, "tanh", dtype)),
    ]
CASES += [
    Case("dense", "forward", "non-contiguous", lambda dtype: _strided(_forward(37, 5, 3, "tanh", True, dtype))),
    Case("dense", "backward", "non-contiguous", lambda dtype: _strided(_backward(37, 5, 3, "tanh", dtype))),
]
