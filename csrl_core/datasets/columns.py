"""Which columns of a table are features: what is chosen, labels, identifiers, row numbers, empty columns."""

import re
from dataclasses import dataclass, field

import numpy as np

from csrl_core.datasets.cells import is_missing, is_number
from csrl_core.datasets.sources import DataFileError
from csrl_core.datasets.table_options import find

ALL = ("all",)
FEW, SOME = 5, 8  # rows from which numbers that count, in order or in any order, are no accident
_LONG = re.compile(r"[+-]?\d{17,}")
_NUMBERED = re.compile(r"(?i).*[ _.-](nr|no|number)\.?")
_STAMP = re.compile(r"(?i).*time[ _.-]?stamp.*|unix.*|epoch|ts")
_DATE = re.compile(r"(?i)(.*[ _.-])?(date|datum|day)|[a-z]+Date")
_ID = re.compile(
    r"(?i:id|index|idx|row[ _.]?(names?|nr|no|num(ber)?|id)|nr\.?|no\.?|#|uuid|guid|.*[ _.-]id)|[A-Za-z]*[a-z]I[Dd]"
)
_UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)?")
SENTINELS = (-9.0, -99.0, -999.0, -9999.0, -99999.0, 9999.0, 99999.0, 999999.0)


@dataclass
class Roles:
    """Places of columns. numbers : features, in their order; texts : columns of any cells, kept as text; empty : none.

    row_names : the first columns, where they have no names
    """

    numbers: list
    texts: list = field(default_factory=list)
    empty: list = field(default_factory=list)
    label: int | None = None
    identifier: int | None = None
    row_names: list = field(default_factory=list)
    left_out: dict = field(default_factory=dict)
    chosen: bool = False


