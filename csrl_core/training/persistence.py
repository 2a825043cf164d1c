"""Models and checkpoints on disk: safetensors with a JSON header and a checksum, written atomically.

Nothing in a file is ever executed, and nothing computes with what `csrl_core.training.file_checks` has not seen. A
file is written beside its destination and then renamed, so a process that dies in between leaves the old file whole.
"""

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from csrl_core._version import __version__
from csrl_core.backends import as_numpy
from csrl_core.training.atomic_files import write_atomically
from csrl_core.training.file_checks import (
    ModelFileError,
    check_arguments,
    check_array,
    check_header,
    check_numbers,
    check_run,
    check_shapes,
    digest_of,
)
from csrl_core.training.loop import Run

FORMAT = 2  # 1 has no checksum
FORMATS = (1, 2)
HEADER = "csrl_core"
CLASSES = {
    "TensorizedAutoencoder": "csrl_core.estimators.autoencoder",
    "TensorizedRBM": "csrl_core.estimators.rbm",
    "ClusterSpecific": "csrl_core.estimators.base",
}

OUTPUTS = "default", "pandas", "polars"  # of scikit-learn's set_output

_MODEL_ARRAYS = {"labels": "labels_", "centers": "cluster_centers_", "moments": "_moments", "key": "_key"}
_MODEL_NUMBERS = ["loss_", "n_iter_", "n_steps_", "n_reseeded_", "backend_", "n_features_in_"]
_RUN_NUMBERS = ["restart", "step", "epoch", "best", "stale", "n_reseeded", "stopped"]
# What may differ between a checkpoint and the estimator that resumes it: none of it changes the curve.
_FREE_ARGUMENTS = {"epochs", "n_jobs", "verbose", "random_state", "backend", "n_init"}


def _write(path, kind, header, arrays):
    header = {"format": FORMAT, "kind": kind, "version": __version__, **header}
    arrays = {name: np.ascontiguousarray(as_numpy(array)) for name, array in arrays.items()}
    header["digest"] = digest_of(header, arrays)
    write_atomically(path, safetensors.numpy.save(arrays, {HEADER: json.dumps(header)}))


def _read(path, kind):
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such {kind} file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    # Beside the library's own: numbers of a kind that NumPy has not, and shapes whose size is no int.
    except (safetensors.SafetensorError, AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(
            f"{path} is not a whole safetensors file ({error}); expected a {kind} written by csrl_core"
        ) from None
    if HEADER not in metadata:
        raise ModelFileError(f"{path} is a safetensors file of another program; expected a {kind} written by csrl_core")
    try:
        header = json.loads(metadata[HEADER])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} has a header that is no JSON ({error}); it is damaged") from None
    if not isinstance(header, dict):
        raise ModelFileError(f"{path} has a header that is a JSON {type(header).__name__}, no object; it is damaged")
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


def _arguments(estimator):
    """Constructor arguments as JSON, arrays apart; what has no such form (a RandomState, a model) is left out."""
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


def write_model(path, estimator):
    """A fitted estimator: arguments, parameters, state, optimizer moments and step."""
    arguments, arrays = _arguments(estimator)
    arrays["params"] = estimator.params_
    arrays["loss_curve"] = np.asarray(estimator.loss_curve_, dtype=np.float64)
    arrays.update({name: getattr(estimator, attribute) for name, attribute in _MODEL_ARRAYS.items()})
    arrays.update({f"state.{name}": array for name, array in estimator.state_.items()})
    header = {
        "class": type(estimator).__name__,
        "arguments": arguments,
        "shapes": estimator._shapes,
        "numbers": {name: getattr(estimator, name) for name in _MODEL_NUMBERS},
    }
    if hasattr(estimator, "_n_draws"):  # of a machine: so that it goes on drawing new numbers
        header["numbers"]["n_draws"] = estimator._n_draws
    if hasattr(estimator, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in estimator.feature_names_in_]
    output = vars(estimator).get("_sklearn_output_config", {}).get("transform")
    if output is not None:  # what set_output chose
        header["output"] = output
    _write(path, "model", header, arrays)


