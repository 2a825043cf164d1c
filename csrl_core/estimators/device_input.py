"""Validation of input on a CUDA device, as scikit-learn validates arrays of the host.

Arrays of any library with the CUDA array interface stay on the device; results come back as CuPy arrays.
"""

import numpy as np
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_array,
    validate_data,
)

from csrl_core import backends
from csrl_core.backends import is_device_array
from csrl_core.estimators.input_checks import (
    check_cells,
    check_other_names,
    placed,
    warn_of_counters,
    warn_of_huge_rows,
)
from csrl_core.training import sample_files
from csrl_core.training.dask import computed
from csrl_core.training.on_disk import is_on_disk

FLOATS = [np.float64, np.float32]
DEVICES = ("cupy", "emulated")  # backends that take all samples at once: what lies on disk is brought into memory


def kind(array):
    """The type of an array for messages, such as "cupy.ndarray"."""
    return f"{type(array).__module__.split('.')[0]}.{type(array).__name__}"


def check_X(estimator, X, reset, **options):
    """X, checked, as (n, d) float32 or float64, on the device, the host or the disk where it lies.

    What lies on disk is read, and its values are checked, in a fit here, and else when it is used.

    Raises
    ------
    ValueError
        As scikit-learn's ``validate_data``; or X lies on a device and the backend computes on the host.
    """
    X = sample_files.opened(X)
    if is_on_disk(X) and estimator.backend in DEVICES:
        X = X.load()
    if is_on_disk(X):
        check_shape(estimator, X, reset)
    elif not is_device_array(X):
        check_cells(X, "X")
        if reset:
            warn_of_counters(X)
        check_other_names(estimator, X, reset)
        try:
            X = validate_data(estimator, X, dtype=FLOATS, reset=reset, **options)
        except ValueError as error:
            raise placed(error, X, "X") from None
    else:
        X = _on_device(estimator, X, "X")
        if X.shape[0] < 1 or X.shape[1] < 1:
            raise ValueError(f"Found array with shape {X.shape}: X needs at least 1 sample and 1 feature")
        _check_n_features(estimator, X, reset=reset)
    if reset and not is_device_array(X):
        warn_of_huge_rows(X, vars(estimator).get("feature_names_in_"))
    if reset:  # a scaling belongs to the parameters that were fitted with it
        vars(estimator).pop("scaling_", None)
    return scaled(estimator, X)


def check_shape(estimator, X, reset):
    """Check names and number of the features of `Samples`, as ``validate_data`` does those of an array."""
    _check_feature_names(estimator, X if X.frame is None else X.frame, reset=reset)
    _check_n_features(estimator, X, reset=reset)


def scaled(estimator, X):
    """X in the units of the model's parameters."""
    scaling = vars(estimator).get("scaling_")
    return X if scaling is None else scaling.apply(X)


def check_beside(estimator, array, X, name):
    """An array (n, d), checked, with X's dtype; it must lie where X lies, or on disk."""
    array = sample_files.opened(array, name)
    if is_on_disk(array):
        array = array.load() if estimator.backend in DEVICES else array
    if is_on_disk(array):
        return array if array.dtype == X.dtype else array.changed(lambda rows: rows.astype(X.dtype), X.dtype)
    if is_device_array(array) != is_device_array(X):
        raise ValueError(
            f"{name} is a {kind(array)}, X is a {kind(X)}; expected both on the host, or both on the device"
        )
    if is_device_array(array):
        return _on_device(estimator, array, name).astype(X.dtype, copy=False)
    check_cells(array, name)
    try:
        return check_array(array, dtype=X.dtype, input_name=name, estimator=estimator)
    except ValueError as error:
        raise placed(error, array, name) from None


def check_weight(weight, X):
    """Weights (n,) of X's dtype, where X lies; 1 for None.

    Raises
    ------
    ValueError
        A weight is negative or not finite, all are zero, or they are not as many as the samples, or elsewhere.
    """
    weight = computed(weight)
    if is_device_array(X):
        weight = _weight_on_device(weight, X)
    elif is_device_array(weight):
        raise ValueError(f"sample_weight is a {kind(weight)}, X is a {kind(X)}; expected both on the host")
    else:
        weight = _check_sample_weight(weight, X, dtype=X.dtype, ensure_non_negative=True)
    if not bool((weight > 0).any()):
        raise ValueError("sample_weight is zero everywhere; at least one sample needs a positive weight")
    return weight


def _weight_on_device(weight, X):
    if weight is None:
        return np.ones_like(X, shape=(len(X),))
    if not is_device_array(weight):
        raise ValueError(f"sample_weight is a {kind(weight)}, X is a {kind(X)}; expected both on the device")
    weight = backends.get("cupy").own(weight, X.dtype)
    if weight.shape != (len(X),):
        raise ValueError(f"sample_weight.shape == {weight.shape}, expected {(len(X),)}!")
    _check_finite(weight, "sample_weight")
    if bool((weight < 0).any()):
        raise ValueError("Negative values in data passed to `sample_weight`")
    return weight


def _on_device(estimator, array, name):
    if estimator.backend != "cupy":
        raise ValueError(
            f"{name} is a {kind(array)} on a CUDA device, and backend={estimator.backend!r} computes on the host; "
            f"use backend='cupy', or bring {name} to the host (CuPy: {name}.get())"
        )
    backend = backends.get("cupy")
    array = backend.xp.asarray(array)
    reason = backend.platform.misplaced(array)
    if reason:
        raise ValueError(f"{name} {reason}")
    if array.ndim != 2:
        raise ValueError(f"Expected 2D array, got {array.ndim}D array instead: {name} has shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {array.dtype}; expected real numbers")
    array = backend.own(array, array.dtype if array.dtype in FLOATS else np.float64)
    _check_finite(array, name)
    return array


def _check_finite(array, name):
    if not bool(np.isfinite(array).all()):
        raise ValueError(f"Input {name} contains NaN or infinity; expected finite numbers")
