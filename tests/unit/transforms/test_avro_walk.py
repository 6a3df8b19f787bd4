"""Passing over the rows of an Avro block, whatever their schema."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.avro_container import NotAvro
from transforms.erasure.avro_schema import bare_schema
from transforms.erasure.avro_walk import compiled_walk, text_columns


def schema(*types: Any) -> dict[str, Any]:
    """A bare schema with a field ``f0``, ``f1``, ... of each type."""
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(types)]
    return bare_schema(json.dumps({"type": "record", "name": "row", "fields": fields}).encode())


def encoded(kind: dict[str, Any], values: list[Any]) -> bytes:
    out = io.BytesIO()
    row = {f"f{place}": value for place, value in enumerate(values)}
    fastavro.schemaless_writer(out, fastavro.parse_schema(kind), row)
    return out.getvalue()


NODE = {
    "type": "record",
    "name": "node",
    "namespace": "acme",
    "fields": [
        {"name": "word", "type": "string"},
        {"name": "next", "type": ["null", "node"]},
        {"name": "all", "type": {"type": "array", "items": "acme.node"}},
    ],
}
NODES: st.SearchStrategy[Any] = st.recursive(
    st.builds(lambda word: {"word": word, "next": None, "all": []}, st.text(max_size=3)),
    lambda inner: st.fixed_dictionaries(
        {"word": st.text(max_size=3), "next": st.none() | inner, "all": st.lists(inner, max_size=2)}
    ),
    max_leaves=5,
)
FIXED = {"type": "fixed", "name": "four", "size": 4}
ENUM = {"type": "enum", "name": "mark", "symbols": ["A", "B"]}
KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("null", st.none()),
    ("boolean", st.booleans()),
    ("int", st.integers(-(2**31), 2**31 - 1)),
    ("long", st.integers(-(2**63), 2**63 - 1)),
    ("float", st.just(0.5)),
    ("double", st.floats(allow_nan=False)),
    ("string", st.text(max_size=200)),
    ("bytes", st.binary(max_size=100)),
    (FIXED, st.just(b"1234")),
    (ENUM, st.sampled_from("AB")),
    (
        ["null", "string", "long", {**FIXED, "name": "other"}],
        st.none() | st.text() | st.integers(0, 9),
    ),
    ({"type": "array", "items": ["null", "string"]}, st.lists(st.none() | st.text())),
    ({"type": "map", "values": "long"}, st.dictionaries(st.text(), st.integers(0, 999))),
    ({"type": "array", "items": {"type": "array", "items": "int"}}, st.just([[1, 2], [], [3]])),
    ({"type": "long", "logicalType": "timestamp-micros"}, st.just(0)),
    (NODE, NODES),
]


@settings(max_examples=60)
@given(st.data())
def test_rows_end_where_the_next_ones_begin(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5, unique_by=str))
    kind = schema(*(one for one, _ in kinds))
    row = st.tuples(*(values for _, values in kinds)).map(list)
    rows = [encoded(kind, values) for values in data.draw(st.lists(row, min_size=1, max_size=4))]
    ends, _, _ = compiled_walk(kind, ())(b"".join(rows), len(rows))
    assert ends == [sum(map(len, rows[: place + 1])) for place in range(len(rows))]


def test_chosen_columns_are_kept_row_by_row() -> None:
    kind = schema("string", "long", ["null", "string"])
    rows = encoded(kind, ["a", 1, None]) + encoded(kind, ["b", 2, "c"])
    _, kept, _ = compiled_walk(kind, {"f0", "f2"})(rows, 2)
    assert kept == [b"\x02a", b"\x00", b"\x02b", b"\x02\x02c"]


def test_texts_and_symbols_are_kept_column_by_column() -> None:
    kind = schema("long", ["null", "string"], ENUM, ["string", "null"], ["mark", "null"])
    rows: list[list[Any]] = [[1, None, "A", "x" * 200, "B"], [2, "é", "B", None, None]]
    texts = text_columns(kind, {"f0", "f1", "f2", "f3", "f4"})
    _, kept, found = compiled_walk(kind, {"f0", *texts}, texts)(
        b"".join(encoded(kind, row) for row in rows), 2
    )
    assert kept == [b"\x02", b"\x04"]
    assert found == [[None, "é".encode()], ["A", "B"], [b"x" * 200, None], ["B", None]]


@pytest.mark.parametrize("kind", ["bytes", "null", ["string", ENUM], ["null", "string", "long"]])
def test_other_values_are_kept_as_they_are_encoded(kind: Any) -> None:
    assert text_columns(schema(kind), {"f0"}) == []


def test_blocks_that_tell_their_size_are_passed_over() -> None:
    kind = schema({"type": "array", "items": "string"}, "int")
    rows = b"\x03\x08\x02a\x02b" + b"\x02\x02c" + b"\x00" + b"\x0a"
    assert compiled_walk(kind, ())(rows, 1) == ([len(rows)], [], [])


def test_unions_of_many_branches_are_told_apart() -> None:
    fixed = [{"type": "fixed", "name": f"t{size}", "size": size} for size in range(1, 80)]
    kind = schema(["null", *fixed])
    row = b"\x8c\x01" + bytes(70)
    assert compiled_walk(kind, ())(row, 1) == ([len(row)], [], [])


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("string", b"\x01"),
        ("string", b"\x81\x80\x01"),
        (["null", "string"], b"\x04"),
        ({"type": "array", "items": "null"}, b"\xfe\xff\xff\xff\x0f\x00"),
        ("long", b"\xff" * 11),
        ("string", b""),
    ],
)
def test_bytes_that_are_no_rows_are_an_error(kind: Any, data: bytes) -> None:
    with pytest.raises((NotAvro, ValueError, IndexError, AttributeError)):
        compiled_walk(schema(kind), ())(data, 1)


def test_nothing_of_a_schema_is_run() -> None:
    name = 'x"); raise SystemExit(); ("'
    kind = {"type": "record", "name": "row", "fields": [{"name": name, "type": "int"}]}
    assert compiled_walk(kind, {name})(b"\x02", 1) == ([1], [b"\x02"], [])
