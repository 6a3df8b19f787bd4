"""Contacts of a subject in files of CSV, NDJSON, or JSON arrays, packed or not.

A row is the subject's if any value in it is, whatever its column is called: a contact of an input,
or a line of an output with the contact in it. The row leaves, in either mode of an erasure; all
other bytes stay as they are, but for those of the packing. A row that does not parse is looked at
as text.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO, cast

from backports import zstd

from schemas.contacts import MAX_ROW, ContactFormat
from schemas.errors import InputError
from schemas.inputs import Compression
from transforms.contacts.columns import restored
from transforms.contacts.read import BOM, beginning, format_of, is_telling, whole
from transforms.decompress import detect_compression, pieces
from transforms.erasure.letters import is_record_of, names_it
from transforms.erasure.rewritten import Rewritten, Sink
from transforms.erasure.text import TextSearch

_LONGEST = 64 << 20
"""Bytes of a row. One without end is none."""

_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*"')
_MAGIC = 8
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|["{}\[\],]', re.DOTALL)


@dataclass(frozen=True)
class _Piece:
    """Some bytes of a file: a row unless ``is_row`` says otherwise.

    ``cells`` are a CSV row's, each with its column's name, if it parses. What should be its header
    is a row if it names a subject: some files have none. A ``member`` of an array stands behind a
    comma, unless it is the first.
    """

    content: bytes
    is_row: bool = True
    is_header: bool = False
    cells: tuple[tuple[str, str], ...] | None = None
    is_member: bool = False


def count_contacts(name: str, stream: BinaryIO, search: TextSearch) -> Rewritten:
    """How many rows of a file are of the subjects. Raises as ``rewrite_contacts`` does."""
    return _sifted(name, stream, search, None)


def rewrite_contacts(name: str, stream: BinaryIO, sink: Sink, search: TextSearch) -> Rewritten:
    """Copy a file of this name without the rows of the subjects.

    Raises ``InputError`` for one that cannot be told into rows: it is not in UTF-8, cut off, its
    lines end in CR alone, its objects go over several lines, the brackets of an array do not match,
    or there is nothing but white space where it should say what it is.
    """
    return _sifted(name, stream, search, sink)


def _sifted(name: str, stream: BinaryIO, search: TextSearch, sink: Sink | None) -> Rewritten:
    first = stream.read(_MAGIC)
    compression = detect_compression(first)
    packed = cast(BinaryIO, _Behind(first, stream))
    found = _pieces_of(name, whole(name, pieces(packed, compression)))
    with _packing(sink, compression) as out:
        sieve = _Sieve(search, out)
        for piece in found:
            sieve.add(piece)
    return Rewritten(sieve.rows, sieve.matched, sieve.rows - sieve.matched)


class _Sieve:
    """Lets all pass but the rows of the subjects."""

    def __init__(self, search: TextSearch, sink: Sink | None) -> None:
        self.rows = 0
        self.matched = 0
        self._search = search
        self._sink = sink
        self._has_member = False

    def add(self, piece: _Piece) -> None:
        is_subject = piece.is_row and self._is_subject(piece)
        self.rows += piece.is_row and (is_subject or not piece.is_header)
        if is_subject:
            self.matched += 1
        elif self._sink is not None:
            self._sink.write(b"," + piece.content if self._is_behind(piece) else piece.content)

    def _is_behind(self, piece: _Piece) -> bool:
        """Whether the piece follows another member of its array."""
        follows = piece.is_member and self._has_member
        self._has_member = self._has_member or piece.is_member
        return follows

    def _is_subject(self, piece: _Piece) -> bool:
        if piece.cells is None:
            return is_record_of(piece.content, self._search)
        return any(names_it(restored(cell), name, self._search) for name, cell in piece.cells)


def _pieces_of(name: str, content: Iterator[bytes]) -> Iterator[_Piece]:
    first = beginning(name, content)
    if len(first) > MAX_ROW and not is_telling(first):  # of an array lines could not be taken out
        raise InputError(f"{name}: begins with over {MAX_ROW >> 20} MiB of white space: trim it")
    if first.startswith(BOM):
        yield _Piece(BOM, is_row=False)
    first = first.removeprefix(BOM)
    rest = chain((first,), content)
    match format_of(name, first):
        case ContactFormat.ARRAY:
            yield from _members(name, rest)
        case ContactFormat.NDJSON:
            yield from _json_rows(name, _lines(name, rest))
        case ContactFormat.CSV:
            yield from _csv_rows(name, _Lines(_lines(name, rest)))


def _lines(name: str, content: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their ends."""
    rest = b""
    for piece in content:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in whole)
        if len(rest) > _LONGEST:
            raise InputError(f"{name}: a line has more than {_LONGEST >> 20} MiB")
    if rest:
        yield rest


def _json_rows(name: str, lines: Iterator[bytes]) -> Iterator[_Piece]:
    for line in lines:
        if line.strip() == b"{":  # of which a line could not be taken out
            raise InputError(f"{name}: its objects go over several lines: write one a line")
        yield _Piece(line, bool(line.strip()))


