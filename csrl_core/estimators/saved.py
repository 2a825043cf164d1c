"""Files of fitted estimators: writing for `save`, and `csrl_core.load`."""

import numpy as np

from csrl_core import estimators
from csrl_core.estimators.scaling import KINDS, Scaling
from csrl_core.training.file_checks import (
    ModelFileError,
    check_arguments,
    check_array,
    check_header,
    check_numbers,
    check_run,
    check_shapes,
)
from csrl_core.training.persistence import arguments_of, read, subset, write

OUTPUTS = "default", "pandas", "polars"  # choices of scikit-learn's set_output

_MODEL_ARRAYS = {"labels": "labels_", "centers": "cluster_centers_", "moments": "_moments", "key": "_key"}
_MODEL_NUMBERS = ["loss_", "n_iter_", "n_steps_", "n_reseeded_", "backend_", "n_features_in_"]


def write_model(path, estimator):
    """Write a fitted estimator: arguments, parameters, state, the optimizer's moments and step."""
    arguments, arrays = arguments_of(estimator)
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
    if hasattr(estimator, "_n_draws"):  # Boltzmann machines: so that a loaded machine draws new numbers
        header["numbers"]["n_draws"] = estimator._n_draws
    if hasattr(estimator, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in estimator.feature_names_in_]
    scaling = vars(estimator).get("scaling_")
    if scaling is not None:
        header["scaling"] = scaling.kind
        arrays |= {"scaling.offset": scaling.offset, "scaling.scale": scaling.scale}
    table = vars(estimator).get("table_")
    if table is not None:  # what the command line has to know of a table
        header["table"] = {name: value for name, value in table.items() if isinstance(value, str)}
        arrays |= {f"table.{name}": value for name, value in table.items() if not isinstance(value, str)}
    output = vars(estimator).get("_sklearn_output_config", {}).get("transform")
    if output is not None:  # the choice of set_output
        header["output"] = output
    write(path, "model", header, arrays)


def load(path, *, model=None, backend=None):
    """Read an estimator that `save` wrote.

    Parameters
    ----------
    path : path
    model : ClusterModel, optional
        For a `ClusterSpecific`: its model, since files contain no code.
    backend : str, optional
        Backend of the loaded estimator; by default the one that it was saved with.

    Returns
    -------
    estimator
        Fitted; `predict` gives the same results as before, and `partial_fit` continues.

    Raises
    ------
    FileNotFoundError
    ModelFileError
        The file is truncated, of another program, of another format version, or not a model.
    """
    header, arrays = read(path, "model")
    if header["class"] not in estimators.homes():
        known = ", ".join(estimators.homes())
        raise ModelFileError(
            f"{path} holds a {header['class']!r:.99}; expected one of {known}. It was written by csrl_core "
            f"{header.get('version')!s:.99}"
        )
    check_header(path, header, {"numbers": dict})
    arguments = {
        name: tuple(value) if isinstance(value, list) else value for name, value in header["arguments"].items()
    }
    arguments |= subset(arrays, "argument.")
    if header["class"] == "ClusterSpecific":
        if model is None:
            raise ValueError(f"{path} holds a ClusterSpecific; pass its model: load(path, model=YourModel())")
        arguments["model"] = model
    estimator = check_arguments(path, estimators.get(header["class"]), arguments, header.get("version"))
    if backend is not None:
        estimator.backend = backend
    _install(path, estimator, header, arrays)
    return estimator


def _install(path, estimator, header, arrays):
    """Give the estimator the fitted attributes of a model's file, after checking them."""
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
    _install_scaling(path, estimator, header, arrays)
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
    estimator.state_, estimator._shapes = subset(arrays, "state."), layout.shapes
    estimator._fitted_as = estimator._description()


def _install_scaling(path, estimator, header, arrays):
    """The scaling of the input, and what the command line remembers of the table."""
    d = estimator.n_features_in_
    if "scaling" in header:
        if header["scaling"] not in KINDS:
            raise ModelFileError(f"{path} has scaling={header['scaling']!r:.99}; expected one of {', '.join(KINDS)}")
        for name in ("scaling.offset", "scaling.scale"):
            check_array(path, arrays, name, (d,), np.float64, finite=True)
        if not (arrays["scaling.scale"] > 0).all():
            raise ModelFileError(f"{path}: the array 'scaling.scale' has values that are not positive")
        estimator.scaling_ = Scaling(header["scaling"], arrays["scaling.offset"], arrays["scaling.scale"])
    if "table" in header:
        check_header(path, header, {"table": dict})
        table = dict(header["table"])
        if not all(isinstance(value, str) for value in table.values()):
            raise ModelFileError(f"{path} has table={table!r:.99}; expected names of columns")
        if "table.means" in arrays:
            check_array(path, arrays, "table.means", (d,), np.float64, finite=True)
            table["means"] = arrays["table.means"]
        estimator.table_ = table
