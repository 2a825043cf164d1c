"""A table of runs: a row is appended when a run is finished, a rerun skips what is there."""

import csv
import io
import os
from dataclasses import asdict, fields
from pathlib import Path

from csrl_core.experiments import mixtures as reproduce
from csrl_core.experiments.mixtures import Run
from csrl_core.training.atomic_files import write_atomically


class RunTable:
    """A CSV file that grows by a row whenever a run is finished; a half-written last row is dropped.

    kind : dataclass of the rows, with an attribute ``key`` that tells runs apart
    """

    def __init__(self, path, kind=Run):
        self.path, self.kind = Path(path), kind
        self.names = [column.name for column in fields(kind)]
        self.runs = self._read() if self.path.exists() else []
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([self.names, *(_cells(run) for run in self.runs)])
        write_atomically(self.path, text.getvalue().encode())

    def _read(self):
        text = self.path.read_text()
        header, *rows = csv.reader(text[: text.rfind("\n") + 1].splitlines()) if "\n" in text else [[]]
        if header != self.names:
            raise ValueError(
                f"{self.path} has other columns than this version writes; give another folder, or move the file away"
            )
        return [_parsed(self.kind, dict(zip(self.names, row))) for row in rows if len(row) == len(self.names)]

    def append(self, run):
        """Add a row, on disk before this returns."""
        self.runs.append(run)
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(_cells(run))
            file.flush()
            os.fsync(file.fileno())


def _cells(run):
    return [
        "" if value is None else repr(value) if isinstance(value, float) else value for value in asdict(run).values()
    ]


def _parsed(kind_of_row, row):
    kinds = {column.name: column.type for column in fields(kind_of_row)}
    values = {}
    for name, cell in row.items():
        # What may be None is the union of one kind with None, and empty where it is.
        kind, *optional = getattr(kinds[name], "__args__", (kinds[name],))
        values[name] = None if optional and cell == "" else kind(cell)
    return kind_of_row(**values)


def complete(table, wanted, *, make_run=None, n_processes=None, done=None):
    """Make the runs that the table lacks, on several processes, and append each when it is finished.

    table : RunTable; wanted : list of Job; make_run : function of a Job, by default that of `mixtures`
    n_processes : int or None, all usable cores
    done : callable, optional, ``done(count, of, run)`` after each
    returns list of Run, those wanted, in their order
    """
    from joblib import Parallel, delayed

    from csrl_core.kernels.cpu._engine import pool

    make_run = make_run or reproduce.make_run
    known = {run.key: run for run in table.runs}
    missing = [job for job in wanted if job.key not in known]
    processes = min(pool.usable_threads(n_processes), len(missing)) or 1
    if processes == 1:
        results = map(make_run, missing)
    else:
        parallel = Parallel(processes, return_as="generator_unordered", pre_dispatch="2*n_jobs")
        results = parallel(delayed(make_run)(job) for job in missing)
    for count, run in enumerate(results, 1):
        table.append(run)
        known[run.key] = run
        if done is not None:
            done(count, len(missing), run)
    return [known[job.key] for job in wanted]
