"""The commands of ``csrl``. Imports only typer; everything else waits until a command runs."""

import functools
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

EPILOG = (
    "Exit codes: 0 done; 1 failed, with the reason on standard error; 2 wrong usage; 130 interrupted (Ctrl-C), "
    "what had been learnt is saved. DATA is a CSV, NPY or NPZ file, or data:NAME for a built-in set (data:iris)."
)


class Group(TyperGroup):
    """``--debug`` is understood wherever it stands."""

    def parse_args(self, ctx, args):
        """Move it to the front, where it belongs."""
        if "--debug" in args:
            args = ["--debug", *(arg for arg in args if arg != "--debug")]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Backend = StrEnum("Backend", {name: name for name in ("auto", "numpy", "numba", "cupy", "emulated")})
Activation = StrEnum("Activation", {name: name for name in ("linear", "relu", "leaky_relu", "tanh", "sigmoid")})
Optimizer = StrEnum("Optimizer", {name: name for name in ("adam", "sgd")})
Assignment = StrEnum("Assignment", {name: name for name in ("loss", "likelihood")})
Solver = StrEnum("Solver", {name: name for name in ("gradient", "exact")})
Init = StrEnum("Init", {"kmeanspp": "k-means++", "kmeans": "k-means", "random": "random"})
Kind = StrEnum("Kind", {name: name for name in ("embedding", "loss", "reconstruction")})
_debug = False


def say(line):
    """A line for the user, on standard output at once."""
    typer.echo(line)
    sys.stdout.flush()


def command(function):
    """A command whose errors, where the user can act on them, are one line and an exit code."""

    @functools.wraps(function)
    def run(*args, **kwargs):
        try:
            code = function(*args, **kwargs)
        except (BrokenPipeError, typer.Exit):
            raise
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None
        except Exception as error:
            if _debug or not _expected(error):
                raise
            lines = str(error).strip().splitlines()  # scikit-learn's messages go on with general advice
            message = lines[0] if lines else type(error).__name__
            if isinstance(error, OSError) and error.filename is not None and error.strerror:
                message = f"{error.filename}: {error.strerror}"
            if isinstance(error, MemoryError):
                message = f"not enough memory: {message}"
            typer.echo(f"error: {message}", err=True)
            raise typer.Exit(2 if type(error).__name__ == "WrongUsage" else 1) from None
        raise typer.Exit(code or 0)

    return app.command()(run)


def _expected(error):
    from csrl_core.backend import BackendError
    from csrl_core.training import NonFiniteLossError

    return isinstance(error, (ValueError, OSError, BackendError, NonFiniteLossError, ImportError, MemoryError))


def _version(wanted):
    if wanted:
        from csrl_core._version import __version__

        say(f"csrl_core {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="And exit.")] = False,
):
    """Cluster-specific representation learning: clusters and their representations, learnt together."""
    global _debug
    _debug = debug


DataPath = Annotated[str, typer.Argument(metavar="DATA", help="CSV, NPY or NPZ file, or data:NAME.")]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model that csrl fit wrote.")]
Key = Annotated[str | None, typer.Option("--key", metavar="NAME", help="Array of an NPZ file.")]
LabelColumn = Annotated[
    str | None, typer.Option("--label-column", metavar="NAME", help="A column of known classes, no feature; or none.")
]
BackendOption = Annotated[Backend, typer.Option(help="What computes.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Threads; default all usable cores.")]


@command
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the table and the pictures.")] = Path("csrl-demo"),
    backend: BackendOption = Backend.auto,
    seed: Annotated[int, typer.Option(min=0, help="Of data and restarts.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions, each with a seed of its own.")] = 3,
):
    """Compare k-means, AE + k-means, TAE and PTAE on four data sets, and draw them; under a minute."""
    from csrl_core import cli_demo

    cli_demo.main(out, backend=backend.value, seed=seed, repeats=repeats, say=say)