def roles_of(path, names, body, named, options):
    """The roles of columns, by what is said about them and by the first rows.

    body : list of rows of cells
    """
    roles = Roles([])
    for option, at in (("label", options.label), ("identifier", options.identifier)):
        if at is not None:
            setattr(roles, option, find(path, names, at, options, option))
    if options.identifier is None and options.remembered != options.label and names.count(options.remembered) == 1:
        roles.identifier = names.index(options.remembered)
    dropped = {find(path, names, name, options, "drop") for name in options.drop}
    roles.left_out = {names[j]: options.say("drop") for j in sorted(dropped)}
    apart = dropped | {j for j in (roles.label, roles.identifier) if j is not None}
    wanted = options.columns
    if wanted == ALL and "all" not in names:
        roles.numbers, roles.chosen = [j for j in range(len(names)) if j not in apart], True
    elif wanted is not None:
        twice = next((name for name in wanted if wanted.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} is named twice by {options.say('columns')}; expected every column once")
        roles.numbers, roles.chosen = [find(path, names, name, options, "columns") for name in wanted], True
        roles.left_out |= {
            names[j]: options.say("columns") for j in range(len(names)) if j not in {*roles.numbers, *apart}
        }
    elif named and options.wanted and all(names.count(name) == 1 for name in options.wanted):
        roles.numbers, roles.chosen = [names.index(name) for name in options.wanted], True
        others = [j for j in range(len(names)) if j not in {*roles.numbers, *apart}]
        roles.left_out |= {names[j]: "the model was not fitted to it" for j in others}
    else:
        first = next((j for j, name in enumerate(names) if not _UNNAMED.fullmatch(name)), len(names))
        for j in range(len(names)):
            if j in apart:
                continue
            unnamed = bool(_UNNAMED.fullmatch(names[j]))
            if unnamed and body and not any(row[j] for row in body):
                roles.empty.append(j)
            elif j < first < len(names):
                roles.row_names.append(j)
            else:
                roles.numbers.append(j)
    both = {*roles.numbers} & apart
    if both:
        raise ValueError(f"{names[min(both)]!r} is named by {options.say('columns')} and left out by another option")
    if not roles.numbers:
        only = f" but {options.label!r} ({options.say('label')})" if options.label else ""
        raise DataFileError(f"{path} has no column{only}; expected at least one feature")
    _check_digits(path, names, body, roles, options)
    if roles.empty:
        roles.left_out |= {f"{len(roles.empty)} column{'s' * (len(roles.empty) > 1)}": "empty"}
    roles.texts = [*(j for j in (roles.label, roles.identifier) if j is not None), *roles.row_names]
    return roles


def finish(path, table, names, roles, texts, options):
    """The table with its labels and identifiers, after checking that no feature is an index in disguise.

    texts : dict of place → (n,) str; table.X : (n, d) of the columns ``roles.numbers``
    """
    table.left_out |= roles.left_out
    if roles.label is not None:
        table.labels = _labels(texts[roles.label])
        table.left_out[names[roles.label]] = options.say("label")
    if roles.identifier is not None:
        table.identifiers, table.identifier = texts[roles.identifier], names[roles.identifier]
        table.left_out[table.identifier] = f"{options.say('identifier')}, carried through"
    if roles.row_names:
        table.left_out |= _row_names(path, {names[j]: texts[j].tolist() for j in roles.row_names}, options)
    if not roles.chosen:
        check_features(path, table, options)
    for j, name in enumerate(table.names):
        _note_sentinels(table, j, name, options)
    return handle_missing(path, table, options)


def _labels(cells):
    """Classes as text; what means "missing" is an empty text."""
    return np.array(["" if is_missing(cell) else cell for cell in cells])


def _row_names(path, columns, options):
    """Why first columns without names are left out, as pandas and R write their index.

    columns : dict of name → list of cells
    """
    rows, why = list(zip(*columns.values())), {}
    for name, cells in columns.items():
        whole = all(cell.lstrip("-").isdigit() for cell in cells)
        if len(set(rows)) < len(rows) or not (whole or not any(map(is_number, cells))):
            raise DataFileError(
                f"{path}: the first column ({name!r}) has no name, and its cells ({cells[0]!r}, …) are no row numbers; "
                f"{_choices(name, options)}"
            )
        why[name] = "it has no name and numbers the rows" if whole else "it has no name and names the rows"
    return why


def _choices(name, options):
    return (
        f"{options.say('drop', [name])} leaves it out, {options.say('identifier', name)} carries it through, "
        f"{options.say('columns', list(ALL))} takes every column as a feature"
    )


def _check_digits(path, names, body, roles, options):
    """Refuse a feature of so many digits that floating point does not tell its numbers apart."""
    for j in [] if roles.chosen else roles.numbers:
        cells = [row[j] for row in body if j < len(row) and row[j]]
        if cells and all(map(_LONG.fullmatch, cells)):
            raise DataFileError(
                f"{path}: column {names[j]!r} has numbers of so many digits ({cells[0]}) that float64 does not tell "
                f"them apart; {_choices(names[j], options)}"
            )


def check_features(path, table, options):
    """Refuse a feature that counts the rows, is named like an identifier, or has dates written as numbers."""
    n, d = table.X.shape
    if n < 2 or d < 2 or d == options.n_features:
        return
    low, high = table.X.min(axis=0), table.X.max(axis=0)  # not a number: in no comparison
    for j, name in enumerate(table.names):
        what = _other_than_feature(table.X[:, j], name if table.named else "", low[j], high[j])
        if what:
            raise DataFileError(f"{path}: column {name!r} {what}; is it a feature? {_choices(name, options)}")


def _other_than_feature(x, name, low, high):
    """What a column is by all appearance, if that is no feature; None else.

    x : (n,); name : "" without one; low, high : least and greatest value
    """
    n = len(x)
    if not np.isfinite(high - low) or (x[:FEW] != np.floor(x[:FEW])).any():
        return None
    counts, dates = n >= FEW and high - low == n - 1, 18000101 <= low < high < 21010000
    stamps = _STAMP.fullmatch(name) and (3e8 < low < high < 4e9 or 3e11 < low < high < 4e12)
    days = _DATE.fullmatch(name) and 15000 < low < high < 60000  # as Excel counts them from 1900, others from 1970
    named = name and (_ID.fullmatch(name) or _NUMBERED.fullmatch(name))
    if not (counts or dates or stamps or days or named) or (x != np.floor(x)).any():
        return None
    if counts and (np.diff(x) == 1).all():
        return f"counts the rows from {low:.0f} to {high:.0f}"
    if counts and n >= SOME and len(np.unique(x)) == n:
        return f"has every whole number from {low:.0f} to {high:.0f} once"
    if dates and ((x // 100 % 100 - 1) // 12 == 0).all() and ((x % 100 - 1) // 31 == 0).all():
        return f"has dates written as numbers, such as {low:.0f}"
    if stamps or days:
        return f"is named like a time and has the likes of {low:.0f}"
    if named and (_ID.fullmatch(name) or len(np.unique(x)) == n):
        return "is named like an identifier and has whole numbers"
    return None


def _note_sentinels(table, j, name, options):
    """Say that a number far from all others, such as −999, often means "missing"."""
    x = table.X[:, j]
    low, high = np.nanmin(x, initial=np.inf), np.nanmax(x, initial=-np.inf)
    for value in (low, high):
        others = x[(x != value) & np.isfinite(x)]
        if (
            value in SENTINELS
            and len(others)
            and (abs(value) > 3 * np.abs(others).max() and (value > 0 or others.min() >= 0))
        ):
            count, option = int((x == value).sum()), options.say("missing_words", f"{value:g}")
            table.notes.append(f"{name!r} is {value:g} in {count} rows; if that means missing: {option}")


def handle_missing(path, table, options):
    """Leave out rows with missing values, or fill in means; counted, and said in the table's notes.

    options.means : (d,) of a model's training data; None: those of the table
    """
    for value in options.missing_numbers:
        table.X[value == table.X] = np.nan
    bad, means = np.isnan(table.X), options.means
    if options.missing is None or (options.missing == "drop" and not bad.any()):
        return table
    columns = ", ".join(repr(table.names[j]) for j in np.flatnonzero(bad.any(axis=0))[:5])
    if options.missing == "mean":
        counts = (~bad).sum(axis=0)
        if means is None and not counts.all():
            name = table.names[int(np.argmin(counts))]
            raise DataFileError(
                f"{path}: column {name!r} has no value, so no mean; {options.say('drop', [name])} leaves it out"
            )
        table.means = np.nansum(table.X, axis=0) / np.maximum(counts, 1) if means is None else means
        if not bad.any():
            return table
        table.X = np.where(bad, table.means, table.X).astype(table.X.dtype)
        whose = "mean" if means is None else "mean of the model's data"
        table.notes.append(f"{bad.sum()} missing values ({columns}) replaced by the column's {whose}")
        return table
    keep = ~bad.any(axis=1)
    if not keep.any():
        cures = f"{options.say('missing', 'mean')} fills them in, {options.say('drop')} leaves columns out"
        raise DataFileError(f"{path}: every row has a missing value ({columns}); {cures}")
    table.notes.append(f"{(~keep).sum()} of {len(keep)} rows left out for missing values ({columns})")
    table.rows = np.flatnonzero(keep) + 1
    table.X = table.X[keep]
    for name in ("labels", "identifiers", "lines"):
        if getattr(table, name) is not None:
            setattr(table, name, getattr(table, name)[keep])
    return table
