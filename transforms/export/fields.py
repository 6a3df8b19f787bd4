"""Fields: what the columns of an archive's files are, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.erasure import FileKind
from schemas.export import ExportedField
from schemas.fields import (
    BooleanKind,
    BytesKind,
    DateKind,
    DecimalKind,
    EnumKind,
    Field,
    FloatKind,
    IntegerKind,
    Kind,
    ListKind,
    StringKind,
    TimestampKind,
    fields_within,
)
from schemas.registry import Registry
from transforms.export.parts import Member

_WORDS: Mapping[type, str] = {
    StringKind: "text",
    EnumKind: "text",
    BytesKind: "bytes, in base64",
    BooleanKind: "true or false",
    IntegerKind: "integer",
    FloatKind: "number",
    DecimalKind: "decimal, as text",
    TimestampKind: "time in ISO 8601, UTC",
    DateKind: "date in ISO 8601",
    ListKind: "list",
}
_UNKNOWN = "as it was found"

_OF_LETTERS: Mapping[str, str] = {
    "id": "Names the letter.",
    "code": "Why the record could not be taken in.",
    "stage": "In which step that was.",
    "message": "The same in words.",
    "field": "The field that is wrong.",
    "source": "Where the record was read from.",
    "offset": "Where in a file it stood.",
    "index": "Which record it was there.",
    "time": "When it was rejected.",
    "attempt": "How often it was tried.",
    "type": "The type of the record, as far as it could be told.",
    "schema_fingerprint": "The version of that type.",
    "encoding": "How the record is written: utf-8 is as it is.",
    "original": "The record.",
    "sequence": "Where in a stream it stood.",
}


@dataclass(frozen=True)
class Described:
    """Describes columns by the record types that are known."""

    registry: Registry

    def fields(self, member: Member, columns: Sequence[str]) -> tuple[ExportedField, ...]:
        """What the columns of a member's rows are."""
        if member.kind is FileKind.DEAD_LETTERS:
            return tuple(ExportedField(name, "text", _OF_LETTERS.get(name, "")) for name in columns)
        if member.type not in self.registry:
            return tuple(ExportedField(name, _UNKNOWN) for name in columns)
        known = {field.name.lower(): field for field in self.registry[member.type].fields}
        return tuple(_described(name, known.get(name.lower())) for name in columns)


def _described(name: str, field: Field | None) -> ExportedField:
    if field is None:
        return ExportedField(name, _UNKNOWN)
    within = [one for _, one in fields_within((field,))]
    personal = sorted({one.pii for one in within if one.pii})
    subjects = sorted({one.subject for one in within if one.subject})
    return ExportedField(
        name,
        _in_words(field.kind),
        field.doc,
        ", ".join(personal) or None,
        ", ".join(subjects) or None,
    )


def _in_words(kind: Kind) -> str:
    return _WORDS.get(type(kind), "object")
