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
from csrl_core.datasets.columns import check_features, handle_missing, roles_of
from csrl_core.datasets.frame_files import SUFFIXES as FRAMES
from csrl_core.datasets.frame_files import read_frame
from csrl_core.datasets.sources import DataFileError, StandardInput, opened, read_at_most, refuse_foreign
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

PACKED = (".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz")
# What can be done about arrays of other kinds.
_CURES = {
    "c": ": save numpy.column_stack([X.real, X.imag])",
    "M": ": save X.astype('M8[D]').astype(float), days since 1970",
    "m": ": save X / numpy.timedelta64(1, 's'), seconds",
    "S": ": save X.astype(float)",
    "U": ": save X.astype(float)",
}
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
    notes = [f"{', '.join(options.of_text)}: for text files only"] if options.of_text else []
    if suffix in FRAMES and path.suffix.lower() != ".gz":
        return read_frame(path, suffix, options, notes)
    if path.suffix.lower() in (".npy", ".npz"):
        X = read_numpy(path, suffix, options.array, options.say("array"))
    elif is_idx(path):
        X = read_idx(path)
        if X.ndim > 2:
            notes.append(f"images of shape {'×'.join(map(str, X.shape[1:]))}")
            X = X.reshape(len(X), -1)
    else:
        raise _unknown(path, suffix)
    return _of_array(path, X, notes, options)


def _unknown(path, suffix):
    """The error of a file whose kind is none of these."""
    with opened(path) as stream:
        head = bytes(read_at_most(stream, 64))
    sheet, packed = suffix in (".xls", ".xlsx", ".ods"), path.suffix.lower() in PACKED
    if not sheet and not packed:
        refuse_foreign(path, head)
    cure = "; save the sheet as CSV" * sheet + "; unpack it first" * packed
    return DataFileError(
        f"{path}: found suffix {''.join(path.suffixes) or 'none'!r}, expected .csv, .txt, .tsv (each also .gz), .npy "
        f"or .npz, .parquet, .dta, or an IDX file{cure}"
    )


def _columns_of_fields(path, X):
    """The fields of a structured array as columns (n, d); returns (array, names)."""
    names = list(X.dtype.names)
    if X.ndim != 1 or any(X.dtype[name].kind not in "buif" for name in names):
        raise DataFileError(
            f"{path}: found a structured array of shape {X.shape} with {X.dtype}, expected rows of real numbers: "
            f"save those fields that are, numpy.save(other, X[['{names[0]}', …]])"
        )
    return np.column_stack([X[name] for name in names]), names


def _of_array(path, X, notes, options):
    named = X.dtype.names is not None
    X, names = _columns_of_fields(path, X) if named else (X, None)
    if X.dtype.kind not in "buif":
        cure = _CURES.get(X.dtype.kind, "")
        raise DataFileError(f"{path}: found an array of {X.dtype}, expected real numbers{cure}")
    if X.ndim != 2:
        raise DataFileError(
            f"{path}: found an array of shape {X.shape}, expected 2 dimensions (samples, features): "
            "reshape it first, for instance X.reshape(len(X), -1)"
        )
    if not X.size:
        raise DataFileError(f"{path}: found an empty array of shape {X.shape}, expected samples and features")
    if X.dtype.kind in "iu" and (X.max() > 2**53 or X.min() < -(2**53)):
        raise DataFileError(
            f"{path}: found whole numbers above 2**53, which float64 does not tell apart; expected smaller ones ("
            f"save the array without identifiers)"
        )
    single = X.dtype.kind == "f" and X.dtype.itemsize <= 4
    X = np.ascontiguousarray(X, np.float32 if single else np.float64)
    names = names or [f"x{j}" for j in range(X.shape[1])]
    roles = roles_of(path, names, [], named, options)
    table = Table(X, names, named, notes=notes)
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
    if not roles.chosen and suffix_of(path) in (".npy", ".npz"):
        check_features(path, table, options)
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
