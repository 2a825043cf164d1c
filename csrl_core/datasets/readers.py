"""Readers for data files: IDX (MNIST's format), CSV, NPY and NPZ.

A file that is damaged, cut short or not what its name says is refused with a `DataFileError` that
names the file, what was found and what was expected. Nothing that a file says is executed: pickled
objects are refused.
"""

import csv
import gzip
import io
import math
import struct
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 24  # bytes asked for at a time: a header that lies about its size costs no memory

# Third byte of an IDX file → type on disk; IDX is big-endian throughout.
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


# What NumPy's and Python's readers raise of damaged files. Beside the plain ones: headers that are parsed as Python
# (SyntaxError, TokenError, RecursionError, TypeError), an encrypted archive or an unknown compression (RuntimeError),
# an absurd shape (MemoryError, OverflowError), a directory that points before the file (OSError).
NUMPY_ERRORS = (
    *(ValueError, EOFError, MemoryError, RuntimeError, OverflowError, SyntaxError, TypeError, LookupError, OSError),
    *(AttributeError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error),
)


class DataFileError(ValueError):
    """A data file is damaged or does not hold what was expected of it."""


@contextmanager
def _opened(path):
    """Yield the file's bytes as a stream, decompressed if they begin like gzip's."""
    with path.open("rb") as raw:
        compressed = raw.peek(2)[:2] == _GZIP_MAGIC
        try:
            yield gzip.GzipFile(fileobj=raw) if compressed else raw
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataFileError(
                f"{path}: the gzip stream is damaged or cut short ({error}); expected a whole gzip file"
            ) from error


def _read_at_most(stream, size):
    buffer = bytearray()
    while len(buffer) < size and (piece := stream.read(min(size - len(buffer), _PIECE))):
        buffer += piece
    return buffer


def read_idx(path):
    """Read an IDX file, gzipped or plain (told by its first bytes, not by its name).

    path : str or path-like
    returns ndarray of the shape and type that the file states, in native byte order

    Raises `DataFileError` if the file is cut short, is longer than its header says, or has no valid
    IDX magic number or type code.
    """
    path = Path(path)
    with _opened(path) as stream:
        magic = _read_at_most(stream, 4)
        if len(magic) < 4:
            raise DataFileError(f"{path}: found {len(magic)} bytes, expected an IDX magic number of 4 bytes")
        if magic[0] or magic[1] or not magic[3]:
            raise DataFileError(
                f"{path}: found magic number 0x{magic.hex()}, expected that of an IDX file: two zero bytes, "
                "a type code, a number of dimensions ≥ 1"
            )
        if magic[2] not in _IDX_TYPES:
            known = ", ".join(f"0x{code:02x}" for code in _IDX_TYPES)
            raise DataFileError(f"{path}: found IDX type code 0x{magic[2]:02x}, expected one of {known}")
        ndim, dtype = magic[3], np.dtype(_IDX_TYPES[magic[2]])
        header = _read_at_most(stream, 4 * ndim)
        if len(header) < 4 * ndim:
            raise DataFileError(
                f"{path}: cut short: found {len(header)} bytes of dimensions, expected {4 * ndim} for {ndim} dimensions"
            )
        shape = struct.unpack(f">{ndim}I", header)
        expected = math.prod(shape) * dtype.itemsize
        # One byte more than expected shows an oversized file, and makes gzip verify its checksum.
        values = _read_at_most(stream, expected + 1)
    if len(values) != expected:
        found = f"cut short: found {len(values)}" if len(values) < expected else "oversized: found more"
        raise DataFileError(f"{path}: {found} bytes of values, expected {expected} for shape {shape} of {dtype.name}")
    try:
        values = np.frombuffer(values, dtype).reshape(shape)
    except ValueError as error:  # no values, of a shape too large to count where it is not 0
        raise DataFileError(f"{path}: found the shape {shape} ({error}); expected one of fewer values") from None
    return values.astype(dtype.newbyteorder("="), copy=False)


