"""Cases of the ``rbm`` kernels: both kinds of visible units, odd sizes, several blocks, empty clusters.

Where units are sampled, a probability within rounding of its random number would turn a bit, and with it all that
follows: cases are small enough, and their seeds such, that none lies so near (``verify`` calls others ill-posed).
"""

import numpy as np

from csrl_core.contract.cases import ON_HOST, Case, Kernel
from csrl_core.reference import rbm

ARGUMENTS = {
    "V": ("(n, d)", "float", "visible units, in the coordinates of the row's cluster"),
    "H": ("(n, m)", "float", "hidden units"),
    "visible": ("", "int", "BERNOULLI or GAUSSIAN"),
    "n_steps": ("", "int", "steps of a chain, K"),
    "every": ("", "bool", "whether all columns of the losses are wanted, or the assigned one"),
    "chains": ("(k, M, d)", "float", "persistent chains of every cluster: where their visible units stand"),
    "hidden": ("(k, M, m)", "float", "bits, where the hidden units of persistent chains do"),
    "base": ("(k, d)", "float", "visible bias of the model that annealing starts from"),
    "betas": ("(T,)", "float64", "inverse temperatures, from 0 up to 1", ON_HOST),
    "n_chains": ("", "int", "chains, M"),
    "offset": ("(m,)", "float", "what every row's pre-activations gain"),
    "column": ("", "int", "the row's element that the first column takes"),
}
FUNCTIONS = [
    Kernel(rbm.bernoulli_units, "(n, m) float, 0 or 1", "exact", "element"),
    Kernel(rbm.gaussian_units, "(n, m) float", "elementwise", "element"),
    Kernel(rbm.free_energy, "F (n, k) float", "sum", "sample"),
    Kernel(rbm.hidden_probabilities, "(n, m) float", "sum", "sample"),
    Kernel(rbm.visible_means, "(n, d) float", "sum", "sample"),
    Kernel(rbm.gibbs, "(n, d) float", "sum", "sample", arguments={"substep": ("", "int", "number of the first step")}),
    Kernel(
        rbm.energy_gradient,
        "(p,) float",
        "sum",
        "sum over samples",
        arguments={"weights": ("(n,)", "float", "weights of either sign")},
    ),
    Kernel(rbm.mean_field_losses, "L (n, k) float", "sum", "sample"),
    Kernel(
        rbm.losses_and_gradient,
        "L (n, k) float, assign (n,) int64, gradient (p,) float",
        "sum",
        "sum over samples",
        arguments={"assign": ("(n,)", "int64 or None", "None: argmin of the losses")},
    ),
    Kernel(
        rbm.persistent_losses_and_gradient,
        "L (n, k) float, assign (n,) int64, gradient (p,) float",
        "sum",
        "sum over samples",
        changes="chains hidden",
        arguments={"assign": ("(n,)", "int64 or None", "None: argmin of the losses")},
    ),
    Kernel(rbm.ais, "(k, M) float64", "sum", "element", arguments={"step": ("", "int", "number of the estimate")}),
]
CONSTANTS = ("BERNOULLI", "GAUSSIAN", "VISIBLE", "VISIBLE_STREAM")

# n, d, k, m
SIZES = {
    "tiny": (4, 3, 2, 2),
    "one sample": (1, 6, 2, 4),
    "one cluster": (23, 9, 1, 5),
    "one hidden unit": (12, 7, 3, 1),
    "one visible unit": (12, 1, 2, 3),
    "odd": (37, 13, 3, 7),
    "blocks of words": (16, 12, 2, 8),
    "several blocks": (290, 21, 3, 18),
    "many hidden units": (70, 10, 2, 150),
}
KEY = (0x12345678, 0x9ABCDEF0)
STREAM, AIS = 20, 67  # any two streams
STEP = 5
UNITS = {"bernoulli": rbm.BERNOULLI, "gaussian": rbm.GAUSSIAN}


