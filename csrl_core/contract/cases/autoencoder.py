"""Cases of the ``autoencoder`` kernels: every way of computing, and what data and assignments can bring.

``SHAPES`` has the shapes that make a backend choose each of its ways; the rest varies one thing at a time.
"""

import numpy as np

from csrl_core.contract.cases import ON_HOST, Case, Kernel
from csrl_core.reference import assign as assignment
from csrl_core.reference import autoencoder as reference
from csrl_core.reference.dense import layer_table
from csrl_core.reference.optimizer import ADAM, SGD, OptimizerState

ARGUMENTS = {
    "target": ("(n, d)", "float", "what is to be reconstructed"),
    "layers": ("(n_layers, 6)", "int64", "fan_in, fan_out, copies, weight, bias, activation", ON_HOST),
    "reg": ("", "float64", "λ"),
    "order": ("(n,)", "int64", "the samples in the order of the epoch"),
    "batch_size": ("", "int", "rows of a batch"),
    "clusters": (assignment.Clusters, "the state of the assignment"),
    "options": (assignment.JointOptions, "how the joint algorithm goes"),
    "center": ("", "bool", "whether centres are taken off"),
    "assign_first": ("", "bool", "assignment before the gradient rather than after"),
    "running": ("", "bool", "centres by the running rule"),
}
FUNCTIONS = [
    Kernel(reference.losses, "L (n, k) float", "sum", "sample"),
    Kernel(
        reference.losses_and_gradient,
        "L (n, k) float, assign (n,) int64, gradient (p,) float",
        "sum",
        "sum over samples",
        arguments={"assign": ("(n,)", "int64 or None", "None: argmin of the losses")},
    ),
    Kernel(reference.encode, "(n, k, h) float", "sum", "sample"),
    Kernel(reference.decode, "(n, d) float", "sum", "sample"),
    Kernel(
        reference.fused_epoch,
        "Σ w L[i, s_i], Σ w, samples with weight that moved",
        "sum",
        "sum over samples",
        changes="params assign centers sums totals counts moments",
        arguments={
            "centers": ("(k, d)", "float64", "cluster centres"),
            "step": ("", "int", "optimizer steps taken before"),
        },
    ),
]

# n, d, k, hidden
SHAPES = {
    "small": (37, 6, 3, (2, 1)),
    "small, many samples": (2500, 5, 3, (3, 2)),
    "small, deep": (65, 9, 2, (7, 5, 3)),
    "skinny": (61, 84, 3, (2, 1)),
    "skinny, many samples": (2500, 65, 2, (2, 1)),
    "skinny, odd widths": (45, 67, 4, (5, 3)),
    "skinny, one unit": (33, 70, 3, (1,)),
    "skinny, many units": (40, 70, 2, (10,)),
    "wide": (150, 40, 3, (36, 5)),
    "wide, many samples": (2500, 33, 2, (40, 3)),
    "wide, large weights": (270, 130, 2, (140, 4)),
    "wide, many clusters": (270, 33, 9, (40, 3)),
    "wide, many samples and clusters": (1500, 33, 8, (40, 3)),
}
SIZES = {
    "one sample": (1, 6, 2, (2, 1)),
    "one sample, skinny": (1, 70, 2, (2,)),
    "one sample, wide": (1, 30, 2, (50, 2)),
    "one cluster": (41, 7, 1, (3, 1)),
    "one cluster, skinny": (41, 71, 1, (3, 1)),
    "one cluster, wide": (141, 130, 1, (140, 4)),
    "one feature": (20, 1, 2, (2, 1)),
    "more clusters than samples": (3, 5, 7, (2, 1)),
}
SMALL, SKINNY, WIDE = (SHAPES[name] for name in ("small", "skinny", "wide"))
# Of a power of two features, for ties: a mean over them is exact, see ``ties``.
TIES = {"small": (37, 8, 3, (2, 1)), "skinny": (61, 64, 3, (2, 1)), "wide": (150, 64, 3, (36, 5))}
REG, TIES_REG = 0.1, 0.125


