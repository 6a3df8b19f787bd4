"""Record types for tests: the fewest fields a type can have, and those a test is about."""

from __future__ import annotations

from typing import Any

from schemas.fields import RecordType
from schemas.registry import build_record_type

TIMESTAMP = {"type": "long", "logicalType": "timestamp-micros"}


def document(*fields: dict[str, Any], **changes: Any) -> dict[str, Any]:
    needed = [
        {"name": "id", "type": "string"},
        {"name": "type", "type": "string"},
        {"name": "version", "type": "long"},
        {"name": "updated_at", "type": TIMESTAMP, "partition": True},
    ]
    return {"type": "record", "name": "t", "fields": [*needed, *fields], **changes}


def record_type(*fields: dict[str, Any], **changes: Any) -> RecordType:
    return build_record_type(document(*fields, **changes))


def typed(avro_type: Any, **attributes: Any) -> RecordType:
    """A type with one field ``x`` besides the needed ones."""
    return record_type({"name": "x", "type": avro_type, **attributes})


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def record(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def enum(name: str, *symbols: str, **attributes: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols), **attributes}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def mapping(values: Any) -> dict[str, Any]:
    return {"type": "map", "values": values}


_LINE = record("line", {"name": "row", "type": "int"}, {"name": "at", "type": TIMESTAMP})

EVERY_KIND = record_type(
    {"name": "text", "type": "string"},
    {"name": "raw", "type": "bytes"},
    {"name": "flag", "type": "boolean"},
    {"name": "small", "type": "int"},
    {"name": "big", "type": "long"},
    {"name": "single", "type": "float"},
    {"name": "double", "type": "double"},
    {"name": "price", "type": decimal(12, 2)},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "moment", "type": ["null", TIMESTAMP], "default": None},
    {"name": "status", "type": enum("status", "ON", "OFF")},
    {"name": "tags", "type": array(["null", "string"])},
    {"name": "counts", "type": mapping("long")},
    {"name": "lines", "type": array(_LINE)},
)
"""A type with a field of each kind; ``double`` and ``row`` are reserved words."""
