"""Validation: every limit, on every kind of field, wherever it stands."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from records import (
    DECODER,
    REGISTRY,
    block,
    change,
    column,
    deliver,
    demand,
    faults,
    kinesis_event,
    probe,
    type_with,
)

from schemas.changes import InputFormat
from schemas.registry import Registry
from transforms.decode import Decoder
from transforms.validate import find_faults, validate

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}


def field(avro: Any, **limits: Any) -> dict[str, Any]:
    return {"name": "value", "type": avro, **limits}


def nested(*fields: dict[str, Any], name: str = "inner") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def optional(avro: Any) -> list[Any]:
    return ["null", avro]


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def enum(*symbols: str) -> dict[str, Any]:
    return {"type": "enum", "name": "colour", "symbols": list(symbols)}


def check(avro: dict[str, Any], *values: Any) -> list[tuple[str, str | None]]:
    """The faults of rows that hold these values of one field."""
    registry = Registry({"probe": type_with(avro)})
    records = [probe() if value is None else probe(value=value) for value in values]
    return sorted(faults(deliver(*records, registry=registry)).elements())


def string(text: str) -> dict[str, str]:
    return {"S": text}


def number(text: str) -> dict[str, str]:
    return {"N": text}


@pytest.mark.parametrize(
    ("avro", "good", "bad", "code"),
    [
        (field("string", maxLength=3), string("äöü"), string("abcd"), "too_long"),
        (field("string", minLength=2), string("😀😀"), string("😀"), "too_short"),
        (field("bytes", maxLength=2), {"B": "AAE="}, {"B": "AAEC"}, "too_long"),
        (field("bytes", minLength=2), {"B": "AAE="}, {"B": "AA=="}, "too_short"),
        (field("int", minimum=1), number("1"), number("0"), "out_of_range"),
        (field("long", maximum=9), number("9"), number("10"), "out_of_range"),
        (field("double", minimum=0), number("0.0"), number("-0.5"), "out_of_range"),
        (field(DECIMAL, minimum=0), number("0"), number("-0.01"), "out_of_range"),
        (field(DECIMAL, maximum=10), number("10.00"), number("10.01"), "out_of_range"),
        (field("string", pattern="^[A-Z]+$"), string("AB"), string("AB\n"), "bad_pattern"),
        (field(enum("RED")), string("RED"), string("red"), "not_allowed"),
    ],
)
def test_a_limit_of_a_field(avro: dict[str, Any], good: Any, bad: Any, code: str) -> None:
    assert check(avro, good, bad, good) == [(code, "value")]


LIMITED = [
    ({"type": "string", "maxLength": 3}, string("abc"), string("abcd"), "too_long"),
    ({"type": "string", "minLength": 2}, string("ab"), string("a"), "too_short"),
    ({"type": "int", "minimum": 1, "maximum": 5}, number("5"), number("6"), "out_of_range"),
    ({"type": DECIMAL, "minimum": 0}, number("0"), number("-1"), "out_of_range"),
    ({"type": "string", "pattern": "^a"}, string("ab"), string("b"), "bad_pattern"),
    ({"type": enum("RED")}, string("RED"), string("BLUE"), "not_allowed"),
]


@pytest.mark.parametrize(("limited", "good", "bad", "code"), LIMITED)
def test_a_limit_of_a_field_in_a_record(
    limited: dict[str, Any], good: Any, bad: Any, code: str
) -> None:
    inner = nested({"name": "part", **limited})
    found = check(field(inner), {"M": {"part": good}}, {"M": {"part": bad}})
    assert found == [(code, "value.part")]


@pytest.mark.parametrize(("limited", "good", "bad", "code"), LIMITED)
def test_a_limit_of_a_field_in_a_list_of_records(
    limited: dict[str, Any], good: Any, bad: Any, code: str
) -> None:
    inner = nested({"name": "part", **limited})
    rows = [[good], [], [good, bad, bad], [good, good]]
    values = [{"L": [{"M": {"part": item}} for item in row]} for row in rows]
    assert check(field(array(inner)), *values) == [(code, "value.part")]


@pytest.mark.parametrize(("limited", "good", "bad", "code"), LIMITED)
def test_a_limit_of_a_field_in_a_map_of_records(
    limited: dict[str, Any], good: Any, bad: Any, code: str
) -> None:
    inner = nested({"name": "part", **limited})
    values = [
        {"M": {"a": {"M": {"part": good}}, "b": {"M": {"part": item}}}} for item in (good, bad)
    ]
    assert check(field({"type": "map", "values": inner}), *values) == [(code, "value.part")]


@pytest.mark.parametrize(
    ("avro", "good", "bad"),
    [
        (array(enum("RED")), {"L": [string("RED")]}, {"L": [string("RED"), string("BLUE")]}),
        (array(enum("RED")), {"SS": ["RED"]}, {"SS": ["BLUE"]}),
        (
            {"type": "map", "values": enum("RED")},
            {"M": {"a": string("RED")}},
            {"M": {"a": string("BLUE")}},
        ),
        (
            array(array(enum("RED"))),
            {"L": [{"L": [string("RED")]}, {"L": []}]},
            {"L": [{"L": []}, {"L": [string("BLUE")]}]},
        ),
    ],
)
def test_symbols_in_collections(avro: Any, good: Any, bad: Any) -> None:
    assert check(field(avro), good, bad, good) == [("not_allowed", "value")]


LIMITS_OF_ALL_KINDS = [
    field(optional("string"), minLength=1, maxLength=2, pattern="^a"),
    field(optional("int"), minimum=1, maximum=2),
    field(optional(DECIMAL), minimum=1, maximum=2),
    field(optional(enum("RED"))),
    field(optional(array(enum("RED")))),
    field(optional({"type": "map", "values": enum("RED")})),
    field(optional(nested({"name": "part", "type": "string", "minLength": 1}))),
    field(optional(array(nested({"name": "part", "type": "int", "minimum": 1})))),
]


@pytest.mark.parametrize("avro", LIMITS_OF_ALL_KINDS)
def test_null_breaks_no_limit(avro: dict[str, Any]) -> None:
    assert check(avro, None, {"NULL": True}) == []


def test_a_null_within_a_record_breaks_no_limit() -> None:
    inner = nested({"name": "part", "type": optional("string"), "minLength": 1, "pattern": "^a"})
    assert check(field(inner), {"M": {}}, {"M": {"part": {"NULL": True}}}) == []


def test_null_items_break_no_limit() -> None:
    assert check(field(array(optional(enum("RED")))), {"L": [{"NULL": True}, string("RED")]}) == []


def test_a_row_is_rejected_once_for_its_first_field() -> None:
    batch = deliver(change(demand(quantity={"N": "0"}, currency={"S": "x"}, id={"S": ""})))
    assert list(faults(batch).elements()) == [("too_short", "id")]


def test_sound_rows_stay_as_they_are() -> None:
    batch = deliver(change(demand(quantity={"N": "0"})), change(demand(quantity={"N": "7"})))
    assert column(batch, "quantity") == [7]


def test_a_batch_of_faults_alone_has_no_types_left() -> None:
    assert deliver(change(demand(quantity={"N": "0"}))).typed == ()


def test_the_original_of_a_faulty_record_in_an_event_is_that_record_alone() -> None:
    bad = change(demand(quantity={"N": "0"}))
    event = kinesis_event([change(demand()), bad])
    (found,) = validate(DECODER.decode(block(event, fmt=InputFormat.LAMBDA_KINESIS))).rejects
    assert (found.original, found.origin.index) == (bad, 1)


def test_faults_are_found_in_a_slice_of_columns() -> None:
    registry = Registry({"probe": type_with(field(array(enum("RED"))))})
    values = [{"L": [string("RED")] * 3}, {"L": [string("BLUE")]}, {"L": [string("RED")]}]
    (changes,) = Decoder(registry).decode(block(*(probe(value=value) for value in values))).typed
    sliced = changes.with_columns({"value": changes.columns["value"].slice(1)})
    assert list(find_faults(sliced)) == [0]


def test_the_shipped_limits_hold() -> None:
    assert REGISTRY["demand"].field("max_price").limits.minimum == 0
    batch = deliver(change(demand(maxPrice={"N": "0"})))
    assert column(batch, "max_price") == [Decimal("0.00")]
    assert column(batch, "updated_at") == [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)]
