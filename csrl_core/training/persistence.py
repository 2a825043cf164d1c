"""Models and checkpoints on disk: safetensors with a JSON header and a checksum, written atomically.

Nothing in a file is ever executed, and `csrl_core.training.file_checks` checks all of it before use. A file is written
beside its destination and then renamed: a process that dies in between leaves the old file complete.
"""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from csrl_core._version import __version__
from csrl_core.backends import as_numpy
from csrl_core.training.atomic_files import write_atomically
from csrl_core.training.file_checks import (
    ModelFileError,
    check_array,
    check_header,
    check_numbers,
    check_run,
    check_shapes,
    digest_of,
)
from csrl_core.training.run import Run

FORMAT = 2  # 1 has no checksum
FORMATS = (1, 2)
HEADER = "csrl_core"
_RUN_NUMBERS = ["restart", "step", "epoch", "best", "stale", "n_reseeded", "stopped"]
# Arguments that may differ between a checkpoint and the estimator that resumes it: they do not change the loss curve.
_FREE_ARGUMENTS = {"epochs", "n_jobs", "verbose", "random_state", "backend", "n_init"}


def write(path, kind, header, arrays):
    """Write a file. kind : "model" or "checkpoint"; header : dict that JSON can hold; arrays : dict by name."""
    header = {"format": FORMAT, "kind": kind, "version": __version__, **header}
    arrays = {name: np.ascontiguousarray(as_numpy(array)) for name, array in arrays.items()}
    header["digest"] = digest_of(header, arrays)
    write_atomically(path, safetensors.numpy.save(arrays, {HEADER: json.dumps(header)}))


def read(path, kind):
    """The header and the arrays of a file, after checking that it is complete and of this kind.

    Raises
    ------
    FileNotFoundError
    ModelFileError
        The file is not complete, damaged, of another program, another format version or another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such {kind} file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    # The other exceptions come from dtypes that NumPy does not have and from shapes whose size is not an int.
    except (safetensors.SafetensorError, AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(
            f"{path} is not a whole safetensors file ({error}); expected a {kind} written by csrl_core"
        ) from None
    if HEADER not in metadata:
        raise ModelFileError(f"{path} is a safetensors file of another program; expected a {kind} written by csrl_core")
    try:
        header = json.loads(metadata[HEADER])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} has a header that is not JSON ({error}); it is damaged") from None
    if not isinstance(header, dict):
        raise ModelFileError(f"{path} has a JSON {type(header).__name__} as its header, not an object; it is damaged")
    if type(header.get("format")) is not int or header["format"] not in FORMATS:
        raise ModelFileError(
            f"{path} has format version {header.get('format')!r:.99}; this csrl_core {__version__} reads versions "
            f"{FORMATS[0]} to {FORMAT}. It was written by csrl_core {header.get('version')!s:.99}"
        )
    digest = header.pop("digest", None)
    if digest != digest_of(header, arrays) and not (digest is None and header["format"] == 1):
        raise ModelFileError(f"{path} is damaged: its contents have another checksum than when it was written")
    if header.get("kind") != kind:
        raise ModelFileError(f"{path} is a {header.get('kind')!s:.99}; expected a {kind}")
    check_header(path, header, {"class": str, "arguments": dict, "shapes": dict})
    return header, arrays


def arguments_of(estimator):
    """Constructor arguments: (dict of plain values for JSON, dict of arrays). A RandomState or a model is left out."""
    plain, arrays = {}, {}
    for name, value in estimator.get_params(deep=False).items():
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, np.ndarray) or (name == "init" and not isinstance(value, str)):
            arrays[f"argument.{name}"] = as_numpy(value)
        elif isinstance(value, (str, int, float, bool, type(None))):
            plain[name] = value
        elif isinstance(value, (tuple, list)):
            plain[name] = [item.item() if isinstance(item, np.generic) else item for item in value]
    return plain, arrays


def _defaults(estimator):
    """Name → default of the constructor's arguments, with tuples as lists, as JSON gives them back."""
    parameters = inspect.signature(type(estimator).__init__).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}


@dataclass
class CheckpointState:
    """The contents of a checkpoint: the run in progress, and the best of the finished ones.

    epochs : the estimator's argument; callbacks : list of their states, see `reporter.Reporter.states`
    data : checksums of the fit's data, None for files without them
    """

    key: np.ndarray
    shapes: dict
    run: Run
    best: Run | None
    best_score: float
    epochs: int
    callbacks: list
    data: dict | None


def write_checkpoint(path, estimator, state):
    """Write a checkpoint: all that training needs to continue from the end of an epoch. state : `CheckpointState`."""
    arguments, arrays = arguments_of(estimator)
    arrays["key"] = state.key
    header = {
        "class": type(estimator).__name__,
        "arguments": arguments,
        "shapes": state.shapes,
        "run": _run_header(state.run),
        "best": None if state.best is None else _run_header(state.best),
        "best_score": float(state.best_score),
        "callbacks": state.callbacks,
        "data": state.data,
    }
    arrays.update(_run_arrays(state.run, "run."))
    if state.best is not None:
        arrays.update(_run_arrays(state.best, "best."))
    write(path, "checkpoint", header, arrays)


