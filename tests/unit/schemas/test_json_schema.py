"""The JSON Schema of a row, by the verdicts of a validator."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas.json_schema import json_schema
from schemas.registry import load_registry
from tests.unit.schemas.record_types import EVERY_KIND, decimal, enum, typed

ROW = {
    "id": "1",
    "type": "t",
    "version": 1,
    "updated_at": "2026-01-02T03:04:05.000006Z",
    "reference": "urn:lethe:t:1:1",
    "deleted": False,
}


def accepts(schema: dict[str, Any], row: dict[str, Any]) -> bool:
    checker = Draft202012Validator.FORMAT_CHECKER
    return bool(Draft202012Validator(schema, format_checker=checker).is_valid(row))


@pytest.mark.parametrize("record_type", [*load_registry(), EVERY_KIND], ids=lambda t: t.name)
def test_schema_is_a_valid_schema(record_type: Any) -> None:
    Draft202012Validator.check_schema(json_schema(record_type))


def test_row_of_every_kind_is_accepted() -> None:
    row = {
        **ROW, "text": "a", "raw": "AA==", "flag": True, "small": 1, "big": 2**40, "single": 1.5,
        "double": 2.5, "price": "10.50", "day": "2026-01-02", "moment": None, "status": "ON",
        "tags": ["a", None], "counts": {"a": 1}, "lines": [{"row": 1, "at": ROW["updated_at"]}],
    }  # fmt: skip
    assert accepts(json_schema(EVERY_KIND), row)


@pytest.mark.parametrize(
    ("avro_type", "attributes", "good", "bad"),
    [
        ("string", {"minLength": 2}, "ab", "a"),
        ("string", {"maxLength": 2}, "ab", "abc"),
        ("string", {"pattern": "^[A-Z]+$"}, "AB", "ab"),
        ("string", {}, "a", None),
        (["null", "string"], {"default": None}, None, 5),
        ("int", {"minimum": 1}, 1, 0),
        ("int", {"maximum": 5}, 5, 6),
        ("int", {}, 2**31 - 1, 2**31),
        ("long", {}, -(2**63), -(2**63) - 1),
        ("boolean", {}, True, "true"),
        ("double", {}, 1.5, "1.5"),
        (decimal(4, 2), {}, "-12.34", "123.4"),
        (decimal(4, 2), {}, "12", 12),
        (decimal(2, 2), {}, "0.25", "1.25"),
        (decimal(4, 0), {}, "1234", "1.5"),
        ({"type": "int", "logicalType": "date"}, {}, "2026-02-28", "2026-02-30"),
        ({"type": "long", "logicalType": "timestamp-micros"}, {}, ROW["updated_at"], "yesterday"),
        (enum("e", "A", "B"), {}, "A", "C"),
        (["null", enum("e", "A")], {"default": None}, None, "B"),
    ],
)
def test_value_is_judged(avro_type: Any, attributes: dict[str, Any], good: Any, bad: Any) -> None:
    schema = json_schema(typed(avro_type, **attributes))
    assert accepts(schema, {**ROW, "x": good})
    assert not accepts(schema, {**ROW, "x": bad})


def test_column_that_may_be_null_may_be_absent() -> None:
    assert accepts(json_schema(typed(["null", "string"], default=None)), ROW)


def test_column_that_may_not_be_null_is_required() -> None:
    assert not accepts(json_schema(typed("string")), ROW)


def test_unknown_column_is_refused() -> None:
    assert not accepts(json_schema(typed(["null", "string"], default=None)), {**ROW, "y": 1})


def test_what_lethe_knows_of_a_field_is_stated() -> None:
    record_type = typed(
        "string", subject="email", subjectWhen={"type": "a"}, pii="email", scrub="hash", doc="Who"
    )
    assert json_schema(record_type)["properties"]["x"] == {
        "description": "Who",
        "type": "string",
        "x-lethe-subject": "email",
        "x-lethe-subject-when": {"type": "a"},
        "x-lethe-pii": "email",
        "x-lethe-scrub": "hash",
    }


def test_decimal_limit_is_stated_where_validators_ignore_it() -> None:
    assert json_schema(typed(decimal(4, 2), minimum=0))["properties"]["x"]["x-lethe-minimum"] == 0


def test_partition_field_and_fingerprint_are_stated() -> None:
    schema = json_schema(EVERY_KIND)
    assert schema["x-lethe-partition"] == "updated_at"
    assert schema["x-lethe-fingerprint"] == EVERY_KIND.fingerprint
