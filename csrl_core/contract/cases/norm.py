"""Cases of the ``norm`` kernels: images and vectors, one row, one value, means far from 0, constant channels."""

import numpy as np

from csrl_core.contract.cases import Case, Kernel
from csrl_core.reference import norm as reference

ARGUMENTS = {
    "X": ("(n, c, s)", "float", "input: s positions of c channels"),
    "G": ("(n, c, s)", "float", "gradient with respect to the output"),
    "gamma": ("(c,)", "float", "scale"),
    "beta": ("(c,)", "float", "shift"),
    "mean": ("(c,)", "float", "of every channel"),
    "variance": ("(c,)", "float", "of every channel, ≥ 0"),
    "eps": ("", "float64", "added to the variance, > 0"),
    "coupled": ("", "bool", "whether mean and variance are those of X itself"),
    "running": ("(c,)", "float", "average so far"),
    "batch": ("(c,)", "float", "what is new"),
    "momentum": ("", "float64", "weight of what is new"),
    "rate": ("", "float64", "probability of a 0, below 1"),
}
FUNCTIONS = [
    Kernel(reference.batch_statistics, "mean (c,), variance (c,) float", "sum", "batch"),
    Kernel(reference.running_average, "(c,) float", "elementwise", "element"),
    Kernel(reference.batch_norm, "(n, c, s) float", "elementwise", "element"),
    Kernel(reference.batch_norm_backward, "∂γ (c,), ∂β (c,), ∂X (n, c, s) float", "sum", "batch"),
    Kernel(
        reference.dropout,
        "(n, d) float",
        "elementwise",
        "sample",
        arguments={"X": ("(n, d)", "float", "input")},
    ),
    Kernel(
        reference.unit_rows,
        "V (n, d), norms (n,) float",
        "sum",
        "sample",
        arguments={"X": ("(n, d)", "float", "input")},
    ),
    Kernel(
        reference.unit_rows_gradient,
        "(n, d) float",
        "sum",
        "sample",
        arguments={
            "G": ("(n, d)", "float", "gradient with respect to V"),
            "V": ("(n, d)", "float", "rows of unit norm"),
            "norms": ("(n,)", "float", "that they had, 1 instead of 0"),
        },
    ),
]

# n, c, s
SIZES = {
    "tiny": (1, 1, 2),
    "vectors": (37, 19, 1),
    "images": (11, 5, 49),
    "one row": (1, 3, 16),
    "one value": (1, 6, 1),
    "wide": (130, 260, 1),
    "many rows": (2500, 7, 3),
    "long images": (5, 3, 1500),
}
KEY = np.array([0x243F6A88, 0x85A308D3], dtype=np.uint32)


def values(n, c, s, dtype, offset=1.0, seed=0):
    """Channels of different means and scales."""
    random = np.random.default_rng([n, c, s, seed])
    scales, means = np.exp(random.normal(size=(c, 1))), offset * random.normal(size=(c, 1))
    return (scales * random.normal(size=(n, c, s)) + means).astype(dtype)


def _channel(c, dtype, seed):
    random = np.random.default_rng([c, seed])
    return random.normal(size=c).astype(dtype), random.uniform(0.3, 2, c).astype(dtype)


def _norm(n, c, s, dtype, offset=1.0):
    (gamma, _), (beta, _), (mean, variance) = (_channel(c, dtype, seed) for seed in range(3))
    return [values(n, c, s, dtype, offset), gamma, beta, mean, variance, 1e-5]


def _norm_backward(n, c, s, dtype, coupled, offset=1.0):
    X, gamma, _, mean, variance, eps = _norm(n, c, s, dtype, offset)
    if coupled:
        mean, variance = reference.batch_statistics(X)
    return [values(n, c, s, dtype, seed=1), X, gamma, mean, variance, eps, coupled]


def _dropout(n, d, rate, dtype, first=0):
    rows = np.random.default_rng([n, d]).permutation(2 * n)[:n].astype(np.int64) + first
    return [values(n, d, 1, dtype)[..., 0], rate, KEY, 19, 7, rows]


def _strided(arguments):
    """The same values in arrays that skip every other entry, the axes turned in memory."""
    return [
        np.repeat(np.asfortranarray(a), 2, axis=-1)[..., ::2]
        if isinstance(a, np.ndarray) and a.dtype.kind == "f"
        else a
        for a in arguments
    ]


