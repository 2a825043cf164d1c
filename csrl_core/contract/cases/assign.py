"""Cases of the ``assign`` kernels: ties, empty clusters, clusters that empty, several chunks of rows."""

import numpy as np

from csrl_core.contract.cases import Case, Kernel
from csrl_core.reference import assign as reference

ARGUMENTS = {
    "costs": ("(n, k)", "float", "what assignment minimises"),
    "losses": ("(n, k)", "float", "loss of every sample under every cluster's model"),
    "b": ("", "int", "how many earlier centres the old one stands for"),
    "index": ("(b,)", "int64", "the batch's places in assign, distinct"),
    "new": ("(b,)", "int64", "the batch's new clusters"),
}
FUNCTIONS = [
    Kernel(reference.assign, "(n,) int64", "exact", "sample"),
    Kernel(reference.nearest, "(n,) int64", "exact", "sample"),
    Kernel(reference.objective, "Σ w L[i, s_i], Σ w", "sum", "sum over samples"),
    Kernel(
        reference.cluster_sums, "sums (k, d) float64, totals (k,) float64, counts (k,) int64", "sum", "sum over samples"
    ),
    Kernel(
        reference.move,
        "int, samples with weight that moved",
        "sum",
        "sum over samples",
        changes="assign sums totals counts",
        arguments={"X": ("(b, d)", "float", "the batch's rows"), "weights": ("(b,)", "float", "the batch's weights")},
    ),
    Kernel(
        reference.means,
        "nothing",
        "elementwise",
        "element",
        changes="centers",
        arguments={"centers": ("(k, d)", "float64", "cluster centres")},
    ),
]
CONSTANTS = ("CHUNK",)

# n, d, k
SIZES = {
    "tiny": (2, 1, 2),
    "one sample": (1, 3, 2),
    "one cluster": (9, 4, 1),
    "odd": (37, 5, 3),
    "more clusters than samples": (3, 2, 5),
    "one chunk": (1024, 2, 3),
    "several chunks": (3001, 3, 4),
    "wide": (50, 130, 3),
}


def _data(n, d, k, dtype, seed=0):
    """Samples around the points of clusters far apart, labels, positive weights."""
    rng = np.random.default_rng([seed, n, d, k])
    assign = rng.integers(0, k, size=n)
    X = 1 + 4 * assign[:, None] + rng.uniform(-1, 1, size=(n, d))
    return X.astype(dtype), assign, rng.uniform(0.5, 2, size=n).astype(dtype)


def _costs(n, k, dtype):
    return np.random.default_rng([n, k]).normal(size=(n, k)).astype(dtype)


def _assign(name, build):
    return Case("assign", "assign", name, lambda dtype: [np.asarray(build(dtype))])


def _special(dtype):
    nan, inf = np.nan, np.inf
    rows = [
        *([nan, 1, 2], [1, nan, 0], [nan, nan, nan], [inf, inf, inf], [nan, inf, 3], [inf, nan, nan]),
        *([-inf, -inf, 0], [0.0, -0.0, 0.0], [nan, inf, -inf]),
    ]
    return np.array(rows, dtype=dtype)


CASES = [_assign(name, lambda dtype, n=n, k=k: _costs(n, k, dtype)) for name, (n, _, k) in SIZES.items()]
CASES += [
    _assign("ties", lambda dtype: np.random.default_rng(0).integers(0, 2, size=(200, 4)).astype(dtype)),
    _assign("nan and infinity", _special),
    _assign("non-contiguous", lambda dtype: _costs(60, 9, dtype)[::2, ::-2]),
    _assign("Fortran order", lambda dtype: np.asfortranarray(_costs(40, 5, dtype))),
    _assign("no samples", lambda dtype: np.empty((0, 3), dtype=dtype)),
]


def _nearest(n, d, k, dtype):
    X, _, _ = _data(n, d, k, dtype)
    return [X, (1 + 4 * np.arange(k)[:, None] + np.zeros(d)).astype(dtype)]


CASES += [
    Case("assign", "nearest", name, lambda dtype, size=size: _nearest(*size, dtype)) for name, size in SIZES.items()
]
CASES += [
    Case(
        "assign",
        "nearest",
        "ties",  # whole numbers: distances are exact, and every sample lies halfway between two centres
        lambda dtype: [np.array([[1, 0], [3, 0], [1, 2]], dtype), np.array([[2, 0], [0, 0], [4, 0], [2, 0]], dtype)],
    ),
    Case(
        "assign",
        "nearest",
        "far from the origin",
        lambda dtype: [
            np.array([[10000.25], [10000.5], [10000.75]], dtype),
            np.array([[10000.7], [10000.3]], dtype),
        ],
    ),
    Case(
        "assign",
        "nearest",
        "non-contiguous, centres in float64",
        lambda dtype: [_data(40, 6, 3, dtype)[0][::2, ::2], 1.0 + 4 * np.arange(3)[:, None] + np.zeros((3, 3))],
    ),
]