def arguments(
    dtype,
    n,
    d,
    k,
    hidden,
    *,
    activation="linear",
    bias=False,
    shared=0,
    output="linear",
    target=True,
    zeros=False,
    empty=None,
):
    """The parts that the kernels' arguments are made of, as a dict.

    target : bool, whether it differs from X; zeros : some weights are 0; empty : a cluster without samples
    """
    rng = np.random.default_rng([n, d, k, *hidden])
    widths, m = [d, *hidden], len(hidden)
    copies = [1 if l < shared else k for l in range(m)]
    rows = [(widths[l], widths[l + 1], copies[l], activation, bias) for l in range(m)]
    rows += [(widths[l + 1], widths[l], copies[l], "linear" if l else output, bias) for l in reversed(range(m))]
    layers, size = layer_table(rows)
    params = rng.normal(size=size)
    for fan_in, fan_out, c, weight, _, _ in layers.tolist():
        params[weight : weight + fan_in * fan_out * c] /= np.sqrt(fan_in)
    assign = rng.integers(0, k, n)
    if empty is not None:
        assign[assign == empty] = (empty + 1) % k
    X = rng.normal(size=(n, d)) + rng.normal(size=(k, d))[assign]
    T = X + 0.3 * rng.normal(size=(n, d)) if target else X
    weights = rng.uniform(0.5, 2, n)
    if zeros:
        weights[::3] = 0
    centers = 0.5 * rng.normal(size=(k, d))
    X = X.astype(dtype)
    return {
        "params": params.astype(dtype),
        "layers": layers,
        "X": X,
        "target": T.astype(dtype) if target else X,
        "centers": centers.astype(dtype),
        "assign": assign,
        "weights": weights.astype(dtype),
        "latent": hidden[-1],
    }


def ties(dtype, n, d, k, hidden):
    """The same, of clusters 0 and 1 with equal networks and centres, whose losses are equal to the bit everywhere.

    Two products of the same numbers need not be: libraries add up the last columns in another order than the first.
    Here all are whole numbers so small that any order of any sum is exact in float32, and so is what is made of the
    sums where d and λ are powers of two (see ``TIES``). A unit adds or subtracts two of its inputs, lest numbers grow.
    """
    a = arguments(np.float64, n, d, k, hidden)
    rng = np.random.default_rng([n, d, k])
    params = np.zeros(len(a["params"]))
    for fan_in, fan_out, copies, weight, _, _ in a["layers"].tolist():
        W = params[weight : weight + copies * fan_in * fan_out].reshape(copies, fan_in, fan_out)
        for j in range(copies):
            for o in range(fan_out):
                W[j, rng.permutation(fan_in)[:2], o] = rng.choice([-1, 1], min(2, fan_in))
        W[1] = W[0]
    centers = rng.integers(-2, 3, size=(k, d)).astype(np.float64)
    centers[1] = centers[0]
    X = centers[a["assign"]] + rng.integers(-3, 4, size=(n, d))
    arrays = {"params": params, "X": X, "target": X + rng.integers(-1, 2, size=(n, d)), "centers": centers}
    return a | {"weights": a["weights"].astype(dtype)} | {name: array.astype(dtype) for name, array in arrays.items()}


def _losses(shape, parts=arguments, reg=REG, **options):
    def build(dtype):
        a = parts(dtype, *shape, **options)
        return [a["params"], a["layers"], a["X"], a["target"], a["centers"], reg]

    return build


def _gradient(shape, chosen=False, parts=arguments, reg=REG, **options):
    """``chosen``: the kernel assigns."""

    def build(dtype):
        a = parts(dtype, *shape, **options)
        assign = None if chosen else a["assign"]
        return [a["params"], a["layers"], a["X"], a["target"], a["centers"], assign, a["weights"], reg]

    return build


def _encode(shape, **options):
    def build(dtype):
        a = arguments(dtype, *shape, **options)
        return [a["params"], a["layers"], a["X"], a["centers"]]

    return build


def _decode(shape, **options):
    def build(dtype):
        a = arguments(dtype, *shape, **options)
        Z = np.random.default_rng(shape[0]).normal(size=(len(a["X"]), a["latent"])).astype(dtype)
        return [a["params"], a["layers"], Z, a["assign"], a["centers"]]

    return build


def fused(
    shape,
    *,
    batch_size=None,
    permuted=False,
    center=True,
    assign_first=False,
    running=False,
    method=ADAM,
    clip_norm=0.0,
    **options,
):
    """Builds the arguments of ``fused_epoch``; the moments are those of a run that has begun."""

    def build(dtype):
        a = arguments(dtype, *shape, **options)
        n, k = len(a["X"]), len(a["centers"])
        rng = np.random.default_rng(n)
        order = rng.permutation(n) if permuted else np.arange(n)
        sums, totals, counts = assignment.cluster_sums(a["target"], a["assign"], a["weights"], k)
        centers = np.zeros(sums.shape)
        assignment.means(sums, totals, centers, 0)
        moments = np.array([0.1, 1.0])[:, None] * rng.uniform(0.5, 1, size=(2, len(a["params"])))
        rate = 0.01 if method == ADAM else 0.05
        return [
            *(a["params"], a["layers"], a["X"], a["target"], a["weights"], REG, order, batch_size or n),
            assignment.Clusters(a["assign"], centers, sums, totals, counts),
            assignment.JointOptions(center, assign_first, running),
            OptimizerState(method, moments.astype(dtype), 3, rate, momentum=0.9, clip_norm=clip_norm),
        ]

    return build


