"""The runs of an experiment: a resumable table, several processes, means, and CSV files.

An experiment lists jobs and has a function that makes a run of a job. Both are dataclasses with the same ``key``, which
identifies a run; all else of a run is measured.
"""

import csv
import io
import os
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np

from csrl_core import backends
from csrl_core.training.atomic_files import write_atomically


class Keyed:
    """A job or a run; ``KEY`` : names of the attributes that identify it."""

    KEY = ()

    @property
    def key(self):
        """The values of these attributes."""
        return tuple(getattr(self, name) for name in self.KEY)


class RunTable:
    """A CSV file that grows by a row whenever a run is finished; a half-written last row is dropped.

    kind : dataclass of the rows, a `Keyed`; digits, nan : see `cells`
    """

    def __init__(self, path, kind, digits=None, nan="nan"):
        self.path, self.kind, self.format = Path(path), kind, {"digits": digits, "nan": nan}
        self.by_key = {run.key: run for run in self._read()} if self.path.exists() else {}
        self._write()

    @property
    def runs(self):
        """All runs, in the order in which they were finished."""
        return list(self.by_key.values())

    def _read(self):
        text, names = self.path.read_text(), columns(self.kind)
        header, *rows = csv.reader(text[: text.rfind("\n") + 1].splitlines()) if "\n" in text else [[]]
        if header != names:
            raise ValueError(
                f"{self.path} has other columns than this version writes; give another folder, or move the file away"
            )
        return [_parsed(self.kind, dict(zip(names, row))) for row in rows if len(row) == len(names)]

    def _write(self):
        write_rows(self.path, self.runs, self.kind, **self.format)

    def missing(self, jobs):
        """The jobs that have no row."""
        return [job for job in jobs if job.key not in self.by_key]

    def without_model(self, jobs):
        """The jobs that have no row, or not the model, at ``path``, that the picture of repetition 0 shows."""
        return [job for job in jobs if job.key not in self.by_key or (job.repetition == 0 and not job.path.exists())]

    def add(self, run):
        """Add a row, or replace that of the same key; it is on disk before this returns."""
        replaces = run.key in self.by_key
        self.by_key[run.key] = run
        if replaces:
            self._write()
            return
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(cells(astuple(run), **self.format))
            file.flush()
            os.fsync(file.fileno())


def _parsed(kind, row):
    values = {}
    for column in fields(kind):
        # What may be None is the union of one type with None, and empty where it is.
        type_, *optional = getattr(column.type, "__args__", (column.type,))
        cell = row[column.name] or ("nan" if type_ is float else "")
        values[column.name] = None if optional and not row[column.name] else type_(cell)
    return kind(**values)


def complete(table, wanted, make_run, *, missing=None, n_processes=None, done=None):
    """Make the runs that the table lacks, on several processes, and add each when it is finished.

    table : RunTable; wanted : list of jobs; make_run : function of a job
    missing : list of jobs to make, by default those without a row
    n_processes : int or None, all usable cores
    done : callable, optional, ``done(count, of, run)`` after each
    returns list of runs, in the order of ``wanted``
    """
    from joblib import Parallel, delayed

    missing = table.missing(wanted) if missing is None else missing
    processes = min(backends.usable_threads(n_processes), len(missing)) or 1
    if processes == 1:
        results = map(make_run, missing)
    else:
        parallel = Parallel(processes, return_as="generator_unordered", pre_dispatch="2*n_jobs")
        results = parallel(delayed(make_run)(job) for job in missing)
    for count, run in enumerate(results, 1):
        table.add(run)
        if done is not None:
            done(count, len(missing), run)
    return [table.by_key[job.key] for job in wanted]


def grouped(runs, *names):
    """Values of these attributes → list of runs, in order of first appearance."""
    groups = {}
    for run in runs:
        groups.setdefault(tuple(getattr(run, name) for name in names), []).append(run)
    return groups


def mean(runs, name):
    """The mean of an attribute."""
    return float(np.mean([getattr(run, name) for run in runs]))


def mean_and_error(values):
    """The mean and its standard error s/√n, which is NaN for a single value; both are NaN without any."""
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        return float("nan"), float("nan")
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return float(values.mean()), error


def columns(kind):
    """The names of a dataclass's fields, in order."""
    return [column.name for column in fields(kind)]


def cells(values, digits=6, nan=""):
    """The values as they stand in a CSV file.

    digits : of floats, None for as many as tell them from all others; nan : what stands for NaN
    """

    def cell(value):
        if not isinstance(value, float):
            return "" if value is None else value
        return nan if value != value else repr(float(value)) if digits is None else f"{value:.{digits}g}"

    return [cell(value) for value in values]


def write_csv(path, names, rows, digits=6, nan=""):
    """A CSV file, written as a whole or not at all; rows : iterable of values, ``digits`` and ``nan`` as in `cells`."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([names, *(cells(row, digits, nan) for row in rows)])
    write_atomically(path, text.getvalue().encode())


def write_rows(path, rows, kind, **how):
    """`write_csv` of records of one dataclass."""
    write_csv(path, columns(kind), map(astuple, rows), **how)
