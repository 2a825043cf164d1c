"""The commands that ask a fitted model: ``csrl predict``, ``transform``, ``plot``. They import when they run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

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
    WrongUsage,
    command,
    integers,
    say,
)

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
    estimator, table = _read(model, data, out, backend, jobs, key, label_column, divide_by)
    _write(out, estimator.predict, data, table, "cluster", divide_by)


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
    estimator, table = _read(model, data, out, backend, jobs, key, label_column, divide_by)
    _write(out, estimator.transform_all if all_ else estimator.transform, data, table, "z", divide_by)


def _read(model, data, out, backend, jobs, key, label_column, divide_by):
    """The estimator of a file, and the data that it is asked about; an NPY file stays on disk."""
    from csrl_core.cli import files
    from csrl_core.estimators import saved

    files.check_outputs({"--out": (out, files.TABLES)}, [model, data])
    estimator = saved.load(model, backend=backend and backend.value)
    estimator.n_jobs = jobs
    table = files.read_data(data, key=key, label_column=label_column, memory_map=True, divide_by=divide_by, say=say)
    files.check_features(data, table, model, estimator.n_features_in_)
    if not files.is_on_disk(table.X):
        files.check_finite(data, table.X, table.columns)
    return estimator, table


def _write(out, method, data, table, name, divide_by):
    """A method's answers, from file to file in chunks of rows."""
    from csrl_core.cli import files

    def answers():
        left, before = divide_by if files.is_on_disk(table.X) else 1.0, 0
        for rows in files.row_chunks(table.X, divide_by=left):
            files.check_finite(data, rows, table.columns, before)
            yield method(rows)
            before += len(rows)

    files.write_table(out, answers(), len(table.X), name)
    say(f"{len(table.X)} rows  {out}")


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
    shape = None if image_shape is None else integers("--image-shape", image_shape)
    estimator = saved.load(model)
    machine = hasattr(estimator, "free_energy")
    if kind is Kind.filters and not machine:
        raise WrongUsage(f"--kind filters is for Boltzmann machines; {model} is a {type(estimator).__name__}")
    if data is None and not (kind is Kind.loss or (machine and kind in (Kind.filters, Kind.samples))):
        raise WrongUsage(f"--kind {kind.value} needs DATA")
    table = None
    if data is not None and kind not in (Kind.loss, Kind.filters):
        table = files.read_data(data, key=key, label_column=label_column, divide_by=divide_by, say=say)
        files.check_features(data, table, model, estimator.n_features_in_)
        files.check_finite(data, table.X, table.columns)
    if kind in (Kind.filters, Kind.samples):
        shape = files.image_shape(image_shape, estimator.n_features_in_)
    plotting.save_figure(_figure(kind, estimator, table, shape, images), out)
    say(f"picture  {out}")


def _figure(kind, estimator, table, shape, images):
    from csrl_core import plotting

    if kind is Kind.loss:
        return plotting.plot_loss(estimator).figure
    if kind is Kind.filters:
        return plotting.plot_filters(estimator, shape, images)
    if kind is Kind.samples and table is None:
        return plotting.plot_samples(estimator, shape, images)
    if kind is Kind.samples:
        return plotting.plot_samples(table.X, shape, images, labels=estimator.predict(table.X))
    if kind is Kind.embedding:
        return plotting.plot_embedding(estimator, table.X, table.y).figure
    return plotting.plot_reconstruction(estimator, table.X, image_shape=shape)
