"""The command ``csrl fit``: what it takes besides the models' own options. Imports only typer until it is called."""

import copy
import dataclasses
import inspect
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, get_args

import typer
from typer.core import TyperCommand

from csrl_core.cli.base import (
    ByPosition,
    Dask,
    DataPath,
    ImageShape,
    WrongUsage,
    app,
    check_address,
    integers,
    parameter,
    reported,
    reporting,
    say,
)
from csrl_core.cli.table_request import TableRequest, check_request, check_source


@dataclass(frozen=True, kw_only=True)
class FitRequest(TableRequest):
    """What a fit reads and writes."""

    data: DataPath
    out: Annotated[Path, typer.Option("--out", "-o", help="The model.")]
    model: Annotated[str, typer.Option(help="The kind of model that each cluster gets.")] = "autoencoder"
    labels: Annotated[Path | None, typer.Option(help="Write the cluster of every sample (.csv, .npy).")] = None
    embedding: Annotated[Path | None, typer.Option(help="Write the embedding (.csv, .npy).")] = None
    target: Annotated[
        str | None, typer.Option(help="What to reconstruct (de-noising: clean data).", metavar="DATA")
    ] = None
    background: Annotated[
        str | None, typer.Option(help="Other data, of what is not of interest in these.", metavar="DATA")
    ] = None
    filters_gif: Annotated[
        Path | None, typer.Option(help="Write an animation of the filters while they are learnt.")
    ] = None
    image_shape: ImageShape = None
    by_position: ByPosition = False
    checkpoint: Annotated[Path | None, typer.Option(help="Save the state of training here, again and again.")] = None
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Epochs between two checkpoints.")] = 10
    out_of_core: Annotated[
        bool, typer.Option("--out-of-core", help="Read NPY and IDX files as rows are needed: larger than memory.")
    ] = False
    dask: Dask = None
    resume: Annotated[Path | None, typer.Option(help="Continue from a checkpoint, as if uninterrupted.")] = None


OWN_FLAGS = {"--" + name.replace("_", "-") for name in FitRequest.__dataclass_fields__} | {"-o", "--debug", "--help"}
# Options that only some models take, and how an estimator class tells whether it does.
TAKES = {
    "target": lambda kind: getattr(kind, "takes_target", True),
    "background": lambda kind: "background" in inspect.signature(kind.fit).parameters,
    "filters_gif": lambda kind: hasattr(kind, "free_energy"),
    "image_shape": lambda kind: hasattr(kind, "free_energy") or "image_shape" in inspect.signature(kind).parameters,
}


def owners(name):
    """The models that an option of the fit itself is for."""
    from csrl_core.cli import options

    return [model for model, takes in options.known()[1].items() if name not in TAKES or name in takes]


class FitCommand(TyperCommand):
    """``csrl fit``; its options are looked up in the estimators when it is called or asked for help, not before."""

    def make_context(self, info_name, args, parent=None, **extra):
        """That of the command with all options."""
        from csrl_core.cli import option_cache, options

        if not {"-h", "--help", "--debug"} & {*args} and option_cache.read() is None:
            _check_quickly(info_name, args)
        return _with_all_options().make_context(info_name, options.spelled_out(args), parent=parent, **extra)


def _check_quickly(info_name, args):
    """Find a data file that is not there and options that no model has, before models are imported (seconds)."""
    from csrl_core import estimators

    if args and not args[0].startswith("-") and any(arg.startswith(("-o", "--out")) for arg in args):
        try:
            check_source(args[0])
        except OSError as error:
            raise reported(error) from None
    flags = {f"--{name.replace('_', '-')}" for name in estimators.field_names()} | {"--clusters", "--jobs", "--seed"}
    typed = [arg.partition("=")[0] for arg in args if arg.startswith("--") and len(arg) > 2]
    for flag in typed:
        if flag.replace("--no-", "--", 1) not in flags | OWN_FLAGS and flag not in OWN_FLAGS:
            _command(_without_options).make_context(info_name, [flag])  # raises that there is no such option


def _without_options():
    """Nothing."""


@app.command(cls=FitCommand)
def fit():
    """Learn clusters and their autoencoders or Boltzmann machines; write model, labels and embedding."""


def _with_all_options():
    from csrl_core.cli import options

    of_models, (known, _, faults) = options.parameters(), options.known()
    names = StrEnum("Model", {name: name for name in [*known, *faults]})

    def run(**given):
        own = {name: given.pop(name) for name in FitRequest.__dataclass_fields__}
        request = FitRequest(**own | {"model": str(own["model"])})
        check_source(request.data)
        check_source(request.target)
        check_request(request)
        check_address(request.dask)
        if request.dask is not None and request.out_of_core:
            raise WrongUsage("--out-of-core is for one machine; with --dask workers read blocks of a file anyway")
        for name in TAKES:
            if getattr(request, name) is not None and request.model not in owners(name):
                raise options.foreign(name, request.model, owners(name))
        estimator = options.build(request.model, given)
        if request.image_shape is not None and "image_shape" in estimator.get_params():
            estimator.set_params(image_shape=integers("--image-shape", request.image_shape))
        from csrl_core.cli import fit as cli_fit

        return cli_fit.fit(request, estimator, say)

    parameters = {field.name: _parameter(field, names) for field in dataclasses.fields(FitRequest)}
    # What is written first, then the models' options: those of all models, and of some; then how the table is read.
    first = [parameters.pop(name) for name in ("data", "out", "model", "labels", "embedding")]
    table = [parameters.pop(field.name) for field in dataclasses.fields(TableRequest)]
    run.__signature__ = inspect.Signature([*first, *of_models, *parameters.values(), *table])
    return _command(run, "; ".join(f"--model {name} is left out: {why}" for name, why in faults.items()))


def _command(run, epilog=None):
    """A function as a command of its own."""
    run.__doc__ = fit.__doc__
    frame = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    frame.command("fit", epilog=epilog)(reporting(run))
    return typer.main.get_command(frame)


def _parameter(field, names):
    """A field as typer understands it: the models' names as choices, options in the panels of those who take them."""
    from csrl_core.cli import options

    kind, info = get_args(field.type)
    if field.name == "model":
        return parameter(field, default=names(field.default), annotation=Annotated[names, info])
    if field.name in TAKES:
        info = copy.copy(info)
        info.rich_help_panel = options.panel(owners(field.name))
    return parameter(field, annotation=Annotated[kind, info])
