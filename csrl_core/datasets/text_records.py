"""Rows of cells of a text file, with the lines they stand in: comments, quotes, delimiters."""

import csv
import re
from collections import Counter

from csrl_core.datasets.cells import MISSING, looks_numeric
from csrl_core.datasets.sources import DataFileError, text_lines

COMMENTS = ("#", "%")
HEAD = 60  # lines from which the layout of a file is told
_CANDIDATES = (",", ";", "\t", "|", " ")


class Records:
    """The rows of a text file: iterate for (line, cells), blank lines left out.

    comments : comment lines before the first row, without their marks; n_comments, n_empty : lines left out so far
    """

    def __init__(self, path, delimiter, skip=frozenset(), encoding=None, lines=None):
        self.path, self.delimiter, self.skip = path, delimiter, skip
        self.source = text_lines(path, encoding) if lines is None else lines
        self.comments, self.n_comments, self.n_empty = [], 0, 0
        self.number, self._taken, self._begun = 0, [], False

    def _lines(self):
        for line in self.source:
            self.number += 1
            if self.number in self.skip or (self.number == 1 and line[:4].lower() == "sep="):
                continue
            if not self._taken and _is_comment(line):
                self.n_comments += 1
                if not self._begun:
                    self.comments.append(line.strip().lstrip("#% ").strip("\r\n"))
                continue
            if self.delimiter == " ":
                line = line.replace("\t", " ").strip() + "\n"
            self._taken.append(line)
            yield line

    def __iter__(self):
        reader = csv.reader(
            self._lines(), delimiter=self.delimiter, skipinitialspace=self.delimiter != "\t", strict=True
        )
        try:
            for cells in reader:
                lines, self._taken = self._taken, []
                self._check_quotes(lines, cells)
                cells = [cell.strip() for cell in cells]
                if not any(cells):
                    self.n_empty += len(cells) > 1
                    continue
                self._begun = True
                yield self.number - len(lines) + 1, cells
        except csv.Error as error:
            if len(self._taken) > 1 or "unexpected end" in str(error):
                raise self._open_quote(self._taken) from error
            raise DataFileError(
                f"{self.path}, line {self.number}: not readable as CSV ({error}); expected rows of numbers "
                f"separated by {self.delimiter!r}"
            ) from error

    def _check_quotes(self, lines, cells):
        """A cell of several lines is an open quote if one of its lines looks like a row."""
        inside = [line for cell in cells if len(lines) > 1 for line in cell.splitlines()[1:]]
        if len(lines) > 1 and (len(cells) < 2 or any(line.count(self.delimiter) >= len(cells) - 1 for line in inside)):
            raise self._open_quote(lines)

    def _open_quote(self, lines):
        last = self.number
        first = last - len(lines) + 1
        shown = repr(lines[0].strip()[:60])
        if first == last:
            return DataFileError(
                f"{self.path}, line {first}: a quote is opened and not closed; close or remove it: {shown}"
            )
        return DataFileError(
            f"{self.path}, line {first}: a quote is opened and not closed before line {last}, which makes "
            f"{len(lines)} lines one row; close it, or remove it, or write a cell of several lines in one: {shown}"
        )


def _is_comment(line):
    """Whether a line begins with a mark of comments that is no cell of Excel's, such as #N/A or ####."""
    line = line.strip()
    first = re.split(r"[,;|\t]", line)[0].strip().lower()
    excel = len(first) < len(line) and (first in MISSING or (len(first) > 1 and not first.strip("#")))
    return line[:1] in COMMENTS and line != "" and not excel


def csv_rows(path, delimiter=","):
    """Yield (line number, cells) for every line of a UTF-8 CSV file (plain or gzipped) but blank ones.

    Raises `DataFileError` for rows of different lengths and for text that is no CSV.
    """
    width = None
    for line, cells in Records(path, delimiter):
        width = width or len(cells)
        if len(cells) != width:
            raise ragged(path, line, len(cells), width)
        yield line, cells


def ragged(path, line, found, width, advice=""):
    """The error of a row of another length."""
    return DataFileError(f"{path}, line {line}: found {found} columns, expected {width} as in the first row{advice}")


def head_of(path, delimiter, skip, encoding):
    """The first rows, as far as they can be read, and the comments before them."""
    records, rows = Records(path, delimiter, skip, encoding, text_lines(path, encoding, HEAD)), []
    try:
        for record in records:
            rows.append(record)
    except DataFileError:  # raised again, with its line, where the whole file is read
        if not rows and not records.number:
            raise
    return rows, records.comments


def told_delimiter(path, skip, encoding, usual):
    """What separates the cells of a file: the candidate with the most rows of one length and the most numbers.

    usual : what does if nothing else is better
    """
    first = next(text_lines(path, encoding, 1), "")
    if first[:4].lower() == "sep=" and len(first.strip()) == 5:
        return first.strip()[4]
    best, highest = usual, 0.0
    for delimiter in (usual, *(each for each in _CANDIDATES if each != usual)):
        rows, _ = head_of(path, delimiter, skip, encoding)
        rows = [cells for _, cells in rows]
        if not rows:
            continue
        width, count = Counter(map(len, rows)).most_common(1)[0]
        cells = [cell for row in rows[1:] or rows for cell in row if cell]
        numeric = sum(map(looks_numeric, cells)) / max(len(cells), 1)
        score = numeric * count / len(rows) if width > 1 else 0.0
        if score > highest * 1.02:
            best, highest = delimiter, score
    return best
