"""Checks of frames and arrays that scikit-learn does not make, or whose message names no column."""

import datetime
import math
import sys
import warnings

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import _get_feature_names

from csrl_core.training import sweeps
from csrl_core.training.dask import frame_of

HUGE, LEAST_ROWS = 1e4, 10  # how much larger a value is than usual to be told, and of how many rows one may tell
ULPS = 8  # roundings that scaling to [0, 1] may leave outside
_DATES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)


def check_cells(X, name):
    """Refuse masked values, text, dates and missing values with the column's name and what to do.

    X : what the user gave; name : of the argument. What is left is for scikit-learn to judge.

    Raises
    ------
    ValueError
    """
    if issparse(X):  # for indices of 64 bits scikit-learn's message is another
        raise TypeError(
            f"Sparse data was passed for {name}, but dense data is required. Use '.toarray()' to convert to a dense "
            f"numpy array."
        )
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        i, *j = np.argwhere(np.ma.getmaskarray(X))[0]
        where = f"row {i}, column {j[0]}" if j else f"row {i}"
        raise ValueError(
            f"{name} is a masked array with {np.ma.count_masked(X)} masked values, the first in {where}; leave these "
            f"rows out, or fill them in, as by np.where({name}.mask, {name}.mean(axis=0), {name}.data)"
        )
    if isinstance(X, (list, tuple)) and X and all(isinstance(row, (list, tuple)) for row in X):
        other = next((i for i, row in enumerate(X) if len(row) != len(X[0])), None)
        if other is not None:
            raise ValueError(
                f"{name} has rows of different lengths: {len(X[0])} values in row 0, {len(X[other])} in row {other}; "
                f"expected as many in each"
            )
    if isinstance(X, (set, frozenset, dict)) or hasattr(X, "__next__"):
        rows = f"pandas.DataFrame({name})" if isinstance(X, dict) else f"list({name})"
        raise TypeError(f"{name} is a {type(X).__name__}; expected an array, a frame or a list of rows, such as {rows}")
    if _is_frame(X, "polars", "LazyFrame"):
        raise TypeError(f"{name} is a LazyFrame, which has no values yet; expected a frame, {name}.collect()")
    for column, shown in _columns(X, name):
        _check_column(column, shown, name)
    if isinstance(X, np.ndarray) and X.dtype.names is not None:
        raise TypeError(
            f"{name} is a structured array with the fields {', '.join(X.dtype.names)}; expected numbers (n, d), "
            f"numpy.lib.recfunctions.structured_to_unstructured({name})"
        )
    if isinstance(X, np.ndarray) and X.dtype.kind == "c":
        raise _complex(f"{name} has dtype {X.dtype}")


def _complex(what):
    return ValueError(
        f"Complex data not supported: {what}; take real and imaginary parts, as by numpy.column_stack([X.real, X.imag])"
    )


def _columns(X, name):
    """(column, how messages name it) of a frame, and of an array whose cells may be no numbers."""
    if _is_frame(X, "pandas"):
        twice = X.columns[X.columns.duplicated()]
        if len(twice):
            raise ValueError(
                f"{name} has several columns named {twice[0]!r}; expected different names, or an array: "
                f"{name}.to_numpy()"
            )
        if len(X.columns) and all(hasattr(dtype, "fill_value") for dtype in X.dtypes):
            raise TypeError(f"Sparse data was passed for {name}, but dense data is required: {name}.sparse.to_dense()")
        return [(X.iloc[:, j], repr(column)) for j, column in enumerate(X.columns)]
    if _is_frame(X, "polars"):
        return [(X[column], repr(column)) for column in X.columns]
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "OUSMm":
        return [(X[:, j], str(j)) for j in range(X.shape[1])]
    return []


def _is_frame(X, library, kind="DataFrame"):
    module = sys.modules.get(library)
    return module is not None and isinstance(X, getattr(module, kind))


