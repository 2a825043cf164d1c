"""Cases of the ``divergence`` kernels: tensors of one to four modes, dead channels, empty clusters, equal samples."""

import numpy as np

from csrl_core.contract.cases import ON_HOST, Case, Kernel
from csrl_core.reference import divergence as reference

ARGUMENTS = {
    "logits": ("(n, k)", "float", "before the softmax"),
    "other": ("(n, k)", "float", "logits of another view of the same samples"),
    "A": ("(n, k)", "float", "soft assignments"),
    "M": ("(n, k)", "float", "corner kernel of A"),
    "K": ("(n, n)", "float", "kernel, symmetric"),
    "D": ("(n, n)", "float", "squared distances, symmetric"),
    "variance": ("(1,)", "float", "σ²"),
    "G": ("(n, n)", "float", "gradient with respect to D or K, entry by entry"),
    "Y": ("(n, d)", "float", "tensors in rows"),
    "shape": ("(modes,)", "int", "sizes of the modes of a tensor, whose product is d", ON_HOST),
    "eps": ("", "float64", "ε as a part of the mean eigenvalue of X Xᵀ"),
    "ridge": ("(modes, n)", "float", "ε of every mode and sample, constants of the gradient"),
}
OF_ASSIGNMENTS = {"G": ("(n, k)", "float", "gradient with respect to A or M")}
FUNCTIONS = [
    Kernel(reference.soft_assignments, "A (n, k) float", "sum", "element"),
    Kernel(reference.soft_assignments_gradient, "(n, k) float", "sum", "element", arguments=OF_ASSIGNMENTS),
    Kernel(reference.invariance, "ℓ (n,), ∂logits (n, k), ∂other (n, k) float", "sum", "sample"),
    Kernel(reference.corner_kernel, "M (n, k) float", "sum", "element"),
    Kernel(reference.corner_kernel_gradient, "(n, k) float", "sum", "element", arguments=OF_ASSIGNMENTS),
    Kernel(reference.orthogonality, "(1,) float64, ∂A (n, k) float", "sum", "batch"),
    Kernel(reference.cauchy_schwarz, "(1,) float64, ∂A (n, k), ∂K (n, n) float", "sum", "batch"),
    Kernel(reference.bandwidth, "variance (1,) float", "sum", "batch"),
    Kernel(reference.gaussian_kernel, "K (n, n) float", "elementwise", "element"),
    Kernel(reference.gaussian_kernel_gradient, "(n, n) float", "elementwise", "element"),
    Kernel(reference.distances, "D (n, n) float", "sum", "element"),
    Kernel(reference.distances_gradient, "(n, d) float", "sum", "batch"),
    Kernel(reference.ridges, "ridge (modes, n) float", "sum", "element"),
    Kernel(reference.tensor_distances, "D (n, n) float", "sum", "element"),
    Kernel(reference.tensor_distances_gradient, "(n, d) float", "sum", "batch"),
]
CONSTANTS = ("BANDWIDTH", "FLOOR", "RESOLUTION")
EPS = 1e-6


def assignments(n, k, dtype):
    """Logits of two views, soft assignments, a kernel of features, and gradients, by name."""
    random = np.random.default_rng([n, k])
    logits = 2 * random.normal(size=(n, k))
    A, D = reference.soft_assignments(logits), reference.distances(random.normal(size=(n, 3)))
    arrays = {
        "logits": logits,
        "other": logits + random.normal(size=(n, k)),
        "A": A,
        "M": reference.corner_kernel(A),
        "of A": random.normal(size=(n, k)),
        "D": D,
        "variance": np.array([0.4]),
        "K": np.exp(-D / 0.8),
        "G": random.normal(size=(n, n)),
    }
    return {name: array.astype(dtype) for name, array in arrays.items()}


def tensors(n, shape, dtype, dead=(), distinct=None, eps=EPS):
    """Tensors Y, ε and a gradient, by name.

    dead : channels that are 0 in every sample; then the last sample is 0 altogether
    distinct : so many different samples, over and over
    """
    random = np.random.default_rng([n, *shape])
    Y = random.normal(size=(n, *shape)) + 0.3
    if dead:
        Y[:, list(dead)], Y[-1] = 0, 0
    if distinct:
        Y = Y[np.arange(n) % distinct]
    Y = Y.reshape(n, -1).astype(dtype)
    return {"Y": Y, "ridge": reference.ridges(Y, shape, eps), "G": random.normal(size=(n, n)).astype(dtype)}