def read_checkpoint(path, estimator, X, meaning=lambda name, value: value):
    """The `CheckpointState` of a file, after checking that it belongs to this estimator and to X's shape and dtype.

    meaning : function (name, value) → what an argument's value stands for, "auto" for instance

    Raises
    ------
    ModelFileError
        The file is not a checkpoint, is damaged, or belongs to another estimator, other arguments or other data.
    """
    header, arrays = read(path, "checkpoint")
    if header["class"] != type(estimator).__name__:
        raise ModelFileError(f"{path} is a checkpoint of {header['class']}; expected {type(estimator).__name__}")
    arguments, argument_arrays = arguments_of(estimator)
    for name in {*argument_arrays, *(name for name in arrays if name.startswith("argument."))}:
        if not np.array_equal(argument_arrays.get(name), arrays.get(name)):
            raise ModelFileError(
                f"{path} was made with another {name.removeprefix('argument.')}; resume needs the same"
            )
    # An argument that an older file does not have had its default value.
    saved = {name: default for name, default in _defaults(estimator).items() if name in arguments} | header["arguments"]
    for name in set(arguments) | set(saved):
        before, now = (meaning(name, values.get(name)) for values in (saved, arguments))
        if name not in _FREE_ARGUMENTS and before != now:
            raise ModelFileError(
                f"{path} was made with {name}={before!r}, the estimator has {name}={now!r}; resume needs the same"
            )
    check_header(path, header, {"run": dict, "best": (dict, type(None)), "data": (dict, type(None))})
    check_numbers(path, header, ["best_score"])
    check_array(path, arrays, "key", (2,), np.uint32)
    for name, shape in (("run.state.assign", (None,)), ("run.state.centers", (None, None)), ("run.params", (None,))):
        check_array(path, arrays, name, shape, arrays[name].dtype if name in arrays else None)
    shape = (*arrays["run.state.assign"].shape, arrays["run.state.centers"].shape[1])
    dtype = arrays["run.params"].dtype
    if (shape, dtype) != (X.shape, X.dtype):
        raise ModelFileError(f"{path} was made on X of shape {shape} and dtype {dtype}; X has {X.shape} and {X.dtype}")
    callbacks = header.get("callbacks", [])
    if not (
        isinstance(callbacks, list) and all(isinstance(c, dict) and {"class", "state"} <= set(c) for c in callbacks)
    ):
        raise ModelFileError(f"{path} has callbacks={callbacks!r:.99}; expected a list of their classes and states")
    layout, epochs = (
        check_shapes(path, estimator, header["shapes"]),
        meaning("epochs", header["arguments"].get("epochs")),
    )
    run = _read_run(path, header["run"], arrays, "run.", layout, estimator)
    best = None if header.get("best") is None else _read_run(path, header["best"], arrays, "best.", layout, estimator)
    return CheckpointState(
        arrays["key"], layout.shapes, run, best, header["best_score"], epochs, callbacks, header.get("data")
    )


def check_counts(path, checkpoint, estimator, epochs, given):
    """Refuse ``epochs`` and ``n_init`` with which an uninterrupted fit would not have reached the checkpoint.

    epochs : int, most epochs of a run of this estimator; given : what its argument ``epochs`` stands for
    """
    run = checkpoint.run
    for name, least, value in (("n_init", run.restart + 1, estimator.n_init), ("epochs", run.epoch, epochs)):
        if value < least:
            raise ModelFileError(
                f"{path} was made in restart {run.restart + 1} after epoch {run.epoch}, the estimator has "
                f"{name}={value}; resume needs at least {least}"
            )
    if estimator.learning_rate_schedule != "constant" and given != checkpoint.epochs:
        raise ModelFileError(
            f"{path} was made with epochs={checkpoint.epochs!r}, the estimator has epochs={given!r}; resume "
            f"needs the same with learning_rate_schedule={estimator.learning_rate_schedule!r}, which decays to the end"
        )
    if run.restart and given != checkpoint.epochs:
        raise ModelFileError(
            f"{path} was made with epochs={checkpoint.epochs!r} in restart {run.restart + 1}, the estimator has "
            f"epochs={given!r}; resume needs the same once a restart has ended"
        )


def check_data(path, saved, given):
    """Refuse other data than the checkpoint was made on. saved, given : checksums from `data_digest`."""
    for name, digest in given.items():
        if saved.get(name) != digest:
            raise ModelFileError(f"{path} was made on another {name} than is given to resume with; it needs the same")


def _run_header(run):
    return {name: getattr(run, name) for name in _RUN_NUMBERS}


def _run_arrays(run, prefix):
    arrays = {"params": run.params, "moments": run.moments, "loss_curve": np.asarray(run.loss_curve, np.float64)}
    arrays.update({f"state.{name}": array for name, array in run.state.items()})
    return {prefix + name: array for name, array in arrays.items()}


def _read_run(path, header, arrays, prefix, layout, estimator):
    if "finished" in header:  # its name in earlier checkpoints
        header = {"stopped": header["finished"], **header}
    check_numbers(path, header, _RUN_NUMBERS)
    check_run(path, arrays, prefix, layout, estimator, len(arrays["run.state.assign"]))
    if header["epoch"] != len(arrays[f"{prefix}loss_curve"]):
        raise ModelFileError(
            f"{path} has {len(arrays[f'{prefix}loss_curve'])} losses of {header['epoch']} epochs; it is damaged"
        )
    arrays = subset(arrays, prefix)
    run = Run(arrays["params"].copy(), {n: a.copy() for n, a in subset(arrays, "state.").items()})
    run.moments, run.loss_curve = arrays["moments"].copy(), arrays["loss_curve"].tolist()
    for name in _RUN_NUMBERS:
        setattr(run, name, header[name])
    return run


def subset(arrays, prefix):
    """The arrays whose names have the prefix, by their names without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