def _check_column(column, shown, name):
    """shown : the column as messages name it"""
    kind = getattr(column.dtype, "kind", None)
    if kind == "c":
        raise _complex(f"column {shown} of {name} has dtype {column.dtype}")
    if kind in ("b", "i", "u", "f") or (kind is None and column.dtype.is_numeric()):
        missing = int(column.isna().sum()) if hasattr(column, "isna") else 0
        missing += int(column.null_count()) if hasattr(column, "null_count") else 0
    else:
        missing = 0
        for value in column:
            if isinstance(value, _DATES):
                raise _not_numbers(name, shown, value, "dates or times; use a number, such as days since the first one")
            if isinstance(value, (str, bytes)) and not _is_float(value):
                raise _not_numbers(
                    name, shown, value, "text; leave it out, or encode it (OneHotEncoder, OrdinalEncoder)"
                )
            missing += value is None or type(value).__name__ in ("NAType", "NaTType") or _is_nan(value, shown, name)
    if missing:
        raise ValueError(
            f"Input {name} contains NaN: column {shown} has {missing} missing values; leave out these rows "
            f"(dropna), or fill them in (sklearn.impute.SimpleImputer)"
        )


def _is_nan(value, shown, name):
    kind = type(value).__name__
    try:
        return math.isnan(float(value))
    except ValueError:
        raise _not_numbers(name, shown, value, f"{kind}, no number; leave it out, or make numbers of it") from None
    except TypeError:
        raise TypeError(
            f"column {shown} of {name} has {str(value)[:40]!r} ({kind}, no number; the argument must be a string or a "
            f"number): leave it out, or make numbers of it"
        ) from None


def _is_float(value):
    try:
        float(value)
    except ValueError:
        return False
    return True


def _not_numbers(name, shown, value, what):
    return ValueError(f"could not convert string to float: column {shown} of {name} has {str(value)[:40]!r} ({what})")


def placed(error, X, name):
    """scikit-learn's error of a value that is not finite, with its place; any other error as it is.

    X : what the user gave, of real numbers
    """
    what = next((what for what in ("NaN", "infinity") if f"contains {what}" in str(error)), None)
    if what is None:
        return error
    values = np.asarray(X, np.float64)
    bad = np.argwhere(np.isnan(values) if what == "NaN" else np.isinf(values))
    if not len(bad):  # finite, but too large for the dtype
        return error
    (i, j), names = bad[0], _get_feature_names(X) if hasattr(X, "columns") else None
    column = j if names is None else repr(names[j])
    return ValueError(
        f"Input {name} contains {what} in {len(bad)} places, the first in row {i}, column {column}; leave such rows "
        f"out, or replace the values (NaN: sklearn.impute.SimpleImputer)"
    )


def check_other_names(estimator, X, reset):
    """Compare the names of a frame's columns where they are no text, which scikit-learn does not.

    reset : bool, whether X sets them, as in `fit`

    Raises
    ------
    ValueError
    """
    names = list(X.columns) if _is_frame(X, "pandas") else None
    if names is not None and all(isinstance(name, str) for name in names):
        names = None
    known = vars(estimator)
    if reset:
        known.pop("_other_names", None)
        known |= {} if names is None else {"_other_names": names}
    elif names is not None and known.get("_other_names", names) != names:
        at = next(j for j, pair in enumerate(zip(names, known["_other_names"])) if pair[0] != pair[1])
        raise ValueError(
            f"column {at} of X is named {names[at]!r}, in the fit it was {known['_other_names'][at]!r}; expected the "
            f"same columns in the same order, or an array, X.to_numpy()"
        )


def warn_of_counters(X):
    """Warn of a frame's column that counts the rows, as one does that was an index.

    Warns
    -----
    UserWarning
    """
    for column, shown in _columns(X, "X") if hasattr(X, "columns") else ():
        values = np.asarray(column) if len(column) >= LEAST_ROWS and X.shape[1] > 1 else np.empty(0)
        if values.dtype.kind in "iu" and (np.diff(values) == 1).all():
            warnings.warn(
                f"column {shown} of X counts the rows from {values[0]} to {values[-1]}; if it was an index, leave it "
                f"out",
                UserWarning,
                stacklevel=2,
            )


