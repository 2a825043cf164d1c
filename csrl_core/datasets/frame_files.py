"""Files that pandas or Polars reads: Parquet, Feather, Stata, SAS; and their data frames as tables of numbers."""

import re
from decimal import Decimal
from importlib import import_module
from numbers import Real

import numpy as np

from csrl_core.datasets.columns import finish, roles_of
from csrl_core.datasets.sources import DataFileError
from csrl_core.datasets.table_options import Table

# Suffix → names of the function that reads it, in pandas and in Polars (None where there is none).
SUFFIXES = {
    ".parquet": ("read_parquet", "read_parquet"),
    ".feather": ("read_feather", "read_ipc"),
    ".dta": ("read_stata", None),
    ".sas7bdat": ("read_sas", None),
    ".xpt": ("read_sas", None),
}


def read_frame(path, suffix, options, notes):
    """Read a file by pandas, or by Polars where pandas cannot; returns `Table`."""
    faults = []
    for library, function in zip(("pandas", "polars"), SUFFIXES[suffix]):
        if function is None:
            continue
        try:
            frame = getattr(import_module(library), function)(path.open("rb"))
        except ImportError as error:
            faults.append(f"{library}: {str(error).splitlines()[0]}")
        except Exception as error:  # every library has errors of its own for files that it cannot read
            raise DataFileError(f"{path}: {library} cannot read it ({error!s:.300})") from error
        else:
            return table_of(path, frame, options, notes)
    raise ImportError(f"{path}: reading {suffix} needs pandas or Polars ({'; '.join(faults)}); or save it as CSV")


def table_of(path, frame, options, notes):
    """A data frame of pandas or Polars as `Table`; path : whose errors are told; notes : list of what is to be said."""
    frame, index = _with_index(frame)
    names = [str(name) for name in frame.columns]
    columns = [frame[name] for name in frame.columns]
    head = [[_cell(column[i]) for column in map(np.asarray, columns)] for i in range(min(3, len(frame)))]
    roles = roles_of(path, names, head, True, options)
    if not roles.chosen:
        roles.left_out |= {names[j]: "the index" for j in roles.numbers if j in index}
        roles.numbers = [j for j in roles.numbers if j not in index]
    if not len(frame):
        raise DataFileError(f"{path}: found no rows of numbers, expected at least one")
    X = np.column_stack([_numbers(path, names[j], columns[j], options) for j in roles.numbers])
    if X.dtype != np.float32:
        X = X.astype(np.float64, copy=False)
    table = Table(X, [names[j] for j in roles.numbers], True, notes=notes)
    texts = {j: np.array([_cell(value) for value in np.asarray(columns[j])]) for j in roles.texts}
    return finish(path, table, names, roles, texts, options)


def _with_index(frame):
    """The frame with its index as columns, and their places: pandas' unless it only counts."""
    if hasattr(frame, "index"):
        plain = type(frame.index).__name__ == "RangeIndex" and frame.index.name is None
        return (frame, ()) if plain else (frame.reset_index(allow_duplicates=True), range(frame.index.nlevels))
    return frame, [j for j, name in enumerate(frame.columns) if re.fullmatch(r"__index_level_\d+__", name)]


def _cell(value):
    return "" if value is None or value != value else str(value)


def _numbers(path, name, column, options):
    """A column as numbers; pandas' and Polars' missing values are NaN."""
    try:
        values = column.to_numpy()
        if values.dtype.kind in "buif":
            return values.astype(np.float32 if values.dtype in (np.float16, np.float32) else np.float64)
        if values.dtype.kind == "O":
            cells = [np.nan if value is None or type(value).__name__ == "NAType" else value for value in values]
            if all(isinstance(cell, (Real, Decimal, np.bool_)) for cell in cells):
                return np.array(cells, np.float64)
    except (TypeError, ValueError):
        pass
    first = next((value for value in column if _cell(value)), "")
    raise DataFileError(
        f"{path}: column {name!r} is of type {column.dtype}, with {str(first)[:60]!r}; expected numbers: "
        f"{options.say('drop', [name])} leaves it out, {options.say('identifier', name)} carries it through, "
        f"{options.say('label', name)} says that it has classes"
    )
