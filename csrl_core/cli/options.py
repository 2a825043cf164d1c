"""Models and options of ``csrl fit``, found in the estimators: in signatures, constraints and docstrings.

An estimator's file gives the model's name. An argument gives an option: its constraints the type, the signature the
default, the first sentence of its description the help.
"""

import inspect
import re
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from typing import Annotated

import typer

from csrl_core import estimators
from csrl_core.cli.base import WrongUsage
from csrl_core.cli.values import Values, values_of

FIRST = "autoencoder"  # the model by default, whose defaults the help shows first
FORWARDED = {"image_shape"}  # options of csrl fit itself that are arguments of some estimators too
FLAGS = {"n_clusters": ("--clusters", "-k"), "n_jobs": ("--jobs",), "random_state": ("--seed",)}


@dataclass(frozen=True)
class Argument:
    """An argument of an estimator: what it may be, its default, and the first sentence about it ("" if none)."""

    values: Values
    default: object
    text: str


@cache
def arguments_of(kind):
    """Name → `Argument` of what the command line can give of an estimator class."""
    texts, arguments = parameter_texts(inspect.getdoc(kind) or ""), {}
    for name, parameter in inspect.signature(kind).parameters.items():
        values = values_of(kind._parameter_constraints.get(name, []))
        if values is not None and name not in FORWARDED:
            arguments[name] = Argument(values, parameter.default, first_sentence(texts.get(name, "")))
    return arguments


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
    """The first sentence that is more than a symbol."""
    match = re.match(r".*?\w\W?\w\W*[.](?=\s|$)", text)
    return match.group().strip() if match else text


@cache
def models():
    """The estimators that ``csrl fit`` can make, and why it cannot make others.

    Returns
    -------
    classes : dict of model → estimator class, the default model first
    faults : dict of model → str
    """
    from csrl_core.cli.learn import OWN_FLAGS, FitRequest

    classes, faults = estimators.ready()
    given = {model: arguments_of(classes[model]) for model in sorted(classes, key=lambda name: (name != FIRST, name))}
    for model, own in given.items():
        for name, argument in own.items():
            if name in FitRequest.__dataclass_fields__ or set(flags(name)) & OWN_FLAGS:
                faults[model] = _fault(model, name, "has the name of an option that csrl fit has itself")
            others = [each for each in given if name in given[each]]
            unlike = [each for each in others if given[each][name].values.flag is not argument.values.flag]
            if len(unlike) > len(others) / 2 or (len(unlike) == len(others) / 2 and not argument.values.flag):
                files = " and ".join(f"{each}.py" for each in unlike)
                is_a = "is a flag, but not" if argument.values.flag else "is no flag, but one"
                faults[model] = _fault(model, name, f"{is_a} in {files}")
    return {model: classes[model] for model in given if model not in faults}, faults


@cache
def known():
    """What a command line can give to each model, and to which models options of the fit itself belong.

    It is found in the classes, whose import takes seconds, or read from what was found before.

    returns (dict of model → dict of name → `Argument`, dict of model → set of names in `TAKES`, faults)
    """
    from csrl_core.cli import option_cache

    found = option_cache.read()
    if found is None:
        from csrl_core.cli.learn import TAKES

        classes, faults = models()
        arguments = {model: arguments_of(kind) for model, kind in classes.items()}
        takes = {model: {name for name in TAKES if TAKES[name](kind)} for model, kind in classes.items()}
        found = arguments, takes, faults
        if not faults:  # a fault may go away without a change of these files
            option_cache.write(*found)
    return found


def _fault(model, name, what):
    return f"csrl_core/estimators/{model}.py: its argument {name} {what}"


def flags(name):
    """What is typed for an argument."""
    return FLAGS.get(name, ("--" + name.replace("_", "-"),))


def panel(owners):
    """The help panel of an option of some models; None where all have it."""
    return None if len(owners) == len(known()[0]) else f"Of --model {' and '.join(owners)}"


