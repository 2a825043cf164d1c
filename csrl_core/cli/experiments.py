"""The commands ``csrl demo``, ``reproduce`` and ``select``. Imports only typer until one runs."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from csrl_core.cli.base import Backend, BackendOption, DataPath, command, command_taking, say
from csrl_core.cli.table_request import TableRequest, check_request, check_source

FIGURES = ("fig1", "fig2", "fig3", "fig4", "fig5", "defaults", "idfd", "cidfd", "ofm")
Figure = StrEnum("Figure", {name: name for name in FIGURES})
Version = StrEnum("Version", {name: name for name in ("papers", "ours", "both")})
Inputs = StrEnum("Inputs", {name: name for name in ("intensities", "binary")})
Criterion = StrEnum("Criterion", {"bic": "bic", "held_out": "held-out"})


@command
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the table and the pictures.")] = Path("csrl-demo"),
    backend: BackendOption = Backend.auto,
    seed: Annotated[int, typer.Option(min=0, help="Seed of data and restarts.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions, each with a seed of its own.")] = 3,
):
    """Compare k-means, AE + k-means, TAE and PTAE on four data sets, and draw them; under a minute."""
    from csrl_core.cli import demo as cli_demo

    cli_demo.main(out, backend=backend.value, seed=seed, repeats=repeats, say=say)


@dataclass(frozen=True, kw_only=True)
class ReproduceRequest:
    """What ``csrl reproduce`` is asked for."""

    figure: Annotated[Figure, typer.Argument(help="Which figure of the paper, or how good default arguments are.")]
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for tables and pictures.")] = Path("csrl-reproduce")
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="fig2, fig3, idfd, defaults: a data set; may be repeated; default: all. fig5: mnist or digits."
        ),
    ] = None
    version: Annotated[Version, typer.Option(help="fig2, fig3, fig5: the papers' models and settings, or ours.")] = (
        Version.both
    )
    inputs: Annotated[Inputs, typer.Option(help="fig5: which pixels machines are trained on.")] = Inputs.intensities
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A small version. fig3, fig4, idfd, cidfd, ofm: few images; fig5: K = 1; defaults: 4 sets.",
        ),
    ] = False
    model: Annotated[
        list[str] | None, typer.Option(help="defaults: TAE, PTAE or TRBM; may be repeated; default: all.")
    ] = None
    repetitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Each with a seed of its own; the mixtures of the papers' version of fig2 are the authors' draw.",
            show_default="5; the papers' version of fig2: 40, MNIST 10; defaults, idfd, cidfd: 3; ofm: 10",
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0)] = 0
    backend: BackendOption = Backend.auto
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Processes (fig5, idfd, cidfd: threads); default all usable cores."),
    ] = None
    epochs: Annotated[
        int | None, typer.Option(min=1, help="fig2 to fig5, idfd, cidfd, ofm: epochs, instead of their own.")
    ] = None
    n_init: Annotated[int, typer.Option(min=1, help="fig1, fig2: restarts of our version.")] = 10


@command_taking(ReproduceRequest)
def reproduce(request):
    """Make a figure of the paper or another experiment, or test the defaults; a rerun continues (not fig1)."""
    from csrl_core.cli import reproduce as cli_reproduce

    return cli_reproduce.main(
        request.figure.value,
        request.out,
        sets=request.data,
        inputs=request.inputs.value,
        quick=request.quick,
        models=request.model,
        versions=("papers", "ours") if request.version is Version.both else (request.version.value,),
        repetitions=request.repetitions,
        seed=request.seed,
        backend=request.backend.value,
        processes=request.jobs,
        epochs=request.epochs,
        n_init=request.n_init,
        say=say,
    )


@dataclass(frozen=True, kw_only=True)
class SelectRequest(TableRequest):
    """What ``csrl select`` is asked for."""

    data: DataPath
    clusters: Annotated[
        str, typer.Option("--clusters", "-k", metavar="A-B", help="Numbers of clusters to try; or A,B,….")
    ] = "1-8"
    latent: Annotated[str, typer.Option(metavar="A-B", help="Latent widths to try; or A,B,….")] = "1"
    criterion: Annotated[Criterion, typer.Option(help="The criterion that decides.")] = Criterion.bic
    folds: Annotated[int, typer.Option(min=2, help="Folds for held-out likelihood.")] = 5
    n_init: Annotated[int, typer.Option(min=1, help="Restarts.")] = 10
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The best model; if it ends in .csv, the table instead.")
    ] = None
    table: Annotated[Path | None, typer.Option(help="The table of all candidates (.csv).")] = None
    picture: Annotated[Path | None, typer.Option("--plot", help="The curve (.png, .pdf, .svg).")] = None
    seed: Annotated[int, typer.Option(min=0)] = 0
    backend: BackendOption = Backend.auto


@command_taking(SelectRequest)
def select(request):
    """Choose the number of clusters and the latent width by BIC or held-out likelihood, with a curve."""
    check_source(request.data)
    check_request(request)
    from csrl_core.cli import select as cli_select

    return cli_select.main(request, say)
