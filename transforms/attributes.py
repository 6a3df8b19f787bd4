"""DynamoDB's typed JSON, value by value: all ten types, and plain values made into typed ones.

Serves the fields that no schema names (they are kept as plain JSON) and the inputs whose images
are plain JSON. The ten types: S N B BOOL NULL M L SS NS BS (Amazon DynamoDB API Reference,
"AttributeValue").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from schemas.fields import (
    BytesKind,
    DateKind,
    DecimalKind,
    Field,
    FloatKind,
    IntegerKind,
    Kind,
    ListKind,
    MapKind,
    RecordKind,
    TimestampKind,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROS_FROM = 10**14
"""Epoch numbers from here on are microseconds: as milliseconds they would lie beyond year 5000."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True)
class Number:
    """A JSON number as it was written, so that no digit is lost."""

    text: str


class NotAnAttribute(ValueError):
    """A value is not one of DynamoDB's ten types."""


def plain_json(fields: Mapping[str, Any]) -> str:
    """Plain values as one JSON object; decimals keep every digit."""
    return _encode(fields).decode()


def unmarshal(attribute: Any) -> Any:
    """The plain value of a typed attribute: numbers exact, sets as lists, binary as base64.

    Raises ``NotAnAttribute`` for anything that is not a map of one type tag to its value.
    """
    if not isinstance(attribute, dict) or len(attribute) != 1:
        raise NotAnAttribute
    ((tag, value),) = attribute.items()
    match tag, value:
        case ("S" | "B", str()) | ("BOOL", bool()):
            return value
        case "N", str():
            return _number(value)
        case "NULL", True:
            return None
        case ("SS" | "BS", list()) if all(isinstance(item, str) for item in value):
            return value
        case "NS", list() if all(isinstance(item, str) for item in value):
            return [_number(item) for item in value]
        case "L", list():
            return [unmarshal(item) for item in value]
        case "M", dict():
            return {name: unmarshal(item) for name, item in value.items()}
    raise NotAnAttribute


def marshal_image(image: Mapping[str, Any], fields: tuple[Field, ...]) -> dict[str, Any]:
    """A plain JSON object as an item's image, each known field typed as its kind expects."""
    kinds = {field.source: field.kind for field in fields}
    return {name: marshal(value, kinds.get(name)) for name, value in image.items()}


def marshal(value: Any, kind: Kind | None) -> dict[str, Any]:
    """A plain JSON value as a typed attribute; ``kind`` settles what JSON leaves open."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {_string_tag(kind): value}
        case Number(text):
            return _marshal_number(text, kind)
        case list():
            item = kind.item if isinstance(kind, ListKind) else None
            return {"L": [marshal(entry, item) for entry in value]}
        case dict():
            return {"M": _marshal_members(value, kind)}
    raise NotAnAttribute


def _string_tag(kind: Kind | None) -> str:
    if isinstance(kind, IntegerKind | FloatKind | DecimalKind):
        return "N"
    return "B" if isinstance(kind, BytesKind) else "S"


def _marshal_number(text: str, kind: Kind | None) -> dict[str, Any]:
    """Debezium writes times as epoch numbers in milliseconds or microseconds, dates in days."""
    if isinstance(kind, TimestampKind) and text.lstrip("-").isdigit() and _is_micros(text):
        return {"S": (_EPOCH + timedelta(microseconds=int(text))).isoformat()}
    if isinstance(kind, DateKind) and text.lstrip("-").isdigit() and len(text) < 8:
        return {"S": (_EPOCH + timedelta(days=int(text))).date().isoformat()}
    return {"N": text}


def _is_micros(text: str) -> bool:
    return _MICROS_FROM <= abs(int(text)) < 10**17


def _marshal_members(value: Mapping[str, Any], kind: Kind | None) -> dict[str, Any]:
    if isinstance(kind, RecordKind):
        return marshal_image(value, kind.fields)
    member = kind.value if isinstance(kind, MapKind) else None
    return {name: marshal(entry, member) for name, entry in value.items()}


def _number(text: str) -> Decimal | str:
    """A number, or its text where JSON has no way to write it."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise NotAnAttribute from None
    return number if number.is_finite() else text
