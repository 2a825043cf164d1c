"""Readers of arrays: IDX (MNIST's format), NPY and NPZ."""

import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from csrl_core.datasets.sources import DataFileError, opened, read_at_most

# Third byte of an IDX file → type on disk; IDX is big-endian throughout.
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


# What NumPy's and Python's readers raise of damaged files. Beside the plain ones: headers that are parsed as Python
# (SyntaxError, TokenError, RecursionError, TypeError), an encrypted archive or an unknown compression (RuntimeError),
# an absurd shape (MemoryError, OverflowError), a directory that points before the file (OSError).
NUMPY_ERRORS = (
    *(ValueError, EOFError, MemoryError, RuntimeError, OverflowError, SyntaxError, TypeError, LookupError, OSError),
    *(AttributeError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error),
)


def read_idx(path):
    """Read an IDX file, gzipped or plain (told by its first bytes, not by its name).

    path : str or path-like
    returns ndarray of the shape and type that the file states, in native byte order

    Raises `DataFileError` if the file is cut short, is longer than its header says, or has no valid
    IDX magic number or type code.
    """
    path = path if hasattr(path, "open") else Path(path)
    with opened(path) as stream:
        magic = read_at_most(stream, 4)
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
        header = read_at_most(stream, 4 * ndim)
        if len(header) < 4 * ndim:
            raise DataFileError(
                f"{path}: cut short: found {len(header)} bytes of dimensions, expected {4 * ndim} for {ndim} dimensions"
            )
        shape = struct.unpack(f">{ndim}I", header)
        expected = math.prod(shape) * dtype.itemsize
        # One byte more than expected shows an oversized file, and makes gzip verify its checksum.
        values = read_at_most(stream, expected + 1)
    if len(values) != expected:
        found = f"cut short: found {len(values)}" if len(values) < expected else "oversized: found more"
        raise DataFileError(f"{path}: {found} bytes of values, expected {expected} for shape {shape} of {dtype.name}")
    try:
        values = np.frombuffer(values, dtype).reshape(shape)
    except ValueError as error:  # no values, of a shape too large to count where it is not 0
        raise DataFileError(f"{path}: found the shape {shape} ({error}); expected one of fewer values") from None
    return values.astype(dtype.newbyteorder("="), copy=False)


def _read_array(stream):
    values = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):  # in an NPZ file this also makes zipfile verify its checksum
        raise ValueError("bytes are left over after the array")
    return values


def _read_npz(path, stream, array, option):
    """Read one array: the named one, the only one, or the one called X."""
    with zipfile.ZipFile(stream) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if {"data", "shape", "format"} <= {*names} and array is None:
            raise DataFileError(
                f"{path}: found a sparse matrix of SciPy, expected a dense array: "
                f"numpy.save(other, scipy.sparse.load_npz(path).toarray())"
            )
        if not names:
            raise DataFileError(
                f"{path}: found a ZIP archive without arrays, expected one written by numpy.savez; save an Excel sheet "
                f"as CSV, unpack any other archive"
            )
        if array is None:
            array = names[0] if len(names) == 1 else "X"
        if array not in names:
            raise DataFileError(
                f"{path}: found arrays {names}, expected one named {array!r} ({option} chooses another)"
            )
        with archive.open(f"{array}.npy") as stream:
            return _read_array(stream)


def read_numpy(path, kind, array, option):
    """The array of an NPY or NPZ file.

    kind : ".npy" or ".npz"; array : name in an NPZ file or None; option : how the user gives it, for messages
    """
    with path.open("rb") as stream:
        try:
            return _read_npz(path, stream, array, option) if kind == ".npz" else _read_array(stream)
        except DataFileError:
            raise
        except NUMPY_ERRORS as error:
            raise DataFileError(
                f"{path}: not readable as {kind[1:].upper()} ({error}); expected a whole file written by "
                f"numpy.{'savez' if kind == '.npz' else 'save'} that holds numbers, not pickled objects"
            ) from error


def is_idx(path):
    """Whether a file begins like an IDX file, plain or gzipped."""
    with opened(path) as stream:
        magic = bytes(read_at_most(stream, 4))
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in _IDX_TYPES and 1 <= magic[3] <= 4
