"""The commands ``csrl demo`` and ``csrl fit``. Imports only typer; everything else waits until one runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from csrl_core.cli.base import (
    Backend,
    BackendOption,
    DataPath,
    DivideBy,
    ImageShape,
    Jobs,
    Key,
    LabelColumn,
    command,
    say,
)

Model = StrEnum("Model", {name: name for name in ("autoencoder", "rbm")})
Visible = StrEnum("Visible", {name: name for name in ("bernoulli", "gaussian")})
Activation = StrEnum("Activation", {name: name for name in ("linear", "relu", "leaky_relu", "tanh", "sigmoid")})
Optimizer = StrEnum("Optimizer", {name: name for name in ("adam", "sgd")})
Assignment = StrEnum("Assignment", {name: name for name in ("auto", "loss", "cd", "likelihood")})
Solver = StrEnum("Solver", {name: name for name in ("gradient", "exact")})
Start = StrEnum("Start", {name: name for name in ("auto", "uniform", "components")})
Init = StrEnum("Init", {"auto": "auto", "kmeanspp": "k-means++", "kmeans": "k-means", "random": "random"})


def _option(help, default=None, panel=None, **options):
    """An option that the estimator's own default stands behind, which the help shows and a test compares."""
    return typer.Option(help=help, show_default=default or False, rich_help_panel=panel, **options)


_AE, _RBM = "Of --model autoencoder", "Of --model rbm"


@command
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the table and the pictures.")] = Path("csrl-demo"),
    backend: BackendOption = Backend.auto,
    seed: Annotated[int, typer.Option(min=0, help="Of data and restarts.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions, each with a seed of its own.")] = 3,
):
    """Compare k-means, AE + k-means, TAE and PTAE on four data sets, and draw them; under a minute."""
    from csrl_core.cli import demo as cli_demo

    cli_demo.main(out, backend=backend.value, seed=seed, repeats=repeats, say=say)


