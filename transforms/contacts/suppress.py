"""Suppress: contacts of erased subjects are sent nowhere, and come out without anything of theirs.

A contact is a subject's if a value in it, under whatever name, is one of the subject's identities.
Every row still comes out once, in its place: with the reason ``suppressed`` and its line.

Nearly all rows are told from theirs by a look at the bytes of some hundred at once: emails where an
``@`` is, other identities at every value, by hints first and by near hashes then. What is left,
usually nothing, is decoded and decided exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import chain, islice
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.contacts import Reason, Row
from schemas.dsr import IdentityType
from schemas.erasure import Suppressed
from schemas.identities import KEEPS_CASE, LONGEST
from stores.objects.port import ObjectStore
from transforms.contacts.json_values import MARGIN, JsonValues, Places, Spans
from transforms.scrub import HASH_PREFIX
from transforms.subject_hashes import SubjectHasher, bytes_of
from transforms.suppress import SubjectRules, SubjectSieve

_AT_ONCE, _BYTES_AT_ONCE = 2500, 4 << 20
"""Rows that are looked at together, or how many bytes of them: each look has a price of its own."""

_STEP = 50
"""Rows whose contents are copied together, while they are still in the processor's cache."""

_LONGEST = 8 * LONGEST
"""Bytes beyond which a text is no identity, however it is written."""

_STORED_LENGTH = len(HASH_PREFIX) + 64

_AT, _PLUS, _BLANK, _BACKSLASH = (np.uint8(ord(one)) for one in "@+ \\")
_BEYOND_ASCII = np.uint8(0x80)
_MAY_COMPOSE = np.uint8(0xCC)
"""The first byte of U+0300 in UTF-8: text of smaller ones alone is in Unicode's form NFC."""

_C2, _85, _A0 = np.uint8(0xC2), np.uint8(0x85), np.uint8(0xA0)
"""Of U+0085 and U+00A0 in UTF-8: of all white space beyond ASCII, only they are before U+0300."""

_HINT_BITS, _FEWEST_BITS, _MOST_BITS = 32, 18, 24
_EMAIL = IdentityType.EMAIL

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True)
class SuppressedContacts:
    """Where it is written whose contacts are left out: a lake, and its lists."""

    lake: ObjectStore
    rules: SubjectRules

    def open(self, now: datetime) -> ContactSieve:
        """Raises as ``SubjectRules.open`` does."""
        return ContactSieve(self.rules.open(self.lake, now))


