"""The Arrow schema of a record type."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.arrow import FINGERPRINT_KEY, TYPE_KEY, arrow_schema
from schemas.registry import load_registry
from tests.unit.schemas.record_types import EVERY_KIND

INSTANT = pa.timestamp("us", tz="UTC")
LINE = pa.struct([pa.field("row", pa.int32(), False), pa.field("at", INSTANT, False)])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("text", pa.string()),
        ("raw", pa.binary()),
        ("flag", pa.bool_()),
        ("small", pa.int32()),
        ("big", pa.int64()),
        ("single", pa.float32()),
        ("double", pa.float64()),
        ("price", pa.decimal128(12, 2)),
        ("day", pa.date32()),
        ("moment", INSTANT),
        ("status", pa.string()),
        ("tags", pa.list_(pa.field("element", pa.string(), nullable=True))),
        ("counts", pa.map_(pa.string(), pa.field("value", pa.int64(), nullable=False))),
        ("lines", pa.list_(pa.field("element", LINE, nullable=False))),
    ],
)
def test_kind_becomes_an_arrow_type(column: str, expected: Any) -> None:
    assert arrow_schema(EVERY_KIND).field(column).type == expected


def test_only_fields_with_a_null_branch_are_nullable() -> None:
    schema = arrow_schema(EVERY_KIND)
    assert schema.field("moment").nullable
    assert not schema.field("text").nullable


def test_name_and_fingerprint_are_metadata() -> None:
    assert arrow_schema(EVERY_KIND).metadata == {
        TYPE_KEY.encode(): b"t",
        FINGERPRINT_KEY.encode(): EVERY_KIND.fingerprint.encode(),
    }


@pytest.mark.parametrize("record_type", [*load_registry(), EVERY_KIND], ids=lambda t: t.name)
def test_parquet_keeps_the_schema(record_type: Any) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(arrow_schema(record_type).empty_table(), sink)
    found = pq.read_schema(pa.BufferReader(sink.getvalue()))
    assert found == arrow_schema(record_type)
    assert found.metadata == arrow_schema(record_type).metadata
