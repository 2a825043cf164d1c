"""The commands of ``csrl`` that answer, draw and examine; all others are registered by those it imports."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from csrl_core.cli import learn as cli_learn  # noqa: F401 (registers csrl demo and csrl fit)
from csrl_core.cli.base import (
    DataPath,
    DivideBy,
    ImageShape,
    Jobs,
    Key,
    LabelColumn,
    ModelPath,
    OtherBackend,
    TableOut,
    app,
    command,
    say,
)

__all__ = ["app"]

Kind = StrEnum("Kind", {name: name for name in ("embedding", "loss", "reconstruction", "filters", "samples")})


@command
def predict(
    model: ModelPath,
    data: DataPath,
    out: TableOut,
    backend: OtherBackend = None,
    jobs: Jobs = None,
    key: Key = None,
    label_column: LabelColumn = None,
    divide_by: DivideBy = 1.0,
):
    """Write the cluster of every sample; an NPY file may be larger than memory."""
    from csrl_core.cli import files as cli_files

    cli_files.answer(model, data, out, "predict", "cluster", backend, jobs, key, label_column, divide_by, say)


@command
def transform(
    model: ModelPath,
    data: DataPath,
    out: TableOut,
    all_: Annotated[bool, typer.Option("--all", help="Under every cluster: (n, k, latent).")] = False,
    backend: OtherBackend = None,
    jobs: Jobs = None,
    key: Key = None,
    label_column: LabelColumn = None,
    divide_by: DivideBy = 1.0,
):
    """Write every sample's embedding under its cluster; an NPY file may be larger than memory."""
    from csrl_core.cli import files as cli_files

    method = "transform_all" if all_ else "transform"
    cli_files.answer(model, data, out, method, "z", backend, jobs, key, label_column, divide_by, say)


@command
def plot(
    model: ModelPath,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="As for fit; loss, filters and samples need none.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="A .png, .pdf or .svg file.")] = ...,
    kind: Annotated[Kind, typer.Option(help="What to draw; filters: of a Boltzmann machine.")] = Kind.embedding,
    image_shape: ImageShape = None,
    images: Annotated[int, typer.Option(min=1, help="Filters or samples of each cluster.")] = 25,
    key: Key = None,
    label_column: LabelColumn = None,
    divide_by: DivideBy = 1.0,
):
    """Draw a model's embedding, loss, reconstructions, filters, or samples (its own, or of DATA by cluster)."""
    from csrl_core import plotting
    from csrl_core.cli import files
    from csrl_core.estimators import saved

    files.check_outputs({"--out": (out, files.PICTURES)}, [model, data])
    shape = None if image_shape is None else files.integers("--image-shape", image_shape)
    estimator = saved.load(model)
    machine = hasattr(estimator, "free_energy")
    if kind is Kind.filters and not machine:
        raise files.WrongUsage(f"--kind filters is for Boltzmann machines; {model} is a {type(estimator).__name__}")
    if data is None and not (kind is Kind.loss or (machine and kind in (Kind.filters, Kind.samples))):
        raise files.WrongUsage(f"--kind {kind.value} needs DATA")
    table = None
    if data is not None and kind not in (Kind.loss, Kind.filters):
        table = files.read_data(data, key=key, label_column=label_column, divide_by=divide_by, say=say)
    if kind in (Kind.filters, Kind.samples):
        shape = files.image_shape(image_shape, estimator.n_features_in_)
    if kind is Kind.loss:
        figure = plotting.plot_loss(estimator).figure
    elif kind is Kind.filters:
        figure = plotting.plot_filters(estimator, shape, images)
    elif kind is Kind.samples:
        figure = (
            plotting.plot_samples(estimator, shape, images)
            if table is None
            else plotting.plot_samples(table.X, shape, images, labels=estimator.predict(table.X))
        )
    elif kind is Kind.embedding:
        figure = plotting.plot_embedding(estimator, table.X, table.y).figure
    else:
        figure = plotting.plot_reconstruction(estimator, table.X, image_shape=shape)
    plotting.save_figure(figure, out)
    say(f"picture  {out}")


@command
def doctor():
    """Say what is installed, which backends work, threads, JIT cache and data; changes nothing."""
    from rich.console import Console
    from rich.text import Text

    from csrl_core import doctor

    console = Console(soft_wrap=True)
    fine = True
    for section, rows in doctor.examine().items():
        console.print(Text(section, style="bold"))
        width = max(len(name) for name, _, _ in rows)
        for name, finding, good in rows:
            fine = fine and good is not False
            mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: (" ", "")}[good]
            console.print(Text(f"  {mark} ", style=style) + Text(f"{name.ljust(width)}  {finding}"))
    return 0 if fine else 1


@command
def verify(
    backend: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="A backend, or a package with modules named like stems; several times."),
    ] = ["numba"],  # noqa: B006
    stem: Annotated[list[str] | None, typer.Option(help="Kernel family, several times; default all.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a case, for programs.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report with all cases, too.")] = None,
):
    """Do the backends agree with the NumPy reference on this machine? Somebody's own kernels, too."""
    import sys
    from dataclasses import asdict
    from json import dumps

    from csrl_core import contract
    from csrl_core.cli import files as cli_files
    from csrl_core.contract import report as verify_report
    from csrl_core.contract import verify as agreement
    from csrl_core.contract.third_party import resolve

    for name in stem or ():
        if name not in contract.STEMS:
            raise ValueError(f"--stem {name} is unknown; expected one of {', '.join(contract.STEMS)}")
    if html is not None:
        cli_files.check_outputs({"--html": (html, (".html",))}, [])
    sys.path.append(str(Path.cwd()))  # a package that is being written need not be installed
    backends = [resolve(name) for name in backend]
    stems = stem or list(contract.STEMS)
    missing = [(found.name, name) for found in backends for name in getattr(found, "missing", ()) if name in stems]
    results = agreement.verify(backends, stems)
    if json:
        for name, lacking in missing:
            say(dumps({"backend": name, "stem": lacking, "missing": True}))
        for result in results:
            say(dumps({name: str(value) if value == float("inf") else value for name, value in asdict(result).items()}))
    else:
        for name, lacking in missing:
            say(f"{name} has no stem {lacking}: not compared")
        say(agreement.table(results))
    if html is not None:
        with cli_files.replacing(html) as file:
            file.write(verify_report.html(results, missing).encode())
        (say if not json else lambda line: typer.echo(line, err=True))(f"report   {html}")
    if not results:
        raise ValueError(f"nothing was compared: no backend has a stem of {', '.join(stems)}")
    return 0 if all(result.ok for result in results) else 1
