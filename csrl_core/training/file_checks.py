"""Checks of model files and checkpoints, before anything computes with their contents.

Kernels trust shapes and indices. So every entry of a file is checked here first; a message names the entry that is
wrong.
"""

import hashlib
import json
from numbers import Integral

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.training.draws import RESTARTS
from csrl_core.training.parameters import Layout

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
COUNT = range(2**63)  # values that a count in a file may have
TYPES = {
    "loss_": float,
    "n_iter_": COUNT,
    "n_steps_": range(2**32),
    "n_reseeded_": COUNT,
    "backend_": str,
    "n_features_in_": range(1, 2**63),
    "n_draws": range(2**32),
    "restart": range(RESTARTS),
    "step": range(2**32),
    "epoch": COUNT,
    "best": float,
    "stale": COUNT,
    "n_reseeded": COUNT,
    "finished": bool,
    "stopped": bool,
    "best_score": float,
}


class ModelFileError(ValueError):
    """A file is not a model or checkpoint of csrl_core, is damaged, or has another format version."""


def digest_of(header, arrays):
    """The checksum of a file, in hexadecimal digits: of its header (without a checksum) and of all its arrays."""
    checksum = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        checksum.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        checksum.update(array.data if array.size else b"")
    return checksum.hexdigest()


def data_digest(X, target, weight):
    """Checksums of a fit's data, a dict by name; a target that is X itself has X's checksum."""
    arrays = {"X": X, "target": target, "sample_weight": weight}
    digests = {name: _array_digest(array) for name, array in arrays.items() if array is not X or name == "X"}
    return {name: digests.get(name, digests["X"]) for name in arrays}


def _array_digest(array, rows=8192):
    checksum = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    for first in range(0, len(array), rows):
        checksum.update(np.ascontiguousarray(as_numpy(array[first : first + rows])).data)
    return checksum.hexdigest()


def check_header(path, header, entries):
    """Check that the header has these entries. entries : dict of name → type, or tuple of types."""
    for name, kind in entries.items():
        if not isinstance(header.get(name), kind):
            raise ModelFileError(f"{path} has {name}={_short(header.get(name))} in its header; it is damaged")


def check_numbers(path, numbers, names, optional=()):
    """Check that the named numbers are present, and in the range that `TYPES` gives."""
    for name in (*names, *(name for name in optional if name in numbers)):
        value, kind = numbers.get(name), TYPES[name]
        if isinstance(kind, range):
            ok = isinstance(value, int) and not isinstance(value, bool) and value in kind
        elif kind is float:
            ok = isinstance(value, (int, float)) and not isinstance(value, bool)
        else:
            ok = isinstance(value, kind)
        if not ok:
            expected = f"an int from {kind[0]} to {kind[-1]}" if isinstance(kind, range) else f"a {kind.__name__}"
            actual = _short(value) if name in numbers else "missing"
            raise ModelFileError(f"{path}: the number {name} is {actual}; expected {expected}")


def check_array(path, arrays, name, shape, dtype, within=None, finite=False):
    """Check that an array is present, and its shape, dtype and range.

    shape : tuple, with None for any length; within : (low, high) of integers or None
    """
    if name not in arrays:
        raise ModelFileError(f"{path} lacks the array {name!r}; it is damaged")
    array = arrays[name]
    fits = array.ndim == len(shape) and all(b is None or a == b for a, b in zip(array.shape, shape, strict=True))
    if not fits or array.dtype != dtype:
        lengths = ", ".join("any" if length is None else str(length) for length in shape)
        expected = f"({lengths}{',' if len(shape) == 1 else ''})"
        raise ModelFileError(
            f"{path}: the array {name!r} has shape {array.shape} and dtype {array.dtype}; expected {expected} and "
            f"{np.dtype(dtype)}"
        )
    if within is not None and array.size and not within[0] <= array.min() <= array.max() <= within[1]:
        raise ModelFileError(
            f"{path}: the array {name!r} ranges from {array.min()} to {array.max()}; "
            f"expected {within[0]} to {within[1]}"
        )
    if finite and not np.isfinite(array).all():
        raise ModelFileError(f"{path}: the array {name!r} has values that are not finite")


