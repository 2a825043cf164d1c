"""Tables in text files: the layout is told from the first rows, then every row becomes numbers or is refused."""

import re
from dataclasses import dataclass, field

import numpy as np

from csrl_core.datasets.cell_errors import bad_cell
from csrl_core.datasets.cells import boolean, is_missing, is_number, may_be_thousands, notation
from csrl_core.datasets.columns import Roles, finish, roles_of
from csrl_core.datasets.headers import names_of
from csrl_core.datasets.sources import DataFileError
from csrl_core.datasets.table_options import Table, delimiter_of
from csrl_core.datasets.text_records import Records, head_of, ragged, told_delimiter

_CODE = re.compile(r"0\d+")


@dataclass
class Layout:
    """How a text table is laid out.

    names : of the file's columns; named : whether they are its own; head : first rows, as (line, cells)
    """

    delimiter: str
    numbers: object
    names: list
    named: bool
    header_rows: int
    head: list
    roles: Roles
    notes: list = field(default_factory=list)


def read_text(path, options):
    """Read a text table.

    path : Path or `StandardInput`; options : `TableOptions`
    returns Table
    """
    layout = _layout(path, options)
    records = Records(path, layout.delimiter, options.skip, options.encoding)
    values, texts, lines, booleans = [], [], [], np.zeros(len(layout.names), int)
    roles = layout.roles
    kept, repeated = sorted({*roles.texts}), 0
    header = layout.head[0][1] if layout.header_rows and not any(map(is_number, layout.head[0][1])) else None
    rows = iter(records)
    for _ in range(layout.header_rows):
        next(rows, None)
    for line, cells in rows:
        if cells == header:  # of files that were put together
            repeated += 1
            continue
        if len(cells) != len(layout.names):
            cells = _of_width(path, line, cells, layout, options)
        for j in roles.empty:
            if cells[j]:
                raise bad_cell(path, line, j, cells, layout, options, "a column that was empty has no name")
        values.append(_numbers(path, line, cells, layout, options, booleans))
        texts.append([cells[j] for j in kept])
        lines.append(line)
    if not values:
        raise DataFileError(f"{path}: found no rows of numbers, expected at least one")
    _check_booleans(path, booleans, len(values), layout)
    if records.n_comments:
        layout.notes.append(f"{records.n_comments} comment lines left out")
    if repeated:
        layout.notes.append(f"the header stands {repeated + 1} times in the file, and was left out")
    if records.n_empty:
        layout.notes.append(f"{records.n_empty} empty rows left out")
    if options.skip:
        layout.notes.append(f"{len(options.skip)} lines skipped")
    table = Table(np.stack(values), [layout.names[j] for j in roles.numbers], layout.named, lines=np.array(lines))
    table.notes = layout.notes
    columns = {j: np.array([row[at] for row in texts]) for at, j in enumerate(kept)}
    return finish(path, table, layout.names, roles, columns, options)


def _layout(path, options):
    delimiter = delimiter_of(options.delimiter) if options.delimiter else None
    usual = "\t" if path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab")) else ","
    notes = []
    if delimiter is None:
        delimiter = told_delimiter(path, options.skip, options.encoding, usual)
        if delimiter != ",":
            notes.append(f"cells separated by {'spaces' if delimiter == ' ' else repr(delimiter)}")
    head, comments = head_of(path, delimiter, options.skip, options.encoding)
    if not head:
        for _ in Records(path, delimiter, options.skip, options.encoding):  # an error in the first row
            pass
        raise DataFileError(f"{path}: found no rows of numbers, expected at least one")
    cells = [cell for _, row in head for cell in row if cell]
    numbers, unclear = notation(cells, options.decimal, options.thousands, delimiter == ",")
    if unclear:
        raise DataFileError(
            f"{path}: found {unclear!r}; is its comma a decimal mark or does it part thousands? "
            f"{options.say('decimal', ',')} or {options.say('thousands', ',')} says which"
        )
    _check_marks(path, head, delimiter, numbers, options)
    if numbers.decimal != "." or numbers.thousands:
        marks = f", thousands parted by {numbers.thousands!r}" if numbers.thousands else ""
        notes.append(f"decimal mark {numbers.decimal!r}{marks}")
    names, header_rows = names_of(path, head, comments, delimiter, numbers, options)
    named = names is not None
    if not named:
        width = len(head[0][1])
        names = [f"x{j}" for j in range(width)]
    body = [cells for _, cells in head[header_rows:] if len(cells) == len(names)]
    names = [name or f"Unnamed: {j}" for j, name in enumerate(names)]
    notes.insert(0, _header_note(head, header_rows, named))
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        notes.append(f"several columns are named {', '.join(map(repr, twice[:3]))}")
    roles = roles_of(path, names, body, named, options)
    if named and any(name.startswith("Unnamed: ") for name in (names[j] for j in roles.numbers)):
        notes.append(
            f"columns without a name: {', '.join(str(j + 1) for j in roles.numbers if names[j] == f'Unnamed: {j}')}"
        )
    coded = [] if roles.chosen else [j for j in roles.numbers if any(_CODE.fullmatch(row[j]) for row in body)]
    for j in coded:
        notes.append(
            f"{names[j]!r} has leading zeros; if it is a code and no number: {options.say('drop', [names[j]])}"
        )
    return Layout(delimiter, numbers, names, named, header_rows, head, roles, notes)