@command
def fit(
    data: DataPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="The model.")],
    labels: Annotated[Path | None, typer.Option(help="Write the cluster of every sample (.csv, .npy).")] = None,
    embedding: Annotated[Path | None, typer.Option(help="Write the embedding (.csv, .npy).")] = None,
    clusters: Annotated[int, typer.Option("--clusters", "-k", min=1, help="How many.")] = 2,
    hidden: Annotated[str, typer.Option(metavar="W,W,…", help="Widths of the encoder's layers.")] = "2,1",
    shared: Annotated[int, typer.Option(min=0, help="Outer layer pairs that clusters share; 0 is the TAE.")] = 0,
    activation: Annotated[Activation, typer.Option(help="Of every encoder layer.")] = Activation.linear,
    output_activation: Annotated[Activation, typer.Option(help="Of the output.")] = Activation.linear,
    bias: Annotated[bool, typer.Option("--bias", help="Layers with biases.")] = False,
    reg: Annotated[float, typer.Option(help="λ, the penalty on the embedding.")] = 0.1,
    center: Annotated[bool, typer.Option(help="Subtract the cluster's centre from input and target.")] = True,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 150,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Default: all samples.")] = None,
    learning_rate: Annotated[float, typer.Option(help="Of the optimizer.")] = 0.01,
    optimizer: Annotated[Optimizer, typer.Option(help="What makes steps of gradients.")] = Optimizer.adam,
    clip_norm: Annotated[float | None, typer.Option(help="Global norm to which the gradient is clipped.")] = None,
    tol: Annotated[float, typer.Option(help="Stop when the loss improves less; 0 runs all epochs.")] = 0.0,
    n_init: Annotated[int, typer.Option(min=1, help="Restarts; the lowest loss or highest likelihood is kept.")] = 1,
    init: Annotated[Init, typer.Option(help="The first assignment.")] = Init.kmeanspp,
    assignment: Annotated[Assignment, typer.Option(help="What a sample's cluster is chosen by.")] = Assignment.loss,
    solver: Annotated[Solver, typer.Option(help="exact: principal components; linear, --reg 0.")] = Solver.gradient,
    backend: BackendOption = Backend.auto,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same model.")] = None,
    target: Annotated[
        str | None, typer.Option(metavar="DATA", help="What to reconstruct (de-noising: clean data).")
    ] = None,
    key: Key = None,
    label_column: LabelColumn = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Save the state of training here while it goes on.")] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Epochs between two of them.")] = 10,
    resume: Annotated[Path | None, typer.Option(help="Continue from a checkpoint, to the same curve.")] = None,
    jobs: Jobs = None,
):
    """Learn clusters and their autoencoders; write model, labels and embedding."""
    from csrl_core import cli_files, cli_fit

    arguments = {
        "n_clusters": clusters,
        "hidden": cli_files.integers("--hidden", hidden),
        "shared": shared,
        "activation": activation.value,
        "output_activation": output_activation.value,
        "bias": bias,
        "reg": reg,
        "center": center,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer.value,
        "clip_norm": clip_norm,
        "tol": tol,
        "n_init": n_init,
        "init": init.value,
        "assignment": assignment.value,
        "solver": solver.value,
        "backend": backend.value,
        "random_state": seed,
        "n_jobs": jobs,
    }
    return cli_fit.fit(
        data,
        arguments,
        out=out,
        labels=labels,
        embedding=embedding,
        target=target,
        key=key,
        label_column=label_column,
        checkpoint=checkpoint,
        every=checkpoint_every,
        resume=resume,
        say=say,
    )


OtherBackend = Annotated[Backend | None, typer.Option(help="What computes; default: as the model was made.")]
TableOut = Annotated[Path, typer.Option("--out", "-o", help="A .csv or .npy file.")]


@command
def predict(
    model: ModelPath,
    data: DataPath,
    out: TableOut,
    backend: OtherBackend = None,
    jobs: Jobs = None,
    key: Key = None,
    label_column: LabelColumn = None,
):
    """Write the cluster of every sample; an NPY file may be larger than memory."""
    from csrl_core import cli_files

    cli_files.answer(model, data, out, "predict", "cluster", backend, jobs, key, label_column, say)


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
):
    """Write every sample's embedding under its cluster; an NPY file may be larger than memory."""
    from csrl_core import cli_files

    method = "transform_all" if all_ else "transform"
    cli_files.answer(model, data, out, method, "z", backend, jobs, key, label_column, say)


@command
def plot(
    model: ModelPath,
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="As for fit; --kind loss needs none.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="A .png, .pdf or .svg file.")] = ...,
    kind: Annotated[Kind, typer.Option(help="What to draw.")] = Kind.embedding,
    image_shape: Annotated[str | None, typer.Option(metavar="H,W", help="Samples are images of this shape.")] = None,
    key: Key = None,
    label_column: LabelColumn = None,
):
    """Draw a model's embedding, its loss, or its reconstructions."""
    from csrl_core import cli_files as files
    from csrl_core import persistence, plotting

    files.check_outputs({"--out": (out, files.PICTURES)}, [model, data])
    shape = None if image_shape is None else files.integers("--image-shape", image_shape)
    if data is None and kind is not Kind.loss:
        raise files.WrongUsage(f"--kind {kind.value} needs DATA")
    estimator = persistence.load(model)
    if kind is Kind.loss:
        figure = plotting.plot_loss(estimator).figure
    else:
        table = files.read_data(data, key=key, label_column=label_column, say=say)
        if kind is Kind.embedding:
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
    backend: Annotated[list[Backend], typer.Option(help="May be given several times.")] = [Backend.numba],  # noqa: B006
    stem: Annotated[list[str] | None, typer.Option(help="Kernel family, several times; default all.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a case, for programs.")] = False,
):
    """Do the backends agree with the NumPy reference on this machine?"""
    from dataclasses import asdict
    from json import dumps

    from csrl_core import contract
    from csrl_core import verify as agreement

    for name in stem or ():
        if name not in contract.STEMS:
            raise ValueError(f"--stem {name} is unknown; expected one of {', '.join(contract.STEMS)}")
    results = agreement.verify([name.value for name in backend], stem or None)
    if json:
        for result in results:
            say(dumps({name: str(value) if value == float("inf") else value for name, value in asdict(result).items()}))
    else:
        say(agreement.table(results))
    return 0 if all(result.ok for result in results) else 1