def csv_rows(path, delimiter=","):
    """Yield (line number, cells) for every line of a UTF-8 CSV file (plain or gzipped) but blank ones.

    Raises `DataFileError` for rows of different lengths and for text that is no CSV.
    """
    path = Path(path)
    width = None
    with _opened(path) as stream:
        reader = csv.reader(io.TextIOWrapper(stream, "utf-8-sig", newline=""), delimiter=delimiter)
        try:
            for cells in reader:
                if len(cells) <= 1 and not "".join(cells).strip():
                    continue
                width = width or len(cells)
                if len(cells) != width:
                    raise DataFileError(
                        f"{path}, line {reader.line_num}: found {len(cells)} columns, expected {width} "
                        "as in the first row"
                    )
                yield reader.line_num, [cell.strip() for cell in cells]
        except UnicodeDecodeError as error:
            raise DataFileError(f"{path}: not UTF-8 text ({error}); expected a CSV file") from error
        except csv.Error as error:
            raise DataFileError(
                f"{path}, line {reader.line_num}: not readable as CSV ({error}); expected rows of numbers "
                f"separated by {delimiter!r}"
            ) from error


def is_number(cell):
    """Whether a CSV cell is a number; Python's own 1_000 is none."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _first_bad(cells):
    return next((j for j, cell in enumerate(cells) if not is_number(cell)), None)


def _read_csv(path, delimiter):
    names, rows = None, []
    for line, cells in csv_rows(path, delimiter):
        if names is None and not rows and not any(map(is_number, cells)):
            names = cells
            continue
        try:
            values = np.array(list(map(float, cells)))
            bad = _first_bad(cells) if any("_" in cell for cell in cells) else None
        except ValueError:
            bad = _first_bad(cells)
        if bad is not None:
            where = f"column {bad + 1}" + (f" ({names[bad]!r})" if names else "")
            raise DataFileError(
                f"{path}, line {line}, {where}: found {cells[bad]!r}, expected a number "
                f"(cells are separated by {delimiter!r})"
            )
        rows.append(values)
    if not rows:
        raise DataFileError(f"{path}: found no rows of numbers, expected at least one")
    return np.stack(rows), names


def _read_array(stream):
    values = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):  # in an NPZ file this also makes zipfile verify its checksum
        raise ValueError("bytes are left over after the array")
    return values


def _read_npz(path, stream, array):
    """Read one array: the named one, the only one, or the one called X."""
    with zipfile.ZipFile(stream) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if array is None:
            array = names[0] if len(names) == 1 else "X"
        if array not in names:
            raise DataFileError(
                f"{path}: found arrays {names}, expected one named {array!r} (`array=` chooses another)"
            )
        with archive.open(f"{array}.npy") as stream:
            return _read_array(stream)


def _read_numpy(path, kind, array):
    with path.open("rb") as stream:
        try:
            return _read_npz(path, stream, array) if kind == ".npz" else _read_array(stream)
        except DataFileError:
            raise
        except NUMPY_ERRORS as error:
            raise DataFileError(
                f"{path}: not readable as {kind[1:].upper()} ({error}); expected a whole file written by "
                f"numpy.{'savez' if kind == '.npz' else 'save'} that holds numbers, not pickled objects"
            ) from error


def read_table(path, *, array=None, delimiter=","):
    """Read a table of numbers from a CSV (.csv, .txt, .tsv, each also .gz), NPY or NPZ file.

    path : str or path-like; the kind of file is told by its suffix
    array : name of the array in an NPZ file; by default its only one, or the one called "X"
    delimiter : what separates the cells of a .csv or .txt file; a .tsv file's are separated by tabs
    returns (X, columns) : X (n, d) float32 if the file's array is float32 or float16, else float64;
        columns list of d names

    The first row of a CSV file is a header if none of its cells is a number; without one, and for NPY
    and NPZ, the columns are named x0, x1, …. "nan" and "inf" are numbers here: what is made of them is
    for the model to say. A plain CSV file that ends inside its last cell cannot be told from a whole
    one; a gzipped one can.

    Raises `DataFileError` for ragged rows, cells that are no number, empty or damaged files, arrays that
    are not 2-d or not of real numbers, pickled objects, and NPZ files without the array.
    """
    path = Path(path)
    suffix = path.with_suffix("").suffix if path.suffix.lower() == ".gz" else path.suffix
    suffix = suffix.lower()
    if array is not None and suffix != ".npz":
        raise ValueError(f"array={array!r} names an array of an NPZ file, got {path}")
    names = None
    if suffix in (".csv", ".txt", ".tsv"):
        X, names = _read_csv(path, "\t" if suffix == ".tsv" else delimiter)
    elif path.suffix.lower() in (".npy", ".npz"):
        X = _read_numpy(path, suffix, array)
    else:
        raise DataFileError(
            f"{path}: found suffix {''.join(path.suffixes) or 'none'!r}, "
            "expected .csv, .txt, .tsv (each also .gz), .npy or .npz"
        )
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
    return X, names or [f"x{j}" for j in range(X.shape[1])]