def _check_marks(path, head, delimiter, numbers, options):
    """Refuse rows that stand in quotes as wholes, and points that may part thousands where ; separates cells."""
    if options.decimal is not None or options.thousands is not None:
        return
    if not numbers.thousands and all(len(row) == 1 for _, row in head):
        line, (cell,) = head[-1]
        mark = next((mark for mark in ",;\t|" if mark in cell), None)
        widths = {len(row[0].split(mark)) for _, row in head[len(head) > 1 :]}
        if mark and len(widths) == 1 and all(map(is_number, cell.split(mark))):
            number = f", or if it is one number, {options.say('decimal', ',')}" if mark == "," and widths == {2} else ""
            raise DataFileError(
                f"{path}, line {line}: found one cell in every row, such as {cell[:60]!r}; if a pair of quotes stands "
                f"around whole rows, remove these{number}"
            )
    points = [cell for _, row in head for cell in row if "." in cell and is_number(cell)]
    if delimiter == ";" and numbers.plain and points and all(map(may_be_thousands, points)):
        raise DataFileError(
            f"{path}: found {points[0]!r}; is its point a decimal mark or does it part thousands? "
            f"{options.say('decimal', '.')} or {options.say('thousands', '.')} says which"
        )


def _header_note(head, header_rows, named):
    if header_rows:
        return f"header in line {head[0][0]}"
    return "names in a comment" if named else "no header"


def _of_width(path, line, cells, layout, options):
    """A row that is longer by an empty last cell, or shorter by those of empty columns; any other is refused."""
    width = len(layout.names)
    if len(cells) == width + 1 and cells[-1] == "":
        return cells[:-1]
    if len(cells) < width and {*range(len(cells), width)} <= {*layout.roles.empty}:
        return cells + [""] * (width - len(cells))
    advice = ""
    if layout.head and line == layout.head[1 if len(layout.head) > 1 else 0][0] and width == 1:
        before = layout.head[0][0]
        advice = f"; is line {before} a title? {options.say('skip', str(before))} leaves it out"
    elif len(cells) == 2 * width and layout.delimiter == ",":
        advice = "; are its commas decimal marks as well? Then save it with ';' or tabs between the cells"
    elif len(cells) > width and len(layout.head[0][1]) == width:
        advice = f" (cells are separated by {layout.delimiter!r}); {options.say('skip', str(line))} leaves the line out"
    else:
        advice = f"; {options.say('skip', str(line))} leaves the line out"
    raise ragged(path, line, len(cells), width, advice)


def _numbers(path, line, cells, layout, options, booleans):
    """The numbers of a row, float64."""
    at, numbers = layout.roles.numbers, layout.numbers
    own = [cells[j] for j in at]
    if numbers.plain and not options.missing_words:
        try:
            row = np.array(list(map(float, own)))
            if not any("_" in cell for cell in own):
                return row
        except ValueError:
            pass
    row = np.empty(len(at))
    for place, j in enumerate(at):
        cell = cells[j]
        value = None if cell in options.missing_words else numbers.value(cell)
        if value is None and options.missing and is_missing(cell, options.missing_words):
            value = np.nan
        if value is None:
            value = boolean(cell)
            booleans[j] += value is not None
        if value is None:
            raise bad_cell(path, line, j, cells, layout, options)
        row[place] = value
    return row


def _check_booleans(path, booleans, n, layout):
    for j in np.flatnonzero(booleans):
        layout.notes.append(f"true and false of {layout.names[j]!r} taken as 1 and 0")
        if booleans[j] < n / 2:
            raise DataFileError(
                f"{path}: column {layout.names[j]!r} has {booleans[j]} cells true or false, and {n - booleans[j]} of "
                f"another kind; expected one kind"
            )
