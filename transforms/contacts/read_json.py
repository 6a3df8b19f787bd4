"""Rows from JSON: an object a line, or the objects of one array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from schemas.contacts import MAX_ROW, Reason, Row
from schemas.errors import InputError
from transforms.contacts.check import checked_row, faulty_row
from transforms.contacts.lines import lines_of
from transforms.nesting import nests_deeper

_LONGEST_HELD = 8 * MAX_ROW

_DEEPEST = 200
"""Arrays and objects within each other: what can be decoded depends on who calls."""

_decode = msgspec.json.Decoder().decode

# A whole text, or the begin of one whose end is not there yet; or what gives an array its shape.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|["{}\[\],]', re.DOTALL)


def read_lines(
    pieces: Iterable[bytes], mapping: Mapping[str, str], first: int = 1
) -> Iterator[Row]:
    """A row for every line that is not blank; ``first`` is the number of the first line."""
    for number, content in lines_of(pieces, first):
        if content is None:
            yield faulty_row(number, Reason.TOO_LONG)
        elif content.strip():
            yield json_row(number, content, mapping)


def read_array(name: str, pieces: Iterable[bytes], mapping: Mapping[str, str]) -> Iterator[Row]:
    """A row for every member of the array, and never more of it in memory than one and a piece.

    Raises ``InputError`` where the array's own shape is broken, as nobody can tell its members
    from there on.
    """
    for line, member in _members(name, pieces):
        if len(member) > MAX_ROW:
            yield faulty_row(line, Reason.TOO_LONG)
        else:
            yield json_row(line, member, mapping)


def json_row(line: int, content: bytes, mapping: Mapping[str, str]) -> Row:
    """The row of one JSON value."""
    try:
        contact: Any = _decode(content)
    except UnicodeDecodeError:
        return faulty_row(line, Reason.INVALID_ENCODING)
    except (msgspec.DecodeError, RecursionError):
        return faulty_row(line, _why_undecodable(content))
    if len(content) > 2 * _DEEPEST and nests_deeper(content, _DEEPEST):
        return faulty_row(line, Reason.INVALID_JSON)
    if not isinstance(contact, dict):
        return faulty_row(line, Reason.NOT_AN_OBJECT)
    return checked_row(line, contact, mapping)


def _why_undecodable(content: bytes) -> Reason:
    try:
        content.decode()
    except UnicodeDecodeError:
        return Reason.INVALID_ENCODING
    return Reason.INVALID_JSON


def _members(name: str, pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The members of an array, each with its line."""
    scan = _ArrayScan(name)
    for piece in pieces:
        yield from scan.feed(piece)
    scan.check_end()


class _ArrayScan:
    """Finds the commas between an array's members by the nesting of brackets.

    What of the member under way has come is held, from ``_start`` on; up to ``_scanned`` its
    brackets are counted. ``_line`` is that of ``_start``.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._held = b""
        self._start = self._scanned = self._depth = self._count = 0
        self._line = 1
        self._is_over = False

    def feed(self, piece: bytes) -> Iterator[tuple[int, bytes]]:
        """The members that end in this piece."""
        self._held += piece
        for token in _TOKEN.finditer(self._held, self._scanned):
            if token[0] == b'"':
                break
            yield from self._take(token)
            self._scanned = token.end()
        self._drop_taken()

    def check_end(self) -> None:
        """Raise ``InputError`` if the array is not closed."""
        if not self._is_over:
            raise self._broken("its end is missing")

    def _take(self, token: re.Match[bytes]) -> Iterator[tuple[int, bytes]]:
        mark = token[0]
        if self._depth == 0:
            self._open(token)
        elif mark in {b"{", b"["}:
            self._depth += 1
        elif mark in {b"}", b"]"}:
            self._depth -= 1
            if self._depth == 0:
                yield from self._close(token)
        elif mark == b"," and self._depth == 1:
            yield self._member(token)

    def _open(self, token: re.Match[bytes]) -> None:
        before = self._held[self._start : token.start()]
        if token[0] != b"[" or self._is_over or before.strip():
            raise self._broken("something stands outside of its brackets")
        self._depth = 1
        self._begin_after(token)

    def _close(self, token: re.Match[bytes]) -> Iterator[tuple[int, bytes]]:
        if token[0] != b"]":
            raise self._broken("its brackets do not match")
        self._is_over = True
        if self._count or self._held[self._start : token.start()].strip():
            yield self._member(token)
        else:
            self._begin_after(token)

    def _member(self, end: re.Match[bytes]) -> tuple[int, bytes]:
        member = self._held[self._start : end.start()]
        begun = member.lstrip()
        line = self._line + member.count(b"\n", 0, len(member) - len(begun))
        self._count += 1
        self._begin_after(end)
        return line, begun.rstrip()

    def _begin_after(self, token: re.Match[bytes]) -> None:
        self._line += self._held.count(b"\n", self._start, token.end())
        self._start = token.end()

    def _drop_taken(self) -> None:
        self._held = self._held[self._start :]
        self._scanned -= self._start
        self._start = 0
        if self._is_over and self._held.strip():
            raise self._broken("something stands outside of its brackets")
        if len(self._held) > _LONGEST_HELD:
            raise self._broken("a member has no end, or is far too long")

    def _broken(self, why: str) -> InputError:
        return InputError(f"{self._name}: the array is broken at line {self._line}: {why}")
