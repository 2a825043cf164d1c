"""The work of ``csrl fit``: training that can be watched, interrupted and continued, and loses nothing."""

import dataclasses
import shlex
import signal
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from csrl_core.callbacks import Checkpoint, LogLines
from csrl_core.cli import cluster, files, progress
from csrl_core.cli import data as tables
from csrl_core.cli.remembered import equipment, scaling_of
from csrl_core.metrics import scores
from csrl_core.training import compiling, termination
from csrl_core.training.loop import NonFiniteLossError

INTERRUPTED = 128 + signal.SIGINT  # as shells have it


class ProgressBar(LogLines):
    """A bar with epoch, loss and remaining time, for a terminal; redrawn ten times a second at most."""

    def __init__(self, n_init):
        super().__init__(every=0.1)
        self.n_init = n_init

    def setup(self, estimator, context):
        """Show the bar."""
        from rich.progress import TimeRemainingColumn

        super().setup(estimator, context)
        self._bar = progress.Bar("epochs", TimeRemainingColumn())
        self._bar.start()

    def teardown(self, estimator, context):
        """Leave the bar as it is."""
        self._bar.stop()

    def on_epoch_end(self, estimator, epoch):
        """Redraw it if it is time."""
        now, last = time.monotonic(), epoch.epoch + 1 == epoch.epochs
        if last or now - self._last >= self.every:
            self._last = now
            name = f"restart {epoch.restart + 1}/{self.n_init}" if self.n_init > 1 else "fit"
            self._bar.show(name, epoch.epoch + 1, epoch.epochs, f", {epoch.progress}")
        return False


@contextmanager
def one_interrupt(grace=5.0):
    """The first Ctrl-C raises KeyboardInterrupt; more of them within ``grace`` seconds do not spoil the saving.

    SIGTERM and SIGHUP raise what `csrl_core.training.termination` has for them, and count as well.
    """
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to the main thread only
        yield
        return
    last = -np.inf

    def interrupt(number, frame):
        nonlocal last
        now = time.monotonic()
        if now - last > grace:
            last = now
            raise next((kind for kind in termination.KINDS if kind.signal == number), KeyboardInterrupt)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with termination.raised(interrupt):
            yield
    finally:
        signal.signal(signal.SIGINT, before)


def fit(request, model, say):
    """Fit an estimator and write what was asked for; returns the exit code.

    Parameters
    ----------
    request : `csrl_core.cli.learn.FitRequest`
    model : estimator, see `csrl_core.cli.options.build`
    say : callable, takes a line for the user

    Raises
    ------
    ValueError, OSError, BackendError
        What `csrl_core.cli.base` prints as one line. Whatever had been learnt is saved before.
    """
    _check_files(request)
    with cluster.connected(request.dask, say) as client:
        return _fit(request, model, client, say)


def _fit(request, model, client, say):
    """`fit`. client : of the Dask cluster that has the data, None for data in this process"""
    data, others, scaling = _read(request, model, client, say)
    equip = equipment(data, scaling)
    X, *scaled = (each if scaling is None else scaling.apply(each) for each in (data.X, *others.values()))
    model.set_callbacks(*_callbacks(request, model, data.X.shape[1]))
    begin = time.perf_counter()
    with one_interrupt():
        try:
            with compiling.announced(say, model, model.backend) as compiled, _no_warning():
                model.fit(X, data.y, **dict(zip(others, scaled, strict=True)), resume=request.resume)
        except KeyboardInterrupt as ended:
            say = _spoken(say)
            _keep(request, model, equip, _ENDED.get(type(ended), "interrupted"), say)
            if request.filters_gif is not None and hasattr(model, "params_"):
                say(f"filters    {request.filters_gif}")
            if request.checkpoint is not None and Path(request.checkpoint).exists():
                say(f"continue with --resume {shlex.quote(str(request.checkpoint))}")
            return getattr(ended, "code", INTERRUPTED)
        except NonFiniteLossError:
            _keep(request, model, equip, "the fit diverged", say)
            raise
        except Exception:
            if hasattr(model, "params_"):
                _keep(request, model, equip, "the fit failed", _spoken(say))
            raise
        seconds = time.perf_counter() - begin
        if scaling is not None:
            model.scaling_ = scaling
        try:
            for line in results(model, data, seconds, compiled.functions > 0):
                say(line)
        finally:  # an interrupt while these are computed loses no model
            with equip(model):
                files.save_somewhere(model, request.out, say)
        _write_tables(request, model, data, say)
    return 0


_ENDED = {kind: f"interrupted by {kind.signal.name}" for kind in termination.KINDS}


def _spoken(say):
    """``say``, where the terminal is there to hear it: one that was closed must not keep a model from being saved."""

    def spoken(line):
        with suppress(OSError):
            say(line)

    return spoken


def _no_warning():
    """Context without warnings of a loss that overflows: divergence is an error here."""
    return np.errstate(over="ignore", invalid="ignore")


def _check_files(request):
    """Raise what is wrong with the files that are named, before any work is done."""
    checkpoint, resume = request.checkpoint, request.resume
    resumes_in_place = None not in (resume, checkpoint) and Path(resume) == Path(checkpoint)
    if checkpoint is not None and Path(checkpoint).exists() and not resumes_in_place:
        quoted = shlex.quote(str(checkpoint))
        raise ValueError(f"--checkpoint {quoted} exists; --resume {quoted} continues it, remove it to start anew")
    outputs = {
        "--out": (request.out, None),
        "--labels": (request.labels, files.TABLES),
        "--embedding": (request.embedding, files.TABLES),
        "--checkpoint": (checkpoint, None),
        "--filters-gif": (request.filters_gif, (".gif",)),
    }
    inputs = [request.data, request.target, request.background]
    files.check_outputs(outputs, [*inputs, None if resumes_in_place else resume])


