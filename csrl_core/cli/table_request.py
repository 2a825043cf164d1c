"""The options that say how a table is read, of all commands that read one. Imports only typer."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from csrl_core.cli.base import WrongUsage

BUILT_IN = "data:"
STANDARD_INPUT = "-"
PANEL = "The table"
Missing = StrEnum("Missing", {name: name for name in ("drop", "mean")})
Scale = StrEnum("Scale", {name: name for name in ("minmax", "standard")})


def _option(*flags, **settings):
    return typer.Option(*flags, rich_help_panel=PANEL, **settings)


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """How a table is read."""

    header: Annotated[
        bool | None, _option("--header/--no-header", help="Whether the first row has the names; default: told from it.")
    ] = None
    columns: Annotated[
        str | None, _option(metavar="NAME,…", help="Use these columns only, in this order; all: every column.")
    ] = None
    drop: Annotated[str | None, _option(metavar="NAME,…", help="Leave out these columns.")] = None
    label_column: Annotated[
        str | None, _option("--label-column", metavar="NAME", help="A column of known classes, no feature; or none.")
    ] = None
    id_column: Annotated[
        str | None,
        _option(
            "--id-column", metavar="NAME", help="A column that is no feature and is carried through to all tables."
        ),
    ] = None
    missing: Annotated[
        Missing | None, _option(help="Leave out rows with missing values, or put the column's mean there.")
    ] = None
    missing_values: Annotated[
        str | None, _option(metavar="CELL,…", help="Further cells that mean missing, as in -999,nd.")
    ] = None
    delimiter: Annotated[
        str | None, _option(metavar="CHAR", help="Between cells; comma, semicolon, tab, space; default: found out.")
    ] = None
    decimal: Annotated[str | None, _option(metavar="CHAR", help="Decimal mark, . or ,; default: found out.")] = None
    thousands: Annotated[str | None, _option(metavar="CHAR", help="Mark between thousands.")] = None
    encoding: Annotated[
        str | None, _option(metavar="NAME", help="Of text, as cp1252; default UTF-8, or UTF-16 with its mark.")
    ] = None
    skip_lines: Annotated[
        str | None, _option("--skip-lines", metavar="N,A-B", help="Lines of the file to leave out: titles, units.")
    ] = None
    key: Annotated[str | None, _option("--key", metavar="NAME", help="Array of an NPZ file.")] = None
    divide_by: Annotated[
        float | None,
        _option("--divide-by", help="Divide all values by this, 255 for bytes; a part of the model.", show_default="1"),
    ] = None
    standardize: Annotated[
        bool, _option("--standardize", help="Mean 0 and standard deviation 1 for every feature; a part of the model.")
    ] = False
    scale: Annotated[
        Scale | None, _option(help="minmax: every feature to [0, 1]; standard: --standardize. A part of the model.")
    ] = None

    @property
    def scaling(self):
        """The kind of scaling that is asked for: divide, standardize or minmax; None if there is none."""
        given = {
            "--divide-by": "divide" if self.divide_by not in (None, 1) else None,
            "--standardize": "standardize" if self.standardize else None,
            "--scale": {"minmax": "minmax", "standard": "standardize", None: None}[self.scale and self.scale.value],
        }
        given = {option: kind for option, kind in given.items() if kind}
        if self.divide_by is not None and not 0 < self.divide_by < float("inf"):
            raise WrongUsage(f"--divide-by {self.divide_by:g}: expected a positive number")
        if len(given) > 1:
            raise WrongUsage(f"{' and '.join(given)} would scale twice; give one of them")
        return next(iter(given.values()), None)


def names_in(option, text):
    """The names of an option's value, separated by commas; a name with a comma in it stands in double quotes."""
    import csv

    if text is None:
        return ()
    try:
        names = [name.strip() for name in next(csv.reader([text], skipinitialspace=True, strict=True))]
    except (csv.Error, StopIteration):
        names = []
    if not names or "" in names:
        raise WrongUsage(f"{option} {text}: expected names with commas in between, as in a,b")
    return tuple(names)


def line_numbers(text):
    """The numbers of --skip-lines."""
    numbers = set()
    for part in (text or "").split(",") if text else ():
        low, dash, high = part.partition("-")
        try:
            numbers |= set(range(int(low), int(high if dash else low) + 1)) or {0}
        except ValueError:
            numbers.add(0)
    if 0 in numbers:
        raise WrongUsage(f"--skip-lines {text}: expected numbers of lines from 1, as in 2 or 1-3,7")
    return frozenset(numbers)


def check_request(request):
    """Raise what is wrong with the options themselves, before a library is imported."""
    request.scaling, names_in("--columns", request.columns), names_in("--drop", request.drop)
    line_numbers(request.skip_lines)
    marks = ("comma", "semicolon", "tab", "space", "pipe", "\\t")
    if request.delimiter is not None and len(request.delimiter) != 1 and request.delimiter not in marks:
        raise WrongUsage(f"--delimiter {request.delimiter}: expected one character, or {', '.join(marks[:-1])}")
    if request.decimal not in (None, ".", ","):
        raise WrongUsage(f"--decimal {request.decimal}: expected . or ,")
    if request.thousands not in (None, ".", ",", " ", "'"):
        raise WrongUsage(f"--thousands {request.thousands}: expected one of , . ' or a space")
    if request.thousands is not None and request.thousands == request.decimal:
        raise WrongUsage(f"--decimal and --thousands are both {request.thousands}; expected different marks")
    if request.missing_values is not None and request.missing is None:
        raise WrongUsage("--missing-values needs --missing drop or --missing mean, which say what is done about them")


def check_source(source, key=None):
    """Raise now what reading would raise of a file that is not there; source : str or None."""
    if source is None or source.startswith(BUILT_IN) or source == STANDARD_INPUT:
        return
    path = Path(source)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a CSV, NPY or NPZ file, or {BUILT_IN}NAME")
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; expected a CSV, NPY or NPZ file, - for standard input, or {BUILT_IN}NAME for a "
            f"built-in set, as {BUILT_IN}iris"
        )
