"""Whether the first row of a text table has names or a sample; where both may be, the user is asked."""

import numpy as np

from csrl_core.datasets.cells import is_missing, is_number
from csrl_core.datasets.sources import DataFileError

SAME = 3  # rows that must be as regular as the first one, for it to be a sample


def names_of(path, rows, comments, delimiter, numbers, options):
    """The names of the columns.

    rows : list of (line, cells), the first ones of the file; comments : lines before them
    returns (names or None, lines of rows that the header takes: 0 or 1); "" for a column without a name

    Raises
    ------
    DataFileError
        The first row may be either.
    """
    first, rest = rows[0][1], [cells for _, cells in rows[1:]]
    numeric = [numbers.value(cell) is not None for cell in first]
    width = {len(cells) for cells in rest} or {len(first)}
    if options.header is None and all(numeric):
        names = _in_comment(comments, delimiter, len(first), numbers)
        if names:
            return names, 0
    if not _is_header(path, rows[0][0], first, rest, numeric, numbers, options):
        return None, 0
    if rest and sum(map(bool, first)) == 1 and len(rest[0]) > 1 and not any(map(is_number, rest[0])):
        line = rows[0][0]
        raise DataFileError(
            f"{path}, line {line}: found one cell, {' '.join(first).strip()[:60]!r}, above a row of {len(rest[0])}; if "
            f"it is a title, {options.say('skip', str(line))}"
        )
    other = next((mark for mark in ",;\t|" if mark != delimiter and any(mark in cell for cell in first)), None)
    if other and width != {len(first)}:
        raise DataFileError(
            f"{path}, line {rows[0][0]}: the names are separated by {other!r}, the rows below by {delimiter!r}; "
            f"expected the same ({options.say('delimiter')})"
        )
    if other is None and len(first) == 1 and delimiter not in " " and width == {len(first[0].split())} != {1}:
        raise DataFileError(
            f"{path}, line {rows[0][0]}: the names are separated by ' ', the rows below by {delimiter!r}; expected the "
            f"same"
        )
    if width == {len(first) + 1}:
        if first == first[:1] and delimiter == "," and options.delimiter is None and all(map(_may_be_one_number, rest)):
            raise DataFileError(
                f"{path}, line {rows[1][0]}: found {','.join(rest[0])!r} below one name; if its comma is a decimal "
                f"mark, {options.say('delimiter', ';')} and {options.say('decimal', ',')}; if the first number "
                f"is that of the row, {options.say('delimiter', ',')}"
            )
        if all(cells[-1] == "" for cells in rest):  # every row but the header ends with a delimiter
            return [*first, ""], 1
        return ["", *first], 1  # R writes no name above the names of rows
    return list(first), 1


def _is_header(path, line, first, rest, numeric, numbers, options):
    if options.header is not None:
        return options.header
    if not any(numeric):
        if rest and all(is_missing(cell) for cell in first):
            raise _ask(path, line, first, "all its cells look like missing values", options)
        return True
    if not rest:
        return False
    if not all(numeric):
        unnamed = first[0] == "" and all(numeric[1:]) and len(first) > 2
        if unnamed and any(cells[0] for cells in rest):
            values = [numbers.value(cell) for cell in first[1:]]
            if _counts(values) or (len(values) > 2 and _regular(values)):
                return True
            raise _ask(path, line, first, "its first cell is empty", options)
        return False
    values = np.array([numbers.value(cell) for cell in first])
    following = [np.array([numbers.value(cell) or 0.0 for cell in cells]) for cells in rest if len(cells) == len(first)]
    why = _suspicion(first, values, rest, following)
    if why:
        raise _ask(path, line, first, why, options)
    return False


def _suspicion(first, values, rest, following):
    """Why a row of numbers may be a header; None if nothing speaks for it."""
    d = len(values)
    alike = bool(following) and all(
        _regular(row) and row[1] - row[0] == values[1] - values[0] for row in following[:SAME]
    )
    if d >= 3 and _regular(values) and not alike:
        return "its numbers count evenly"
    if d == 2 and _counts(values):
        return "its numbers count from 0"
    whole = all(cell.lstrip("+-").isdigit() for cell in first) and len(set(first)) == d
    fractions = len(rest) >= 2 and all(
        "." in cell or "," in cell or "e" in cell.lower() for row in rest for cell in row
    )
    if whole and fractions and (d > 1 or values[0] == 0):
        return "it has whole numbers and all others have fractions"
    if d >= 2 and whole and _years(values) and _monotone(values) and following and not any(map(_years, following)):
        return "its numbers may be years"
    if d >= 6 and _monotone(values) and following and not any(map(_monotone, following)):
        return "its numbers rise evenly, those of other rows do not"
    return None


def _may_be_one_number(cells):
    return cells[0].lstrip("+-").isdigit() and cells[1].isdigit()


def _years(values):
    return bool(((values >= 1800) & (values <= 2200)).all())


def _counts(values):
    return list(values) == list(range(len(values)))


def _regular(values):
    steps = np.diff(values)
    return len(values) >= 2 and steps[0] != 0 and bool(np.allclose(steps, steps[0], rtol=1e-6, atol=0))


def _monotone(values):
    steps = np.diff(values)
    return bool((steps > 0).all() or (steps < 0).all())


def _in_comment(comments, delimiter, width, numbers):
    """Names in the last comment before the first row, where NumPy's savetxt writes its header."""
    if not comments:
        return None
    cells = comments[-1].split() if delimiter == " " else comments[-1].split(delimiter)
    cells = [cell.strip().strip('"') for cell in cells]
    return cells if len(cells) == width and all(numbers.value(cell) is None for cell in cells) else None


def _ask(path, line, first, why, options):
    shown = ", ".join(first[:6]) + ", …" * (len(first) > 6)
    return DataFileError(
        f"{path}, line {line}: is the first row ({shown}) a header or a sample? {why[0].upper()}{why[1:]}: "
        f"{options.say('header', True)} or {options.say('header', False)} says which"
    )