def _strided(build):
    """The same values in data arrays that skip every other entry."""

    def strided(value, dtype):
        if isinstance(value, tuple):
            return type(value)(*(strided(field, dtype) for field in value))
        gaps = isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype == dtype
        return np.repeat(value, 2, axis=-1)[..., ::2] if gaps else value

    return lambda dtype: [strided(value, dtype) for value in build(dtype)]


def _case(function, name, build):
    return Case("autoencoder", function, name, build)


BUILDERS = {"losses": _losses, "losses_and_gradient": _gradient, "encode": _encode, "decode": _decode}
CASES = []
for _name, _shape in (SHAPES | SIZES).items():
    CASES += [_case(_function, _name, _build(_shape)) for _function, _build in BUILDERS.items()]
    CASES += [_case("losses_and_gradient", f"{_name}, chosen", _gradient(_shape, chosen=True))]
_OPTIONS = {
    **{
        name: {"activation": name, "bias": bias}
        for name, bias in [("relu", False), ("leaky_relu", True), ("tanh", False), ("sigmoid", True)]
    },
    "linear with bias": {"bias": True},
    "one shared": {"shared": 1, "activation": "tanh"},
    "all shared": {"shared": 2, "bias": True, "activation": "tanh"},
    "sigmoid output": {"output": "sigmoid", "bias": True},
    "target is X": {"target": False},
    "zero weights": {"zeros": True},
    "empty cluster": {"empty": 1},
}
for _regime, _shape in {"small": SMALL, "skinny": SKINNY, "wide": WIDE}.items():
    for _name, _options in _OPTIONS.items():
        CASES += [
            _case("losses", f"{_regime}, {_name}", _losses(_shape, **_options)),
            _case("losses_and_gradient", f"{_regime}, {_name}", _gradient(_shape, **_options)),
            _case("losses_and_gradient", f"{_regime}, {_name}, chosen", _gradient(_shape, chosen=True, **_options)),
        ]
    CASES += [
        _case("losses", f"{_regime}, ties", _losses(TIES[_regime], ties, TIES_REG)),
        _case("losses_and_gradient", f"{_regime}, ties, chosen", _gradient(TIES[_regime], True, ties, TIES_REG)),
    ]
    for _name in ("tanh", "sigmoid", "one shared", "all shared", "sigmoid output", "empty cluster"):
        CASES += [
            _case("encode", f"{_regime}, {_name}", _encode(_shape, **_OPTIONS[_name])),
            _case("decode", f"{_regime}, {_name}", _decode(_shape, **_OPTIONS[_name])),
        ]
    for _function, _build in BUILDERS.items():
        CASES += [_case(_function, f"{_regime}, non-contiguous", _strided(_build(_shape)))]
_EPOCHS = {
    "full batch": {},
    "permuted": {"permuted": True},
    "assignment first": {"assign_first": True},
    "mini-batches, the last one short": {"batch_size": 10, "permuted": True},
    "mini-batches, assignment first": {"batch_size": 10, "permuted": True, "assign_first": True},
    "batches of one": {"batch_size": 1},
    "running centres": {"batch_size": 10, "running": True},
    "no centres": {"center": False},
    "clipped": {"clip_norm": 0.01},
    "SGD": {"method": SGD},
    "SGD, mini-batches, clipped": {"method": SGD, "batch_size": 7, "clip_norm": 0.1, "assign_first": True},
    **{name: _OPTIONS[name] for name in ("tanh", "sigmoid", "one shared", "all shared", "sigmoid output")},
    **{name: _OPTIONS[name] for name in ("zero weights", "target is X", "empty cluster")},
}
CASES += [_case("fused_epoch", _name, fused(SMALL, **_options)) for _name, _options in _EPOCHS.items()]
CASES += [_case("fused_epoch", _name, fused(SIZES[_name])) for _name in ("one sample", "one cluster", "one feature")]
CASES += [
    _case("fused_epoch", "several chunks", fused(SHAPES["small, many samples"])),
    _case("fused_epoch", "several chunks, assignment first", fused(SHAPES["small, many samples"], assign_first=True)),
    _case("fused_epoch", "deep", fused(SHAPES["small, deep"], activation="tanh", bias=True)),
    _case("fused_epoch", "non-contiguous", _strided(fused(SMALL))),
]