def check_alignment(X, **others):
    """Refuse frames whose columns or rows are named like those of X, but stand in another order.

    others : arguments by name, None where they are not given
    """
    X = frame_of(X)
    for name, other in ((name, frame_of(other)) for name, other in others.items() if other is not None):
        names, own = (_get_feature_names(each) if hasattr(each, "columns") else None for each in (X, other))
        if names is not None and own is not None and not np.array_equal(names, own):
            if sorted(names) == sorted(own):
                raise ValueError(f"{name} has the columns of X in another order; expected the same: {name}[X.columns]")
            at = next((j for j, pair in enumerate(zip(names, own)) if pair[0] != pair[1]), min(len(names), len(own)))
            of_X, of_other = (repr(each[at]) if at < len(each) else "missing" for each in (names, own))
            raise ValueError(f"{name} has other columns than X: number {at} is {of_other}, of X it is {of_X}")
        rows, own = (getattr(frame, "index", None) for frame in (X, other))
        if _are_indexes(rows, own) and not rows.equals(own) and rows.is_unique and set(rows) == set(own):
            raise ValueError(f"{name} has the rows of X in another order; expected the same: {name}.loc[X.index]")


def _are_indexes(*indexes):
    pandas = sys.modules.get("pandas")
    return pandas is not None and all(isinstance(index, pandas.Index) for index in indexes)


def in_unit_interval(X, name, needs, instead):
    """X, in which values outside [0, 1] by a few roundings are set to its ends.

    needs, instead : the argument that needs such values, and the one that does not, for the message

    Raises
    ------
    ValueError
        Values lie outside by more than roundings.
    """
    low, high = float(X.min()), float(X.max())
    if low >= 0 and high <= 1:
        return X
    rounding = ULPS * float(np.finfo(X.dtype).eps)
    if low >= -rounding and high <= 1 + rounding:
        return X.clip(0, 1)
    near = low > -1 and high < 2
    scaled = "; where MinMaxScaler scaled them, new rows may lie outside: MinMaxScaler(clip=True)" if near else ""
    raise ValueError(
        f"{needs} needs values in [0, 1], {name} has values from {low:.6g} to {high:.6g}; scale it "
        f"(MinMaxScaler, or X / 255 for images), or use {instead}{scaled}"
    )


def warn_of_huge_rows(X, names=None):
    """Warn of a few rows that are so far from all others that they rule a fit.

    X : (n, d) finite array or `Samples`; names : (d,) of the columns or None

    Warns
    -----
    UserWarning
    """
    n = len(X)
    if n < LEAST_ROWS:
        return
    some = X[:: -(-n // 1000)].astype(np.float64)
    middle = np.median(some, axis=0)
    usual = float(np.quantile(np.abs(some - middle), 0.9))
    if not usual > 0:
        return
    with np.errstate(over="ignore"):  # infinite is far as well
        far = [np.abs(edge - middle) for edge in (X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64))]
    j = int(np.argmax(np.maximum(*far)))
    ratio = max(far[0][j], far[1][j]) / usual
    rows = np.flatnonzero(np.abs(sweeps.column(X, j) - middle[j]) > 0.1 * ratio * usual) if ratio > HUGE else ()
    if 0 < len(rows) <= max(1, n // 100):
        i = int(rows[0])
        column = j if names is None else repr(names[j])
        warnings.warn(
            f"row {i} has {X[i][j]:.3g} in column {column}, {ratio:.0e} times what is usual in X; such a row rules the "
            f"fit, or gets a cluster of its own. Correct it, or leave it out",
            UserWarning,
            stacklevel=2,
        )
