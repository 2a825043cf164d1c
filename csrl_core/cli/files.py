"""Writing tables for the command line: no half-written file, and no error after hours of work."""

import os
import tempfile
from contextlib import contextmanager
from math import isqrt
from pathlib import Path

import numpy as np

from csrl_core.cli.base import WrongUsage, integers
from csrl_core.training.atomic_files import replacing

TABLES = (".csv", ".npy")
PICTURES = (".png", ".pdf", ".svg")
_PROBE = bytes(1 << 16)


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


def save_somewhere(model, path, say):
    """Save to ``path``; where that fails, into the folder for temporary files, so that the training is not lost."""
    try:
        with naming(path):
            model.save(path)
    except OSError as error:
        with tempfile.NamedTemporaryFile(prefix="csrl-", suffix=".safetensors", delete=False) as rescue:
            pass
        try:
            model.save(rescue.name)
        except OSError:
            Path(rescue.name).unlink(missing_ok=True)
            raise error from None
        raise OSError(f"{error}; the model was saved to {rescue.name} instead") from error
    say(f"model      {path}")


def write_table(path, parts, n, name, beside=None):
    """Write (n, …) row by row, so that the whole need not fit into memory.

    parts : iterator of arrays that make up the rows; name : of a column of labels, or the letter of an embedding's
    beside : (name, (n,) values) of a column in front, for text only
    Plain writes, not a memory map: there a full disk is an error message, here it would be a dead process.
    """
    npy = Path(path).suffix.lower() == ".npy"
    done = 0
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
                names = _columns(name, part.shape[1:])
                file.write((",".join([*([_quoted(beside[0])] if beside else []), *names]) + "\n").encode())
            rows = part.reshape(len(part), -1)
            # str gives the fewest digits that read back as the same number, of Python's or of NumPy's floats.
            lines = [",".join(map(str, row)) for row in (rows if part.dtype == np.float32 else rows.tolist())]
            if beside:
                front = beside[1][done : done + len(part)].tolist()
                lines = [f"{_quoted(value)},{line}" for value, line in zip(front, lines)]
            done += len(part)
            file.write("".join(line + "\n" for line in lines).encode())


def _quoted(value):
    """A cell as CSV has it; whole numbers without a fraction."""
    text = f"{value:g}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 else str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text


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


def row_chunks(X, rows=8192):
    """Consecutive rows of an array or memory map, each chunk in memory, float32 or float64."""
    single = X.dtype.kind == "f" and X.dtype.itemsize <= 4
    for first in range(0, len(X), rows):
        yield np.ascontiguousarray(X[first : first + rows], np.float32 if single else np.float64)
