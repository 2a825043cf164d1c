"""The parts of a contract: functions, arguments, tolerances, cases.

In shapes: n samples, d features, k clusters, p parameters, b rows in a batch, h latent dimensions. The dtype "float" is
the working dtype, float32 or float64, one and the same for all "float" arguments of a call.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature

import numpy as np

from csrl_core.reference.optimizer import OptimizerState


@dataclass(frozen=True)
class Tolerance:
    """How far a backend may be from the reference; ``floor`` counts roundings of the largest entry."""

    floor: float
    reason: str


# The budget of an array is eps(dtype) · (2 · r + floor · max|expected|). r is the reference's own error in
# float32 divided by eps(float32): it measures how much this call magnifies roundings, for either dtype.
TOLERANCES = {
    "exact": Tolerance(0.0, "integers, comparisons, and numbers that both dtypes hold exactly: no rounding"),
    "elementwise": Tolerance(
        4.0, "the same few operations in the same order; libraries' exp, log, tanh differ by an ulp or two each"
    ),
    "sum": Tolerance(
        64.0,
        "the same terms in another order: chunks hold about 1000, whose roundings add up like a random walk "
        "to √1000 ≈ 32, in either backend",
    ),
}
# Where the reference in float32 misses float64 by more than this part of the largest entry, or takes
# another integer, a case is no test: it would pass anything.
WELL_POSED = 1e-2
UNITS = ("element", "sample", "sum over samples", "parameter", "batch")  # batch: a loss that does not add up


@dataclass(frozen=True)
class Argument:
    """``shape`` is "" for a scalar; ``on_host``: an array that Python reads, which no backend moves to a device.

    ``fields`` are those of a record, a named tuple of the reference, whose name is the dtype.
    """

    name: str
    shape: str
    dtype: str
    meaning: str
    in_place: bool = False
    on_host: bool = False
    fields: tuple = ()


ON_HOST = True
# Arguments that several stems have: (shape, dtype, meaning), and ON_HOST; of a record (its class, meaning), its fields
# being described like arguments. A stem's own stand in its file of cases.
COMMON = {
    # random numbers
    "key": ("(2,)", "uint32", "drawn once a fit", ON_HOST),
    "stream": ("", "int", "use | layer << 8 | restart << 16"),
    "step": ("", "int", "the optimizer's global step"),
    "substep": ("", "int", "Gibbs iteration, or index of β"),
    "rows": ("(n,)", "int", "the samples' places in the data"),
    "width": ("", "int", "elements a row"),
    # samples and clusters
    "X": ("(n, d)", "float", "input"),
    "weights": ("(n,)", "float", "sample weights"),
    "assign": ("(n,)", "int64", "cluster of each sample"),
    "centers": ("(k, d)", "float", "cluster centres, constants of the gradient"),
    "k": ("", "int", "clusters"),
    "sums": ("(k, d)", "float64", "Σ w x of every cluster"),
    "totals": ("(k,)", "float64", "Σ w of every cluster"),
    "counts": ("(k,)", "int64", "samples with w > 0 of every cluster"),
    # parameters
    "params": ("(p,)", "float", "all trained parameters"),
    "weight": ("", "float64", "Σ w of the batch"),
    # the optimizer's
    "optimizer": (OptimizerState, "the method, its constants and what it keeps; steps taken before"),
    "method": ("", "int", "ADAM or SGD"),
    "moments": ("(2, p)", "float", "(m, v), or (velocity, unused)"),
    "learning_rate": ("", "float64", "η"),
    "beta1": ("", "float64", "β₁ of Adam"),
    "beta2": ("", "float64", "β₂ of Adam"),
    "epsilon": ("", "float64", "ε of Adam, outside the root"),
    "momentum": ("", "float64", "μ of SGD"),
    "decay_steps": ("", "int", "steps in which the rate decays to 0, 0 for a constant rate"),
    "clip_norm": ("", "float64", "largest norm of the mean gradient, 0 for no limit"),
    # networks
    "A": ("(n, m)", "float", "pre-activations"),
    "Z": ("(n, h)", "float", "embedding"),
}


@dataclass(frozen=True)
class Function:
    """One kernel: its arguments in order, what it returns, and how exactly backends agree on it.

    ``unit`` says what the result is per or of, one of `UNITS`.
    """

    stem: str
    name: str
    arguments: tuple[Argument, ...]
    returns: str
    tolerance: str
    unit: str

    @property
    def in_place(self):
        """The positions, among the `leaves`, of the arguments that change in place."""
        return tuple(i for i, argument in enumerate(self.leaves) if argument.in_place)

    @property
    def leaves(self):
        """The arguments, fields of a record in its place."""
        return tuple(leaf for argument in self.arguments for leaf in argument.fields or (argument,))

    def values(self, arguments):
        """The values of a call's arguments, fields of a record in its place."""
        pairs = zip(self.arguments, arguments, strict=True)
        return [leaf for argument, value in pairs for leaf in (value if argument.fields else (value,))]

    def mapped(self, change, arguments):
        """The arguments of a call with ``change(leaf, value)`` for every value, records being records again."""
        return [
            type(value)(*(change(leaf, part) for leaf, part in zip(argument.fields, value, strict=True)))
            if argument.fields
            else change(argument, value)
            for argument, value in zip(self.arguments, arguments, strict=True)
        ]

    @property
    def signature(self):
        """The arguments' names, in order."""
        return tuple(argument.name for argument in self.arguments)


