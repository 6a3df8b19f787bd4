"""JSON Schema (draft 2020-12) of a record type's row in the lake, written as JSON.

JSON has fewer kinds of value than the lake: timestamps and dates are RFC 3339 strings, bytes are
base64, and decimals are strings, because a JSON number loses digits in most readers. What JSON
Schema has no word for stands in ``x-lethe-*`` keywords, which validators ignore.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
    Limits,
    ListKind,
    MapKind,
    RecordKind,
    RecordType,
    Scrub,
    StringKind,
    TimestampKind,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(record_type: RecordType) -> dict[str, Any]:
    """The schema of one row: limits, enums, formats; columns that may be null may be absent."""
    return {
        "$schema": DIALECT,
        "$id": f"urn:lethe:schema:{record_type.name}:{record_type.fingerprint}",
        "title": record_type.name,
        **_described(str(record_type.avro.get("doc", ""))),
        **_object(record_type.fields),
        "x-lethe-partition": record_type.partition_field.name,
        "x-lethe-fingerprint": record_type.fingerprint,
    }


def _object(fields: Iterable[Field]) -> dict[str, Any]:
    members = tuple(fields)
    return {
        "type": "object",
        "properties": {field.name: _property(field) for field in members},
        "required": [field.name for field in members if not field.nullable],
        "additionalProperties": False,
    }


def _property(field: Field) -> dict[str, Any]:
    limited = {**_value(field.kind), **_limits(field.kind, field.limits)}
    value = _nullable(limited) if field.nullable else limited
    return {**_described(field.doc), **value, **_meaning(field)}


def _described(doc: str) -> dict[str, str]:
    return {"description": doc} if doc else {}


def _value(kind: Kind) -> dict[str, Any]:
    match kind:
        case StringKind():
            return {"type": "string"}
        case EnumKind(_, symbols):
            return {"type": "string", "enum": list(symbols)}
        case BytesKind():
            return {"type": "string", "contentEncoding": "base64"}
        case BooleanKind():
            return {"type": "boolean"}
        case IntegerKind(bits):
            return {
                "type": "integer",
                "minimum": -(2 ** (bits - 1)),
                "maximum": 2 ** (bits - 1) - 1,
            }
        case FloatKind():
            return {"type": "number"}
        case DecimalKind(precision, scale):
            return {"type": "string", "pattern": _decimal_pattern(precision, scale)}
        case TimestampKind():
            return {"type": "string", "format": "date-time"}
        case DateKind():
            return {"type": "string", "format": "date"}
        case ListKind(item, nullable):
            return {"type": "array", "items": _element(item, nullable)}
        case MapKind(value, nullable):
            return {"type": "object", "additionalProperties": _element(value, nullable)}
        case RecordKind(_, fields):
            return _object(fields)


def _element(kind: Kind, nullable: bool) -> dict[str, Any]:
    return _nullable(_value(kind)) if nullable else _value(kind)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    widened = {**schema, "type": [schema["type"], "null"]}
    return {**widened, "enum": [*schema["enum"], None]} if "enum" in schema else widened


def _decimal_pattern(precision: int, scale: int) -> str:
    whole = f"[0-9]{{1,{precision - scale}}}" if precision > scale else "0"
    return f"^-?{whole}(\\.[0-9]{{1,{scale}}})?$" if scale else f"^-?{whole}$"


def _limits(kind: Kind, limits: Limits) -> dict[str, Any]:
    # JSON Schema compares numbers only, and a decimal is a string here.
    prefix = "x-lethe-" if isinstance(kind, DecimalKind) else ""
    stated = {
        f"{prefix}minimum": limits.minimum,
        f"{prefix}maximum": limits.maximum,
        "minLength": limits.min_length,
        "maxLength": limits.max_length,
        "pattern": limits.pattern,
    }
    return {keyword: value for keyword, value in stated.items() if value is not None}


def _meaning(field: Field) -> dict[str, Any]:
    stated = {
        "x-lethe-subject": field.subject,
        "x-lethe-subject-when": dict(field.subject_when) or None,
        "x-lethe-pii": field.pii,
        "x-lethe-scrub": field.scrub.value if field.pii or field.scrub != Scrub.KEEP else None,
        "x-lethe-computed": field.computed,
    }
    return {keyword: value for keyword, value in stated.items() if value is not None}