@dataclass(frozen=True)
class ContactSieve:
    """Tells contacts of suppressed subjects."""

    subjects: SubjectSieve

    def sift(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows; those of suppressed subjects without their contact, and with a reason."""
        if not self.subjects.suppressed:
            return rows
        return chain.from_iterable(self._sifted(some, contents) for some, contents in _runs(rows))

    def _sifted(self, rows: list[Row], contents: list[bytes]) -> list[Row]:
        near = self._places_near(JsonValues.of(contents))
        if not len(near):
            return rows
        ends = np.cumsum([len(_content(row)) for row in rows]) + MARGIN
        candidates = set(np.searchsorted(ends, near, side="right").tolist())
        gone = {n for n in candidates if self._is_subject(_content(rows[n]))}
        return [_without_contact(row) if n in gone else row for n, row in enumerate(rows)]

    def _places_near(self, values: JsonValues) -> Places:
        """Where values begin that are near suppressed ones."""
        found = []
        if self._emails.kinds:
            found.append(self._near(values, self._emails_worth_a_look(values), self._emails.kinds))
        if self._others.kinds:
            found.append(self._near(values, self._others_worth_a_look(values), self._others.kinds))
        if values.has_escapes:
            found.append(self._near_escaped(values))
        return np.concatenate(found)

    def _emails_worth_a_look(self, values: JsonValues) -> Spans:
        """Which may be suppressed emails, or what is stored in place of one."""
        spans, ats = values.texts_around(np.flatnonzero(values.data == _AT))
        hints = self._hasher.hints(values.data, spans.begins, ats - spans.begins)
        chosen = self._emails.holds(hints)
        chosen[_odd_among(values.arrow(spans))] = True
        stored = values.texts_of_length(_STORED_LENGTH)
        return _joined(spans.at(np.flatnonzero(chosen)), stored)

    def _others_worth_a_look(self, values: JsonValues) -> Spans:
        """Which may be other suppressed identities."""
        texts, limit = values.texts(), _BEYOND_ASCII if self._folds else _MAY_COMPOSE
        found = [self._hinted(values, spans) for spans in (texts, values.numbers())]
        return _joined(*found, *_at_odds(values, texts, limit))

    def _hinted(self, values: JsonValues, spans: Spans) -> Spans:
        hints = self._hasher.hints(values.data, spans.begins, spans.lengths)
        return spans.at(np.flatnonzero(self._others.holds(hints)))

    def _near(self, values: JsonValues, spans: Spans, kinds: Iterable[IdentityType]) -> Places:
        short = spans.at(spans.lengths <= _LONGEST)
        return self._near_of(values.arrow(short), short, kinds)

    def _near_escaped(self, values: JsonValues) -> Places:
        """Of what has escapes in it, a text is not written as it reads."""
        spans, _ = values.texts_around(np.flatnonzero(values.data == _BACKSLASH))
        short = spans.at(spans.lengths <= _LONGEST)
        return self._near_of(values.decoded(short), short, self.subjects.kinds)

    def _near_of(self, texts: Any, spans: Spans, kinds: Iterable[IdentityType]) -> Places:
        if not len(spans):
            return spans.begins
        near = [self.subjects.places_near(texts, kind) for kind in kinds]
        return spans.begins[np.concatenate(near)]

    def _is_subject(self, content: bytes) -> bool:
        return self.subjects.is_document(_decode(content))

    @property
    def _hasher(self) -> SubjectHasher:
        return self.subjects.hasher

    @cached_property
    def _emails(self) -> _Hinted:
        return _Hinted.of(one for one in self.subjects.suppressed if one.type is _EMAIL)

    @cached_property
    def _others(self) -> _Hinted:
        return _Hinted.of(one for one in self.subjects.suppressed if one.type is not _EMAIL)

    @cached_property
    def _folds(self) -> bool:
        """Whether case makes no difference to some of these others."""
        return bool(self._others.kinds - KEEPS_CASE)


@dataclass(frozen=True)
class _Hinted:
    """Types of identities, and which hints any of these have: their first bits."""

    kinds: frozenset[IdentityType]
    marks: npt.NDArray[np.bool_]
    shift: np.uint64

    @staticmethod
    def of(suppressed: Iterable[Suppressed]) -> _Hinted:
        some = tuple(suppressed)
        hints = np.array([hint for one in some for hint in one.hints], np.uint64)
        bits = min(max((64 * len(hints)).bit_length(), _FEWEST_BITS), _MOST_BITS)
        # Lists that were written before there were hints say nothing: all is worth a look.
        marks = np.full(1 << bits, not all(one.hints for one in some))
        marks[hints >> np.uint64(_HINT_BITS - bits)] = True
        return _Hinted(frozenset(one.type for one in some), marks, np.uint64(64 - bits))

    def holds(self, hints: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        return self.marks[hints >> self.shift]


def _runs(rows: Iterator[Row]) -> Iterator[tuple[list[Row], list[bytes]]]:
    """Rows that are looked at together, and their contents, some joined."""
    some, contents, size = list[Row](), list[bytes](), 0
    while step := list(islice(rows, _STEP)):
        some += step
        contents.append(b"".join([b"" if row.contact is None else row.contact for row in step]))
        size += len(contents[-1])
        if len(some) >= _AT_ONCE or size >= _BYTES_AT_ONCE:
            yield some, contents
            some, contents, size = [], [], 0
    if some:
        yield some, contents


def _content(row: Row) -> bytes:
    return b"" if row.contact is None else bytes(row.contact)


def _odd_among(emails: Any) -> Places:
    """Emails that may not be as they are compared: with blanks, other letters, or a tag."""
    data, offsets = bytes_of(emails)
    is_odd = (data <= _BLANK) | (data >= _BEYOND_ASCII) | (data == _PLUS)
    if not is_odd.any():
        return np.zeros(0, np.int64)
    return np.searchsorted(offsets, np.flatnonzero(is_odd), side="right") - 1


def _at_odds(values: JsonValues, texts: Spans, limit: np.uint8) -> Iterator[Spans]:
    """Texts that may not be as they are compared."""
    beyond = values.data >= limit
    if beyond.any():
        yield values.texts_around(np.flatnonzero(beyond))[0]
    first, last = values.data[texts.begins], values.data[texts.ends - 1]
    at_edge = (first == _BLANK) | (first == _C2) | (last == _BLANK) | (last == _85) | (last == _A0)
    yield texts.at(np.flatnonzero(at_edge))


def _joined(*parts: Spans) -> Spans:
    """All in their order, each once."""
    begins, places = np.unique(np.concatenate([part.begins for part in parts]), return_index=True)
    return Spans(begins, np.concatenate([part.ends for part in parts])[places])


def _without_contact(row: Row) -> Row:
    return Row(row.line, None, None, Reason.SUPPRESSED, digest=row.digest)
