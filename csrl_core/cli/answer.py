"""The commands that ask a fitted model: ``csrl predict``, ``transform``, ``plot``. They import when they run."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from csrl_core.cli.base import (
    ByPosition,
    Dask,
    DataPath,
    Jobs,
    ModelPath,
    OtherBackend,
    TableOut,
    WrongUsage,
    check_address,
    command_taking,
    integers,
    say,
)
from csrl_core.cli.table_request import TableRequest, check_request, check_source

NO_IMAGES = "none"  # as --image-shape of csrl plot
Kind = StrEnum("Kind", {name: name for name in ("embedding", "loss", "reconstruction", "filters", "samples")})


@dataclass(frozen=True, kw_only=True)
class PredictRequest(TableRequest):
    """What ``csrl predict`` is asked for."""

    model: ModelPath
    data: DataPath
    out: TableOut
    backend: OtherBackend = None
    jobs: Jobs = None
    dask: Dask = None
    by_position: ByPosition = False


@dataclass(frozen=True, kw_only=True)
class TransformRequest(PredictRequest):
    """What ``csrl transform`` is asked for."""

    all_: Annotated[bool, typer.Option("--all", help="Under every cluster: (n, k, latent).")] = False


@command_taking(PredictRequest)
def predict(request):
    """Write the cluster of every sample; an NPY file may be larger than memory."""
    _write(request, lambda estimator: estimator.predict, "cluster")


@command_taking(TransformRequest)
def transform(request):
    """Write every sample's embedding under its cluster; an NPY file may be larger than memory."""
    _write(request, lambda estimator: estimator.transform_all if request.all_ else estimator.transform, "z")


def _read(request):
    """The estimator of a file, and the data that it is asked about; an NPY file stays on disk."""
    from csrl_core.cli import cluster, data, files
    from csrl_core.estimators import saved

    files.check_outputs({"--out": (request.out, files.TABLES)}, [request.model, request.data])
    estimator = saved.load(request.model, backend=request.backend and request.backend.value)
    estimator.n_jobs = request.jobs
    by_workers = cluster.left_on_disk(request.data, request)
    table = _table(request, estimator, out_of_core=by_workers, memory_map=request.dask is None)
    if not data.is_on_disk(table.X):
        data.check_finite(request.data, table)
    return estimator, table


def _check(request):
    """Raise what is wrong with the request itself, before a library is imported."""
    check_request(request)
    if request.standardize or request.scale is not None:
        option = "--standardize" if request.standardize else "--scale"
        raise WrongUsage(f"{option} is for csrl fit: a model keeps its scaling and does the same with new data")
    if not request.model.is_file():
        raise FileNotFoundError(f"{request.model}: there is no such model file")
    check_source(request.data)


def _table(request, estimator, **options):
    """The table of a request, compared with what the model knows, and scaled by the model alone."""
    from csrl_core.cli import data
    from csrl_core.estimators.scaling import Scaling

    known, scaling = data.Known.of(request.model, estimator), vars(estimator).get("scaling_")
    given = request.divide_by if request.divide_by != 1 else None
    if scaling is not None and request.divide_by is not None:
        own = {"standardize": "standardizes", "minmax": "scales to [0, 1]"}.get(scaling.kind)
        own = own or f"divides by {scaling.scale[0]:g}"
        if scaling.kind != "divide" or scaling.scale[0] != request.divide_by:
            raise WrongUsage(f"--divide-by {request.divide_by:g}: {request.model} itself {own}; leave the option out")
    table = data.read_data(request.data, request, known=known, say=say, by_position=request.by_position, **options)
    if scaling is None and given is not None:  # models of earlier versions did not keep it
        estimator.scaling_ = Scaling.of("divide", table.X, given)
    return table


def _write(request, method_of, name):
    """The answers of a method of the estimator, from file to file in chunks of rows."""
    _check(request)
    check_address(request.dask)
    from csrl_core.cli import cluster, files

    with cluster.connected(request.dask, say) as client:
        estimator, table = _read(request)
        method, X, n = method_of(estimator), table.X, len(table.X)
        answers = _in_chunks(request, method, table) if client is None else cluster.answered(method, X, client, say)
        files.write_table(request.out, answers, n, name, table.beside)
    say(f"{n} rows  {request.out}")


