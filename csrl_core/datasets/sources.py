"""Where the bytes of a data file come from, and what they are: a path or standard input, plain or gzipped.

A file that is damaged, cut short or not what its name says is refused with a `DataFileError` that names the file, what
was found and what was expected. Nothing that a file says is executed.
"""

import gzip
import io
import sys
import zlib
from contextlib import contextmanager

_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 24  # bytes asked for at a time: a header that lies about its size costs no memory


class DataFileError(ValueError):
    """A data file is damaged or does not hold what was expected of it."""


@contextmanager
def opened(path):
    """Yield the file's bytes as a stream, decompressed if they begin like gzip's."""
    with path.open("rb") as raw:
        compressed = raw.peek(2)[:2] == _GZIP_MAGIC
        try:
            yield gzip.GzipFile(fileobj=raw) if compressed else raw
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataFileError(
                f"{path}: the gzip stream is damaged or cut short ({error}); expected a whole gzip file"
            ) from error


def read_at_most(stream, size):
    buffer = bytearray()
    while len(buffer) < size and (piece := stream.read(min(size - len(buffer), _PIECE))):
        buffer += piece
    return buffer


class StandardInput:
    """What is piped into the program, as a path that can be opened again and again; its suffix is told by its bytes."""

    name = "standard input"

    def __init__(self, data=None):
        self._data = sys.stdin.buffer.read() if data is None else data
        with opened(self) as stream:
            head = bytes(read_at_most(stream, 8))
        self.suffix = next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), ".csv")
        if head[:2] == b"\0\0" and head[2:3] != b"\0":
            self.suffix = ""  # IDX

    def __str__(self):
        return self.name

    def open(self, mode="rb"):
        """A stream of all bytes."""
        return io.BufferedReader(io.BytesIO(self._data))


_MAGIC = {b"\x93NUMPY": ".npy", b"PK\x03\x04": ".npz", b"PAR1": ".parquet"}
# First bytes of files that are sometimes named like text, and what to do about them.
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive (an Excel or NPZ file?); save the sheet as CSV, or give the file its own suffix",
    b"\xd0\xcf\x11\xe0": "an old Excel file; save the sheet as CSV",
    b"PAR1": "a Parquet file; give it the suffix .parquet",
    b"\x93NUMPY": "an NPY file; give it the suffix .npy",
    b"\x89HDF": "an HDF5 file; write the array with numpy.save",
    b"MATLAB 5": "a MATLAB file; write the array with numpy.save(path, scipy.io.loadmat(file)['name'])",
    b"$FL2": "an SPSS file; export it as CSV",
    b"%%MatrixMarket": "of Matrix Market; write the array with numpy.save(path, scipy.io.mmread(file).toarray())",
    b"<?xml": "XML; save the sheet as CSV",
    b"<!DOCTYPE": "a web page; was the download refused?",
    b"<html": "a web page; was the download refused?",
    b"%PDF": "a PDF file; export the table as CSV",
    b"@relation": "an ARFF file of Weka; write it as CSV (scipy.io.arff reads it)",
    b"BZh91AY&SY": "packed by bzip2; unpack it first",
    b"\xfd7zXZ": "packed by xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "packed by Zstandard; unpack it first",
    b"\x1f\x8b": "packed by gzip twice; unpack it first",
    b"\x89PNG": "an image; save its pixels as an array with numpy.save",
    b"\xff\xd8\xff": "an image; save its pixels as an array with numpy.save",
    b"SQLite format 3": "a data base of SQLite; export the table as CSV",
    b"\x80\x04\x95": "a pickled object, which is not loaded; write the array with numpy.save",
    b"\x80\x05\x95": "a pickled object, which is not loaded; write the array with numpy.save",
    b"version https://git-lfs": "a pointer of Git LFS; git lfs pull fetches the file itself",
    b"[{": "JSON; write it as CSV (pandas.read_json(path).to_csv(other, index=False))",
    b"{": "JSON; write it as CSV (pandas.read_json(path).to_csv(other, index=False))",
}
_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def refuse_foreign(path, head):
    """Raise `DataFileError` where a file's first bytes are those of another kind."""
    for magic, what in _FOREIGN.items():
        if head.lower().startswith(magic.lower()):
            raise DataFileError(f"{path} is {what}")


def encoding_of(path, head):
    """The encoding of a text file by its first bytes: UTF-16 has a mark, or zero bytes in every second place."""
    refuse_foreign(path, head)
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    pairs = head[: len(head) // 2 * 2]
    if len(pairs) >= 4 and 0 not in pairs[::2] and not any(pairs[1::2]):
        return "utf-16-le"
    if len(pairs) >= 4 and 0 not in pairs[1::2] and not any(pairs[::2]):
        return "utf-16-be"
    return "utf-8-sig"


def text_lines(path, encoding=None, most=None):
    """Yield the lines of a text file with their ends, decoded.

    encoding : str, optional; by default UTF-8, or UTF-16 if its first bytes say so
    most : int, optional, number of lines after which to stop
    """
    with opened(path) as stream:
        head = stream.peek(64)[:64]
        codec = encoding or encoding_of(path, head)
        try:
            for number, line in enumerate(io.TextIOWrapper(stream, codec, newline=""), 1):
                if "\0" in line:
                    raise DataFileError(
                        f"{path}, line {number}: found a zero byte, which no text has; the file is damaged, or of "
                        f"another kind or encoding (--encoding)"
                    )
                yield line.lstrip("\ufeff") if line[0] == "\ufeff" else line  # of files that were put together
                if number == most:
                    return
        except UnicodeError as error:
            cure = "the file is cut short, or of another encoding (--encoding)"
            if codec == "utf-8-sig":
                cure = "of a file from Windows the encoding may be cp1252 (--encoding cp1252)"
            name = "UTF-8" if codec == "utf-8-sig" else codec
            raise DataFileError(f"{path}: not {name} text ({error}); expected a CSV file; {cure}") from error
        except LookupError:
            raise DataFileError(
                f"{path}: {encoding!r} is no known encoding; expected one such as utf-8, cp1252"
            ) from None
