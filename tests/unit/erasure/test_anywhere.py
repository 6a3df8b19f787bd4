"""Finding subjects in tables of which no schema says where they stand."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.dsr import Identity, IdentityType
from transforms.avro_container import read_header
from transforms.erasure.anywhere import AnyColumnMatcher, type_of_any, type_of_any_avro
from transforms.erasure.avro import count_avro
from transforms.erasure.parquet import count_parquet
from transforms.erasure.text import IdentityText
from transforms.scrub import Scrubber

EMAIL = "ana@acme.example"
WANTED = (
    Identity(IdentityType.EMAIL, EMAIL),
    Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "42"),
)
MATCHER = AnyColumnMatcher(IdentityText(WANTED, Scrubber(b"0123456789abcdef")))

PLACE = {"type": "record", "name": "place", "fields": [{"name": "to", "type": "string"}]}
UUID_TYPE = {"type": "string", "logicalType": "uuid"}
AVRO: dict[str, tuple[list[Any], Any, int]] = {
    "text": ([("a", "string")], {"a": EMAIL}, 1),
    "bytes": ([("a", "bytes")], {"a": EMAIL.encode()}, 1),
    "type named before": (
        [("a", PLACE), ("b", ["null", "place"])],
        {"a": {"to": ""}, "b": {"to": EMAIL}},
        1,
    ),
    "text with a meaning": ([("a", {**UUID_TYPE, "logicalType": "word"})], {"a": EMAIL}, 1),
    "id": ([("userId", ["null", "long"])], {"userId": 42}, 1),
    "no id": ([("age", "long")], {"age": 42}, 0),
    "id within": (
        [("a", {"type": "record", "name": "r", "fields": [{"name": "id", "type": "int"}]})],
        {"a": {"id": 42}},
        1,
    ),
}


@pytest.mark.parametrize("name", AVRO)
def test_value_in_avro_is_found_wherever_it_stands(name: str) -> None:
    fields, row, count = AVRO[name]
    members = [{"name": one, "type": kind} for one, kind in fields]
    out = io.BytesIO()
    fastavro.writer(out, {"type": "record", "name": "t", "fields": members}, [row])
    kind = type_of_any_avro(read_header(io.BytesIO(out.getvalue())).schema)
    assert count_avro(io.BytesIO(out.getvalue()), kind, MATCHER).matched == count


PARQUET: dict[str, tuple[pa.Array, int]] = {
    "a": (pa.array([EMAIL.encode()]), 1),
    "userId": (pa.array([42.0]), 1),
    "user": (pa.array([{"id": 42}]), 1),
    "size": (pa.array([{"width": "42"}]), 0),
    "ids": (pa.array([{"width": [{"id": "42"}]}]), 1),
}


@pytest.mark.parametrize("name", PARQUET)
def test_value_in_parquet_is_found_wherever_it_stands(name: str) -> None:
    column, count = PARQUET[name]
    table, out = pa.table({name: column}), io.BytesIO()
    pq.write_table(table, out)
    assert count_parquet(out, type_of_any(table.schema), MATCHER).matched == count
