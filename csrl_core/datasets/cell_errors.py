"""What is said of a cell that is no number: file, line, column, cell, and what can be done about it."""

import re

from csrl_core.datasets.cells import Numbers, boolean, is_missing, is_number, kind_of, looks_numeric
from csrl_core.datasets.sources import DataFileError

_NOTATIONS = (Numbers(","), Numbers(".", ","), Numbers(",", "."), Numbers("."))
_YES_AND_NO = frozenset({"yes", "no", "y", "n", "t", "f", "on", "off", "ja", "nein", "oui", "non"})
_OTHER_MARK = re.compile(r"[\d.]+ *([:~^&!/]) *[\d.]+")


def bad_cell(path, line, j, cells, layout, options, cause=None):
    """The error of a cell that is no number.

    j : its column; cells : of its row; layout : `csrl_core.datasets.text_tables.Layout`
    """
    cell, name = cells[j], layout.names[j]
    where = f"column {j + 1}" + (f" ({name!r})" if layout.named else "")
    separated = "" if cell == "" else f" (cells are separated by {layout.delimiter!r})"
    advice = cause or _advice(line, j, cells, layout, options)
    return DataFileError(
        f"{path}, line {line}, {where}: found {cell[:80]!r}, expected a number{separated}"
        + (f"; {advice}" if advice else "")
    )


def _advice(line, j, cells, layout, options):
    cell, name = cells[j], layout.names[j]
    body = layout.head[layout.header_rows :]
    column = [row[j] for _, row in body if j < len(row)]
    drop = f"{options.say('drop', [name])} leaves the column out"
    if len(body) > 1 and line == body[0][0]:
        second = body[1][1]
        if not any(map(looks_numeric, cells)) and any(is_number(c) for c, own in zip(second, cells) if own == cell):
            return f"line {line} has no number at all: if it has units or more names, {options.say('skip', str(line))}"
    names = ""
    if layout.header_rows == 0 and layout.head and line == layout.head[0][0]:
        names = f"if the first row has names, {options.say('header', True)}"
        if len(body) > 1 and j < len(body[1][1]) and looks_numeric(body[1][1][j]):
            return names
        names += "; "
    if is_missing(cell, options.missing_words) and not (column and all(map(is_missing, column))):
        return (
            f"where a value is missing, {options.say('missing', 'drop')} leaves out the row and "
            f"{options.say('missing', 'mean')} takes the column's mean"
        )
    if is_missing(cell, options.missing_words):
        return f"the column has no values in the first rows: {drop}"
    kind = kind_of(cell)
    readings = [] if kind else _readings(cell, layout, options)
    if readings:
        return ", ".join(readings)
    if {each.lower() for each in [cell, *column] if not is_missing(each)} <= _YES_AND_NO:
        kind = "a yes or no: write 1 and 0"
    mark = _OTHER_MARK.match(cell) if len(cells) == 1 else None
    if mark:
        return f"if {mark[1]!r} separates cells, {options.say('delimiter', mark[1])}"
    identify = f"{options.say('identifier', name)} carries it through"
    if kind:
        of_column = f"; {drop}, {identify}" if kind in ("a date", "a time") else f", or {drop}"
        return f"it is {kind}{of_column}"
    if column and sum(map(_is_text, column)) >= len(column) / 2:
        others = [layout.names[at] for at in _texts(layout) if at != j]
        also = f"; text stands in {', '.join(map(repr, others[:5]))} as well" if others else ""
        return f"{names}{drop}, {identify}{_classes(j, layout, options)}{also}"
    if re.fullmatch(r"\S{1,12}", cell) and boolean(cell) is None:
        words = f"{options.say('missing_words', cell)} with {options.say('missing')}"
        return f"if it means that a value is missing, {words}; {options.say('skip', str(line))} leaves the line out"
    return f"correct it, or {drop}"


def _readings(cell, layout, options):
    """What other notations make of a cell, each with the options that say so; those that read all others, if any do."""
    found, own = {}, layout.numbers
    others = [each for _, row in layout.head[layout.header_rows :] for each in row if own.value(each) is not None]
    for numbers in _NOTATIONS:
        value = numbers.value(cell)
        if value is not None and value not in found and numbers != own:
            marks = [("decimal", numbers.decimal)] * (numbers.decimal == "," or not numbers.thousands)
            marks += [("thousands", numbers.thousands)] * bool(numbers.thousands)
            unread = next((each for each in others if numbers.value(each) is None), None)
            found[value] = " and ".join(options.say(*mark) for mark in marks), unread
    whole = {value: pair for value, pair in found.items() if pair[1] is None}
    readings = [f"{said} reads it as {value:.15g}" for value, (said, _) in (whole or found).items()]
    if found and not whole:
        readings.append(f"but not {next(iter(found.values()))[1]!r}: write all numbers in one way")
    return readings


def _is_text(cell):
    return not looks_numeric(cell) and not is_missing(cell)


def _texts(layout):
    """Places of the columns that begin with text and are not left out."""
    first = layout.head[layout.header_rows][1]
    return [at for at in layout.roles.numbers if at < len(first) and _is_text(first[at])]


def _classes(j, layout, options):
    """Advice for the only column of text: it may have classes."""
    if _texts(layout) != [j] or len(layout.names) < 2 or options.label is not None:
        return ""
    return f"; is it a column of classes? {options.say('label', layout.names[j])} leaves it out"
