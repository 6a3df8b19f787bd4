"""Suppress: contacts of erased subjects are sent nowhere, and come out without anything of theirs.

A contact is a subject's if a value in it, under whatever name, is one of the subject's identities.
Every row still comes out once, in its place: with the reason ``suppressed`` and its line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.contacts import Reason, Row
from schemas.dsr import IdentityType
from stores.objects.port import ObjectStore
from transforms.scrub import HASH_PREFIX
from transforms.suppress import SubjectRules, SubjectSieve

_LONGEST = 400
"""Characters beyond which a value is no identity, and no hash of one."""

_AT_ONCE = 4096
"""Rows that are looked at together; each look costs as much as that at some hundred rows."""

_STORED_LENGTH = len(HASH_PREFIX) + 64

_ESCAPE, _QUOTE, _COLON, _END = b"\\", ord('"'), ord(":"), b'""'
_MARKS = '":,{}[] \t\r\n'
_SHORTEST_GAP = 3

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

    def sift(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows; those of suppressed subjects without their contact, and with a reason."""
        if not self.subjects.suppressed:
            yield from rows
            return
        waiting = iter(rows)
        while some := list(islice(waiting, _AT_ONCE)):
            gone = self._suppressed(some)
            yield from (_without_contact(row) if n in gone else row for n, row in enumerate(some))

    def _suppressed(self, rows: Sequence[Row]) -> set[int]:
        contents = [b"" if row.contact is None else bytes(row.contact) for row in rows]
        return {n for n in self._candidates(contents) if self._is_subject(contents[n])}

    def _candidates(self, contents: list[bytes]) -> set[int]:
        """Contacts that are worth a look: one of their values is near a suppressed one.

        Of what has escapes in it, a value is not written as it reads.
        """
        whole, escaped = b"".join(contents), set[int]()
        if _ESCAPE in whole:
            escaped = {n for n, content in enumerate(contents) if _ESCAPE in content}
            contents = [b"" if n in escaped else content for n, content in enumerate(contents)]
            whole = b"".join(contents)
        starts = np.cumsum([0, *map(len, contents)])
        found = np.searchsorted(starts, self._places_near(whole), side="right") - 1
        return escaped | set(found.tolist())

    def _places_near(self, content: bytes) -> npt.NDArray[np.int64]:
        """Where values begin that are near suppressed ones."""
        values = _Values.of(content + _END)
        found = []
        for kind in self.subjects.kinds:
            chosen = values.emails() if kind is IdentityType.EMAIL else values.all()
            places = self.subjects.places_near(values.texts.take(pa.array(chosen)), kind)
            found.append(values.begins[chosen[places]])
        return np.concatenate(found)

    def _is_subject(self, content: bytes) -> bool:
        return self.subjects.is_document(_decode(content))


@dataclass(frozen=True)
class _Values:
    """The texts and numbers that JSON holds, and where each begins in it."""

    texts: Any
    begins: npt.NDArray[np.int64]

    @staticmethod
    def of(content: bytes) -> _Values:
        """Those of JSON without escapes, which ends at a text.

        Quotes are where texts begin and end by turns; a text is a name if a colon follows. Between
        two texts nothing but numbers, words of JSON's and blanks take more than three characters.
        """
        data = np.frombuffer(content, np.uint8)
        bounds = np.flatnonzero(data == _QUOTE)
        is_name = data[np.minimum(bounds[1::2] + 1, len(data) - 1)] == _COLON
        bounds[0::2] += 1
        lengths = np.diff(bounds)
        cut = pa.StringArray.from_buffers(
            len(lengths), pa.py_buffer(bounds.astype(np.int32)), pa.py_buffer(content)
        )
        texts = np.flatnonzero(~is_name & (lengths[0::2] <= _LONGEST)) * 2
        others = np.flatnonzero(lengths[1::2] > _SHORTEST_GAP) * 2 + 1
        numbers, gap_of = _numbers(cut.take(pa.array(others)))
        found = pa.concat_arrays([cut.take(pa.array(texts)), numbers])
        return _Values(found, bounds[np.concatenate((texts, others[gap_of]))])

    def all(self) -> npt.NDArray[np.int64]:
        return np.arange(len(self.texts))

    def emails(self) -> npt.NDArray[np.int64]:
        """Which may be emails, or what is stored in place of one."""
        is_stored = pc.equal(pc.binary_length(self.texts), _STORED_LENGTH)
        found = pc.or_(pc.match_substring(self.texts, "@"), is_stored)
        return np.flatnonzero(found.to_numpy(zero_copy_only=False))


def _numbers(gaps: Any) -> tuple[Any, npt.NDArray[np.int64]]:
    """What stands between texts, and in which gap each: numbers, and words that match nobody."""
    trimmed = pc.ascii_trim(gaps, characters=_MARKS)
    parts = pc.split_pattern(trimmed, ",")
    return pc.ascii_trim(parts.flatten(), characters=_MARKS), pc.list_parent_indices(parts)


def _without_contact(row: Row) -> Row:
    return Row(row.line, None, None, Reason.SUPPRESSED, digest=row.digest)
