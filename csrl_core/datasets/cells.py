"""Cells of text tables: which are numbers, which mean "missing", and what to say of all others."""

import re
from dataclasses import dataclass

MISSING = frozenset(
    {
        *("", "na", "n/a", "#n/a", "#na", "nan", "-nan", "null", "none", "nil", "<na>", "nat", "missing", "\\n"),
        *("-", "--", "—", "–", "?", ".", "*", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!", "na_real_"),
        *("-1.#ind", "1.#ind", "1.#qnan", "-1.#qnan", "nan(ind)", "-nan(ind)", "n.a.", "k.a."),
    }
)
_SAS_MISSING = re.compile(r"\.[a-z_]")
_BOOLEANS = {"true": 1.0, "false": 0.0}
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SPACES = " \u00a0\u202f\u2009'’"
_GROUPS = {
    ",": re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d{1,2}(,\d{2})+,\d{3})(\.\d*)?"),  # or in twos, as in India
    ".": re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d*)?"),
    " ": re.compile(rf"[+-]?\d{{1,3}}([{_SPACES}]\d{{3}})+([.,]\d*)?"),
}
_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")
_NUMBER = r"[+-]?[\d.,]*\d[\d.,]*"
_KINDS = [
    (re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}( .*)?"), "a date"),
    (
        re.compile(r"(1[89]|20)\d{2}-(0?[1-9]|1[0-2])|(1[89]|20)\d{2}-?Q[1-4]|[A-Za-z]{3,9}\.? (1[89]|20)\d{2}"),
        "a date",
    ),
    (re.compile(r"\d{1,2}[- ]?[A-Za-z]{3,9}\.?[- ]?\d{2,4}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}"), "a date"),
    (re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?"), "a time"),
    (re.compile(rf"{_NUMBER} ?%"), "a percentage, which is no plain number: remove the signs"),
    (
        re.compile(rf"\(?-?([€$£¥₹]|(EUR|USD|GBP|CHF|JPY|CNY|INR|CAD|AUD) ) ?{_NUMBER}\)?|{_NUMBER} ?[€$£¥₹]"),
        "an amount of money: remove the signs",
    ),
    (re.compile(rf"\({_NUMBER}\)"), "a number in brackets: write it with a minus sign"),
    (re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[dD][+-]?\d+"), "a number of Fortran: write e instead of D"),
    (re.compile(r"[+-]?\d*\.\d+[+-]\d{3}"), "a number of Fortran without its E: write 1.5e-100 for 1.5-100"),
    (re.compile(r"\*{2,}"), "what Fortran writes where a field was too narrow"),
    (re.compile(r"-?1\.#INF0*"), "an infinite number of Windows: write inf or -inf"),
    (re.compile(rf"{_NUMBER}-"), "a number with its sign behind: write the minus in front"),
    (re.compile(rf"{_NUMBER} ?(±|\+/-) ?{_NUMBER}"), "a number with its error: write these in two columns"),
    (re.compile(rf"{_NUMBER} ?[x×*·] ?10[\d^⁻⁰¹²³⁴⁵⁶⁷⁸⁹+-]+"), "a power of ten: write 1.5e3 for 1.5x10^3"),
    (re.compile(r"\d+ ?/ ?\d+"), "a fraction or ratio: write it in decimals"),
    (re.compile(r"\[.*\]"), "a list: write one number into a cell"),
    (re.compile(r"0[xX][0-9a-fA-F.pP+-]+"), "a hexadecimal number: write it in decimals"),
    (re.compile(r"#{2,}"), "what Excel writes where a column was too narrow"),
    (re.compile(r"=.*"), "a formula: export values"),
    (re.compile(rf"[<>≤≥~] ?{_NUMBER}"), "a bound, not a number: replace it"),
    (re.compile(rf"{_NUMBER} *[#%].*"), "a number with a comment: remove the comment"),
    (
        re.compile(r"\(.*\d[ij]\)|[+-]?[\d.]+([eE][+-]?\d+)?[+-][\d.]+([eE][+-]?\d+)?[ij]"),
        "complex: save real and imaginary part",
    ),
    (re.compile(rf"\d+:{_NUMBER}"), "of a LIBSVM file, which sklearn.datasets.load_svmlight_file reads"),
    (re.compile(rf"{_NUMBER} ?[A-Za-zµ°/²³]+"), "a number with a unit: remove the unit"),
    (re.compile(r"'.*'"), "a cell in single quotes: remove them"),
]


@dataclass(frozen=True)
class Numbers:
    """How numbers are written. decimal : "." or ","; thousands : "", ",", "." or " " (any thin mark between digits)."""

    decimal: str = "."
    thousands: str = ""

    @property
    def plain(self):
        """Whether Python reads them as they are."""
        return self.decimal == "." and not self.thousands

    def value(self, cell):
        """The number of a cell; None if it is none."""
        if cell[:1] == "–":  # a dash for a minus
            cell = "-" + cell[1:]
        if "−" in cell:  # the typographic minus
            cell = cell.replace("−", "-")
        if self.plain:
            return _float(cell)
        if self.thousands and _GROUPS[self.thousands].fullmatch(cell):
            for mark in _SPACES if self.thousands == " " else self.thousands:
                cell = cell.replace(mark, "")
        elif self.thousands not in ("", " ", self.decimal) and self.thousands in cell:
            return None  # a mark between digits that are no groups of three
        if self.decimal == ",":
            if "." in cell:
                return None
            cell = cell.replace(",", ".")
        return _float(cell)


def _float(cell):
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def is_number(cell):
    """Whether a CSV cell is a number; Python's own 1_000 is none."""
    return _float(cell) is not None


def looks_numeric(cell):
    """Whether a cell is a number in any usual notation, or a mark of a missing one (but not empty)."""
    return bool(
        is_number(cell)
        or _COMMA.fullmatch(cell)
        or any(groups.fullmatch(cell) for groups in _GROUPS.values())
        or (cell and is_missing(cell))
    )


def may_be_thousands(cell):
    """Whether the points of a number may part thousands: 1.500 is one and a half, or fifteen hundred."""
    return bool(_GROUPS["."].fullmatch(cell)) and cell.lstrip("+-")[0] != "0"


def is_missing(cell, words=()):
    """Whether a cell means that there is no value. words : further ones that do"""
    lower = cell.lower()
    return lower in MISSING or cell in words or bool(_SAS_MISSING.fullmatch(lower))


def boolean(cell):
    """1.0 or 0.0 of the words true and false; None of others."""
    return _BOOLEANS.get(cell.lower())


def kind_of(cell):
    """What a cell that is no number is, with the cure where there is one; None if it is just text."""
    return next((what for pattern, what in _KINDS if pattern.fullmatch(cell)), None)


def notation(cells, decimal=None, thousands=None, comma_separates=False):
    """How numbers are written in some cells, as far as that is certain.

    cells : non-empty cells of the first rows; decimal, thousands : what the user said, None if nothing
    comma_separates : whether commas separate cells, so that one in a cell was quoted
    returns (Numbers, an ambiguous cell or None)
    """
    if decimal is not None or thousands is not None:
        return Numbers(decimal or ("," if thousands == "." else "."), thousands or ""), None
    commas = [cell for cell in cells if "," in cell]
    points = [cell for cell in cells if "." in cell and _PLAIN.fullmatch(cell)]
    spaced = any(_GROUPS[" "].fullmatch(cell) for cell in cells)
    decimals = any(_COMMA.fullmatch(c) and (not _GROUPS[","].fullmatch(c) or c.lstrip("+-")[0] == "0") for c in commas)
    european = any("," in cell and _GROUPS["."].fullmatch(cell) for cell in commas)
    grouped = any(_GROUPS[","].fullmatch(c) and (c.count(",") > 1 or "." in c) for c in commas)
    unclear = next((cell for cell in commas if _GROUPS[","].fullmatch(cell)), None)
    millions = any(_GROUPS["."].fullmatch(cell) and cell.count(".") > 1 for cell in cells)
    if spaced and any("," in cell and _GROUPS[" "].fullmatch(cell) for cell in commas):
        return Numbers(",", " "), None
    if decimals or european:
        return Numbers(",", "." if european or millions else " " if spaced else ""), None
    if grouped or (unclear and any(not _GROUPS["."].fullmatch(cell) for cell in points)):
        return Numbers(".", ","), None
    if millions and all(_GROUPS["."].fullmatch(cell) for cell in points):
        return Numbers(",", "."), None
    return Numbers(".", " " if spaced else ""), unclear
