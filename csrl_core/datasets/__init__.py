"""Data sets of the papers: Gaussian mixtures, scikit-learn's own sets, and real data from a folder.

`load(name)` gives any of `NAMES` with its origin and licence. Penguins, MNIST and Fashion-MNIST are
read from the folder that the environment variable CSRL_DATA names; nothing is ever downloaded.

mixtures   the papers' Gaussian mixtures, `MIXTURES`
catalogue  all sets by name
folder     the sets in the folder of CSRL_DATA
readers    files: CSV, IDX
"""

from csrl_core.datasets.catalogue import NAMES, available, load
from csrl_core.datasets.folder import DATA_VARIABLE, DataNotFoundError
from csrl_core.datasets.mixtures import (
    MIXTURES,
    make_lines_3d,
    make_orthogonal,
    make_parallel_line,
    make_triangle,
)
from csrl_core.datasets.readers import DataFileError, read_idx, read_table

__all__ = [
    "DATA_VARIABLE",
    "MIXTURES",
    "NAMES",
    "DataFileError",
    "DataNotFoundError",
    "available",
    "load",
    "make_lines_3d",
    "make_orthogonal",
    "make_parallel_line",
    "make_triangle",
    "read_idx",
    "read_table",
]
