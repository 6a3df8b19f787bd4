"""Suppress: contacts of erased subjects are sent nowhere, and come out without anything of theirs.

A contact is a subject's if a value in it, under whatever name, is one of the subject's identities.
Every row still comes out once, in its place: with the reason ``suppressed`` and its line.

They are looked for before the first contact is sent, where the file is gone through anyway.
Nearly all lines are told from theirs by the tails of their values, a block at a time. What is
left, usually nothing, is read, and decided by near hashes and then by exact ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import chain

import msgspec
import numpy as np
import pyarrow as pa

from schemas.contacts import ContactFormat, LineFormat, Part, Reason, Row
from stores.objects.port import ObjectStore
from transforms.contacts.block import NOWHERE, Places
from transforms.contacts.check import faulty_row
from transforms.contacts.read import read_part
from transforms.contacts.tails import ContactTails
from transforms.erasure.letters import leaves
from transforms.suppress import SubjectRules, SubjectSieve

SuppressedLines = Mapping[int, Places]
"""By a part's number, if there are any in it: the lines of suppressed subjects, in order."""

_BLOCK = 1 << 20
"""Bytes looked at together: a look costs some hundred microseconds, whatever there is."""

_ROW = 64
"""Bytes that a row counts for beside its contact."""

_JSON = LineFormat(ContactFormat.NDJSON)
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
        search = LineSearch(self.subjects, self._tails, {})
        return chain.from_iterable(search.sifted(some) for some in _batches(rows))

    def search(self, lines: LineFormat, mapping: Mapping[str, str]) -> LineSearch:
        """Looks for them in a file whose lines are read so."""
        return LineSearch(self.subjects, ContactTails(self.subjects, lines), mapping)

    @cached_property
    def _tails(self) -> ContactTails:
        return ContactTails(self.subjects, _JSON)


def left_out(rows: Iterator[Row], lines: Places) -> Iterator[Row]:
    """The rows of a file of a row a line, those of these lines without their contact.

    A row that is too long has none, and may be among them for what its rest looks like.
    """
    gone = frozenset(lines.tolist())
    return (_without_contact(row) if row.line in gone and row.contact else row for row in rows)


@dataclass
class LineSearch:
    """Looks for the lines on which contacts of suppressed subjects stand."""

    subjects: SubjectSieve
    tails: ContactTails
    mapping: Mapping[str, str]
    _rows: list[Row] = field(default_factory=list, repr=False)
    _size: int = 0
    _found: list[Places] = field(default_factory=list)

    def found(self, parts: Sequence[Part]) -> SuppressedLines:
        """What was found in all lines of a file of these parts."""
        self._decide()
        numbers = np.concatenate([NOWHERE, *self._found])
        places = np.searchsorted([part.line for part in parts], numbers, side="right") - 1
        which, begins = np.unique(places, return_index=True)
        some = np.split(numbers, begins[1:])
        return {parts[n].number: lines for n, lines in zip(which.tolist(), some, strict=False)}

    def look(self, block: bytes, ends: Places, first: int) -> None:
        """Look through whole lines: where each ends, and the number of the first."""
        if not self.subjects.suppressed:
            return
        whole, begin = memoryview(block), 0
        while begin < len(ends):
            at = int(ends[begin - 1]) if begin else 0
            last = max(begin + 1, int(np.searchsorted(ends, at + _BLOCK)))
            lines = whole[at : int(ends[last - 1])]
            self._look(lines, ends[begin:last] - at, first + begin)
            begin = last

    def sifted(self, rows: list[Row]) -> list[Row]:
        """Rows of JSON, those of suppressed subjects without their contact."""
        contents = [b"" if row.contact is None else bytes(row.contact) for row in rows]
        ends = np.cumsum([len(content) + 1 for content in contents])
        chosen = self._worth_a_look(b"\n".join(contents), ends).tolist()
        gone = {chosen[n] for n in self._are_subjects([rows[place] for place in chosen])}
        return [_without_contact(row) if n in gone else row for n, row in enumerate(rows)]

    def _look(self, block: memoryview, ends: Places, first: int) -> None:
        chosen = self._worth_a_look(block, ends).tolist()
        if not chosen:
            return
        begins = [0, *ends.tolist()]
        lines = [(first + n, bytes(block[begins[n] : begins[n + 1]])) for n in chosen]
        self._rows += [row for number, line in lines for row in self._read(line, number)]
        self._size += sum(_ROW + len(line) for _, line in lines)
        if self._size >= _BLOCK:
            self._decide()

    def _decide(self) -> None:
        """Decide about the lines that are left."""
        lines = [self._rows[n].line for n in self._are_subjects(self._rows)]
        if lines:
            self._found.append(np.array(lines, np.int64))
        self._rows, self._size = [], 0

    def _worth_a_look(self, block: bytes | memoryview, ends: Places) -> Places:
        """Which lines may be of suppressed subjects."""
        if not self.tails.tell:
            return np.arange(len(ends))
        places = self.tails.places(block)
        return np.unique(np.searchsorted(ends, places, side="right")) if len(places) else NOWHERE

    def _read(self, line: bytes, number: int) -> Iterator[Row]:
        return read_part(self.tails.lines, [line], number, self.mapping)

    def _are_subjects(self, rows: Sequence[Row]) -> list[int]:
        """Which rows are of suppressed subjects."""
        if not rows:
            return []
        documents = [None if row.contact is None else _decode(row.contact) for row in rows]
        near = self._near([[text for _, text in leaves(one)] for one in documents])
        return [n for n in near if self.subjects.is_document(documents[n])]

    def _near(self, texts: Sequence[list[str]]) -> list[int]:
        """Which lists have a text that is near a suppressed identity."""
        every = pa.array(list(chain.from_iterable(texts)), pa.string())
        near = [self.subjects.places_near(every, kind) for kind in self.subjects.kinds]
        ends = np.cumsum([len(some) for some in texts])
        found = np.searchsorted(ends, np.concatenate(near), side="right")
        return [int(n) for n in np.unique(found)]


def _without_contact(row: Row) -> Row:
    return faulty_row(row.line, Reason.SUPPRESSED)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows that are looked at together."""
    some, size = list[Row](), 0
    for row in rows:
        some.append(row)
        size += _ROW if row.contact is None else _ROW + len(row.contact)
        if size >= _BLOCK:
            yield some
            some, size = [], 0
    if some:
        yield some
