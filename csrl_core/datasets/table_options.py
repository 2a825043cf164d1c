"""What a user may say about a table, and a table as it was understood."""

import difflib
from dataclasses import dataclass, field

import numpy as np

from csrl_core.datasets.cells import is_number
from csrl_core.datasets.sources import DataFileError

_FLAGS = {
    "label": "label-column",
    "identifier": "id-column",
    "missing_words": "missing-values",
    "skip": "skip-lines",
    "array": "key",
}
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "space": " ", "pipe": "|"}


@dataclass(frozen=True)
class TableOptions:
    """What is said about a table; None where it is to be found out.

    header : whether the first row has the names of the columns; delimiter, decimal, thousands, encoding : str
    columns, drop : names of the columns to use, in this order, or to leave out; label, identifier : of a column
    wanted : names that a model was fitted to: if the table has them all, they are taken
    n_features : of the model that asks; a table of as many columns has no other ones
    remembered : an identifier that is taken where it is there
    missing : "drop" or "mean"; means : (d,) to put there, by default the table's
    missing_words : further cells that mean that there is no value
    skip : numbers of lines to leave out; array : of an NPZ file
    typed : whether messages name the options of the command line, rather than arguments
    """

    header: bool | None = None
    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    columns: tuple | None = None
    drop: tuple = ()
    label: str | None = None
    identifier: str | None = None
    wanted: tuple | None = None
    n_features: int | None = None
    remembered: str | None = None
    missing: str | None = None
    means: np.ndarray | None = None
    missing_words: tuple = ()
    skip: frozenset = frozenset()
    array: str | None = None
    typed: bool = False

    @property
    def missing_numbers(self):
        """Numbers that mean that there is no value."""
        return {float(word) for word in self.missing_words if is_number(word)}

    @property
    def of_text(self):
        """The options that are for text files alone, as they are written."""
        names = ("header", "delimiter", "decimal", "thousands", "encoding")
        given = [self.say(name) for name in names if getattr(self, name) is not None]
        return given + [self.say("skip", "…")] * bool(self.skip)

    def say(self, name, value=None):
        """An option as it is written: ``--drop id`` on the command line, ``drop=['id']`` in Python."""
        if self.typed:
            flag = "--" + _FLAGS.get(name, name)
            if isinstance(value, bool):
                return flag if value else flag.replace("--", "--no-")
            text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            if text is not None and (not text or any(mark in text for mark in " ;|'\t&()<>#*?$")):
                text = "'" + text.replace("'", "'\\''") + "'"
            return flag if value is None else f"{flag} {text}"
        if name == "array":
            return "`array=`"
        if name == "skip":
            return f"skip={{{value}}}"
        return f"{name}=" if value is None else f"{name}={value!r}"


@dataclass
class Table:
    """A table of numbers, as it was understood.

    X : (n, d) float; names : d names; named : whether they are the file's own
    labels, identifiers : (n,) str or float, or None; identifier : the name of that column
    left_out : dict of column → why; notes : list of what else there is to say
    means : (d,) of the columns, where missing values were to be replaced by them
    rows : (n,) int, the number of every row in the file from 1; None where all are kept
    lines : (n,) int, the line of every row in the file, or None
    """

    X: np.ndarray
    names: list
    named: bool
    labels: np.ndarray | None = None
    identifiers: np.ndarray | None = None
    identifier: str | None = None
    left_out: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    means: np.ndarray | None = None
    rows: np.ndarray | None = None
    lines: np.ndarray | None = None


def delimiter_of(text):
    """The character that a delimiter's name stands for."""
    return DELIMITERS.get(text, text)


def find(path, names, wanted, options, option):
    """The place of a column.

    Raises
    ------
    DataFileError
        There is no such column, or there are two.
    """
    if names.count(wanted) != 1:
        near = difflib.get_close_matches(wanted, names, 1)
        advice = f"; did you mean {near[0]!r}?" if near and wanted not in names else ""
        twice = f"{path} has {names.count(wanted)} columns" if wanted in names else f"{path} has the columns"
        shown = ", ".join(names[:30]) + ", …" * (len(names) > 30)
        raise DataFileError(f"{twice} {shown}; expected one named {wanted!r} ({options.say(option)}){advice}")
    return names.index(wanted)
