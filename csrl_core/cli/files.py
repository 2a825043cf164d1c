"""Reading data and writing tables for the command line: no half-written file, and no error after hours of work."""

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from math import isqrt
from pathlib import Path

import numpy as np

from csrl_core import datasets
from csrl_core.cli.base import WrongUsage, integers
from csrl_core.datasets.readers import NUMPY_ERRORS, csv_rows, is_number
from csrl_core.training.atomic_files import replacing

BUILT_IN = "data:"
TABLES = (".csv", ".npy")
PICTURES = (".png", ".pdf", ".svg")
# Columns of these names are rarely meant as features; where one is used as such, it is said.
LABEL_NAMES = ("class", "label", "labels", "species", "target", "y")
_PROBE = bytes(1 << 16)


@dataclass(frozen=True)
class Table:
    """X (n, d) float, or a memory map; y (n,) known classes or None; columns: d names."""

    X: np.ndarray
    y: np.ndarray | None
    columns: list


def read_data(source, *, key=None, label_column=None, memory_map=False, divide_by=1.0, say=print):
    """Read a data set.

    Parameters
    ----------
    source : str
        A CSV, NPY or NPZ file, or ``data:NAME`` for a set of `csrl_core.datasets` (mixtures: seed 0).
    key : str, optional
        Array of an NPZ file.
    label_column : str, optional
        A column of known classes, of text or numbers, that is no feature; None or "none": there is none.
    memory_map : bool
        Leave an NPY file of real numbers on disk, as it is: `row_chunks` divides.
    divide_by : float
        What all values are divided by.
    say : callable
        Takes a note to the user.

    Returns
    -------
    Table
    """
    if not 0 < divide_by < np.inf:
        raise WrongUsage(f"--divide-by {divide_by:g}: expected a positive number")
    table = _read_data(source, key, label_column, memory_map, say)
    if divide_by == 1 or (memory_map and is_on_disk(table.X)):
        return table
    return replace(table, X=table.X / divide_by)


def is_on_disk(X):
    """Whether an array is a memory map: `read_data` has not divided it, `row_chunks` does."""
    return isinstance(X, np.memmap)


def _read_data(source, key, label_column, memory_map, say):
    wanted = None if label_column in (None, "none") else label_column
    if source.startswith(BUILT_IN):
        if key is not None or wanted is not None:
            raise WrongUsage(f"{source} is built in and brings its classes; --key and --label-column are for files")
        name = source.removeprefix(BUILT_IN)
        bunch = datasets.load(name, **({"random_state": 0} if name in datasets.MIXTURES else {}))
        return Table(bunch.data, bunch.target, bunch.feature_names)
    path = Path(source)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a CSV, NPY or NPZ file, or {BUILT_IN}NAME")
    if not path.exists():
        names = ", ".join(BUILT_IN + name for name in datasets.NAMES)
        raise FileNotFoundError(f"{path} does not exist; expected a CSV, NPY or NPZ file, or one of {names}")
    if memory_map and wanted is None and path.suffix.lower() == ".npy":
        X = open_npy(path)
        return Table(X, None, [f"x{j}" for j in range(X.shape[1])])
    is_csv = path.name.lower().removesuffix(".gz").endswith((".csv", ".txt", ".tsv"))
    if wanted is not None and is_csv:
        return _read_labelled_csv(path, wanted)
    try:
        X, columns = datasets.read_table(path, array=key)
    except datasets.DataFileError as error:
        text = _text_column(path) if is_csv else None
        advice = f"; is it a column of classes? --label-column {text} leaves it out" if text else ""
        raise datasets.DataFileError(f"{error}{advice}".replace("`array=`", "--key")) from None
    if wanted is None:
        suspects = [column for column in columns if column.lower() in LABEL_NAMES]
        if suspects and label_column is None:
            say(
                f"note: column {suspects[0]!r} of {path} is used as a feature; --label-column {suspects[0]} "
                f"leaves it out, --label-column none says that it is meant"
            )
        return Table(X, None, columns)
    at = _find_column(path, columns, wanted)
    return Table(np.delete(X, at, axis=1), X[:, at], columns[:at] + columns[at + 1 :])


def _find_column(path, columns, wanted):
    if columns.count(wanted) != 1:
        raise ValueError(f"{path} has the columns {', '.join(columns)}; expected one named {wanted!r} (--label-column)")
    if len(columns) == 1:
        raise ValueError(f"{path} has no column but {wanted!r} (--label-column); expected at least one feature")
    return columns.index(wanted)


def _delimiter(path):
    return "\t" if ".tsv" in path.name.lower() else ","


def _text_column(path):
    """The one column of a CSV file with a header whose first cell is text; None where there is no such column."""
    try:
        header, first = (cells for _, cells in islice(csv_rows(path, _delimiter(path)), 2))
    except ValueError:  # fewer than two rows, or rows that cannot be read
        return None
    texts = [name for name, cell in zip(header, first) if cell and not is_number(cell)]
    return texts[0] if len(texts) == 1 < len(header) and not any(map(is_number, header)) else None


def _read_labelled_csv(path, wanted):
    """A CSV file whose column ``wanted`` may be text; all others must be numbers."""
    rows = csv_rows(path, _delimiter(path))
    _, header = next(rows, (0, []))
    if not header:
        raise datasets.DataFileError(f"{path}: found no rows, expected a header and rows of numbers")
    if any(map(is_number, header)):
        raise datasets.DataFileError(f"{path}: found no header, expected one that names {wanted!r} (--label-column)")
    at = _find_column(path, header, wanted)
    columns = header[:at] + header[at + 1 :]
    X, y = [], []
    for line, cells in rows:
        y.append(cells.pop(at))
        bad = next((j for j, cell in enumerate(cells) if not is_number(cell)), None)
        if bad is not None:
            raise datasets.DataFileError(
                f"{path}, line {line}, column {columns[bad]!r}: found {cells[bad]!r}, expected a number"
            )
        X.append(np.array(list(map(float, cells))))
    if not X:
        raise datasets.DataFileError(f"{path}: found no rows of numbers, expected at least one")
    return Table(np.stack(X), np.array(y), columns)


