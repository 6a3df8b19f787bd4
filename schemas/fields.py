"""The model of a record type: its fields, and what each of them means to the lake.

Built from an Avro schema by ``schemas.registry``; everything that is derived from a schema
(decoder, Arrow schema, DDL, JSON Schema, subject and PII maps) is derived from this model.
"""

from __future__ import annotations

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
    ``subject_when`` set (``{"channel": "email"}``), only in rows where those columns match.
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
    def subject_fields(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.subject is not None)

    @property
    def pii_fields(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.pii is not None)

    def field(self, name: str) -> Field:
        """The field with this column name. Raises ``KeyError``."""
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(name)
