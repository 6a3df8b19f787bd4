"""Columns that a pattern takes out of Avro rows are those that a reader reads."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.erasure.second_avro import AvroColumns, OtherRows, avro_columns

FIXED = {"type": "fixed", "name": "four", "size": 4}
ENUM = {"type": "enum", "name": "mark", "symbols": ["A", "B"]}
PAIR = {
    "type": "record",
    "name": "acme.pair",
    "fields": [
        {"name": "word", "type": "string"},
        {"name": "mark", "type": ["null", {**ENUM, "name": "acme.mark"}]},
    ],
}
NODE = {
    "type": "record",
    "name": "node",
    "fields": [{"name": "word", "type": "string"}, {"name": "next", "type": ["null", "node"]}],
}
LENGTHS = st.sampled_from([0, 1, 62, 63, 64, 65, 127, 128, 1000, 4095, 8191, 8192, 20_000])
TEXTS = st.text(max_size=70) | LENGTHS.map(lambda size: "x" * size)
LONGS = st.integers(-(2**63), 2**63 - 1)
PAIRS = st.fixed_dictionaries({"word": st.text(max_size=5), "mark": st.sampled_from([None, "A"])})

PLAIN: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("string", TEXTS),
    ({"type": "string", "avro.java.string": "String"}, TEXTS),
    (["null", "string"], st.none() | TEXTS),
    (["string", ENUM, "null"], st.none() | TEXTS),
    (ENUM, st.sampled_from("AB")),
    ("long", LONGS),
    (["int", "null"], st.none() | st.integers(-(2**31), 2**31 - 1)),
]
OTHERS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("null", st.none()),
    ("boolean", st.booleans()),
    ("float", st.just(0.5)),
    ("double", st.floats(allow_nan=False)),
    ("bytes", st.binary(max_size=100)),
    (FIXED, st.just(b"1234")),
    (PAIR, PAIRS),
    (["null", {**FIXED, "name": "other"}, "long"], st.none() | st.just(b"1234") | LONGS),
    ({"type": "array", "items": ["null", "string"]}, st.lists(st.none() | TEXTS, max_size=40)),
    ({"type": "array", "items": {**PAIR, "name": "acme.pairs"}}, st.lists(PAIRS, max_size=3)),
    ({"type": "map", "values": "long"}, st.dictionaries(st.text(max_size=5), LONGS)),
    (
        {"type": "array", "items": {"type": "array", "items": "int"}},
        st.sampled_from([[], [[]], [[1, 2], [], [3]]]),
    ),
    ({"type": "bytes", "logicalType": "timestamp-micros"}, st.binary(max_size=3)),
]


def schema(kinds: list[Any]) -> dict[str, Any]:
    """A record with a field ``f0``, ``f1``, ... of each type."""
    seen: set[str] = set()
    fields = [{"name": f"f{n}", "type": _once(kind, seen)} for n, kind in enumerate(kinds)]
    return {"type": "record", "name": "row", "fields": fields}


def _once(kind: Any, seen: set[str]) -> Any:
    """A type that has a name, by its name where it was defined before."""
    if isinstance(kind, list):
        return [_once(branch, seen) for branch in kind]
    if not isinstance(kind, dict):
        return kind
    if kind.get("name") in seen:
        return kind["name"]
    seen |= {kind[key] for key in ("name",) if key in kind}
    parts = {key: _once(kind[key], seen) for key in ("items", "values") if key in kind}
    if "fields" in kind:
        parts["fields"] = [{**one, "type": _once(one["type"], seen)} for one in kind["fields"]]
    return {**kind, **parts}


def encoded(kind: dict[str, Any], rows: list[tuple[Any, ...]]) -> bytes:
    parsed, out = fastavro.parse_schema(kind), io.BytesIO()
    for row in rows:
        record = {f"f{place}": value for place, value in enumerate(row)}
        fastavro.schemaless_writer(out, parsed, record)
    return out.getvalue()


def columns_of(kind: dict[str, Any], *names: str) -> AvroColumns:
    found = avro_columns(json.dumps(kind), frozenset(names))
    if found is None:
        raise OtherRows
    return found


def read(kind: dict[str, Any], data: bytes, count: int, *names: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in names}
    for columns in columns_of(kind, *names).portions(data, count):
        for column in columns:
            found[column.name] += list(column)
    return found


def written(value: Any) -> str | None:
    return None if value is None else str(value)


@settings(max_examples=60)
@given(st.data())
def test_columns_are_those_that_were_written_or_a_reader_is_asked(data: st.DataObject) -> None:
    wanted = data.draw(st.sampled_from(PLAIN))
    others = data.draw(st.lists(st.sampled_from([*PLAIN, *OTHERS]), max_size=4, unique_by=str))
    place = data.draw(st.integers(0, len(others)))
    kinds = [*others[:place], wanted, *others[place:]]
    row = st.tuples(*(values for _, values in kinds))
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    kind, name = schema([one for one, _ in kinds]), f"f{place}"
    try:
        found = read(kind, encoded(kind, rows), len(rows), name)
    except OtherRows:
        return
    assert found[name] == [written(row[place]) for row in rows]


KNOWN: dict[str, tuple[Any, Any]] = {
    "text of 63 bytes": ("string", "x" * 63),
    "text of 64 bytes": ("string", "x" * 64),
    "text of 8 kB": ("string", "é" * 4095),
    "long": ("long", -(2**63)),
    "list of 31": ({"type": "array", "items": "string"}, ["x"] * 31),
    "list of records": ({"type": "array", "items": PAIR}, [{"word": "", "mark": "A"}] * 5),
    "map": ({"type": "map", "values": "int"}, {"a": 1, "b": 2}),
    "record": (["null", PAIR], {"word": "x" * 100, "mark": None}),
    "bytes": ("bytes", bytes(range(200))),
}


@pytest.mark.parametrize("name", KNOWN)
def test_row_is_read_without_a_reader(name: str) -> None:
    one, value = KNOWN[name]
    kind = schema(["string", one, "string"])
    rows = [("a", value, "b"), ("c", value, "d")]
    assert read(kind, encoded(kind, rows), 2, "f0", "f2") == {"f0": ["a", "c"], "f2": ["b", "d"]}


UNKNOWN: dict[str, tuple[Any, Any]] = {
    "text of 9 kB": ("string", "x" * 9000),
    "list of 32": ({"type": "array", "items": "string"}, ["x"] * 32),
    "long text in a list": ({"type": "array", "items": "string"}, ["x" * 64]),
    "type within itself": (NODE, {"word": "", "next": None}),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_row_that_no_pattern_knows_is_left_to_a_reader(name: str) -> None:
    one, value = UNKNOWN[name]
    kind = schema(["string", one])
    with pytest.raises(OtherRows):
        read(kind, encoded(kind, [("a", value), ("b", value)]), 2, "f0")


@pytest.mark.parametrize("count", [1, 3])
def test_block_of_another_number_of_rows_is_left_to_a_reader(count: int) -> None:
    kind = schema(["string", "int"])
    with pytest.raises(OtherRows):
        read(kind, encoded(kind, [("a", 1), ("b", 2)]), count, "f0")


def test_block_that_ends_within_a_row_is_left_to_a_reader() -> None:
    kind = schema(["string", "int"])
    with pytest.raises(OtherRows):
        read(kind, encoded(kind, [("a", 1), ("b", 2)])[:-1], 2, "f0")


def test_row_is_read_in_no_other_way_than_it_was_written() -> None:
    kind = schema([{"type": "array", "items": "string"}, "string", "long"])
    looks_like_rows = "\0" * 9002  # and the list like one of two
    row = encoded(kind, [(["a", "b", ""], looks_like_rows, 0)])
    with pytest.raises(OtherRows):
        read(kind, row, 1 + 9003 // 3, "f1")


def test_rows_are_read_in_portions() -> None:
    kind = schema(["string"])
    rows = [(str(number),) for number in range(5000)]
    portions = list(columns_of(kind, "f0").portions(encoded(kind, rows), len(rows)))
    assert len(portions) > 1
    assert [value for (column,) in portions for value in column] == [row[0] for row in rows]


READ: dict[str, tuple[Any, Any, Any]] = {
    "bytes": ("bytes", b"\xff", b"\xff"),
    "fixed": (["null", FIXED], b"1234", b"1234"),
    "number with a meaning": (
        {"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 1},
        Decimal("1.5"),
        Decimal("1.5"),
    ),
    "list of records": ({"type": "array", "items": PAIR}, [{"word": "a", "mark": None}], None),
}


@pytest.mark.parametrize("name", READ)
def test_value_that_is_not_plain_is_read_by_a_reader(name: str) -> None:
    one, value, expected = READ[name]
    kind = schema([one, "string"])
    (columns,) = columns_of(kind, "f0").portions(encoded(kind, [(value, "a")]), 1)
    assert [(column.is_plain, column[0]) for column in columns] == [(False, expected or value)]


def test_columns_of_types_that_are_defined_elsewhere_are_left_to_a_reader() -> None:
    kind = schema([PAIR, ["null", "acme.pair"]])
    assert avro_columns(json.dumps(kind), frozenset({"f0"})) is not None
    assert avro_columns(json.dumps(kind), frozenset({"f1"})) is None


def test_columns_are_told_by_small_letters() -> None:
    kind = {"type": "record", "name": "row", "fields": [{"name": "Mail", "type": "string"}]}
    assert list(columns_of(kind, "mail").values) == ["Mail"]