def open_npy(path):
    """An NPY file of real numbers as a read-only memory map (n, d); a file that is not whole is refused."""
    with path.open("rb"):  # what is no fault of its contents is raised here
        pass
    try:
        X = np.lib.format.open_memmap(path, mode="r")
    except NUMPY_ERRORS as error:
        raise datasets.DataFileError(
            f"{path}: not readable as NPY ({error}); expected a whole file written by numpy.save"
        ) from None
    size = path.stat().st_size
    if size != X.offset + X.nbytes:
        raise datasets.DataFileError(f"{path}: found {size} bytes, expected {X.offset + X.nbytes}")
    if X.dtype.kind not in "buif" or X.ndim != 2 or not X.size:
        raise datasets.DataFileError(
            f"{path}: found an array of {X.dtype} with shape {X.shape}, expected real numbers (samples, features)"
        )
    return X


def check_finite(source, X, columns, before=None):
    """Raise ValueError that names the first row and column that are not finite.

    X : rows of ``source`` (a file); before : int, how many rows come before them; None where they are all
    """
    bad = np.argwhere(~np.isfinite(X))
    if len(bad):
        i, j = bad[0]
        count = f" ({len(bad)} such values)" if before is None and len(bad) > 1 else ""
        raise ValueError(
            f"{source}: row {(before or 0) + i + 1}, column {columns[j]!r} is {X[i, j]}{count}; expected finite numbers"
        )


def check_features(source, table, model, n_features):
    """Raise ValueError where a table has not as many features as a model was fitted to. model : its file"""
    n = table.X.shape[1]
    if n != n_features:
        names = ", ".join(map(str, table.columns[:8])) + ", …" * (n > 8)
        advice = "; --label-column leaves out a column of classes" if n > n_features and table.y is None else ""
        raise ValueError(f"{source} has {n} features ({names}); {model} was fitted to {n_features}{advice}")


def check_outputs(outputs, inputs=()):
    """Raise now what writing would raise after hours of work; leaves nothing behind.

    outputs : dict of option → (path or None, allowed suffixes or None); inputs : paths that must stay
    """
    taken = {Path(path).resolve(): path for path in inputs if path is not None and Path(path).exists()}
    for option, (path, suffixes) in outputs.items():
        if path is None:
            continue
        path = Path(path)
        if suffixes is not None and path.suffix.lower() not in suffixes:
            raise WrongUsage(f"{option} {path}: the suffix is {path.suffix!r}, expected {' or '.join(suffixes)}")
        if path.resolve() in taken:
            raise WrongUsage(f"{option} {path} would overwrite {taken[path.resolve()]}; name another file")
        taken[path.resolve()] = f"what {option} writes"
        if path.exists() and not path.is_file():
            raise OSError(f"{option} {path} exists and is no ordinary file; name another one")
        folder = path.parent
        if not folder.is_dir():
            state = "is no folder" if folder.exists() else "does not exist"
            raise OSError(f"{option} {path}: the folder {folder} {state}; make it first or name another one")
        try:
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(_PROBE)
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            raise OSError(f"{option} {path}: cannot write into the folder {folder}: {error.strerror}") from error


@contextmanager
def naming(path):
    """Errors of writing name the path that the user gave, not that of a temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error


def write_table(path, parts, n, name):
    """Write (n, …) row by row, so that the whole need not fit into memory.

    parts : iterator of arrays that make up the rows; name : of a column of labels, or the letter of an embedding's
    Plain writes, not a memory map: there a full disk is an error message, here it would be a dead process.
    """
    npy = Path(path).suffix.lower() == ".npy"
    with naming(path), replacing(path) as file:
        for number, part in enumerate(parts):
            if npy and number == 0:
                descr = np.lib.format.dtype_to_descr(part.dtype)
                header = {"descr": descr, "fortran_order": False, "shape": (n, *part.shape[1:])}
                np.lib.format.write_array_header_1_0(file, header)
            if npy:
                file.write(np.ascontiguousarray(part).data)
                continue
            if number == 0:
                file.write((",".join(_columns(name, part.shape[1:])) + "\n").encode())
            rows = part.reshape(len(part), -1)
            # str gives the fewest digits that read back as the same number, of Python's or of NumPy's floats.
            lines = (",".join(map(str, row)) for row in (rows if part.dtype == np.float32 else rows.tolist()))
            file.write("".join(line + "\n" for line in lines).encode())


def _columns(name, shape):
    if not shape:
        return [name]
    if len(shape) == 1:
        return [f"{name}{l}" for l in range(shape[0])]
    return [f"cluster{j}_{name}{l}" for j in range(shape[0]) for l in range(shape[1])]


def image_shape(text, n_features):
    """(height, width) of --image-shape; of a square where it is not given."""
    if text is not None:
        return integers("--image-shape", text)
    side = isqrt(n_features)
    if side * side != n_features:
        raise WrongUsage(f"--image-shape is needed: {n_features} features make no square image")
    return side, side


def row_chunks(X, rows=8192, divide_by=1.0):
    """Consecutive rows of an array or memory map, each chunk in memory and divided, float32 or float64."""
    single = X.dtype.kind == "f" and X.dtype.itemsize <= 4
    for first in range(0, len(X), rows):
        chunk = np.ascontiguousarray(X[first : first + rows], np.float32 if single else np.float64)
        yield chunk if divide_by == 1 else chunk / divide_by