class _Lines:
    """Lines as text for the parser, which can be given back."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._returned: deque[bytes] = deque()
        self.taken: list[bytes] = []
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.taken.append(line)
        self._size = len(line) if len(self.taken) == 1 else self._size + len(line)
        if self._size > MAX_ROW and len(self.taken) > 1:
            raise csv.Error("a quote is never closed")
        return line.decode("utf-8", "replace")

    def give_back(self, but: int = 1) -> None:
        """Give back what was taken, but for so many lines."""
        self._returned.extendleft(reversed(self.taken[but:]))
        del self.taken[but:]


def _csv_rows(name: str, source: _Lines) -> Iterator[_Piece]:
    """The header and the records; a broken one costs its first line alone."""
    header: list[str] | None = None
    delimiter = ","
    while True:
        source.taken = []
        if header is None:
            delimiter = _delimiter(source)
        cells = _record(source, delimiter)
        if not source.taken:
            return
        content = b"".join(source.taken)
        if header is None:
            header = cells or []
            if cells is None and b"\r" in content.strip():
                raise InputError(f"{name}: its lines end in CR alone: convert it")
            yield _Piece(content, is_header=_is_of_names(header), cells=_named([], header))
        else:
            yield _Piece(content, bool(content.strip()), cells=_named(header, cells))


def _is_of_names(header: list[str]) -> bool:
    """Whether a first line is a header, and no contact of a file without one."""
    return not any("@" in cell or cell.strip().isdecimal() for cell in header)


def _delimiter(source: _Lines) -> str:
    """The one of which the first line has most outside of quotes; the line is given back."""
    text = _QUOTED.sub("", next(source, ""))
    source.give_back(0)
    return max(_DELIMITERS, key=text.count)


def _record(source: _Lines, delimiter: str) -> list[str] | None:
    """The next record's cells, or None if it does not parse; its lines are those taken."""
    try:
        return next(csv.reader(source, delimiter=delimiter, strict=True), None)
    except csv.Error:
        source.give_back()
        return None


def _named(header: list[str], cells: list[str] | None) -> tuple[tuple[str, str], ...] | None:
    if cells is None:
        return None
    names = header + [""] * (len(cells) - len(header))
    return tuple(zip(names, cells, strict=False))


def _members(name: str, content: Iterable[bytes]) -> Iterator[_Piece]:
    scan = _ArrayScan(name)
    for piece in content:
        yield from scan.feed(piece)
    yield scan.end()


class _ArrayScan:
    """Cuts an array at the commas between its members, by the nesting of its brackets.

    What of the member under way has come is held, from ``_start`` on; up to ``_scanned`` its
    brackets are counted.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._held = b""
        self._start = self._scanned = self._depth = 0
        self._is_over = False

    def feed(self, piece: bytes) -> Iterator[_Piece]:
        """What ends in this piece."""
        self._held += piece
        for token in _TOKEN.finditer(self._held, self._scanned):
            if token[0] == b'"':
                break
            found = self._take(token)
            if found is not None:
                yield found
            self._scanned = token.end()
        self._held = self._held[self._start :]
        self._scanned -= self._start
        self._start = 0
        if len(self._held) > _LONGEST:
            raise self._broken("a member has no end, or is far too long")

    def end(self) -> _Piece:
        """What follows the last member. Raises ``InputError`` if the array is not closed."""
        if not self._is_over or self._held.removeprefix(b"]").strip():
            raise self._broken("its brackets do not match")
        return _Piece(self._held, is_row=False)

    def _take(self, token: re.Match[bytes]) -> _Piece | None:
        mark = token[0]
        if self._is_over or (self._depth == 0 and mark != b"["):
            raise self._broken("something stands outside of its brackets")
        if mark in {b"{", b"["}:
            self._depth += 1
            return self._cut(token.end(), is_row=False) if self._depth == 1 else None
        if mark in {b"}", b"]"}:
            self._depth -= 1
            return self._close(token) if self._depth == 0 else None
        return self._cut(token.start(), past=1) if mark == b"," and self._depth == 1 else None

    def _close(self, token: re.Match[bytes]) -> _Piece:
        if token[0] != b"]":
            raise self._broken("its brackets do not match")
        self._is_over = True
        is_row = bool(self._held[self._start : token.start()].strip())
        return self._cut(token.start(), is_row)

    def _cut(self, end: int, is_row: bool = True, past: int = 0) -> _Piece:
        content = self._held[self._start : end]
        self._start = end + past
        return _Piece(content, is_row, is_member=is_row)

    def _broken(self, why: str) -> InputError:
        return InputError(f"{self._name}: the array is broken: {why}")


class _Behind:
    """A stream behind what has been read of it."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self._first = first
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        first, self._first = self._first, b""
        return first or self._stream.read(size)


def _packing(sink: Sink | None, compression: Compression) -> AbstractContextManager[Sink | None]:
    """A sink that packs; what is below it stays open."""
    below = cast(Any, sink)  # these ask for more than they use
    packed: Any = nullcontext(sink)
    if sink is not None and compression is Compression.GZIP:
        packed = gzip.GzipFile(filename="", fileobj=below, mode="wb", mtime=0)
    elif sink is not None and compression is Compression.ZSTD:
        packed = zstd.ZstdFile(below, "w")
    elif sink is not None and compression is Compression.BZ2:
        packed = bz2.BZ2File(below, "w")
    return cast("AbstractContextManager[Sink | None]", packed)