@command
def fit(
    data: DataPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="The model.")],
    model: Annotated[Model, typer.Option(help="What each cluster gets: autoencoder or Boltzmann machine.")] = (
        Model.autoencoder
    ),
    labels: Annotated[Path | None, typer.Option(help="Write the cluster of every sample (.csv, .npy).")] = None,
    embedding: Annotated[Path | None, typer.Option(help="Write the embedding (.csv, .npy).")] = None,
    clusters: Annotated[int, typer.Option("--clusters", "-k", min=1, help="How many.")] = 2,
    epochs: Annotated[int | None, _option("Passes over the data.", "150; rbm: auto", min=1)] = None,
    batch_size: Annotated[int | None, _option("0: all samples.", "0; rbm: 64", min=0)] = None,
    learning_rate: Annotated[float | None, _option("Of the optimizer.", "0.01; rbm: auto")] = None,
    optimizer: Annotated[Optimizer | None, _option("What makes steps of gradients.", "adam")] = None,
    clip_norm: Annotated[float | None, _option("Global norm to which the gradient is clipped.")] = None,
    tol: Annotated[float | None, _option("Stop when the loss improves less; 0 runs all epochs.", "0")] = None,
    n_init: Annotated[int | None, _option("Restarts; the best by loss or likelihood is kept.", "1", min=1)] = None,
    init: Annotated[Init | None, _option("The first assignment.", "auto")] = None,
    assignment: Annotated[
        Assignment | None,
        _option("What a sample's cluster is chosen by; auto, loss: autoencoder, cd: rbm.", "auto; rbm: likelihood"),
    ] = None,
    center: Annotated[
        bool | None,
        typer.Option(
            "--center/--no-center",
            help="Subtract the cluster's centre from input and target.",
            show_default="center; rbm: for gaussian units",
        ),
    ] = None,
    hidden: Annotated[str | None, _option("Widths of the encoder's layers.", "2,1", _AE, metavar="W,W,…")] = None,
    shared: Annotated[
        int | None, _option("Outer layer pairs that clusters share; 0 is the TAE.", "0", _AE, min=0)
    ] = None,
    activation: Annotated[Activation | None, _option("Of every encoder layer.", "linear", _AE)] = None,
    output_activation: Annotated[Activation | None, _option("Of the output.", "linear", _AE)] = None,
    bias: Annotated[bool, typer.Option("--bias", help="Layers with biases.", rich_help_panel=_AE)] = False,
    reg: Annotated[float | None, _option("λ, the penalty on the embedding.", "0.1", _AE)] = None,
    solver: Annotated[Solver | None, _option("exact: principal components; linear, --reg 0.", "gradient", _AE)] = None,
    start: Annotated[
        Start | None, _option("First parameters; components: of the first clusters; linear.", "auto", _AE)
    ] = None,
    target: Annotated[
        str | None, _option("What to reconstruct (de-noising: clean data).", None, _AE, metavar="DATA")
    ] = None,
    n_hidden: Annotated[int | None, _option("Hidden units of each machine.", "500", _RBM, min=1)] = None,
    visible: Annotated[
        Visible | None, _option("Units: bernoulli for data in [0, 1], gaussian for scaled data.", "bernoulli", _RBM)
    ] = None,
    gibbs_steps: Annotated[int | None, _option("K, steps of a chain.", "1", _RBM, min=1)] = None,
    persistent: Annotated[
        bool, typer.Option("--persistent", help="Chains go on from batch to batch (PCD).", rich_help_panel=_RBM)
    ] = False,
    n_chains: Annotated[
        int | None, _option("Persistent chains of each cluster; default: the batch size.", None, _RBM, min=1)
    ] = None,
    momentum: Annotated[float | None, _option("Of --optimizer sgd.", "0", _RBM)] = None,
    weight_decay: Annotated[float | None, _option("λ of ½ λ ‖W‖².", "0.01", _RBM)] = None,
    standing_epochs: Annotated[
        int | None, _option("First epochs, in which the first assignment stands.", "auto", _RBM, min=0)
    ] = None,
    ais_chains: Annotated[int | None, _option("Of the estimate of log Z.", "100", _RBM, min=2)] = None,
    ais_betas: Annotated[int | None, _option("Temperatures of the same.", "1000", _RBM, min=2)] = None,
    ais_every: Annotated[int | None, _option("Epochs between two estimates.", "auto", _RBM, min=1)] = None,
    filters_gif: Annotated[
        Path | None, _option("Write an animation of the filters while they are learnt.", None, _RBM)
    ] = None,
    image_shape: ImageShape = None,
    backend: BackendOption = Backend.auto,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same model.")] = None,
    key: Key = None,
    label_column: LabelColumn = None,
    divide_by: DivideBy = 1.0,
    checkpoint: Annotated[Path | None, typer.Option(help="Save the state of training here while it goes on.")] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Epochs between two of them.")] = 10,
    resume: Annotated[Path | None, typer.Option(help="Continue from a checkpoint, to the same curve.")] = None,
    jobs: Jobs = None,
):
    """Learn clusters and their autoencoders or Boltzmann machines; write model, labels and embedding."""
    from csrl_core.cli import fit as cli_fit

    given = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "clip_norm": clip_norm,
        "tol": tol,
        "n_init": n_init,
        "init": init,
        "assignment": assignment,
        "center": center,
        "hidden": hidden,
        "shared": shared,
        "activation": activation,
        "output_activation": output_activation,
        "bias": bias or None,
        "reg": reg,
        "solver": solver,
        "start": start,
        "n_hidden": n_hidden,
        "visible": visible,
        "gibbs_steps": gibbs_steps,
        "persistent": persistent or None,
        "n_chains": n_chains,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "standing_epochs": standing_epochs,
        "ais_chains": ais_chains,
        "ais_betas": ais_betas,
        "ais_every": ais_every,
    }
    always = {"n_clusters": clusters, "backend": backend.value, "random_state": seed, "n_jobs": jobs}
    return cli_fit.fit(
        data,
        cli_fit.build(model.value, given, always),
        out=out,
        labels=labels,
        embedding=embedding,
        target=target,
        key=key,
        label_column=label_column,
        divide_by=divide_by,
        checkpoint=checkpoint,
        every=checkpoint_every,
        resume=resume,
        filters_gif=filters_gif,
        image_shape=image_shape,
        say=say,
    )
