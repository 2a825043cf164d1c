"""Models and options of ``csrl fit``, found in the estimators: in signatures, constraints and docstrings.

An estimator's file gives the model's name. An argument gives an option: its constraints the type, the signature the
default, the first sentence of its description the help.
"""

import inspect
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from numbers import Integral
from typing import Annotated

import typer
from sklearn.utils._param_validation import Interval, StrOptions

from csrl_core import estimators
from csrl_core.cli.base import WrongUsage, integers

FIRST = "autoencoder"  # the model by default, whose defaults the help shows first
FLAGS = {"n_clusters": ("--clusters", "-k"), "n_jobs": ("--jobs",), "random_state": ("--seed",)}
HELP = {"random_state": "The same seed gives the same model."}  # of what the estimators' docstrings leave unsaid


@dataclass(frozen=True)
class Values:
    """The values of an argument that a command line can give.

    number : int, float or None; least : the least int, None where any is; words : names; flag, widths : bool;
    zero_is_none : whether 0, which is no value of its own, stands for None
    """

    number: type | None = None
    least: int | None = None
    words: frozenset = frozenset()
    flag: bool = False
    widths: bool = False
    zero_is_none: bool = False

    def read(self, option, value):
        """The argument's value, from what was typed or what click made of it; WrongUsage where there is none."""
        value = getattr(value, "value", value)
        if self.flag or value in self.words:
            return value
        if self.number:
            try:
                number = self.number(value)
            except ValueError:
                number = None
            if number is None or (not isinstance(value, str) and number != value):
                expected = " or ".join([_A_NUMBER[self.number], *sorted(self.words)])
                raise WrongUsage(f"{option} {value}: expected {expected}")
            return None if self.zero_is_none and number == 0 else number
        return integers(option, value) if self.widths else value

    def __or__(self, other):
        """The values that either of two models takes; both take a flag, or neither does."""
        leasts = [each.least for each in (self, other) if each.number]
        return Values(
            number=float if float in (self.number, other.number) else self.number or other.number,
            least=None if None in leasts else min(leasts, default=None),
            words=self.words | other.words,
            flag=self.flag,
            widths=self.widths or other.widths,
        )

    def annotation(self, name):
        """(type for typer, further settings of the option)."""
        if self.flag:
            return bool, {}
        if self.number and not (self.words or self.widths):
            return self.number, {"min": self.least} if self.number is int else {}
        if self.words and not (self.number or self.widths):
            return StrEnum(name, {word: word for word in sorted(self.words)}), {}
        number = [_METAVAR[self.number]] if self.number else []
        return str, {"metavar": "|".join([*number, *sorted(self.words), *["W,W,…"] * self.widths])}


_A_NUMBER = {int: "an integer", float: "a number"}
_METAVAR = {int: "INTEGER", float: "FLOAT"}


def values_of(constraints):
    """`Values` of a list of scikit-learn's parameter constraints; None if a command line can give none of them."""
    if constraints in (["random_state"], ["verbose"]):
        return Values(int, 0)
    if isinstance(constraints, str):  # "no_validation"
        return None
    if "boolean" in constraints:
        return Values(flag=True)  # of True, False or "auto" only the first two can be asked for
    intervals = [each for each in constraints if isinstance(each, Interval)]
    words = frozenset().union(*(each.options for each in constraints if isinstance(each, StrOptions)))
    widths = "array-like" in constraints and not words  # beside names an array is labels or centres, say
    if not (intervals or words or widths):
        return None
    zero_is_none = None in constraints and bool(intervals) and not any(0 in each for each in intervals)
    if not intervals or any(each.type is not Integral for each in intervals):
        return Values(float if intervals else None, None, words, False, widths, zero_is_none)
    leasts = [None if each.left is None else each.left + (each.closed in ("right", "neither")) for each in intervals]
    least = None if None in leasts else min(leasts)
    return Values(
        int, min(least, 0) if least is not None and zero_is_none else least, words, False, widths, zero_is_none
    )


@dataclass(frozen=True)
class Argument:
    """An argument of an estimator: what it may be, its default, and the first sentence about it ("" if none)."""

    values: Values
    default: object
    text: str


def arguments_of(kind):
    """Name → `Argument` of what the command line can give of an estimator class."""
    texts, found = parameter_texts(inspect.getdoc(kind) or ""), {}
    for name, parameter in inspect.signature(kind).parameters.items():
        values = values_of(kind._parameter_constraints.get(name, []))
        if values is not None:
            found[name] = Argument(values, parameter.default, first_sentence(texts.get(name, "")))
    return found


def parameter_texts(docstring):
    """Name → description in the section "Parameters" of a docstring as numpydoc has it."""
    _, _, section = docstring.partition("Parameters\n----------\n")
    section = re.split(r"\n\n?\w[\w ]*\n-{3,}", section)[0]
    texts, names = {}, []
    for line in section.splitlines():
        if line[:1].strip():
            names = [name.strip(" *") for name in line.partition(" :")[0].split(",")]
            texts.update(dict.fromkeys(names, ""))
        else:
            for name in names:
                texts[name] = f"{texts[name]} {line.strip()}".strip()
    return texts


