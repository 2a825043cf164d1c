"""The work of ``csrl fit``: training that can be watched, interrupted and continued, and loses nothing."""

import shlex
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from csrl_core.callbacks import Checkpoint, LogLines
from csrl_core.cli import files
from csrl_core.estimators.autoencoder import TensorizedAutoencoder
from csrl_core.estimators.rbm import TensorizedRBM
from csrl_core.metrics import scores
from csrl_core.training.loop import NonFiniteLossError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
MODELS = {"autoencoder": TensorizedAutoencoder, "rbm": TensorizedRBM}
OWNERS = {"target": "autoencoder", "filters_gif": "rbm", "image_shape": "rbm"}  # of options of the fit itself


def build(model, given, always):
    """The estimator of a command line.

    model : a key of `MODELS`; given : dict of option → value as typed, None where it was not; always : dict of
    arguments that every estimator takes
    """
    known = MODELS[model]._get_param_names()
    given = {name: getattr(value, "value", value) for name, value in given.items() if value is not None}
    for name in given:
        if name not in known:
            raise _foreign(name, model)
    if "hidden" in given:
        given["hidden"] = files.integers("--hidden", given["hidden"])
    if "batch_size" in given:
        given["batch_size"] = given["batch_size"] or None
    return MODELS[model](**given, **always)


def _foreign(name, model):
    """The error that an option is of other models."""
    others = [other for other, kind in MODELS.items() if name in kind._get_param_names() or other == OWNERS.get(name)]
    option = "--" + name.replace("_", "-")
    return files.WrongUsage(
        f"{option} is an option of --model {' and '.join(others)}, not of --model {model} (csrl fit --help)"
    )