# n, k
ASSIGNED = {"tiny": (2, 2), "odd": (37, 3), "many clusters": (50, 11), "wide": (9, 70), "many samples": (300, 4)}
# n, d
VECTORS = {"tiny": (2, 1), "odd": (37, 5), "features of a head": (120, 100), "wide": (13, 5003)}
# n, shape
TENSORS = {
    "tiny": (2, (2, 3)),
    "vectors": (9, (6,)),
    "odd": (7, (3, 5, 4)),
    "matrices": (10, (4, 9)),
    "tall matrices": (6, (9, 4)),
    "a mode of size one": (6, (1, 5, 3)),
    "numbers": (4, (5, 1, 1)),
    "four modes": (5, (2, 3, 2, 4)),
    "many samples": (70, (3, 8, 8)),
    "projections": (20, (12, 6, 6)),
    "several tiles": (6, (16, 12, 9)),
    "few rows, many columns": (12, (2, 30, 40)),
}
BUILD = {
    "soft_assignments": ("logits",),
    "soft_assignments_gradient": ("of A", "A"),
    "invariance": ("logits", "other"),
    "corner_kernel": ("A",),
    "corner_kernel_gradient": ("of A", "A", "M"),
    "orthogonality": ("A",),
    "cauchy_schwarz": ("A", "K"),
    "bandwidth": ("D",),
    "gaussian_kernel": ("D", "variance"),
    "gaussian_kernel_gradient": ("G", "D", "K", "variance"),
}


def _assigned(function, name, size, change=lambda arrays: arrays):
    def build(dtype):
        arrays = change(assignments(*size, dtype))
        return [arrays[argument] for argument in BUILD[function]]

    return Case("divergence", function, name, build)


def _vectors(function, name, n, d, change=lambda array: array):
    def build(dtype):
        random = np.random.default_rng([n, d])
        X, G = (random.normal(size=(n, size)).astype(dtype) for size in (d, n))
        return [change(X)] if function == "distances" else [change(G), change(X)]

    return Case("divergence", function, name, build)


def _tensors(function, name, size, change=lambda array: array, **options):
    def build(dtype):
        arrays, shape = tensors(*size, dtype, **options), size[1]
        Y, ridge, G = (change(arrays[name]) for name in ("Y", "ridge", "G"))
        if function == "ridges":
            return [Y, shape, EPS]
        return [Y, shape, ridge] if function == "tensor_distances" else [G, Y, shape, ridge]

    return Case("divergence", function, name, build)


def _apart(array):
    """The same numbers in memory that is not contiguous."""
    return np.repeat(array, 2, axis=0)[::2]


def _equal_rows(array):
    array[1::2] = array[: len(array) - 1 : 2]
    return array


def _constant(array):
    array[:] = array[0]
    return array


def _strided(arrays):
    return {name: _apart(array) if name != "variance" else array for name, array in arrays.items()}


def _empty_cluster(arrays):
    arrays["A"][:, 1] = 0
    return arrays


def _perfect(arrays):
    """Every sample wholly in its cluster, and clusters infinitely far apart."""
    n, k = arrays["A"].shape
    labels = np.arange(n) % k
    arrays["A"][:] = labels[:, None] == np.arange(k)
    arrays["K"] *= labels[:, None] == labels
    return arrays


def _uniform(arrays):
    arrays["A"][:] = 0.25
    return arrays


def _no_median(arrays):
    arrays["D"][:], arrays["K"][:], arrays["variance"][:] = 0, 1, reference.FLOOR
    return arrays


def _certain(arrays):
    """Views that disagree by more than any number of the dtype can say."""
    arrays["logits"], arrays["other"] = 300 * arrays["logits"], -300 * arrays["logits"]
    return arrays


CASES = [_assigned(function, *case) for function in BUILD for case in ASSIGNED.items()]
CASES += [_assigned(function, "not contiguous", (37, 3), _strided) for function in BUILD]
CASES += [
    _assigned(function, name, (40, 4), change)
    for name, change in (("an empty cluster", _empty_cluster), ("perfect", _perfect), ("uniform", _uniform))
    for function in ("cauchy_schwarz", "orthogonality", "corner_kernel")
    if (function, name) != ("cauchy_schwarz", "uniform")  # whose gradient is nothing but rounding
]
CASES += [
    _assigned(function, "equal samples", (9, 2), _no_median)
    for function in ("bandwidth", "gaussian_kernel", "gaussian_kernel_gradient")
]
CASES += [_assigned(function, "certain", (21, 5), _certain) for function in ("soft_assignments", "invariance")]
for _function in ("distances", "distances_gradient"):
    CASES += [_vectors(_function, name, *size) for name, size in VECTORS.items()]
    CASES += [_vectors(_function, "not contiguous", 21, 9, _apart)]
CASES += [
    _vectors("distances", "equal samples", 12, 40, _equal_rows),
    _vectors("distances", "one sample over and over", 12, 40, _constant),
    _vectors("distances", "far from the origin", 20, 7, lambda X: X + X.dtype.type(100)),
]
for _function in ("ridges", "tensor_distances", "tensor_distances_gradient"):
    CASES += [_tensors(_function, *case) for case in TENSORS.items()]
    CASES += [
        _tensors(_function, "dead channels", (8, (4, 5, 6)), dead=(1, 2)),
        # Of its columns no one is 0: only ε makes X Xᵀ regular, and a small ε magnifies the roundings of float64.
        _tensors(_function, "a square of less than full rank", (6, (4, 4)), dead=(1,), eps=1e-2),
        _tensors(_function, "not contiguous", (7, (3, 5, 4)), _apart),
    ]
CASES += [
    _tensors("tensor_distances", "equal samples", (8, (6, 5, 5)), distinct=4),
    _tensors("tensor_distances", "one sample over and over", (8, (6, 5, 5)), distinct=1),
]
