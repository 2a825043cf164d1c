"""Opening of what lies on disk as `Samples`: memory maps, NPY files and IDX files."""

import mmap
import os
import struct
import tokenize
from math import prod
from pathlib import Path

import numpy as np

from csrl_core.training.dask import is_collection
from csrl_core.training.on_disk import BLOCK, Samples
from csrl_core.training.row_files import Part, SampleFiles

KEPT = 2**26  # bytes: smaller data are held in memory, where nothing is gained by reading them again and again
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# Third byte of an IDX file → dtype in the file.
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# What NumPy raises of headers that are damaged.
_HEADER_ERRORS = (
    *(ValueError, EOFError, OverflowError, SyntaxError, TypeError, LookupError, RecursionError, MemoryError),
    *(struct.error, tokenize.TokenError),
)


def opened(X, name="X", dtype=None):
    """X as `Samples` if it lies on disk, as an array if that is small, and X itself if it is anything else.

    X : `Samples`, a memory map, a path, or a list of paths of NPY or IDX files, a Dask collection; or anything else
    name : of the argument, for messages; dtype : as of `files`

    Raises
    ------
    ValueError
        A file is not a whole NPY or IDX file of samples, or the files have different columns or dtypes.
    OSError
        A file cannot be read.
    """
    if is_collection(X):
        from csrl_core.training.dask import partitions

        return partitions.opened(X, name, dtype)
    if _is_path(X):
        return _small_loaded(files([X], name, dtype))
    if isinstance(X, (list, tuple)) and len(X) and all(map(_is_path, X)):
        return _small_loaded(files(X, name, dtype))
    if isinstance(X, np.memmap) and type(X) is np.memmap and _is_large(X.shape, X.dtype):
        part = part_of_map(X)
        return X if part is None else SampleFiles([part], _dtype(part.stored), name)
    return X


def files(paths, name="X", dtype=None):
    """The samples of NPY or IDX files, one file after the other, as `SampleFiles`.

    dtype : of the arrays that are read; None: float32 and float64 as they are, and float64 for all other numbers
    """
    parts = [_part_of_file(Path(path)) for path in paths]
    first = parts[0]
    for part in parts[1:]:
        if part.shape[1] != first.shape[1]:
            raise ValueError(f"{part.path} has {part.shape[1]} columns, {first.path} has {first.shape[1]}")
        if part.stored != first.stored:
            raise ValueError(
                f"{part.path} has numbers of {part.stored}, {first.path} of {first.stored}; save them alike"
            )
    return SampleFiles(parts, _dtype(first.stored, is_idx(first.path)) if dtype is None else dtype, name)


def part_of_map(X):
    """Where in its file the rows of a memory map are; None if that cannot be told, or if they are not rows there."""
    itemsize, base = X.dtype.itemsize, getattr(X, "_mmap", None)
    if base is None or X.filename is None or X.mode == "c" or X.ndim != 2 or X.dtype.kind not in "biuf":
        return None
    if X.strides[1] != itemsize or X.strides[0] < X.shape[1] * itemsize:
        return None
    begin = np.frombuffer(base, np.uint8).__array_interface__["data"][0]
    offset = X.offset - X.offset % mmap.ALLOCATIONGRANULARITY + X.__array_interface__["data"][0] - begin
    part = Part(Path(X.filename), X.shape, X.dtype, offset, X.strides[0])
    return part if _agrees(part, X) else None


def _agrees(part, X):
    """Whether the file at the map's path still is the map's: it may have been removed or replaced."""
    try:
        with part.path.open("rb") as file:
            for i in (0, len(X) - 1):
                file.seek(part.offset + i * part.stride)
                if file.read(X.shape[1] * X.dtype.itemsize) != X[i].tobytes():
                    return False
    except OSError:
        return False
    return True


def is_idx(path):
    """Whether a file begins like an IDX file."""
    with path.open("rb") as file:
        magic = file.read(4)
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in IDX_TYPES and magic[3] > 0


def _is_path(X):
    return isinstance(X, (str, os.PathLike))


def _is_large(shape, dtype):
    """Whether samples are left on disk. A full pass takes `BLOCK` rows; of one column all are as short as labels."""
    if len(shape) != 2 or shape[0] <= BLOCK or shape[1] <= 1:
        return False
    return prod(shape) * _dtype(dtype).itemsize > KEPT


def _small_loaded(samples):
    return samples if isinstance(samples, Samples) and _is_large(samples.shape, samples.dtype) else samples.load()


def _dtype(stored, any_order=False):
    """The dtype of computation, as scikit-learn's checks choose it. any_order : bool, bytes are swapped before"""
    native = stored.newbyteorder("=") if any_order else stored
    return native if native in FLOATS else np.dtype(np.float64)


def _part_of_file(path):
    size = path.stat().st_size
    if path.is_dir() or not size:
        raise ValueError(f"{path} is {'a folder' if path.is_dir() else 'empty'}; expected an NPY or IDX file")
    part = _idx_part(path) if is_idx(path) else _npy_part(path)
    if len(part.shape) != 2 or not prod(part.shape):
        raise ValueError(f"{path} has an array of shape {part.shape}; expected samples (n, d), at least one")
    if part.stored.kind not in "biuf":
        raise ValueError(f"{path} has numbers of {part.stored}; expected real numbers")
    expected = part.offset + part.shape[0] * part.stride
    if size != expected:
        raise ValueError(f"{path} has {size} bytes, expected {expected} for {part.shape} of {part.stored}")
    return part


def _npy_part(path):
    with path.open("rb") as file:
        magic = file.read(6)
        if magic[:2] == b"\x1f\x8b":
            raise ValueError(f"{path} is compressed, and its rows cannot be read one by one; decompress it (gunzip)")
        if magic != b"\x93NUMPY":
            raise ValueError(f"{path} is neither an NPY nor an IDX file, by its first bytes; write it with numpy.save")
        file.seek(0)
        try:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, columnwise, stored = header(file)
        except _HEADER_ERRORS as error:
            raise ValueError(f"{path} is not a whole NPY file ({error}); write it with numpy.save") from None
        offset = file.tell()
    if columnwise and len(shape) == 2 and min(shape) > 1:
        raise ValueError(
            f"{path} is stored column by column, and its rows cannot be read one by one; save "
            f"numpy.ascontiguousarray(X)"
        )
    return Part(path, tuple(shape), stored, offset, shape[-1] * stored.itemsize if shape else 0)


def _idx_part(path):
    with path.open("rb") as file:
        magic = file.read(4)
        sizes = file.read(4 * magic[3])
        if len(sizes) < 4 * magic[3]:
            raise ValueError(f"{path} is cut short: found {len(sizes)} bytes of dimensions, expected {4 * magic[3]}")
    shape, stored = struct.unpack(f">{magic[3]}I", sizes), np.dtype(IDX_TYPES[magic[2]])
    if len(shape) < 2:
        raise ValueError(f"{path} has {shape[0]} numbers in one dimension (labels?); expected samples")
    width = prod(shape[1:])
    return Part(path, (shape[0], width), stored, 4 + len(sizes), width * stored.itemsize)