class ProgressBar(LogLines):
    """A bar with epoch, loss and remaining time, for a terminal; redrawn ten times a second at most."""

    def __init__(self, n_init):
        super().__init__(every=0.1)
        self.n_init = n_init

    def setup(self, estimator, context):
        """Show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().setup(estimator, context)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs, loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("fit", total=None, loss="–")
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
            loss = f"{epoch.loss:.6g}"
            self._bar.update(self._task, description=name, completed=epoch.epoch + 1, total=epoch.epochs, loss=loss)
        return False


@contextmanager
def one_interrupt(grace=5.0):
    """The first Ctrl-C raises KeyboardInterrupt; more of them within ``grace`` seconds do not spoil the saving."""
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to the main thread only
        yield
        return
    last = -np.inf

    def interrupt(number, frame):
        nonlocal last
        now = time.monotonic()
        if now - last > grace:
            last = now
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def save_somewhere(model, path, say):
    """Save to ``path``; where that fails, into the folder for temporary files, so that the training is not lost."""
    try:
        model.save(path)
    except OSError as error:
        why = f"cannot write {path}: {error.strerror or error}"
        with tempfile.NamedTemporaryFile(prefix="csrl-", suffix=".safetensors", delete=False) as rescue:
            pass
        try:
            model.save(rescue.name)
        except OSError:
            Path(rescue.name).unlink(missing_ok=True)
            raise OSError(why) from error
        raise OSError(f"{why}; the model was saved to {rescue.name} instead") from error
    say(f"model      {path}")


def fit(
    source,
    model,
    *,
    out,
    labels,
    embedding,
    target,
    key,
    label_column,
    divide_by,
    checkpoint,
    every,
    resume,
    filters_gif,
    image_shape,
    say,
):
    """Fit an estimator and write what was asked for; returns the exit code.

    Parameters
    ----------
    source, target : data as `cli_files.read_data` takes them; target may be None
    model : estimator, see `build`
    out, labels, embedding : path of the model; paths of tables or None
    key, label_column, divide_by : see `cli_files.read_data`
    checkpoint, every, resume : path or None, epochs between two writes, path or None
    filters_gif, image_shape : path of an animation or None; see `cli_files.image_shape`
    say : callable, takes a line for the user

    Raises
    ------
    ValueError, OSError, BackendError
        What `cli_base` prints as one line. Whatever had been learnt is saved before.
    """
    machine = isinstance(model, TensorizedRBM)
    (kind,) = (name for name, kind in MODELS.items() if isinstance(model, kind))
    for name, value in {"target": target, "filters_gif": filters_gif, "image_shape": image_shape}.items():
        if value is not None and OWNERS[name] != kind:
            raise _foreign(name, kind)
    outputs = {
        "--out": (out, None),
        "--labels": (labels, files.TABLES),
        "--embedding": (embedding, files.TABLES),
        "--checkpoint": (checkpoint, None),
        "--filters-gif": (filters_gif, (".gif",)),
    }
    resumes_in_place = resume is not None and checkpoint is not None and Path(resume) == Path(checkpoint)
    if checkpoint is not None and Path(checkpoint).exists() and not resumes_in_place:
        quoted = shlex.quote(str(checkpoint))
        raise ValueError(f"--checkpoint {quoted} exists; --resume {quoted} continues it, remove it to start anew")
    files.check_outputs(outputs, [source, target, None if resumes_in_place else resume])
    data = files.read_data(source, key=key, label_column=label_column, divide_by=divide_by, say=say)
    files.check_finite(source, data)
    if machine and model.visible == "bernoulli" and (data.X.min() < 0 or data.X.max() > 1):
        raise ValueError(
            f"{source} has values from {data.X.min():g} to {data.X.max():g}; binary units need them in [0, 1]: "
            f"--divide-by divides them (255 for bytes), --visible gaussian is for scaled data"
        )
    clean = None
    if target is not None:
        wanted = None if target.startswith(files.BUILT_IN) else label_column
        table = files.read_data(target, key=key, label_column=wanted, divide_by=divide_by, say=say)
        files.check_finite(target, table)
        clean = table.X
    callbacks = [ProgressBar(model.n_init) if sys.stderr.isatty() else LogLines()]
    if checkpoint is not None:
        callbacks.append(Checkpoint(checkpoint, every))
    if filters_gif is not None:
        from csrl_core.plotting.machines import FilterAnimation

        callbacks.append(FilterAnimation(filters_gif, files.image_shape(image_shape, data.X.shape[1])))
    model.set_callbacks(*callbacks)
    cold = files.say_if_compiling(model.backend, "rbm" if machine else "autoencoder.", say)
    begin = time.perf_counter()
    with one_interrupt():
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # divergence is an error here, not a warning
                model.fit(data.X, target=clean, resume=resume)
        except KeyboardInterrupt:
            _keep(model, out, "interrupted", say)
            if filters_gif is not None and hasattr(model, "params_"):
                say(f"filters    {filters_gif}")
            if checkpoint is not None and Path(checkpoint).exists():
                say(f"continue with --resume {shlex.quote(str(checkpoint))}")
            return INTERRUPTED
        except NonFiniteLossError:
            _keep(model, out, "the fit diverged", say)
            raise
        except Exception:
            if hasattr(model, "params_"):
                _keep(model, out, "the fit failed", say)
            raise
        seconds = time.perf_counter() - begin
        try:
            for line in results(model, data, seconds, cold):
                say(line)
        finally:  # an interrupt while these are computed loses no model
            save_somewhere(model, out, say)
        if filters_gif is not None:
            say(f"filters    {filters_gif}")
        n = len(data.X)
        if labels is not None:
            files.write_table(labels, iter([model.labels_]), n, "cluster")
            say(f"labels     {labels}")
        if embedding is not None:
            parts = (model.transform(rows) for rows in files.row_chunks(data.X))
            files.write_table(embedding, parts, n, "z")
            say(f"embedding  {embedding}")
    return 0


def results(model, data, seconds, cold):
    """Lines about a finished fit; cold : bool, whether its seconds are those of compiling as well."""
    sizes = np.bincount(model.labels_, minlength=model.n_clusters)
    yield (
        f"fitted     {len(data.X)} samples × {data.X.shape[1]} features, {model.n_clusters} clusters of "
        f"{', '.join(map(str, sizes))}; {len(model.params_)} parameters"
    )
    yield (
        f"loss       {model.loss_:.6g} after {model.n_iter_} epochs in {seconds:.2f} s, backend {model.backend_}"
        + (" (with compiling)" if cold else "")
        + (f", {model.n_reseeded_} empty clusters re-seeded" if model.n_reseeded_ else "")
    )
    if isinstance(model, TensorizedRBM):
        yield from likelihoods(model, data.X)
    if data.y is not None:
        measures = ", ".join(f"{name} {value:.3f}" for name, value in scores(data.y, model.labels_).items())
        yield f"classes    {measures} (known classes, which the fit did not see)"


def likelihoods(model, X):
    """What is known of how good a Boltzmann machine is; its loss says nothing of that."""
    if int(model.state_.get("n_estimates", [0])[0]):
        error = ", ".join(f"{value:.2g}" for value in model.log_partition_error_)
        yield f"likelihood mean log p {model.score(X):.6g}; standard errors of the clusters' log Z: {error}"
    if model.visible == "bernoulli":
        yield f"pseudo     mean log pseudo-likelihood {np.mean(model.pseudo_likelihood(X)):.6g}"


def _keep(model, out, what, say):
    """Save what a fit that did not end has learnt, and say so."""
    if not hasattr(model, "params_"):
        say(f"{what} before the first epoch ended; nothing was learnt, and {out} was not written")
        return
    say(
        f"{what}: the parameters after epoch {model.n_iter_} (loss {model.loss_:.6g}) are kept; labels and "
        f"embedding were not written (csrl predict and csrl transform make them from the model)"
    )
    save_somewhere(model, out, say)