def load(path, *, model=None, backend=None):
    """Read an estimator that `save` wrote.

    Parameters
    ----------
    path : path
    model : ClusterModel, optional
        For a `ClusterSpecific`: its model, whose code no file contains.
    backend : str, optional
        Instead of the backend it was made with.

    Returns
    -------
    estimator
        Fitted; `predict` gives what it gave, and `partial_fit` continues.

    Raises
    ------
    FileNotFoundError
    ModelFileError
        The file is truncated, foreign, of another format version, or not a model.
    """
    header, arrays = _read(path, "model")
    if header["class"] not in CLASSES:
        raise ModelFileError(f"{path} holds a {header['class']!r:.99}; expected one of {', '.join(CLASSES)}")
    check_header(path, header, {"numbers": dict})
    arguments = {
        name: tuple(value) if isinstance(value, list) else value for name, value in header["arguments"].items()
    }
    arguments |= _subset(arrays, "argument.")
    if header["class"] == "ClusterSpecific":
        if model is None:
            raise ValueError(f"{path} holds a ClusterSpecific; pass its model: load(path, model=YourModel())")
        arguments["model"] = model
    cls = getattr(import_module(CLASSES[header["class"]]), header["class"])
    estimator = check_arguments(path, cls, arguments, header.get("version"))
    if backend is not None:
        estimator.backend = backend
    _install(path, estimator, header, arrays)
    return estimator


def _install(path, estimator, header, arrays):
    """The fitted attributes of a model's file, after all checks."""
    numbers, n = header["numbers"], arrays.get("labels", np.empty(0)).size
    check_numbers(path, numbers, _MODEL_NUMBERS, optional=["n_draws"])
    estimator.n_features_in_, k = numbers["n_features_in_"], estimator.n_clusters
    layout = check_shapes(path, estimator, header["shapes"])
    check_run(path, arrays, "", layout, estimator, None)
    check_array(path, arrays, "labels", (n,), np.int64, within=(0, k - 1))
    check_array(path, arrays, "centers", (k, estimator.n_features_in_), arrays["params"].dtype)
    check_array(path, arrays, "key", (2,), np.uint32)
    if "feature_names" in header:
        names = header["feature_names"]
        if not isinstance(names, list) or list(map(type, names)) != [str] * estimator.n_features_in_:
            raise ModelFileError(f"{path} has feature names that are not {estimator.n_features_in_} strings")
        estimator.feature_names_in_ = np.array(names, dtype=object)
    if "output" in header:
        if header["output"] not in OUTPUTS:
            raise ModelFileError(f"{path} has output={header['output']!r:.99}; expected one of {', '.join(OUTPUTS)}")
        estimator.set_output(transform=header["output"])
    for name in _MODEL_NUMBERS:
        setattr(estimator, name, numbers[name])
    if "n_draws" in numbers:
        estimator._n_draws = numbers["n_draws"]
    for name, attribute in {"params": "params_", **_MODEL_ARRAYS}.items():
        setattr(estimator, attribute, arrays[name])
    estimator.loss_curve_ = arrays["loss_curve"].tolist()
    estimator.state_, estimator._shapes = _subset(arrays, "state."), layout.shapes
    estimator._fitted_as = estimator._description()


@dataclass
class CheckpointState:
    """What a checkpoint holds: the run that was going on, and the best one that was finished.

    epochs : the argument of the estimator; callbacks : list of what they remember, see `reporter.Reporter.states`
    """

    key: np.ndarray
    shapes: dict
    run: Run
    best: Run | None
    best_score: float
    epochs: int
    callbacks: list
    data: dict | None


def write_checkpoint(path, estimator, key, run, best, best_score, layout, callbacks, data):
    """Everything that training needs to go on from an epoch's end.

    callbacks : list, what they remember; data : dict, checksums of what the fit was given
    """
    arguments, arrays = _arguments(estimator)
    arrays["key"] = key
    header = {
        "class": type(estimator).__name__,
        "arguments": arguments,
        "shapes": layout.shapes,
        "run": _run_header(run),
        "best": None if best is None else _run_header(best),
        "best_score": float(best_score),
        "callbacks": callbacks,
        "data": data,
    }
    arrays.update(_run_arrays(run, "run."))
    if best is not None:
        arrays.update(_run_arrays(best, "best."))
    _write(path, "checkpoint", header, arrays)