@dataclass(frozen=True)
class Kernel:
    """An item of a stem's ``FUNCTIONS``: what the signature of the reference's function does not say.

    function : of the reference, whose name and arguments every backend has
    returns : shapes and dtypes; tolerance : a key of `TOLERANCES`; unit : one of `UNITS`
    changes : names of the arguments, or fields of records, that change in place, with blanks between them
    arguments : name → description, where an argument is not what it is in the stem's other functions
    """

    function: Callable
    returns: str
    tolerance: str
    unit: str
    changes: str = ""
    arguments: dict = field(default_factory=dict)

    def entry(self, stem, described):
        """The `Function`; described : name → (shape, dtype, meaning), those of the stem."""
        name, known = self.function.__name__, COMMON | described | self.arguments
        parameters, changes = list(signature(self.function).parameters), self.changes.split()
        home = f"csrl_core/contract/cases/{stem}.py"

        def argument(parameter):
            if parameter not in known:
                raise ImportError(f"{home} does not describe the argument {parameter} of {name}; add it to ARGUMENTS")
            if isinstance(known[parameter][0], type):
                record, meaning = known[parameter]
                return Argument(parameter, "", record.__name__, meaning, fields=tuple(map(argument, record._fields)))
            shape, dtype, meaning, *on_host = known[parameter]
            return Argument(parameter, shape, dtype, meaning, parameter in changes, bool(on_host))

        entry = Function(stem, name, tuple(map(argument, parameters)), self.returns, self.tolerance, self.unit)
        for what, given, allowed in (
            ("changes the argument", changes, [leaf.name for leaf in entry.leaves]),
            ("gives the tolerance", [self.tolerance], TOLERANCES),
            ("gives the unit", [self.unit], UNITS),
        ):
            for word in given:
                if word not in allowed:
                    raise ImportError(f"{home}: {name} {what} {word!r}, expected one of {', '.join(allowed)}")
        return entry


@dataclass(frozen=True)
class Case:
    """One call of one kernel.

    ``arguments(dtype)`` builds the positional arguments afresh on every call, always the same
    values. Which of them change in place is the contract's to say.
    """

    stem: str
    function: str
    name: str
    arguments: Callable[[np.dtype], list]

    def __str__(self):
        return f"{self.stem}.{self.function}[{self.name}]"
