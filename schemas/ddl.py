"""What the AWS catalog has to know of a record type: Athena DDL, and a Glue table.

Both describe the files under ``LAKE/type=<type>/date=YYYY-MM-DD/``. The partitions are projected
(Athena's "partition projection"), so a new date can be queried without ``MSCK REPAIR TABLE``.
One table reads one format: a lake that holds both gives half of its rows to each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
from schemas.registry import PARTITION_COLUMN

TableFormat = Literal["parquet", "avro"]

PROJECTED_DATES = "2000-01-01,NOW+1YEARS"
"""Dates that Athena looks for. Rows outside of them are in the lake and not in the table."""

_COMMENT_LENGTH = 255
"""The longest comment that the Glue Data Catalog keeps, in characters."""

_HIVE = "org.apache.hadoop.hive"
_AVRO_SERDE = f"{_HIVE}.serde2.avro.AvroSerDe"
_PARQUET_SERDE = f"{_HIVE}.ql.io.parquet.serde.ParquetHiveSerDe"
_FILE_FORMATS = {
    "avro": f"{_HIVE}.ql.io.avro.AvroContainer",
    "parquet": f"{_HIVE}.ql.io.parquet.MapredParquet",
}


@dataclass(frozen=True)
class _Words:
    """How one target writes a type down."""

    timestamp: str
    quote: Callable[[str], str]


def athena_ddl(record_type: RecordType, location: str, fmt: TableFormat = "parquet") -> str:
    """The ``CREATE EXTERNAL TABLE`` statement, ended by a newline and no semicolon.

    ``location`` is the lake's URI; the type's own folder is accepted as well. Timestamps are
    ``timestamp`` in Parquet and ``bigint`` (microseconds since 1970, UTC) in Avro, because Hive's
    and Trino's Avro readers know no ``timestamp-micros``.
    """
    words = _Words(_timestamp(fmt), _identifier)
    columns = ",\n".join(f"  {_column(field, words)}" for field in record_type.fields)
    return "\n".join(
        [
            f"CREATE EXTERNAL TABLE {_identifier(record_type.name)} (\n{columns}\n)",
            *_comment(_doc(record_type)),
            f"PARTITIONED BY ({_identifier(PARTITION_COLUMN)} string)",
            *_storage(record_type, fmt),
            f"LOCATION {_text(table_location(record_type, location))}",
            f"TBLPROPERTIES (\n{_properties(_table_properties(record_type, location))}\n)\n",
        ]
    )


def glue_table_input(
    record_type: RecordType, location: str, fmt: TableFormat = "parquet"
) -> dict[str, Any]:
    """The ``TableInput`` of Glue's ``CreateTable`` and ``UpdateTable``; arguments as above."""
    properties = _table_properties(record_type, location)
    return {
        "Name": record_type.name,
        "Description": _doc(record_type),
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "classification": fmt, **properties},
        "PartitionKeys": [{"Name": PARTITION_COLUMN, "Type": "string"}],
        "StorageDescriptor": _storage_descriptor(record_type, location, fmt),
    }


def table_location(record_type: RecordType, location: str) -> str:
    """The folder of the type's partitions, ended by a slash as Athena wants it."""
    folder = f"type={record_type.name}"
    root = location.rstrip("/").removesuffix(folder).rstrip("/")
    return f"{root}/{folder}/"


def _storage_descriptor(record_type: RecordType, location: str, fmt: TableFormat) -> dict[str, Any]:
    words = _Words(_timestamp(fmt), str.lower)
    return {
        "Columns": [_glue_column(field, words) for field in record_type.fields],
        "Location": table_location(record_type, location),
        "InputFormat": f"{_FILE_FORMATS[fmt]}InputFormat",
        "OutputFormat": f"{_FILE_FORMATS[fmt]}OutputFormat",
        "SerdeInfo": _serde(record_type, fmt),
    }


def _glue_column(field: Field, words: _Words) -> dict[str, str]:
    column = {"Name": field.name.lower(), "Type": _hive_type(field.kind, words)}
    return {**column, "Comment": _one_line(field.doc)} if field.doc else column


def _serde(record_type: RecordType, fmt: TableFormat) -> dict[str, Any]:
    if fmt == "parquet":
        return {"SerializationLibrary": _PARQUET_SERDE, "Parameters": {}}
    return {"SerializationLibrary": _AVRO_SERDE, "Parameters": _avro_literal(record_type)}


def _storage(record_type: RecordType, fmt: TableFormat) -> list[str]:
    if fmt == "parquet":
        return ["STORED AS PARQUET"]
    return [
        f"ROW FORMAT SERDE {_text(_AVRO_SERDE)}",
        f"WITH SERDEPROPERTIES (\n{_properties(_avro_literal(record_type))}\n)",
        "STORED AS AVRO",
    ]


def _avro_literal(record_type: RecordType) -> dict[str, str]:
    return {"avro.schema.literal": json.dumps(record_type.avro, separators=(",", ":"))}


def _table_properties(record_type: RecordType, location: str) -> dict[str, str]:
    key = f"projection.{PARTITION_COLUMN}"
    folder = table_location(record_type, location)
    return {
        "projection.enabled": "true",
        f"{key}.type": "date",
        f"{key}.format": "yyyy-MM-dd",
        f"{key}.range": PROJECTED_DATES,
        f"{key}.interval": "1",
        f"{key}.interval.unit": "DAYS",
        "storage.location.template": f"{folder}{PARTITION_COLUMN}=${{{PARTITION_COLUMN}}}/",
        "lethe.fingerprint": record_type.fingerprint,
    }


def _column(field: Field, words: _Words) -> str:
    return " ".join(
        [_identifier(field.name), _hive_type(field.kind, words), *_comment(_one_line(field.doc))]
    )


def _hive_type(kind: Kind, words: _Words) -> str:
    match kind:
        case StringKind() | EnumKind():
            return "string"
        case BytesKind():
            return "binary"
        case BooleanKind():
            return "boolean"
        case IntegerKind(bits):
            return "int" if bits == 32 else "bigint"
        case FloatKind(bits):
            return "float" if bits == 32 else "double"
        case DecimalKind(precision, scale):
            return f"decimal({precision},{scale})"
        case TimestampKind():
            return words.timestamp
        case DateKind():
            return "date"
        case ListKind(item):
            return f"array<{_hive_type(item, words)}>"
        case MapKind(value):
            return f"map<string,{_hive_type(value, words)}>"
        case RecordKind(_, fields):
            return f"struct<{_members(fields, words)}>"


def _members(fields: Iterable[Field], words: _Words) -> str:
    return ",".join(f"{words.quote(f.name)}:{_hive_type(f.kind, words)}" for f in fields)


def _timestamp(fmt: TableFormat) -> str:
    return "timestamp" if fmt == "parquet" else "bigint"


def _doc(record_type: RecordType) -> str:
    return _one_line(str(record_type.avro.get("doc", "")))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_COMMENT_LENGTH]


def _comment(text: str) -> list[str]:
    return [f"COMMENT {_text(text)}"] if text else []


def _properties(properties: Mapping[str, str]) -> str:
    return ",\n".join(f"  {_text(key)} = {_text(value)}" for key, value in properties.items())


def _identifier(name: str) -> str:
    # Quoted always: ``date``, ``row`` and others are reserved words of Athena's DDL.
    return f"`{name.lower()}`"


def _text(value: str) -> str:
    # Hive escapes with a backslash; a doubled quote would end one literal and begin another.
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
