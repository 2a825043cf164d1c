"""Reading data for the command line: what was taken is said in one line, and compared with what a model knows."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from csrl_core import datasets
from csrl_core.cli.base import WrongUsage
from csrl_core.cli.out_of_core import left_on_disk
from csrl_core.cli.table_request import BUILT_IN, STANDARD_INPUT, check_source, line_numbers, names_in
from csrl_core.datasets import readers
from csrl_core.training.on_disk import Samples

# Columns of these names are rarely meant as features; where one is used as such, it is said.
LABEL_NAMES = ("class", "label", "labels", "species", "target", "y")


@dataclass
class Data:
    """X (n, d) float, or a memory map; y (n,) known classes or None; columns : d names, named : the file's own.

    identifiers : (n,) or None, of the column ``identifier``; rows : (n,) numbers of the rows kept, None for all
    lines : (n,) lines in the file, or None
    """

    X: np.ndarray
    y: np.ndarray | None
    columns: list
    named: bool = False
    identifiers: np.ndarray | None = None
    identifier: str | None = None
    rows: np.ndarray | None = None
    lines: np.ndarray | None = None
    left_out: dict = field(default_factory=dict)
    means: np.ndarray | None = None

    @property
    def beside(self):
        """(name, values) of the column that goes in front of every table that is written; None if none is needed."""
        if self.identifiers is not None:
            return self.identifier, self.identifiers
        return None if self.rows is None else ("row", self.rows)


@dataclass(frozen=True)
class Known:
    """What a model knows of the tables that it was fitted to.

    file : its path, for messages; n_features : int; names : tuple or None; identifier : str or None
    means : (d,) or None; does : a verb
    """

    file: object
    n_features: int
    names: tuple | None = None
    identifier: str | None = None
    means: np.ndarray | None = None
    does: str = "was fitted to"

    @classmethod
    def of(cls, file, estimator):
        """That of a loaded estimator, which no longer expects frames afterwards: the command line compares names."""
        table = vars(estimator).get("table_", {})
        names = vars(estimator).pop("feature_names_in_", None)
        return cls(
            file,
            estimator.n_features_in_,
            None if names is None else tuple(map(str, names)),
            table.get("identifier"),
            table.get("means"),
        )


def is_on_disk(X):
    """Whether rows are read as they are needed: of a memory map, or of `Samples`."""
    return isinstance(X, (np.memmap, Samples))


def read_data(
    source,
    request=None,
    *,
    memory_map=False,
    out_of_core=False,
    known=None,
    say=print,
    word="data",
    by_position=False,
):
    """Read a data set, and say what was taken.

    Parameters
    ----------
    source : str
        A file, ``-`` for standard input, or ``data:NAME`` for a set of `csrl_core.datasets` (mixtures: seed 0).
    request : `csrl_core.cli.table_request.TableRequest`, optional
    memory_map : bool
        Leave an NPY file of real numbers on disk, as it is.
    out_of_core : bool
        Leave NPY and IDX files on disk, as `Samples`; others are refused.
    known : Known, optional
        What the model knows: its columns are taken by their names, and compared.
    say : callable
        Takes a line for the user.
    word : str
        What the line begins with.
    by_position : bool
        Whether names are not compared.

    Returns
    -------
    Data
    """
    check_source(source)
    if out_of_core:
        X, notes = left_on_disk(source, request)
        data = Data(X, None, [f"x{j}" for j in range(X.shape[1])])
    elif source.startswith(BUILT_IN):
        data, notes = _built_in(source, request), []
    else:
        path = readers.StandardInput() if source == STANDARD_INPUT else Path(source)
        options = _options(request, known, by_position)
        chosen = (options.label, options.identifier) != (None, None) or options.columns or options.drop
        whole = not chosen and not options.missing and source != STANDARD_INPUT
        mapped = memory_map and whole and path.suffix.lower() == ".npy"
        if mapped and (X := open_npy(path)) is not None:
            data, notes = Data(X, None, [f"x{j}" for j in range(X.shape[1])]), []
        else:
            table = readers.read(path, options)
            data, notes = _of_table(table), table.notes
            _note_labels(path, data, request, say)
    if known is not None:
        check_features(source, data, known)
        if not by_position:
            notes = [*notes, *check_names(source, data, known)]
    _say_what_was_taken(source, data, notes, word, say)
    return data


def _say_what_was_taken(source, data, notes, word, say):
    shape = f"{len(data.X)} row{'s' * (len(data.X) != 1)} × {data.X.shape[1]} column{'s' * (data.X.shape[1] != 1)}"
    left = ", ".join(f"{name if why == 'empty' else repr(name)} ({why})" for name, why in _few(data.left_out))
    notes = [*notes, *[f"left out: {left}"] * bool(left)]
    say(f"{word:<10} {source if source != STANDARD_INPUT else 'standard input'}: {', '.join([shape, *notes])}")


def _few(left_out, most=6):
    items = list(left_out.items())
    return items if len(items) <= most else [*items[: most - 1], (f"… {len(items) - most + 1} more", items[-1][1])]


def _options(request, known, by_position):
    """The `TableOptions` of a request. Columns that the model remembers need not be there."""
    if request is None:
        return readers.TableOptions(typed=True)
    label = request.label_column
    missing_words = names_in("--missing-values", request.missing_values)
    return readers.TableOptions(
        header=request.header,
        delimiter=request.delimiter,
        decimal=request.decimal,
        thousands=request.thousands,
        encoding=request.encoding,
        columns=names_in("--columns", request.columns) or None,
        drop=names_in("--drop", request.drop),
        label=None if label in (None, "none") else label,
        identifier=request.id_column,
        wanted=known.names if known is not None and not by_position else None,
        n_features=None if known is None else known.n_features,
        remembered=None if known is None else known.identifier,
        means=_means(known, request),
        missing=request.missing and request.missing.value,
        missing_words=missing_words,
        skip=line_numbers(request.skip_lines),
        array=request.key,
        typed=True,
    )


def _built_in(source, request):
    if request is not None and (request.key is not None or request.label_column not in (None, "none")):
        raise WrongUsage(f"{source} is built in and brings its classes; --key and --label-column are for files")
    if request is not None and (request.columns or request.drop or request.id_column):
        raise WrongUsage(f"{source} is built in; --columns, --drop and --id-column are for files")
    name = source.removeprefix(BUILT_IN)
    bunch = datasets.load(name, **({"random_state": 0} if name in datasets.MIXTURES else {}))
    return Data(bunch.data, bunch.target, [str(name) for name in bunch.feature_names], True)


def _means(known, request):
    """What --missing mean puts into a table that a model is asked about."""
    if request.missing is None or request.missing.value != "mean" or known is None:
        return None
    if known.means is None:
        raise WrongUsage(
            f"--missing mean: {known.file} was fitted without it, so it has no means; --missing drop leaves rows out"
        )
    return known.means


def _of_table(table):
    return Data(
        table.X,
        table.labels,
        table.names,
        table.named,
        table.identifiers,
        table.identifier,
        table.rows,
        table.lines,
        table.left_out,
        table.means,
    )


def _note_labels(path, data, request, say):
    suspects = [column for column in data.columns if column.lower() in LABEL_NAMES]
    if suspects and data.y is None and request is not None and request.label_column is None and not request.columns:
        say(
            f"note: column {suspects[0]!r} of {path} is used as a feature; --label-column {suspects[0]} "
            f"leaves it out, --label-column none says that it is meant"
        )


def open_npy(path):
    """An NPY file of real numbers as a read-only memory map (n, d), None of others; a damaged file is refused."""
    with path.open("rb"):  # what is no fault of its contents is raised here
        pass
    try:
        X = np.lib.format.open_memmap(path, mode="r")
    except readers.NUMPY_ERRORS:
        return None
    size = path.stat().st_size
    if size != X.offset + X.nbytes:
        raise datasets.DataFileError(f"{path}: found {size} bytes, expected {X.offset + X.nbytes}")
    return X if X.dtype.kind in "buif" and X.ndim == 2 and X.size else None


def check_finite(source, data, X=None, before=None):
    """Raise ValueError that names the first row and column that are not finite.

    X : rows of ``source`` (a file), by default all of ``data``; before : int, how many rows come before them
    """
    X = data.X if X is None else X
    if isinstance(X, Samples):  # whose values are checked when they are read
        return
    bad = np.argwhere(~np.isfinite(X))
    if len(bad):
        i, j = bad[0]
        count = f" ({len(bad)} such values)" if before is None and len(bad) > 1 else ""
        line = f" (line {data.lines[i]})" if data.lines is not None and before is None else ""
        cure = (
            "; --missing drop leaves such rows out, --missing mean puts the column's mean there"
            if np.isnan(X[i, j])
            else f"; --missing drop with --missing-values {X[i, j]:g} leaves such rows out"
        )
        raise ValueError(
            f"{source}: row {(before or 0) + i + 1}, column {data.columns[j]!r} is {X[i, j]}{count}; "
            f"expected finite numbers{line}{cure}"
        )


def check_features(source, data, known):
    """Raise ValueError where a table has not as many features as a model was fitted to."""
    n = data.X.shape[1]
    if n != known.n_features:
        names = ", ".join(map(str, data.columns[:8])) + ", …" * (n > 8)
        advice = "; --label-column leaves out a column of classes" if n > known.n_features and data.y is None else ""
        raise ValueError(f"{source} has {n} features ({names}); {known.file} {known.does} {known.n_features}{advice}")


def check_names(source, data, known):
    """Raise ValueError where a table's columns are named otherwise than those that a model was fitted to.

    returns list of str, what there is to say where they have no names
    """
    if known.names is None or (data.named and tuple(data.columns) == known.names):
        return []
    if not data.named:
        shown = ", ".join(known.names[:4]) + ", …" * (len(known.names) > 4)
        return [f"no names to compare: its columns are taken for {shown}"]
    own = tuple(data.columns)
    if sorted(own) == sorted(known.names):
        raise ValueError(f"{source} has the columns of {known.file} in another order, and some names twice; sort them")
    at = next(j for j, pair in enumerate(zip(own, known.names)) if pair[0] != pair[1])
    raise ValueError(
        f"{source} has other columns than {known.file} {known.does}: column {at + 1} is {own[at]!r}, there it is "
        f"{known.names[at]!r}; --by-position takes them as they stand, --columns chooses others"
    )
