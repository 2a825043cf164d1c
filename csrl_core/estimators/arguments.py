"""Constructor arguments as fields: those that estimators share, and the decorator for a class with its own.

Each argument is written once, as an annotated field with its default. The constructor, which only stores, and its
signature are made from the fields. The docstrings of shared arguments are added to the docstring of every class.
"""

import inspect
import re
from dataclasses import MISSING, dataclass, fields
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from csrl_core import backends
from csrl_core.training.draws import RESTARTS

_SECTION = re.compile(r"^(\w+)\n-+\n", re.MULTILINE)
_ENTRY = re.compile(r"^(?=\w[^\n]* : )", re.MULTILINE)


def estimator(cls):
    """Decorator that makes an estimator from a class with annotated fields.

    A field that a base class has too gets another default. ``_parameter_constraints`` are added to those of the bases.
    Arguments that the docstring does not describe get their description from the base class that has them.
    """
    inherited = {}
    for base in reversed(cls.__mro__[1:]):
        inherited |= vars(base).get("_parameter_constraints", {})
    cls._parameter_constraints = inherited | vars(cls).get("_parameter_constraints", {})
    own = cls.__doc__
    cls = dataclass(kw_only=True, eq=False, repr=False, match_args=False)(cls)
    cls.__doc__ = _complete(inspect.cleandoc(own or cls.__name__), cls)
    return cls


def _split(doc):
    """(text before the parameters, list of their descriptions, text after them) of a docstring without indentation."""
    sections = list(_SECTION.finditer(doc))
    start = next((section for section in sections if section[1] == "Parameters"), None)
    if start is None:
        return f"{doc}\n\nParameters\n----------", [], ""
    last = next((section.start() for section in sections if section.start() > start.start()), len(doc))
    entries = [entry.rstrip() for entry in _ENTRY.split(doc[start.end() : last]) if entry.strip()]
    return doc[: start.end()].rstrip(), entries, doc[last:]


def _complete(doc, cls):
    """The docstring, completed by the inherited arguments that it does not describe, as base classes describe them."""
    before, entries, after = _split(doc)
    described = {name.strip() for entry in entries for name in entry.partition(" : ")[0].split(",")}
    defaults = {field.name: field.default for field in fields(cls)}
    for base in cls.__mro__[1:]:
        has_fields = "__dataclass_fields__" in vars(base)
        for entry in _split(inspect.cleandoc(base.__doc__))[1] if has_fields and base.__doc__ else ():
            head, newline, text = entry.partition("\n")
            name = head.partition(" : ")[0]
            if name not in described and defaults.get(name, MISSING) is not MISSING:
                described.add(name)
                default = defaults[name]
                default = f'"{default}"' if isinstance(default, str) else default
                entries.append(f"{head}, default={default}{newline}{text}")
    return "\n".join([before, *entries, "", after]).rstrip() + "\n"


@dataclass(kw_only=True, eq=False, repr=False, match_args=False)
class TrainingArguments:
    """The arguments of every estimator.

    Parameters
    ----------
    n_clusters : int
        The number of clusters, k.
    epochs : int
        Passes over the data.
    batch_size : int or None
        Samples in a batch; None: all.
    learning_rate : float
        The optimizer's step size.
    learning_rate_schedule : {"constant", "cosine"}
        "cosine": the step size decays along half a cosine, step by step, to 0 after the last epoch. `partial_fit`,
        which has no last step, and ``solver="exact"``, which has no step size, do not decay it.
    optimizer : {"adam", "sgd"}
        How a gradient becomes a step.
    clip_norm : float or None
        Global norm to which the mean gradient is clipped.
    tol : float
        Training stops if in ``n_iter_no_change`` epochs no assignment changed and the best loss improved by no more
        than tol·max(1, |best|), of losses in the unit in which the model learns (docs/running.md). With 0 all epochs
        run.
    n_iter_no_change : int
        The number of epochs that ``tol`` is about.
    n_init : int
        Restarts; the one with the lowest final loss, or the highest mean log-likelihood, is kept.
    backend : {"auto", "numpy", "numba", "cupy", "emulated"}
        The kernels that compute; "auto" is numba.
    n_jobs : int or None
        Threads; None takes all usable cores. Results do not depend on it.
    random_state : int, RandomState or None
        The same seed gives the same model.
    verbose : int
        1 prints a line every two seconds, 2 a line for every epoch.
    """

    n_clusters: int = 2
    epochs: int = 150
    batch_size: int | None = None
    learning_rate: float = 0.01
    learning_rate_schedule: str = "constant"
    optimizer: str = "adam"
    clip_norm: float | None = None
    tol: float = 0.0
    n_iter_no_change: int = 10
    n_init: int = 1
    backend: str = "auto"
    n_jobs: int | None = None
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0

    _parameter_constraints = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [None, Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "learning_rate_schedule": [StrOptions({"constant", "cosine"})],
        "optimizer": [StrOptions({"adam", "sgd"})],
        "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "n_init": [Interval(Integral, 1, RESTARTS, closed="both")],
        "backend": [StrOptions({"auto", *backends.BACKENDS})],
        "n_jobs": [None, Interval(Integral, 1, None, closed="left"), Interval(Integral, None, -1, closed="right")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }


@dataclass(kw_only=True, eq=False, repr=False, match_args=False)
class SharedArguments(TrainingArguments):
    """The arguments of every estimator of the joint assignment objective.

    Parameters
    ----------
    center : bool
        Whether each cluster's centre is subtracted from the model's input and target.
    update : {"step-then-assign", "assign-then-step"}
        Whether the gradient uses the present assignments, or new ones.
    center_update : {"mean", "running"}
        Centres are the means of their clusters, or the running centres of the authors' code.
    assignment : {"loss", "likelihood"}
        Samples go to the cluster of the lowest loss, or of the highest likelihood.
    standing_epochs : int or "auto"
        Epochs at the start of training during which the first assignment stands. Near their initial parameters all
        clusters may look alike, and then the lowest loss says nothing about clusters. "auto": the model's own number.
    init : {"auto", "k-means++", "k-means", "random"}, labels (n,) or centres (k, d)
        The first assignment. "auto": the best of ten k-means (one, if X has more than 2²⁰ values), or a better start,
        if the model can compare starts before training (`csrl_core.training.starts`).
    """

    center: bool = True
    update: str = "step-then-assign"
    center_update: str = "mean"
    assignment: str = "loss"
    standing_epochs: int | str = "auto"
    init: str | np.ndarray = "auto"

    _parameter_constraints = {
        "center": ["boolean"],
        "update": [StrOptions({"step-then-assign", "assign-then-step"})],
        "center_update": [StrOptions({"mean", "running"})],
        "assignment": [StrOptions({"loss", "likelihood"})],
        "standing_epochs": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "init": [StrOptions({"auto", "k-means++", "k-means", "random"}), "array-like"],
    }
