"""The Arrow schema of a record type: how its rows look in memory and in Parquet."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

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
    MapKind,
    RecordKind,
    RecordType,
    StringKind,
    TimestampKind,
)

TIMESTAMP = pa.timestamp("us", tz="UTC")
FINGERPRINT_KEY = "lethe.fingerprint"
TYPE_KEY = "lethe.type"


def arrow_schema(record_type: RecordType) -> pa.Schema:
    """The type's Arrow schema, with its name and fingerprint as metadata."""
    return pa.schema(
        [arrow_field(field) for field in record_type.fields],
        metadata={TYPE_KEY: record_type.name, FINGERPRINT_KEY: record_type.fingerprint},
    )


def arrow_field(field: Field) -> pa.Field:
    return pa.field(field.name, arrow_type(field.kind), nullable=field.nullable)


def arrow_type(kind: Kind) -> Any:
    """The Arrow type that holds values of ``kind``."""
    match kind:
        case StringKind() | EnumKind():
            return pa.string()
        case BytesKind():
            return pa.binary()
        case BooleanKind():
            return pa.bool_()
        case IntegerKind(bits):
            return pa.int32() if bits == 32 else pa.int64()
        case FloatKind(bits):
            return pa.float32() if bits == 32 else pa.float64()
        case DecimalKind(precision, scale):
            return pa.decimal128(precision, scale)
        case TimestampKind():
            return TIMESTAMP
        case DateKind():
            return pa.date32()
        case ListKind(item, nullable):
            return pa.list_(pa.field("element", arrow_type(item), nullable=nullable))
        case MapKind(value, nullable):
            return pa.map_(pa.string(), pa.field("value", arrow_type(value), nullable=nullable))
        case RecordKind(_, fields):
            return pa.struct([arrow_field(field) for field in fields])