@cache
def merged():
    """Name → (dict of model → `Argument`, `Values` of all of them) of the options of all models: shared ones first."""
    owners = {}
    for model, arguments in known()[0].items():
        for name, argument in arguments.items():
            owners.setdefault(name, {})[model] = argument
    shared = len(known()[0])
    order = sorted(owners, key=lambda name: (name not in FLAGS, len(owners[name]) < shared))
    return {name: (owners[name], reduce(or_, (each.values for each in owners[name].values()))) for name in order}


def spelled_out(args):
    """A command line in which options that need a value have one: --center is --center=yes, --no-center --center=no."""
    args = list(args)
    alone = {flags(name)[0]: values for name, (_, values) in merged().items() if values.flag and not values.is_switch}
    for at, typed in enumerate(args):
        if typed == "--":
            break
        option = typed.replace("--no-", "--", 1)
        if option not in alone:
            continue
        if option != typed:
            args[at] = f"{option}=no"
        elif at + 1 == len(args) or not alone[option].accept(args[at + 1]):
            args[at] = f"{option}=yes"
    return args


def parameters():
    """The options of all models, as a list of `inspect.Parameter` that typer understands: shared ones first."""
    return [_parameter(name, *each) for name, each in merged().items()]


def _parameter(name, owners, values):
    """owners : dict of model → Argument; values : of all of them."""
    kind, settings = values.annotation(name)
    typed = flags(name)
    if values.is_switch:
        typed = (f"{typed[0]}/{_opposite(typed[0])}",)
    option = typer.Option(
        *typed,
        help=_help(name, owners, values),
        show_default=_shown_default(name, owners, values),
        rich_help_panel=panel(list(owners)),
        **settings,
    )
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _opposite(flag):
    return f"--no-{flag.removeprefix('--')}"


def _help(name, owners, values):
    flag = flags(name)[0]
    also = f" {flag} alone is yes, {_opposite(flag)} is no." if values.flag and not values.is_switch else ""
    return f"{_text(name, owners)}{also}".strip()


def _text(name, owners):
    texts = {model: argument.text for model, argument in owners.items() if argument.text}
    if not texts:
        return ""
    model, text = next(iter(texts.items()))
    if owners[model].values.zero_is_none:
        text = re.sub(r"\bNone\b", "0", text) if "None" in text else f"{text} 0: none."
    text = re.sub(r"``(.*?)``", lambda name: flags(name[1])[0] if name[1] in merged() else name[1], text)
    return text if model == next(iter(owners)) else f"{model}: {text}"


def _shown_default(name, owners, values):
    """The default of the first model, and those of others where they differ; False where there is nothing to show."""
    shown = {model: _default_text(name, argument, values) for model, argument in owners.items()}
    first, *others = shown
    differing = [f"{model}: {shown[model] or 'none'}" for model in others if shown[model] != shown[first]]
    return "; ".join([shown[first] or "none", *differing]) if shown[first] or differing else False


def _default_text(name, argument, values):
    default = argument.default
    if default is None:
        return "0" if argument.values.zero_is_none else ""
    if isinstance(default, bool) and not values.is_switch:
        return "yes" if default else "no"
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
    arguments, _, faults = known()
    if model in faults:
        raise ImportError(f"--model {model} cannot be used: {faults[model]}")
    own, values = arguments[model], {}
    for name, value in given.items():
        if value is None:
            continue
        if name not in own:
            raise foreign(name, model, [other for other, each in arguments.items() if name in each])
        values[name] = own[name].values.read(flags(name)[0], value)
    return chosen(model)(**values)


def chosen(model):
    """The estimator class of a model."""
    return models()[0][model]


def foreign(name, model, owners):
    """The error that an option is of other models."""
    return WrongUsage(
        f"{flags(name)[0]} is an option of --model {' and '.join(owners)}, not of --model {model} (csrl fit --help)"
    )
