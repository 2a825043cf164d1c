"""Readers of tables: CSV and other text, NPY, NPZ, IDX, and what pandas or Polars reads.

A file that is damaged, cut short or not what its name says is refused with a `DataFileError` that names the file, what
was found and what was expected. So is a table that may be understood in two ways; the message names the option that
decides. Nothing that a file says is executed: pickled objects are refused.

sources        bytes, plain or gzipped, and text in its encoding
array_files    IDX, NPY, NPZ
text_records   rows of cells: comments, quotes, delimiters
headers        whether the first row has names
cells          numbers in their notations, missing values
columns        features, labels, identifiers, row numbers
text_tables    all these together
frame_files    Parquet, Feather, Stata and SAS by pandas or Polars
"""

from pathlib import Path

import numpy as np

from csrl_core.datasets.array_files import NUMPY_ERRORS, is_idx, read_idx, read_numpy
from csrl_core.datasets.cells import is_number
from csrl_core.datasets.columns import handle_missing, roles_of
from csrl_core.datasets.frame_files import SUFFIXES as FRAMES
from csrl_core.datasets.frame_files import read_frame
from csrl_core.datasets.sources import DataFileError, StandardInput
from csrl_core.datasets.table_options import Table, TableOptions
from csrl_core.datasets.text_records import csv_rows
from csrl_core.datasets.text_tables import read_text

__all__ = [
    "NUMPY_ERRORS",
    "DataFileError",
    "StandardInput",
    "Table",
    "TableOptions",
    "csv_rows",
    "is_number",
    "read",
    "read_idx",
    "read_table",
]

TEXTS = (".csv", ".txt", ".tsv", ".tab", ".dat", ".data", ".asc")


def suffix_of(path):
    """The suffix that tells the kind of a file, in small letters; that before .gz for text."""
    suffix = path.suffix.lower()
    return Path(path.name[:-3]).suffix.lower() if suffix == ".gz" else suffix


def read(path, options=None):
    """Read a table of numbers.

    path : Path or `StandardInput`; options : `TableOptions`, optional
    returns `Table`
    """
    options = TableOptions() if options is None else options
    suffix = suffix_of(path)
    if options.array is not None and suffix != ".npz":
        name = f"array={options.array!r}" if not options.typed else options.say("array", options.array)
        raise ValueError(f"{name} names an array of an NPZ file, got {path}")
    if suffix in TEXTS:
        return read_text(path, options)
    if suffix in FRAMES and path.suffix.lower() != ".gz":
        return read_frame(path, suffix, options)
    notes = []
    if path.suffix.lower() in (".npy", ".npz"):
        X = read_numpy(path, suffix, options.array, options.say("array"))
    elif is_idx(path):
        X = read_idx(path)
        if X.ndim > 2:
            notes.append(f"images of shape {'×'.join(map(str, X.shape[1:]))}")
            X = X.reshape(len(X), -1)
    else:
        suffixes = "".join(getattr(path, "suffixes", [])) or "none"
        raise DataFileError(
            f"{path}: found suffix {suffixes!r}, expected .csv, .txt, .tsv (each also .gz), .npy or .npz, .parquet, "
            f".dta, or an IDX file" + "; save the sheet as CSV" * (suffix in (".xls", ".xlsx", ".ods"))
        )
    return _of_array(path, X, notes, options)


def _of_array(path, X, notes, options):
    if X.dtype.kind not in "buif":
        raise DataFileError(f"{path}: found an array of {X.dtype}, expected real numbers")
    if X.ndim != 2:
        raise DataFileError(
            f"{path}: found an array of shape {X.shape}, expected 2 dimensions (samples, features): "
            "reshape it first, for instance X.reshape(len(X), -1)"
        )
    if not X.size:
        raise DataFileError(f"{path}: found an empty array of shape {X.shape}, expected samples and features")
    single = X.dtype.kind == "f" and X.dtype.itemsize <= 4
    X = np.ascontiguousarray(X, np.float32 if single else np.float64)
    names = [f"x{j}" for j in range(X.shape[1])]
    roles = roles_of(path, names, [], False, options)
    table = Table(X, names, False, notes=notes)
    if roles.texts:
        label, identifier = roles.label, roles.identifier
        table.labels = None if label is None else X[:, label]
        table.identifiers, table.identifier = (
            (None, None) if identifier is None else (X[:, identifier], names[identifier])
        )
        roles.left_out |= {
            names[j]: options.say(option)
            for j, option in ((label, "label"), (identifier, "identifier"))
            if j is not None
        }
    if len(roles.numbers) < len(names) or roles.numbers != sorted(roles.numbers):
        table.X, table.names = np.ascontiguousarray(X[:, roles.numbers]), [names[j] for j in roles.numbers]
    table.left_out = roles.left_out
    return handle_missing(path, table, options)


def read_table(path, *, array=None, delimiter=None, **options):
    """Read a table of numbers from a text, NPY, NPZ, IDX, Parquet, Stata or SAS file.

    path : str or path-like; the kind of file is told by its suffix, IDX by its first bytes
    array : name of the array in an NPZ file; by default its only one, or the one called "X"
    delimiter : what separates the cells of a text file; by default it is found out
    options : further fields of `csrl_core.datasets.table_options.TableOptions`, such as header=True, drop=("id",)
    returns (X, columns) : X (n, d) float32 if the file's array is float32 or float16, else float64;
        columns list of d names

    The first row of a text file is a header if none of its cells is a number; without one, and for NPY
    and NPZ, the columns are named x0, x1, …. "nan" and "inf" are numbers here: what is made of them is
    for the model to say. A plain CSV file that ends inside its last cell cannot be told from a whole
    one; a gzipped one can. docs/tables.md says how a table is understood.

    Raises `DataFileError` for ragged rows, cells that are no number, empty or damaged files, arrays that
    are not 2-d or not of real numbers, pickled objects, NPZ files without the array, and tables that may
    be understood in two ways.
    """
    for name in ("columns", "drop", "missing_words"):
        if isinstance(options.get(name), list):
            options[name] = tuple(options[name])
    table = read(Path(path), TableOptions(array=array, delimiter=delimiter, **options))
    return table.X, table.names