def read_checkpoint(path, estimator, X):
    """The state of a checkpoint, if it is one of this estimator on data of X's shape and dtype.

    Raises
    ------
    ModelFileError
        No checkpoint, damaged, or of another estimator, other arguments or other data.
    """
    header, arrays = _read(path, "checkpoint")
    if header["class"] != type(estimator).__name__:
        raise ModelFileError(f"{path} is a checkpoint of {header['class']}; expected {type(estimator).__name__}")
    plain, own = _arguments(estimator)
    for name in {*own, *(name for name in arrays if name.startswith("argument."))}:
        if not np.array_equal(own.get(name), arrays.get(name)):
            raise ModelFileError(
                f"{path} was made with another {name.removeprefix('argument.')}; resume needs the same"
            )
    for name in set(plain) | set(header["arguments"]):
        if name not in _FREE_ARGUMENTS and plain.get(name) != header["arguments"].get(name):
            raise ModelFileError(
                f"{path} was made with {name}={header['arguments'].get(name)!r}, the estimator has "
                f"{name}={plain.get(name)!r}; resume needs the same"
            )
    check_header(path, header, {"run": dict, "best": (dict, type(None)), "data": (dict, type(None))})
    check_numbers(path, header, ["best_score"])
    check_array(path, arrays, "key", (2,), np.uint32)
    for name, shape in (("run.state.assign", (None,)), ("run.state.centers", (None, None)), ("run.params", (None,))):
        check_array(path, arrays, name, shape, arrays[name].dtype if name in arrays else None)
    made_for = (*arrays["run.state.assign"].shape, arrays["run.state.centers"].shape[1], arrays["run.params"].dtype)
    if made_for != (*X.shape, X.dtype):
        raise ModelFileError(
            f"{path} was made on X of shape {made_for[:2]} and dtype {made_for[2]}; X has {X.shape} and {X.dtype}"
        )
    callbacks = header.get("callbacks", [])
    if not (
        isinstance(callbacks, list) and all(isinstance(c, dict) and {"class", "state"} <= set(c) for c in callbacks)
    ):
        raise ModelFileError(f"{path} has callbacks={callbacks!r:.99}; expected a list of their classes and states")
    layout, epochs = check_shapes(path, estimator, header["shapes"]), header["arguments"].get("epochs")
    run = _read_run(path, header["run"], arrays, "run.", layout, estimator)
    best = None if header.get("best") is None else _read_run(path, header["best"], arrays, "best.", layout, estimator)
    return CheckpointState(
        arrays["key"], layout.shapes, run, best, header["best_score"], epochs, callbacks, header.get("data")
    )


def check_counts(path, checkpoint, estimator, epochs):
    """Refuse epochs and restarts with which an uninterrupted fit would not have come by where the run stands.

    epochs : int, how many a run of this estimator may have
    """
    run = checkpoint.run
    for name, least, value in (("n_init", run.restart + 1, estimator.n_init), ("epochs", run.epoch, epochs)):
        if value < least:
            raise ModelFileError(
                f"{path} was made in restart {run.restart + 1} after epoch {run.epoch}, the estimator has "
                f"{name}={value}; resume needs at least {least}"
            )
    if run.restart and estimator.epochs != checkpoint.epochs:
        raise ModelFileError(
            f"{path} was made with epochs={checkpoint.epochs!r} in restart {run.restart + 1}, the estimator has "
            f"epochs={estimator.epochs!r}; resume needs the same once a restart has ended"
        )


def check_data(path, was, now):
    """Refuse to go on with other data than the checkpoint was made on; both as `data_digest` gives them."""
    for name, digest in now.items():
        if was.get(name) != digest:
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
    arrays = _subset(arrays, prefix)
    run = Run(arrays["params"].copy(), {n: a.copy() for n, a in _subset(arrays, "state.").items()})
    run.moments, run.loss_curve = arrays["moments"].copy(), arrays["loss_curve"].tolist()
    for name in _RUN_NUMBERS:
        setattr(run, name, header[name])
    return run


def _subset(arrays, prefix):
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
