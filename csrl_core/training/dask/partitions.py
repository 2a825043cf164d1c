"""Opening of a Dask array or data frame as `DaskSamples`, and the checks of what its partitions hold."""

import warnings

import numpy as np

from csrl_core.training.dask import cluster, computed, frame_of, is_frame, worker
from csrl_core.training.dask.samples import DaskSamples
from csrl_core.training.sample_files import FLOATS

TO_DENSE = "X.map_blocks(lambda block: block.toarray())"


def opened(X, name="X", dtype=None):
    """A Dask array or data frame as `DaskSamples`, whose partitions are computed and held; without a client in memory.

    name : of the argument, for messages; dtype : of the arrays that are read; None: float32 and float64 as they are,
    and float64 for all other numbers

    Raises
    ------
    ValueError
        Values are not finite, are no real numbers or no samples (n, d), or partitions have different columns.
    TypeError
        Partitions are no NumPy arrays (n, d), but sparse ones for instance.
    """
    frame = is_frame(X)
    (check_frame if frame else check_dask_array)(X, name)
    client = cluster.current()
    if client is None:
        return computed(X)
    if frame:
        delayed, frame = _parts_of_frame(X, name), frame_of(X)
    else:
        delayed, frame = in_one_chunk(X, name).to_delayed().ravel().tolist(), None
    parts = client.compute(delayed)
    looks = cluster.gather(client, [cluster.submit(client, worker.look_at, part) for part in parts])
    check_partitions(looks, name)
    stored = np.result_type(*(found.dtype for found in looks))
    lengths = [found.shape[0] for found in looks]
    return DaskSamples(client, parts, lengths, looks[0].shape[1], dtype or float_dtype(stored), frame)


def _parts_of_frame(X, name):
    """The partitions of a data frame as delayed arrays (m, d)."""
    from dask import delayed

    columns, dtype, values = list(X.columns), _dtype_of_frame(X), delayed(worker.values)
    return [values(part, columns, dtype, f"partition {i} of {name}") for i, part in enumerate(X.to_delayed())]


def array_of(X, name):
    """A Dask data frame as a Dask array (n, d), whose number of rows is not known before it is computed."""
    columns, dtype = list(X.columns), _dtype_of_frame(X)
    like = np.empty((0, len(columns)), dtype)
    return X.map_partitions(worker.values, columns, dtype, f"a partition of {name}", meta=like)


def _dtype_of_frame(X):
    return float_dtype(np.result_type(*map(_numpy_dtype, X.dtypes)))


def float_dtype(stored):
    """The dtype in which numbers are computed with that are stored in another: float32, or float64."""
    return stored if stored in FLOATS else np.dtype(np.float64)


def _numpy_dtype(dtype):
    """The dtype of a column in NumPy; those of pandas' own (Int64, boolean) have one of theirs."""
    return np.dtype(getattr(dtype, "numpy_dtype", dtype))


def check_frame(X, name):
    """Refuse a data frame with columns that are no numbers, by name."""
    for column, dtype in X.dtypes.items():
        if getattr(dtype, "kind", "O") not in "biuf":
            raise ValueError(
                f"could not convert string to float: column {column!r} of {name} has values of {dtype}; leave it out, "
                f"or encode it (dask_ml.preprocessing.Categorizer, DummyEncoder)"
            )
    if not len(X.columns):
        raise ValueError(f"Found array with 0 feature(s): {name} has no columns")


def check_dask_array(X, name):
    """Refuse what can be seen to be no samples (n, d) without computing anything."""
    from dask.array.utils import meta_from_array

    if type(X).__name__ != "Array":
        raise TypeError(
            f"{name} is a {type(X).__module__.split('.')[0]} {type(X).__name__}; expected a Dask array or data frame "
            f"(dask.array.from_delayed, dask.dataframe.from_delayed)"
        )
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got {X.ndim}D array instead: {name} has shape {X.shape}")
    if any(np.isnan(width) for width in X.chunks[1]):
        raise ValueError(
            f"{name} has chunks of unknown size along its columns, {X.chunks[1]}; compute them before: "
            f"{name}.compute_chunk_sizes()"
        )
    meta = meta_from_array(X)
    if not isinstance(meta, np.ndarray):
        kind = worker.look_at(meta).kind
        raise TypeError(f"{name} has partitions of {kind}, but dense NumPy arrays are required: {TO_DENSE}")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {X.dtype}; expected real numbers: {name}.astype(float)")


def in_one_chunk(X, name):
    """X with all columns in one chunk."""
    if len(X.chunks[1]) == 1:
        return X
    warnings.warn(
        f"{name} has {len(X.chunks[1])} chunks along its columns, which are put together, since a sample is needed "
        f"whole: {name}.rechunk({{1: -1}}) does it once",
        UserWarning,
        stacklevel=2,
    )
    return X.rechunk({1: -1})


def check_partitions(looks, name):
    """Check what `worker.look_at` found of all partitions, in order. name : of the argument, for messages"""
    before, d = 0, None
    for number, found in enumerate(looks):
        check_partition(found, number, name, before)
        d = found.shape[1] if d is None else d
        if found.shape[1] != d:
            raise ValueError(f"partition {number} of {name} has {found.shape[1]} columns, partition 0 has {d}")
        before += found.shape[0]
    if not before or not d:
        raise ValueError(f"Found array with {before} sample(s) and {d} feature(s) in {name}")


def check_partition(found, number, name, before=None):
    """Check what `worker.look_at` found of one partition.

    number : of the partition; name : of the argument; before : int, rows in partitions before it, None if not known
    """
    where = f"partition {number} of {name}"
    if found.dtype is None:
        raise TypeError(f"{where} is a {found.kind}, but dense NumPy arrays are required: {TO_DENSE}")
    if len(found.shape) != 2:
        raise ValueError(f"{where} has shape {found.shape}; expected samples (n, d)")
    if found.dtype.kind not in "biuf":
        raise ValueError(f"{where} has dtype {found.dtype}; expected real numbers")
    if found.bad is not None:
        i, j, kind = found.bad
        at = f"row {i} of partition {number}"
        at = f"{at}, column {j}" if before is None else f"row {before + i}, column {j} ({at})"
        raise ValueError(f"Input {name} contains {kind}: {at}; expected finite numbers")
