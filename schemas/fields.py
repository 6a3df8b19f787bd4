"""The model of a record type: its fields, and what each of them means to the lake.

Built from an Avro schema by ``schemas.registry``; everything that is derived from a schema
(decoder, Arrow schema, DDL, JSON Schema, subject and PII maps) is derived from this model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Scrub(StrEnum):
    """What may leave the pipeline of a personal value."""

    KEEP = "keep"
    HASH = "hash"
    MASK = "mask"
    DROP = "drop"


@dataclass(frozen=True)
class StringKind:
    pass


@dataclass(frozen=True)
class BytesKind:
    pass


@dataclass(frozen=True)
class BooleanKind:
    pass


@dataclass(frozen=True)
class IntegerKind:
    """A signed integer of ``bits`` 32 or 64."""

    bits: int


@dataclass(frozen=True)
class FloatKind:
    """An IEEE 754 number of ``bits`` 32 or 64."""

    bits: int


@dataclass(frozen=True)
class DecimalKind:
    """An exact number: ``precision`` digits in all (at most 38), ``scale`` after the point."""

    precision: int
    scale: int


@dataclass(frozen=True)
class TimestampKind:
    """An instant, UTC, in microseconds."""


@dataclass(frozen=True)
class DateKind:
    """A calendar date."""


@dataclass(frozen=True)
class EnumKind:
    name: str
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class ListKind:
    item: Kind
    item_nullable: bool = False


@dataclass(frozen=True)
class MapKind:
    """String keys to values of one kind."""

    value: Kind
    value_nullable: bool = False


@dataclass(frozen=True)
class RecordKind:
    name: str
    fields: tuple[Field, ...]


Kind = (
    StringKind
    | BytesKind
    | BooleanKind
    | IntegerKind
    | FloatKind
    | DecimalKind
    | TimestampKind
    | DateKind
    | EnumKind
    | ListKind
    | MapKind
    | RecordKind
)


@dataclass(frozen=True)
class Limits:
    """What a value must keep to beyond its kind; None means no limit."""

    minimum: int | None = None
    maximum: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None


@dataclass(frozen=True)
class Field:
    """One field of a record type.

    ``name`` is the lake's column, ``source`` the attribute's name in the change record.
    ``subject`` is an OpenDSR identity type when the value identifies a data subject; with
    ``subject_when`` set (``{"channel": "email"}``), only in rows where those columns match; of a
    field within a record these are the fields beside it.
    ``computed`` names the function of ``transforms.compute`` that fills the field.
    ``system`` fields are filled by the pipeline itself and never read from an image.
    """

    name: str
    source: str
    kind: Kind
    nullable: bool = False
    limits: Limits = Limits()
    partition: bool = False
    subject: str | None = None
    subject_when: tuple[tuple[str, str], ...] = ()
    pii: str | None = None
    scrub: Scrub = Scrub.KEEP
    computed: str | None = None
    system: bool = False
    doc: str = ""


@dataclass(frozen=True)
class RecordType:
    """A record type as the lake knows it.

    ``avro`` is the complete Avro writer schema (the type's own fields and then the lake's),
    with the custom attributes; ``fingerprint`` names it (see ``schemas.registry.fingerprint``).
    """

    name: str
    fields: tuple[Field, ...]
    avro: dict[str, Any]
    fingerprint: str

    @property
    def image_fields(self) -> tuple[Field, ...]:
        """The fields read from a change record's image."""
        return tuple(f for f in self.fields if not f.system and f.computed is None)

    @property
    def partition_field(self) -> Field:
        """The event-time field that gives the partition date."""
        return next(f for f in self.fields if f.partition)

    @property
    def subjects(self) -> tuple[tuple[str, Field], ...]:
        """The fields that identify a subject, at any depth, each with its path."""
        return tuple((p, f) for p, f in fields_within(self.fields) if f.subject is not None)

    @property
    def pii_fields(self) -> tuple[Field, ...]:
        """The personal columns; what is personal within a column is in ``personal``."""
        return tuple(f for f in self.fields if f.pii is not None)

    @property
    def personal(self) -> tuple[tuple[str, Field], ...]:
        """The fields with personal values, at any depth, each with its path."""
        return tuple((p, f) for p, f in fields_within(self.fields) if f.pii is not None)

    def field(self, name: str) -> Field:
        """The field with this column name. Raises ``KeyError``."""
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


def fields_within(fields: tuple[Field, ...], prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Fields and the fields of records in them, each with its path.

    ``contacts[].email`` is a field of the records in a list, and ``{}`` stands for a map's values.
    """
    for field in fields:
        path = prefix + field.name
        yield path, field
        yield from _members(field.kind, path)


def _members(kind: Kind, path: str) -> Iterator[tuple[str, Field]]:
    match kind:
        case ListKind(item, _):
            yield from _members(item, f"{path}[]")
        case MapKind(value, _):
            yield from _members(value, f"{path}{{}}")
        case RecordKind(_, fields):
            yield from fields_within(fields, f"{path}.")
