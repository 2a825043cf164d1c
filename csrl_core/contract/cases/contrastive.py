"""Cases of the ``contrastive`` kernels: both losses, rows of zeros, clusters alone, classes of one sample, no rows."""

import numpy as np

from csrl_core.contract.cases import Case, Kernel
from csrl_core.reference import contrastive as reference

ARGUMENTS = {
    "U": ("(m, D)", "float", "embeddings of anchors"),
    "P": ("(m, D)", "float", "embeddings of positives"),
    "N": ("(m, D)", "float", "embeddings of negatives"),
    "G": ("(m, D)", "float", "rows to be added up"),
    "weights": ("(m,)", "float", "of rows"),
    "loss": ("", "int", "TRIPLET or COSINE"),
    "reg": ("", "float64", "λ"),
    "clusters": ("(n,)", "int64", "of the batch's samples"),
    "own": ("", "bool", "whether all columns have the negative of the sample's own cluster"),
    "order": ("(N,)", "int64", "samples sorted by class"),
    "begins": ("(c + 1,)", "int64", "where each class begins in ``order``"),
    "places": ("(N,)", "int64", "where each sample is in ``order``"),
    "classes": ("(N,)", "int64", "of samples, −1 where it is not known"),
    "index": ("(m,)", "int64", "where a row is added"),
    "n": ("", "int", "rows of the result"),
}
FUNCTIONS = [
    Kernel(reference.losses, "(m,) float", "sum", "sample"),
    Kernel(reference.gradients, "three of (m, D) float", "sum", "sample"),
    Kernel(reference.negatives, "(n, k) int64, (1,) int64", "exact", "batch"),
    Kernel(reference.positives, "(n,) int64", "exact", "element"),
    Kernel(reference.add_rows, "(n, D) float", "sum", "sum over samples"),
]
CONSTANTS = ("TRIPLET", "COSINE", "LOSSES")

DRAW = np.array([0xA4093822, 0x299F31D0], dtype=np.uint32), 23, 3

# m, D
SIZES = {
    "one row": (1, 3),
    "one dimension": (9, 1),
    "odd": (37, 5),
    "usual": (64, 128),
    "many rows": (2001, 17),
    "no rows": (0, 4),
}


def rows(m, width, dtype, names):
    """The arrays of those names."""
    random = np.random.default_rng([m, width])
    arrays = {name: random.normal(size=(m, width)).astype(dtype) for name in ("U", "P", "N")}
    arrays["weights"] = (random.uniform(0.5, 2, m) * (random.uniform(size=m) < 0.8)).astype(dtype)
    return [arrays[name] for name in names]


NAMES = {
    "losses": ("U", "P", "N"),
    "gradients": ("U", "P", "N", "weights"),
}
TRIPLETS = {
    "triplet": (reference.TRIPLET, 0.0),
    "cosine": (reference.COSINE, 0.0),
    "triplet, norms": (reference.TRIPLET, 0.5),
    "cosine, norms": (reference.COSINE, 2.0),
}
OPTIONS = {"losses": TRIPLETS, "gradients": TRIPLETS}


def _case(function, name, size, options, change=lambda arrays: arrays):
    return Case("contrastive", function, name, lambda dtype: [*change(rows(*size, dtype, NAMES[function])), *options])


def _strided(arrays):
    return [np.repeat(array, 2, axis=0)[::2] if array.ndim == 1 else np.asfortranarray(array) for array in arrays]


CASES = [
    _case(function, f"{name}, {word}", size, options)
    for function, each in OPTIONS.items()
    for word, options in each.items()
    for name, size in SIZES.items()
]
CASES += [
    _case(function, "not contiguous", SIZES["odd"], next(iter(each.values())), _strided)
    for function, each in OPTIONS.items()
]


def _with_zeros(arrays):
    for array in arrays[:3]:
        array[::4] = 0
        array[1] *= 1000
    return arrays


CASES += [
    _case(function, f"rows of zeros, {word}", SIZES["odd"], TRIPLETS[word], _with_zeros)
    for function in OPTIONS
    for word in ("triplet", "cosine")
]

# n, k, clusters (None: drawn), own
DRAWS = {
    "usual": (128, 5, None, False),
    "the paper's": (128, 5, None, True),
    "two clusters": (31, 2, None, False),
    "many clusters": (40, 37, None, False),
    "one cluster": (19, 1, None, False),
    "all in one of three": (19, 3, 1, False),
    "all in one of three, the paper's": (19, 3, 1, True),
    "two samples": (2, 2, None, False),
    "one sample": (1, 3, 2, False),
    "no samples": (0, 3, None, False),
    "many samples": (700, 4, None, False),
}


def _negatives(n, k, cluster, own):
    random = np.random.default_rng([n, k])
    clusters = random.integers(0, k, n) if cluster is None else np.full(n, cluster)
    return [clusters, k, own, *DRAW, random.permutation(5 * n + 1)[:n]]


# samples, classes, of which the last has one sample
CLASSES = {"usual": (200, 5), "one class": (9, 1), "few": (5, 3), "many": (3000, 11)}


def _positives(count, c, batch):
    random = np.random.default_rng([count, c])
    classes = random.integers(-1 if c > 1 else 0, max(c - 1, 1), count)
    classes[count // 2] = c - 1
    order = np.argsort(classes, kind="stable")
    begins = np.searchsorted(classes[order], np.arange(c + 1))
    return [order, begins, np.argsort(order, kind="stable"), classes, *DRAW, random.permutation(count)[:batch]]


def _add_rows(m, width, n, dtype):
    random = np.random.default_rng([m, n])
    return [random.normal(size=(m, width)).astype(dtype), random.integers(0, n, m), n]


CASES += [
    Case("contrastive", "negatives", name, lambda dtype, a=arguments: _negatives(*a))
    for name, arguments in DRAWS.items()
]
CASES += [
    Case("contrastive", "positives", name, lambda dtype, a=(count, c, count // 2 + 1): _positives(*a))
    for name, (count, c) in CLASSES.items()
]
CASES.append(Case("contrastive", "positives", "no rows", lambda dtype: _positives(9, 3, 0)))
CASES += [
    Case("contrastive", "add_rows", f"{m} rows to {n}", lambda dtype, a=(m, width, n): _add_rows(*a, dtype))
    for m, width, n in ((1, 1, 1), (37, 5, 9), (200, 128, 640), (500, 3, 2), (0, 4, 6))
]
CASES.append(
    Case("contrastive", "add_rows", "not contiguous", lambda dtype: [*_strided(_add_rows(37, 5, 9, dtype)[:2]), 9])
)