def _in_chunks(request, method, table):
    """A method's answers, computed here."""
    from csrl_core.cli import data, files

    before = 0
    for rows in files.row_chunks(table.X):
        if data.is_on_disk(table.X):
            data.check_finite(request.data, table, rows, before)
        yield method(rows)
        before += len(rows)


@dataclass(frozen=True, kw_only=True)
class PlotRequest(TableRequest):
    """What ``csrl plot`` is asked for."""

    model: ModelPath
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="As for fit; loss, filters and samples need none.")
    ] = None
    out: Annotated[Path, typer.Option("--out", "-o", help="A .png, .pdf or .svg file.")]
    kind: Annotated[Kind, typer.Option(help="What to draw; filters: of a Boltzmann machine.")] = Kind.embedding
    image_shape: Annotated[
        str | None,
        typer.Option(metavar="H,W", help="Samples are images of this shape, or none; default: a square, if they are."),
    ] = None
    images: Annotated[int, typer.Option(min=1, help="Filters or samples of each cluster.")] = 25
    by_position: ByPosition = False


@command_taking(PlotRequest)
def plot(request):
    """Draw a model's embedding, loss, reconstructions, filters, or samples (its own, or of DATA by cluster)."""
    _check(request)
    from csrl_core import plotting
    from csrl_core.cli import data, files
    from csrl_core.estimators import saved

    model, kind, image_shape = request.model, request.kind, request.image_shape
    files.check_outputs({"--out": (request.out, files.PICTURES)}, [model, request.data])
    if image_shape not in (None, NO_IMAGES):
        integers("--image-shape", image_shape)
    estimator = saved.load(model)
    _check_kind(kind, estimator, request)
    table = None
    if request.data is not None and kind not in (Kind.loss, Kind.filters):
        table = _table(request, estimator)
        data.check_finite(request.data, table)
    shape = _shape(kind, estimator, table, image_shape)
    figure = _figure(kind, estimator, table, shape, request.images)
    plotting.save_figure(figure, request.out)
    for ax in figure.axes if kind is Kind.samples else ():
        name, said, flaw = ax.get_title().partition(": ")
        if said and table is None:
            machine = hasattr(estimator, "free_energy")
            cure = "longer training or another learning rate may help" if machine else "try a smaller --reg in the fit"
            say(f"samples  of {name}: {flaw}; {cure}")
    say(f"picture  {request.out}")


def _check_kind(kind, estimator, request):
    """Refuse a picture that there is not of this model, or not without data."""
    of, machine = f"{request.model} is a {type(estimator).__name__}", hasattr(estimator, "free_energy")
    if kind is Kind.filters and not machine:
        raise WrongUsage(f"--kind filters is for Boltzmann machines; {of}")
    if kind is Kind.reconstruction and not hasattr(estimator, "reconstruct"):
        raise WrongUsage(f"--kind reconstruction is for models with a decoder; {of}")
    draws = kind is Kind.samples and hasattr(estimator, "sample")
    if request.data is None and kind not in (Kind.loss, Kind.filters) and not draws:
        raise WrongUsage(f"--kind {kind.value} needs DATA")


def _shape(kind, estimator, table, given):
    """(height, width) of samples that are drawn as images, or None; what nobody gave is said."""
    from csrl_core import plotting
    from csrl_core.cli import files
    from csrl_core.plotting.shapes import own_shape

    if kind in (Kind.loss, Kind.embedding):
        return None
    if kind is Kind.reconstruction and given is None:
        shape = plotting.image_shape_of(estimator, table.X, table.columns if table.named else None)
        cure = f"--image-shape {NO_IMAGES} draws points"
    elif kind is Kind.reconstruction and given == NO_IMAGES:
        return None
    else:
        shape = (given is None and own_shape(estimator)) or files.image_shape(given, estimator.n_features_in_)
        cure = "--image-shape H,W is for others"
    if given is None and shape is not None:
        say(f"images   {shape[0]} × {shape[1]} pixels, of {estimator.n_features_in_} columns; {cure}")
    return shape


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
