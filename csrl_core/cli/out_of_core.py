"""Data files that ``csrl fit --out-of-core`` leaves on disk."""

import numpy as np

from csrl_core.cli.base import WrongUsage
from csrl_core.cli.table_request import BUILT_IN, STANDARD_INPUT
from csrl_core.training import sample_files
from csrl_core.training.on_disk import Samples


def left_on_disk(source, request):
    """(X, notes) of an NPY or IDX file, whose rows are taken as they are."""
    if source == STANDARD_INPUT or source.startswith(BUILT_IN):
        raise WrongUsage(f"--out-of-core is for NPY and IDX files, got {source}")
    choices = ("--label-column", "label_column"), ("--id-column", "id_column"), ("--missing", "missing")
    for option, name in (*choices, ("--columns", "columns"), ("--drop", "drop"), ("--key", "key")):
        if getattr(request, name) not in (None, "none"):
            raise WrongUsage(f"{option} is not for --out-of-core, which takes a file's rows as they are")
    X = open_samples(source)
    notes = ["read as rows are needed" if isinstance(X, Samples) else "small, held in memory"]
    return X, notes


def open_samples(path):
    """An NPY or IDX file as `Samples`, in memory if it is small, float32 or float64 as when it is read at once."""
    stored = sample_files.files([path]).parts[0].stored
    single = stored.kind == "f" and stored.itemsize <= 4
    return sample_files.opened(path, str(path), np.float32 if single else np.float64)