def _constant(arguments):
    """One channel that never changes: its variance is 0."""
    arguments[0][:, 1] = 3
    return arguments


CASES = []
for _name, _size in SIZES.items():
    CASES += [
        Case("norm", "batch_statistics", _name, lambda dtype, size=_size: [values(*size, dtype)]),
        Case("norm", "batch_norm", _name, lambda dtype, size=_size: _norm(*size, dtype)),
        Case("norm", "batch_norm_backward", _name, lambda dtype, size=_size: _norm_backward(*size, dtype, False)),
    ]
    if _name not in ("one value", "tiny"):  # of one value, or of two, nothing is left to go back
        CASES.append(
            Case(
                "norm",
                "batch_norm_backward",
                f"{_name}, coupled",
                lambda dtype, size=_size: _norm_backward(*size, dtype, True),
            )
        )
CASES += [
    Case("norm", "batch_statistics", "means far from 0", lambda dtype: [values(300, 4, 9, dtype, 30.0)]),
    Case("norm", "batch_statistics", "a constant channel", lambda dtype: _constant([values(20, 3, 4, dtype)])),
    Case("norm", "batch_statistics", "non-contiguous", lambda dtype: _strided([values(20, 3, 4, dtype)])),
    Case("norm", "batch_norm", "no rows", lambda dtype: _norm(0, 3, 4, dtype)),
    Case("norm", "batch_norm", "non-contiguous", lambda dtype: _strided(_norm(11, 5, 6, dtype))),
    Case("norm", "batch_norm_backward", "no rows", lambda dtype: _norm_backward(0, 3, 4, dtype, False)),
    Case(
        "norm",
        "batch_norm_backward",
        "means far from 0, coupled",
        lambda dtype: _norm_backward(300, 4, 9, dtype, True, 30.0),
    ),
    Case(
        "norm",
        "batch_norm_backward",
        "non-contiguous, coupled",
        lambda dtype: _strided(_norm_backward(11, 5, 6, dtype, True)),
    ),
    Case(
        "norm",
        "running_average",
        "vectors",
        lambda dtype: [_channel(37, dtype, 0)[1], _channel(37, dtype, 1)[1], 0.1],
    ),
    Case(
        "norm",
        "running_average",
        "non-contiguous",
        lambda dtype: _strided([_channel(12, dtype, 0)[1], _channel(12, dtype, 1)[1], 0.3]),
    ),
]
for _name, _arguments in {
    "tiny": (1, 1, 0.5),
    "odd": (37, 19, 0.2),
    "nothing is dropped": (9, 5, 0.0),
    "nearly all": (30, 7, 0.9),
    "several tasks": (700, 301, 0.5),
    "no rows": (0, 4, 0.5),
}.items():
    CASES.append(Case("norm", "dropout", _name, lambda dtype, a=_arguments: _dropout(*a, dtype)))
CASES += [
    Case("norm", "dropout", "rows far on", lambda dtype: _dropout(12, 9, 0.5, dtype, 2**40)),
    Case("norm", "dropout", "non-contiguous", lambda dtype: _strided(_dropout(12, 9, 0.5, dtype))),
]


def _sphere(n, d, dtype, gradient, empty=False):
    X = values(n, d, 1, dtype)[..., 0]
    if empty:
        X[::3] = 0
    return [values(n, d, 1, dtype, seed=1)[..., 0], *reference.unit_rows(X)] if gradient else [X]


for _name, _arguments in {
    "one row": (1, 3),
    "odd": (37, 19),
    "two dimensions": (5, 2),
    "long rows": (9, 300),
    "rows of zeros": (10, 4, True),
    "no rows": (0, 4),
}.items():
    for _function, _gradient in (("unit_rows", False), ("unit_rows_gradient", True)):
        CASES.append(
            Case(
                *("norm", _function, _name),
                lambda dtype, a=_arguments, g=_gradient: _sphere(*a[:2], dtype, g, *a[2:]),
            )
        )
CASES += [
    Case("norm", "unit_rows", "non-contiguous", lambda dtype: _strided(_sphere(11, 5, dtype, False))),
    Case("norm", "unit_rows_gradient", "non-contiguous", lambda dtype: _strided(_sphere(11, 5, dtype, True))),
]
