"""Cases of the ``optimizer`` kernels: first and later steps, zero gradients, several chunks, clipping."""

import numpy as np

from csrl_core.contract.cases import Case, Kernel
from csrl_core.reference import optimizer as reference

ARGUMENTS = {
    "gradient": ("(p,)", "float", "a sum over samples"),
    "scale": ("", "float64", "makes the sum a (clipped) mean"),
    "first": ("(p,)", "float", "first moment m"),
    "second": ("(p,)", "float", "second moment v"),
    "velocity": ("(p,)", "float", "v"),
}
FUNCTIONS = [
    Kernel(reference.squared_norm, "float", "sum", "parameter"),
    Kernel(reference.mean_scale, "float", "sum", "parameter"),
    Kernel(
        reference.adam,
        "nothing",
        "elementwise",
        "parameter",
        changes="params first second",
        arguments={"step": ("", "int", "t, from 1 on")},
    ),
    Kernel(reference.sgd, "nothing", "elementwise", "parameter", changes="params velocity"),
    Kernel(
        reference.decayed,
        "float",
        "elementwise",
        "parameter",
        arguments={"step": ("", "int", "steps taken before")},
    ),
    Kernel(
        reference.update,
        "nothing",
        "elementwise",
        "parameter",
        changes="params moments",
        arguments={"step": ("", "int", "steps taken before")},
    ),
]
CONSTANTS = ("ADAM", "SGD", "METHODS", "CHUNK")

SIZES = {"one parameter": 1, "odd": 37, "one chunk": 1024, "several chunks": 5001}


def _vectors(p, count, dtype):
    """``count`` vectors, the first like parameters, the second like a gradient summed over samples."""
    rng = np.random.default_rng([p, count])
    scales = [1, 30, 0.1, 1]
    return [(rng.normal(size=p) * scale).astype(dtype) for scale in scales[:count]]


def _adam(p, step, dtype, learning_rate=0.01, beta1=0.9, beta2=0.999):
    params, gradient, first, second = _vectors(p, 4, dtype)
    if step == 1:
        first[:], second[:] = 0, 0
    scalars = [step, learning_rate, beta1, beta2, 1e-8]
    return [params, gradient, 0.05, first, np.abs(second), *scalars]


def _zero(dtype):
    # Nothing has ever flowed: 0 / (0 + ε), not 0 / 0.
    arguments = _adam(9, 1, dtype)
    arguments[1][:] = 0
    return arguments


def _strided(arguments):
    return [np.repeat(a, 2, axis=-1)[..., ::2] if isinstance(a, np.ndarray) else a for a in arguments]


CASES = [
    Case("optimizer", "squared_norm", name, lambda dtype, p=p: [_vectors(p, 2, dtype)[1]]) for name, p in SIZES.items()
]
CASES += [
    Case("optimizer", "squared_norm", "squares beyond float32", lambda dtype: [np.full(5, 1e25, dtype)]),
    Case("optimizer", "squared_norm", "non-contiguous", lambda dtype: _strided([_vectors(37, 2, dtype)[1]])),
    Case("optimizer", "squared_norm", "nothing", lambda dtype: [np.empty(0, dtype)]),
]
CASES += [
    Case("optimizer", "mean_scale", name, lambda dtype, clip=clip: [_vectors(2500, 2, dtype)[1], 32.0, clip])
    for name, clip in [("no clipping", 0.0), ("clipped", 1.0), ("below the limit", 1e6)]
]
CASES += [Case("optimizer", "mean_scale", "zero gradient", lambda dtype: [np.zeros(5, dtype), 4.0, 1.0])]

CASES += [
    Case("optimizer", "adam", f"{name}, step {step}", lambda dtype, p=p, step=step: _adam(p, step, dtype))
    for name, p in SIZES.items()
    for step in (1, 20)
]
CASES += [
    Case("optimizer", "adam", "a late step", lambda dtype: _adam(37, 100_000, dtype)),
    Case("optimizer", "adam", "no momentum", lambda dtype: _adam(37, 3, dtype, beta1=0.0)),
    Case("optimizer", "adam", "zero gradient", _zero),
    Case("optimizer", "adam", "non-contiguous", lambda dtype: _strided(_adam(37, 5, dtype))),
]
CASES += [
    Case(
        "optimizer", "sgd", name, lambda dtype, p=p: [*_vectors(p, 2, dtype), 0.05, _vectors(p, 3, dtype)[2], 0.1, 0.9]
    )
    for name, p in SIZES.items()
]
CASES += [
    Case(
        "optimizer",
        "sgd",
        "no momentum",
        lambda dtype: [*_vectors(37, 2, dtype), 0.05, _vectors(37, 3, dtype)[2], 0.1, 0.0],
    ),
    Case(
        "optimizer",
        "sgd",
        "non-contiguous",
        lambda dtype: _strided([*_vectors(37, 2, dtype), 0.05, _vectors(37, 3, dtype)[2], 0.1, 0.9]),
    ),
]


def _update(p, method, dtype, decay_steps=0):
    params, gradient, first, second = _vectors(p, 4, dtype)
    moments = np.stack([first, np.abs(second)])
    constants = 0.01, 0.9, 0.999, 1e-8, 0.9
    return [
        *(params, gradient, 0.05),
        reference.OptimizerState(method, moments, 3, *constants, decay_steps=decay_steps),
    ]


CASES += [
    Case("optimizer", "update", name, lambda dtype, arguments=arguments: _update(*arguments, dtype))
    for name, arguments in {
        "adam": (37, reference.ADAM),
        "adam, several chunks": (5001, reference.ADAM),
        "sgd": (37, reference.SGD),
        "sgd, several chunks": (5001, reference.SGD),
    }.items()
]
CASES += [
    Case("optimizer", "update", "decaying rate", lambda dtype: _update(37, reference.ADAM, dtype, 20)),
    Case("optimizer", "update", "decaying rate, sgd", lambda dtype: _update(37, reference.SGD, dtype, 20)),
]
CASES += [
    Case("optimizer", "decayed", name, lambda dtype, values=values: [*values])
    for name, values in {
        "constant": (0.01, 7, 0),
        "first step": (0.01, 0, 10),
        "middle": (0.03, 5, 10),
        "last step": (0.01, 9, 10),
        "beyond the end": (0.01, 12, 10),
    }.items()
]
