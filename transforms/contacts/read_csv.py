"""Rows from CSV (RFC 4180): a header, then a contact a record; records may span lines.

The delimiter is the one of ``, ; tab |`` that the header has most of. An empty cell is no value. A
quote that is never closed costs its own line: the lines that it swallowed are read again.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from schemas.contacts import ID_FIELDS, MAX_FIELDS, ContactFormat, LineFormat, Reason, Row
from schemas.errors import InputError, UsageError
from transforms.contacts.check import checked_row, faulty_row
from transforms.contacts.lines import Line, lines_of

_DELIMITERS = ",;\t|"
_ESCAPES = "surrogateescape"
"""How bytes that are not UTF-8 pass through the parser, to be found in the cells afterwards."""


def read_csv(name: str, pieces: Iterable[bytes], mapping: Mapping[str, str]) -> Iterator[Row]:
    """A row for every record after the header.

    Raises ``UsageError`` if ``mapping`` names a column that is not there, or none holds the id.
    """
    source = _Lines(lines_of(pieces))
    header, delimiter = _header(name, source)
    if header:
        _check_header(name, header, mapping)
        yield from _rows(source, header, delimiter, mapping)


def csv_lines(name: str, first: bytes, mapping: Mapping[str, str]) -> LineFormat | None:
    """How the lines of a file that begins like this are read, if its first line is a header.

    Raises as ``read_csv`` does.
    """
    header, delimiter = _header(name, _Lines(iter([(1, first)])))
    if not header:
        return None
    _check_header(name, header, mapping)
    return LineFormat(ContactFormat.CSV, tuple(header), delimiter)


def read_csv_lines(
    pieces: Iterable[bytes], lines: LineFormat, first: int, mapping: Mapping[str, str]
) -> Iterator[Row]:
    """A row for every record of lines that follow the header; ``first`` is the first's number."""
    source = _Lines(lines_of(pieces, first))
    return _rows(source, list(lines.header), lines.delimiter, mapping)


def _rows(
    source: _Lines, header: list[str], delimiter: str, mapping: Mapping[str, str]
) -> Iterator[Row]:
    for line, cells in _records(source, delimiter):
        yield (
            _row(line, cells, header, mapping)
            if isinstance(cells, list)
            else faulty_row(line, cells)
        )


class _Lines:
    """The file's lines as text for the parser, which can be given back."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._returned: deque[Line] = deque()
        self.taken: list[Line] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.taken.append(line)
        content = line[1]
        if content is None:
            raise _TooLong
        return content.decode("utf-8", _ESCAPES) + "\n"

    def give_back(self) -> None:
        """Give back what was taken, but for the first line."""
        self._returned.extendleft(reversed(self.taken[1:]))


class _TooLong(Exception):
    """A line is longer than a row may be."""


def _header(name: str, source: _Lines) -> tuple[list[str], str]:
    """The columns' names and the delimiter; none if the file is empty."""
    try:
        text = next(source, "")
        delimiter = max(_DELIMITERS, key=text.count)
        text.encode()
        return next(csv.reader([text], delimiter=delimiter, strict=True), []), delimiter
    except (csv.Error, UnicodeEncodeError, _TooLong):
        raise InputError(f"{name}: its first line is no header of a CSV file") from None


def _check_header(name: str, header: list[str], mapping: Mapping[str, str]) -> None:
    """Raise for a header that cannot be used, without its text: it may be somebody's data."""
    for column in mapping:
        if column not in header:
            raise UsageError(f'--map "{column}={mapping[column]}": {name} has no such column')
    names = [mapping.get(column, column) for column in header]
    repeated = [place for place, each in enumerate(names, 1) if names.count(each) > 1]
    if repeated:
        raise UsageError(
            f"{name}: columns {', '.join(map(str, repeated))} have the same name: tell them apart "
            'by --map "COLUMN=FIELD"'
        )
    if len(names) > MAX_FIELDS or not set(names) & set(ID_FIELDS):
        raise UsageError(
            f"{name}: its first line must name at most {MAX_FIELDS} columns, and one of them "
            f'{" or ".join(ID_FIELDS)}: say which by --map "COLUMN=id"'
        )


def _records(source: _Lines, delimiter: str) -> Iterator[tuple[int, list[str] | Reason]]:
    """Each record's first line with its cells, or with what is wrong with it."""
    while True:
        source.taken = []
        try:
            # A reader of its own for each record: a failed one may have half a record in it.
            cells = next(csv.reader(source, delimiter=delimiter, strict=True))
        except StopIteration:
            return
        except csv.Error:
            source.give_back()
            yield source.taken[0][0], Reason.INVALID_CSV
        except _TooLong:
            source.give_back()
            is_first = len(source.taken) == 1
            yield source.taken[0][0], Reason.TOO_LONG if is_first else Reason.INVALID_CSV
        else:
            if cells:
                yield source.taken[0][0], cells


def _row(line: int, cells: list[str], header: list[str], mapping: Mapping[str, str]) -> Row:
    if len(cells) != len(header):
        return faulty_row(line, Reason.WRONG_COLUMNS)
    contact = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
    if not _is_text(cells):
        bad = next(name for name, cell in contact.items() if not _is_text([cell]))
        return faulty_row(line, Reason.INVALID_ENCODING, mapping.get(bad, bad))
    return checked_row(line, contact, mapping)


def _is_text(cells: list[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True