def arguments(dtype, n, d, k, m, visible, *, center=False, empty=None, zeros=False, far=False, seed=0):
    """The parts that the kernels' arguments are made of, as a dict.

    empty : a cluster without samples; zeros : some weights are 0; far : rows whose random numbers are of several keys
    """
    rng = np.random.default_rng([n, d, k, m, visible, seed])
    params = np.concatenate(
        [rng.normal(size=k * d * m) / np.sqrt(d), 0.5 * rng.normal(size=k * m), 0.5 * rng.normal(size=d)]
    )
    X = rng.normal(size=(n, d)) if visible == rbm.GAUSSIAN else (rng.random((n, d)) < 0.4).astype(np.float64)
    assign = rng.integers(0, k, n)
    if empty is not None:
        assign[assign == empty] = (empty + 1) % k
    weights = rng.uniform(0.5, 2, n)
    if zeros:
        weights[::3] = 0
    arrays = {
        "params": params,
        "X": X,
        "centers": rng.uniform(0, 0.5, size=(k, d)) * center,
        "weights": weights,
        "H": (rng.random((n, m)) < 0.5).astype(np.float64),
        "chains": np.round(rng.random((k, 5, d))) if visible == rbm.BERNOULLI else rng.normal(size=(k, 5, d)),
        "hidden": (rng.random((k, 5, m)) < 0.5).astype(np.float64),
        "base": 0.5 * rng.normal(size=(k, d)),
        "A": 2 * rng.normal(size=(n, m)),
        "offset": rng.normal(size=m),
    }
    return {name: array.astype(dtype) for name, array in arrays.items()} | {
        "assign": assign,
        "rows": rng.permutation([2**e // (k * w) for e in (33, 34, 40) for w in (d, m)])
        if far
        else rng.permutation(3 * n)[:n],
        "key": np.array(KEY, np.uint32),
        "k": k,
        "visible": visible,
        "width": k * m,
        "column": (k - 1) * m,
    }


def _case(function, name, make, shape, visible, **options):
    return Case("rbm", function, name, lambda dtype: make(arguments(dtype, *shape, visible, **options)))


def _units(a):
    return [a["A"], a["offset"], a["key"], STREAM, STEP, 2, a["rows"], a["width"], a["column"]]


def _free_energy(a):
    return [a["params"], a["X"], a["centers"], a["visible"]]


def _hidden(a):
    return [a["params"], a["X"], a["centers"], a["assign"]]


def _means(a):
    return [a["params"], a["H"], a["assign"], a["centers"], a["visible"]]


def _gibbs(a, n_steps=2, substep=0):
    fixed = [n_steps, a["key"], STREAM, STEP, substep, a["rows"]]
    return [a["params"], a["k"], a["X"], a["assign"], a["visible"], *fixed]


def _energy_gradient(a):
    weights = a["weights"] * np.where(np.arange(len(a["weights"])) % 2, -1, 1).astype(a["weights"].dtype)
    return [a["params"], a["k"], a["X"], a["assign"], weights, a["visible"]]


def _mean_field(a, n_steps=2):
    return [a["params"], a["X"], a["centers"], a["visible"], n_steps]


def _divergence(a, n_steps=1, every=True, chosen=False):
    assign = None if chosen else a["assign"]
    fixed = [n_steps, every, a["key"], STREAM, STEP, a["rows"]]
    return [a["params"], a["X"], a["centers"], assign, a["weights"], a["visible"], *fixed]


def _persistent(a, n_steps=1, chosen=False):
    assign = None if chosen else a["assign"]
    fixed = [a["chains"], a["hidden"], n_steps, a["key"], STREAM, STEP]
    return [a["params"], a["X"], a["centers"], assign, a["weights"], a["visible"], *fixed]


def _ais(a, n_betas=9, n_chains=6):
    return [a["params"], a["base"], a["visible"], np.linspace(0, 1, n_betas), n_chains, a["key"], AIS, 3]


_MAKERS = {
    "free_energy": _free_energy,
    "hidden_probabilities": _hidden,
    "visible_means": _means,
    "gibbs": _gibbs,
    "energy_gradient": _energy_gradient,
    "mean_field_losses": _mean_field,
    "losses_and_gradient": _divergence,
    "persistent_losses_and_gradient": _persistent,
    "ais": _ais,
}


def _strided(make):
    """The same values in data arrays that skip every other entry."""

    def strided(a):
        return [
            np.repeat(value, 2, axis=-1)[..., ::2] if np.ndim(value) == 2 and len(value) > 1 else value
            for value in make(a)
        ]

    return strided


CASES = []
for _units_name, _visible in UNITS.items():
    _function = f"{_units_name}_units"
    CASES += [_case(_function, name, _units, shape, _visible) for name, shape in SIZES.items()]
    CASES += [_case(_function, "non-contiguous", _strided(_units), SIZES["odd"], _visible)]
    CASES += [_case(_function, "far rows", _units, (6, 10, 3, 7), _visible, far=True)]
    for _function, _make in _MAKERS.items():
        CASES += [_case(_function, f"{_units_name}, {name}", _make, shape, _visible) for name, shape in SIZES.items()]
        CASES += [
            _case(_function, f"{_units_name}, centred", _make, (30, 8, 3, 6), _visible, center=True),
            _case(_function, f"{_units_name}, an empty cluster", _make, (31, 8, 3, 6), _visible, empty=1),
            _case(_function, f"{_units_name}, zero weights", _make, (32, 8, 3, 6), _visible, zeros=True),
        ]
        if _function != "persistent_losses_and_gradient":  # whose chains would be moved in a copy
            CASES += [_case(_function, f"{_units_name}, non-contiguous", _strided(_make), (33, 8, 3, 6), _visible)]
    CASES += [
        _case("gibbs", f"{_units_name}, one step later", lambda a: _gibbs(a, 1, 3), (20, 9, 2, 5), _visible),
        _case("gibbs", f"{_units_name}, far rows", _gibbs, (6, 10, 3, 7), _visible, far=True),
        _case("losses_and_gradient", f"{_units_name}, far rows", _divergence, (6, 10, 3, 7), _visible, far=True),
        _case(
            "losses_and_gradient",
            f"{_units_name}, one cluster, far rows",
            _divergence,
            (6, 10, 1, 7),
            _visible,
            far=True,
        ),
        _case("gibbs", f"{_units_name}, no steps", lambda a: _gibbs(a, 0), (5, 4, 2, 3), _visible),
        _case("mean_field_losses", f"{_units_name}, one step", lambda a: _mean_field(a, 1), (20, 9, 2, 5), _visible),
        _case("ais", f"{_units_name}, two temperatures", lambda a: _ais(a, 2), (2, 9, 2, 5), _visible),
    ]
    for _name, _options in {
        "three steps": {"n_steps": 3},
        "assigned columns": {"every": False},
        "assigned columns, three steps": {"every": False, "n_steps": 3},
        "chosen": {"chosen": True},
    }.items():
        CASES += [
            _case(
                "losses_and_gradient",
                f"{_units_name}, {_name}",
                lambda a, options=_options: _divergence(a, **options),
                (41, 11, 3, 9),
                _visible,
            )
        ]
    for _name, _options in {"three steps": {"n_steps": 3}, "chosen": {"chosen": True}}.items():
        CASES += [
            _case(
                "persistent_losses_and_gradient",
                f"{_units_name}, {_name}",
                lambda a, options=_options: _persistent(a, **options),
                (41, 11, 3, 9),
                _visible,
            )
        ]