def check_shapes(path, estimator, shapes):
    """Check that the parameters have the shapes that the estimator's arguments give; returns their `Layout`."""
    for name, shape in shapes.items():
        if not (isinstance(shape, list) and shape and all(isinstance(n, int) and 0 < n < 2**63 for n in shape)):
            raise ModelFileError(f"{path}: the parameter {name!r} has the shape {_short(shape)}; it is damaged")
    shapes = {name: tuple(shape) for name, shape in shapes.items()}
    try:
        expected = estimator._parameter_shapes()
    except OverflowError as error:
        raise ModelFileError(f"{path} has arguments that no model can have: {error}") from None
    if expected is None:  # a user's own model: only the number of clusters is known
        wrong = [name for name, shape in shapes.items() if shape[0] not in (1, estimator.n_clusters)]
        if wrong:
            raise ModelFileError(
                f"{path}: the parameter {wrong[0]!r} has shape {shapes[wrong[0]]}; expected n_clusters="
                f"{estimator.n_clusters} or 1 as its first length"
            )
    elif list(shapes.items()) != list(expected.items()):
        raise ModelFileError(f"{path}: parameters have shapes {_short(shapes)}; its arguments give {_short(expected)}")
    return Layout(shapes)


def check_run(path, arrays, prefix, layout, estimator, n):
    """Check the arrays of a run: parameters, the optimizer's moments, the loss curve and the state.

    arrays : dict of all arrays of the file, those of the run with ``prefix``; n : int, samples, None for any number
    """
    name = f"{prefix}params"
    dtype = arrays[name].dtype if name in arrays else None
    if dtype is not None and dtype not in FLOATS:
        raise ModelFileError(f"{path}: the array {name!r} has dtype {dtype}; expected float32 or float64")
    check_array(path, arrays, name, (layout.size,), dtype, finite=True)
    check_array(path, arrays, f"{prefix}moments", (2, layout.size), dtype)
    check_array(path, arrays, f"{prefix}loss_curve", (None,), np.float64)
    k, prefix = estimator.n_clusters, f"{prefix}state."
    required, optional = estimator._state_shapes()
    for name, (shape, kind) in (required | optional).items():
        if name in optional and prefix + name not in arrays:
            continue
        integer = kind is np.int64
        # The number of estimates is the step of random numbers, 32 bits of the counter.
        high = {"assign": k - 1, "n_estimates": 2**32 - 2}.get(name, 2**63 - 1)
        within = (0, high) if integer else None
        shape = (n,) if name == "assign" else shape
        # Mismatches are NaN where they were not computed.
        finite = not integer and name != "mismatch"
        check_array(path, arrays, prefix + name, shape, kind or dtype, within, finite)
    hidden = arrays.get(f"{prefix}chains_hidden")
    if hidden is not None:
        chains = arrays.get(f"{prefix}chains")
        if chains is None or hidden.shape[:2] != chains.shape[:2] or not np.isin(hidden, (0, 1)).all():
            raise ModelFileError(f"{path}: the array {prefix + 'chains_hidden'!r} is not the chains' hidden units")
    if "unit" in optional and not (arrays.get(f"{prefix}unit", np.ones(1)) > 0).all():
        raise ModelFileError(f"{path}: the array {prefix + 'unit'!r} is not positive")


def check_arguments(path, cls, arguments, version):
    """The estimator with these constructor arguments, after checking that they are known and valid."""
    unknown = sorted(set(arguments) - set(cls._get_param_names()))
    if unknown:
        raise ModelFileError(
            f"{path} has the argument {unknown[0]!r}, which {cls.__name__} does not have; it was written by csrl_core "
            f"{version}"
        )
    for name, value in arguments.items():  # True and False would pass as 1 and 0 in some checks only
        if isinstance(value, bool) and "boolean" not in cls._parameter_constraints.get(name, ["boolean"]):
            raise ModelFileError(f"{path} has {name}={value}, which {cls.__name__} cannot have")
    try:
        estimator = cls(**arguments)
        estimator._validate_params()
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(
            f"{path} has arguments that {cls.__name__} cannot have: {error}; it was written by csrl_core {version}"
        ) from None
    return estimator


def plain(value):
    """An argument as a plain value that can be compared: sequences as tuples, NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return tuple(plain(item) for item in value)
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def _short(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