def _read(request, model, client, say):
    """(data, other arrays that `fit` takes by name, scaling or None), finite and in the range that the model needs."""
    on_disk = cluster.left_on_disk(request.data, request)
    data = tables.read_data(request.data, request, out_of_core=on_disk, say=say)
    tables.check_finite(request.data, data)
    data.X = cluster.held(data.X, request.data, client, say)
    scaling = scaling_of(request, data, say)
    if getattr(model, "visible", None) == "bernoulli" and (scaling is None or scaling.kind != "minmax"):
        X = data.X if scaling is None else scaling.apply(data.X)
        low, high = X.min(), X.max()
        if low < 0 or high > 1:
            raise ValueError(
                f"{request.data} has values from {low:g} to {high:g}; binary units need them in [0, 1]: --divide-by "
                f"divides them (255 for bytes), --visible gaussian is for scaled data, --scale minmax scales columns"
            )
    others = {}
    if request.target is not None:
        others["target"] = cluster.held(_target(request, data, say), request.target, client, say)
    if request.background is not None:
        others["background"] = _other(request, request.background, data, say, "background").X
    return data, others, scaling


def _other(request, source, data, say, word):
    """Other data: the columns of the data, by name where they have names."""
    known = tables.Known(
        request.data, data.X.shape[1], tuple(data.columns) if data.named else None, data.identifier, data.means, "has"
    )
    own = request
    if data.named or source.startswith(tables.BUILT_IN):
        own = dataclasses.replace(request, label_column=None, id_column=None, columns=None, drop=None)
    on_disk = word == "target" and cluster.left_on_disk(source, own)
    other = tables.read_data(
        source, own, out_of_core=on_disk, known=known, say=say, word=word, by_position=request.by_position
    )
    tables.check_finite(source, other)
    return other


def _target(request, data, say):
    """The clean data of --target, with the data's rows."""
    clean = _other(request, request.target, data, say, "target")
    for name, what in (("rows", "rows without missing values"), ("identifiers", f"values of {data.identifier!r}")):
        own, other = getattr(data, name), getattr(clean, name)
        if (name == "rows" or other is not None) and own is not other and not np.array_equal(own, other):
            raise ValueError(f"{request.target} has other {what} than {request.data}, or in another order")
    return clean.X


def _callbacks(request, model, n_features):
    callbacks = [ProgressBar(model.n_init) if progress.in_terminal() else LogLines()]
    if request.checkpoint is not None:
        callbacks.append(Checkpoint(request.checkpoint, request.checkpoint_every))
    if request.filters_gif is not None:
        from csrl_core.plotting import FilterAnimation

        shape = files.image_shape(request.image_shape, n_features)
        callbacks.append(FilterAnimation(request.filters_gif, shape))
    return callbacks


def _write_tables(request, model, data, say):
    """Write the tables that were asked for beside the model."""
    if request.filters_gif is not None:
        say(f"filters    {request.filters_gif}")
    n = len(data.X)
    if request.labels is not None:
        files.write_table(request.labels, iter([model.labels_]), n, "cluster", data.beside)
        say(f"labels     {request.labels}")
    if request.embedding is not None:
        parts = (model.transform(rows) for rows in files.row_chunks(data.X))
        files.write_table(request.embedding, parts, n, "z", data.beside)
        say(f"embedding  {request.embedding}")


def results(model, data, seconds, compiled):
    """Lines about a finished fit; compiled : bool, whether its seconds are those of compiling as well."""
    sizes = np.bincount(model.labels_, minlength=model.n_clusters)
    yield (
        f"fitted     {len(data.X)} samples × {data.X.shape[1]} features, {model.n_clusters} clusters of "
        f"{', '.join(map(str, sizes))}; {len(model.params_)} parameters"
    )
    yield (
        f"loss       {model.loss_:.6g} after {model.n_iter_} epochs in {seconds:.2f} s, backend {model.backend_}"
        + (" (with compiling)" if compiled else "")
        + (f", {model.n_reseeded_} empty clusters re-seeded" if model.n_reseeded_ else "")
    )
    if hasattr(model, "pseudo_likelihood"):
        yield from likelihoods(model, data.X)
    if data.y is not None:
        known = data.y != "" if data.y.dtype.kind == "U" else np.isfinite(data.y)
        if known.any():
            measures = scores(data.y[known], model.labels_[known]).items()
            of = "" if known.all() else f" of {known.sum()} rows"
            measures = ", ".join(f"{name} {value:.3f}" for name, value in measures)
            yield f"classes    {measures} (known classes{of}, which the fit did not see)"


def likelihoods(model, X):
    """What is known of how good a Boltzmann machine is; its loss says nothing of that."""
    if int(model.state_.get("n_estimates", [0])[0]):
        error = ", ".join(f"{value:.2g}" for value in model.log_partition_error_)
        yield f"likelihood mean log p {model.score(X):.6g}; standard errors of the clusters' log Z: {error}"
    if model.visible == "bernoulli":
        yield f"pseudo     mean log pseudo-likelihood {np.mean(model.pseudo_likelihood(X)):.6g}"


def _keep(request, model, equip, what, say):
    """Save what a fit that did not end has learnt, and say so."""
    if not hasattr(model, "params_"):
        say(f"{what} before the first epoch ended; nothing was learnt, and {request.out} was not written")
        return
    say(
        f"{what}: the parameters after epoch {model.n_iter_} (loss {model.loss_:.6g}) are kept; labels and "
        f"embedding were not written (csrl predict and csrl transform make them from the model)"
    )
    with equip(model):
        files.save_somewhere(model, request.out, say)
