"""Cases of the ``mixture`` kernels: several chunks of rows, an empty cluster, weights of zero, wide codes."""

import numpy as np

from csrl_core.contract.cases import Case, Kernel
from csrl_core.reference import mixture as reference

ARGUMENTS = {
    "residuals": ("(n, k)", "float", "squared distance from every cluster's subspace"),
    "precision": ("(k, h, h)", "float", "Σ⁻¹ of the coordinates in every cluster"),
    "inverse_noise": ("(k,)", "float", "1/σ² of every cluster"),
    "constant": ("(k,)", "float", "what every sample of a cluster pays"),
}
FUNCTIONS = [
    Kernel(
        reference.statistics,
        "scatter (k, h, h) float64, noise (k,) float64, totals (k,) float64",
        "sum",
        "sum over samples",
        arguments={"Z": ("(n, k, h)", "float", "coordinates in every cluster's subspace")},
    ),
    Kernel(
        reference.costs,
        "A (n, k) float",
        "sum",
        "sample",
        arguments={"Z": ("(n, k, h)", "float", "coordinates in every cluster's subspace")},
    ),
]
CONSTANTS = ("CHUNK",)

# n, k, h
SIZES = {
    "tiny": (2, 2, 1),
    "one sample": (1, 2, 2),
    "one cluster": (9, 1, 3),
    "odd": (37, 3, 2),
    "one chunk": (1024, 2, 1),
    "several chunks": (3001, 4, 3),
    "wide": (60, 3, 33),
}


def _codes(n, k, h, dtype):
    """Codes, squared residuals, labels and weights."""
    rng = np.random.default_rng([n, k, h])
    Z = rng.normal(size=(n, k, h)) * np.linspace(0.5, 3, h)
    residuals = rng.uniform(0.1, 4, size=(n, k))
    return [
        Z.astype(dtype),
        residuals.astype(dtype),
        rng.integers(0, k, size=n),
        rng.uniform(0.5, 2, size=n).astype(dtype),
    ]


def _statistics(name, size, change=lambda arguments: arguments):
    return Case("mixture", "statistics", name, lambda dtype: change(_codes(*size, dtype)))


def _empty_cluster(arguments):
    assign = arguments[2]
    assign[assign == 1] = 0
    return arguments


def _zero_weights(arguments):
    arguments[3][::3] = 0
    return arguments


CASES = [_statistics(name, size) for name, size in SIZES.items()]
CASES += [
    _statistics("an empty cluster", (50, 3, 2), _empty_cluster),
    _statistics("zero weights", (50, 3, 2), _zero_weights),
    _statistics("non-contiguous", (41, 3, 2), lambda arguments: [a[::-2] for a in arguments]),
    _statistics("no samples", (0, 3, 2)),
]


def _gaussians(n, k, h, dtype):
    """Codes and residuals, and the precisions, inverse variances and constants of k Gaussians."""
    Z, residuals, _, _ = _codes(n, k, h, dtype)
    rng = np.random.default_rng([k, h])
    roots = rng.normal(size=(k, h, h)) / np.sqrt(h) + np.eye(h)
    precision = roots @ roots.transpose(0, 2, 1)
    inverse_noise, constant = rng.uniform(0.2, 5, size=k), rng.normal(size=k)
    return [Z, residuals, precision.astype(dtype), inverse_noise.astype(dtype), constant.astype(dtype)]


def _costs(name, size, change=lambda arguments: arguments):
    return Case("mixture", "costs", name, lambda dtype: change(_gaussians(*size, dtype)))


CASES += [_costs(name, size) for name, size in SIZES.items()]
CASES += [
    _costs("non-contiguous", (41, 4, 3), lambda arguments: [*(a[::-2] for a in arguments[:2]), *arguments[2:]]),
    _costs("Fortran order", (20, 3, 2), lambda arguments: [np.asfortranarray(a) for a in arguments]),
    _costs("no samples", (0, 3, 2)),
]
