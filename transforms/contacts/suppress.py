"""Suppress: contacts of erased subjects are sent nowhere, and come out without anything of theirs.

A contact is a subject's if a value in it, under whatever name, is one of the subject's identities.
Every row still comes out once, in its place: with the reason ``suppressed`` and its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from schemas.contacts import Reason, Row
from stores.objects.port import ObjectStore
from transforms.erasure.letters import leaves
from transforms.suppress import SubjectRules, SubjectSieve

_LONGEST = 400
"""Characters beyond which a value is no identity, and no hash of one."""

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

    def sift(self, rows: Sequence[Row]) -> list[Row]:
        """The rows; those of suppressed subjects without their contact, and with a reason."""
        if not self.subjects.suppressed:
            return list(rows)
        gone = self._suppressed(rows)
        return [_without_contact(row) if n in gone else row for n, row in enumerate(rows)]

    def _suppressed(self, rows: Sequence[Row]) -> set[int]:
        documents = [None if row.contact is None else _decode(row.contact) for row in rows]
        found = [[*_texts(document)] for document in documents]
        row_of = np.repeat(np.arange(len(rows)), [len(texts) for texts in found])
        values = pa.array([text for texts in found for text in texts], pa.string())
        candidates = np.unique(row_of[self.subjects.places_near(values)]).tolist()
        return {row for row in candidates if self.subjects.is_document(documents[row])}


def _texts(document: Any) -> Iterator[str]:
    """The values of a contact that may be an identity."""
    if not isinstance(document, dict) or any(isinstance(v, dict | list) for v in document.values()):
        yield from (text for _, text in leaves(document) if len(text) <= _LONGEST)
        return
    for value in document.values():
        if type(value) is str:
            if len(value) <= _LONGEST:
                yield value
        elif type(value) is int:
            yield str(value)


def _without_contact(row: Row) -> Row:
    return Row(row.line, None, None, Reason.SUPPRESSED, digest=row.digest)