def _objective(n, d, k, dtype):
    _, assign, weights = _data(n, d, k, dtype)
    return [np.exp(_costs(n, k, dtype)), assign, weights]


CASES += [
    Case("assign", "objective", name, lambda dtype, size=size: _objective(*size, dtype)) for name, size in SIZES.items()
]
CASES += [
    Case(
        "assign",
        "objective",
        "non-contiguous",
        lambda dtype: [a[::2] for a in _objective(40, 1, 3, dtype)],
    ),
    Case(
        "assign",
        "objective",
        "no weight",
        lambda dtype: [np.ones((4, 2), dtype), np.array([0, 1, 1, 0]), np.zeros(4, dtype)],
    ),
]


def _sums(n, d, k, dtype):
    return [*_data(n, d, k, dtype), k]


def _zero_weights(dtype):
    X, assign, weights, k = _sums(50, 3, 4, dtype)
    weights[assign == 2] = 0
    weights[::7] = 0
    return [X, assign, weights, k]


def _empty_cluster(dtype):
    X, assign, weights, k = _sums(50, 3, 4, dtype)
    assign[assign == 1] = 3
    return [X, assign, weights, k]


CASES += [
    Case("assign", "cluster_sums", name, lambda dtype, size=size: _sums(*size, dtype)) for name, size in SIZES.items()
]
CASES += [
    Case("assign", "cluster_sums", "zero weights", _zero_weights),
    Case("assign", "cluster_sums", "an empty cluster", _empty_cluster),
    Case(
        "assign",
        "cluster_sums",
        "non-contiguous",
        lambda dtype: [*(a[::-2] for a in _data(41, 6, 3, dtype)), 3],
    ),
]


def _move(n, d, k, dtype, new=None, weights=None):
    """A batch of about two thirds of the samples, in another order, with new labels."""
    X, assign, w = _data(n, d, k, dtype)
    w = w if weights is None else weights.astype(dtype)
    rng = np.random.default_rng(5)
    index = rng.permutation(n)[: max(1, 2 * n // 3)]
    new = rng.integers(0, k, size=len(index)) if new is None else new(assign, index)
    return [X[index], index, new, assign, w[index], *reference.cluster_sums(X, assign, w, k)]


def _emptied(dtype):
    # Every sample leaves cluster 0, weights that do not add up to an exact zero.
    X, assign, weights = _data(60, 4, 3, dtype)
    index = np.flatnonzero(assign == 0)[::-1].copy()
    sums = reference.cluster_sums(X, assign, weights, 3)
    return [X[index], index, 1 + index % 2, assign, weights[index], *sums]


CASES += [Case("assign", "move", name, lambda dtype, size=size: _move(*size, dtype)) for name, size in SIZES.items()]
CASES += [
    Case(
        "assign", "move", "nothing moves", lambda dtype: _move(37, 5, 3, dtype, new=lambda assign, index: assign[index])
    ),
    Case("assign", "move", "a cluster empties", _emptied),
    Case("assign", "move", "zero weights", lambda dtype: _move(37, 5, 3, dtype, weights=np.arange(37) % 3)),
    Case(
        "assign",
        "move",
        "non-contiguous",
        lambda dtype: [
            np.repeat(a, 2, axis=0)[::2] if i in (0, 1, 2, 4) else a for i, a in enumerate(_move(37, 5, 3, dtype))
        ],
    ),
]


def _means(b, k, d, empty=()):
    rng = np.random.default_rng([b, k, d])
    totals = rng.uniform(1, 3, size=k)
    totals[list(empty)] = 0
    return [rng.normal(size=(k, d)) * (totals > 0)[:, None], totals, rng.normal(size=(k, d)), b]


CASES += [
    Case("assign", "means", name, lambda dtype, arguments=arguments: _means(*arguments))
    for name, arguments in {
        "one cluster": (0, 1, 1),
        "means": (0, 3, 7),
        "running": (4, 5, 6),
        "an empty cluster": (0, 3, 7, (1,)),
        "running, all empty": (2, 2, 3, (0, 1)),
    }.items()
]