def first_sentence(text):
    """The first sentence; one that is a mere symbol is none."""
    found = re.match(r".*?\w\W?\w\W*[.](?=\s|$)", text)
    return found.group().strip() if found else text


@cache
def models():
    """The estimators that ``csrl fit`` can make, and why it cannot make others.

    Returns
    -------
    classes : dict of model → estimator class, the default model first
    faults : dict of model → str
    """
    from csrl_core.cli.learn import OWN_FLAGS, FitRequest

    found, faults = estimators.ready()
    known = {model: arguments_of(found[model]) for model in sorted(found, key=lambda name: (name != FIRST, name))}
    for model, own in known.items():
        for name, argument in own.items():
            if name in FitRequest.__dataclass_fields__ or set(flags(name)) & OWN_FLAGS:
                faults[model] = _fault(model, name, "has the name of an option that csrl fit has itself")
            others = [each for each in known if name in known[each]]
            unlike = [each for each in others if known[each][name].values.flag is not argument.values.flag]
            if len(unlike) > len(others) / 2 or (len(unlike) == len(others) / 2 and not argument.values.flag):
                files = " and ".join(f"{each}.py" for each in unlike)
                is_a = "is a flag, but not" if argument.values.flag else "is no flag, but one"
                faults[model] = _fault(model, name, f"{is_a} in {files}")
    return {model: found[model] for model in known if model not in faults}, faults


def _fault(model, name, what):
    return f"csrl_core/estimators/{model}.py: its argument {name} {what}"


def flags(name):
    """What is typed for an argument."""
    return FLAGS.get(name, ("--" + name.replace("_", "-"),))


def panel(owners):
    """The help panel of an option of some models; None where all have it."""
    return None if len(owners) == len(models()[0]) else f"Of --model {' and '.join(owners)}"


def parameters():
    """The options of all models, as a list of `inspect.Parameter` that typer understands: shared ones first."""
    owners = {}
    for model, kind in models()[0].items():
        for name, argument in arguments_of(kind).items():
            owners.setdefault(name, {})[model] = argument
    shared = len(models()[0])
    order = sorted(owners, key=lambda name: (name not in FLAGS, len(owners[name]) < shared))
    return [_parameter(name, owners[name]) for name in order]


def _parameter(name, owners):
    """owners : dict of model → Argument."""
    values, *others = (argument.values for argument in owners.values())
    for other in others:
        values |= other
    kind, settings = values.annotation(name)
    typed = flags(name)
    if values.flag:
        typed = (f"{typed[0]}/--no-{typed[0].removeprefix('--')}",)
    option = typer.Option(
        *typed,
        help=_help(name, owners),
        show_default=_shown_default(name, owners),
        rich_help_panel=panel(list(owners)),
        **settings,
    )
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(name, owners):
    texts = {model: argument.text for model, argument in owners.items() if argument.text}
    if not texts:
        return HELP.get(name, "")
    model, text = next(iter(texts.items()))
    if owners[model].values.zero_is_none:
        text = re.sub(r"\bNone\b", "0", text) if "None" in text else f"{text} 0: none."
    known = {each for kind in models()[0].values() for each in kind._get_param_names()}
    text = re.sub(r"``(.*?)``", lambda found: flags(found[1])[0] if found[1] in known else found[1], text)
    return text if model == next(iter(owners)) else f"{model}: {text}"


def _shown_default(name, owners):
    """The default of the first model, and those of others where they differ; False where there is nothing to show."""
    shown = {model: _default_text(name, argument) for model, argument in owners.items()}
    first, *others = shown
    differing = [f"{model}: {shown[model] or 'none'}" for model in others if shown[model] != shown[first]]
    return "; ".join([shown[first] or "none", *differing]) if shown[first] or differing else False


def _default_text(name, argument):
    default = argument.default
    if default is None:
        return "0" if argument.values.zero_is_none else ""
    if isinstance(default, bool):
        return name.replace("_", "-") if default else f"no-{name.replace('_', '-')}"
    if isinstance(default, (tuple, list)):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, (int, float)) else str(default)


def build(model, given):
    """The estimator of a command line.

    model : name of a model; given : dict of argument → value as typed, None where it was not

    Raises
    ------
    WrongUsage
        An option is another model's, or has a value that it cannot have.
    """
    kind = chosen(model)
    own, known = arguments_of(kind), {}
    for name, value in given.items():
        if value is None:
            continue
        if name not in own:
            raise foreign(name, model, [other for other, each in models()[0].items() if name in arguments_of(each)])
        known[name] = own[name].values.read(flags(name)[0], value)
    return kind(**known)


def chosen(model):
    """The estimator class of a model; ImportError where its file is at fault."""
    classes, faults = models()
    if model in faults:
        raise ImportError(f"--model {model} cannot be used: {faults[model]}")
    return classes[model]


def foreign(name, model, owners):
    """The error that an option is of other models."""
    return WrongUsage(
        f"{flags(name)[0]} is an option of --model {' and '.join(owners)}, not of --model {model} (csrl fit --help)"
    )
