"""Changes of a record type: what Avro's schema resolution forbids, and what Lethe does."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fastavro import schemaless_reader, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.compatibility import AVRO_RULES, LETHE_RULES, Incompatibility, check
from schemas.fields import RecordType
from schemas.registry import load_registry
from tests.unit.schemas.record_types import (
    TIMESTAMP,
    array,
    decimal,
    enum,
    mapping,
    record,
    record_type,
    typed,
)


def found(old: RecordType, new: RecordType, mode: Any = "backward") -> list[tuple[str, str]]:
    return [(f.path, f.rule) for f in check(old, new, mode)]


@pytest.mark.parametrize("shipped", [*load_registry()], ids=lambda t: t.name)
def test_type_is_fully_compatible_with_itself(shipped: RecordType) -> None:
    assert check(shipped, shipped, "full") == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("int", "long"), ("int", "float"), ("int", "double"), ("long", "float"),
        ("long", "double"), ("float", "double"), ("string", "bytes"), ("bytes", "string"),
    ],
)  # fmt: skip
def test_promotion_is_compatible(old: str, new: str) -> None:
    assert found(typed(old), typed(new)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("long", "int"), ("double", "float"), ("string", "int"), ("boolean", "int")],
)
def test_other_change_of_type_is_not(old: str, new: str) -> None:
    assert found(typed(old), typed(new)) == [("x", "type")]


def test_message_says_who_cannot_read_what() -> None:
    (only,) = check(typed("long"), typed("int"), "backward")
    assert only == Incompatibility(
        "x", "type", "the new schema cannot read old rows: long cannot become int"
    )


def test_forward_asks_whether_the_old_schema_reads_new_rows() -> None:
    assert found(typed("int"), typed("long"), "forward") == [("x", "type")]
    assert found(typed("long"), typed("int"), "forward") == []


def test_full_asks_both() -> None:
    assert found(typed("string"), typed("int"), "full") == [("x", "type"), ("x", "type")]


def test_added_field_without_default_breaks_backward() -> None:
    assert found(record_type(), typed("int")) == [("x", "field_without_default")]


def test_added_field_with_default_does_not() -> None:
    assert found(record_type(), typed("int", default=0)) == []


def test_removed_field_without_default_breaks_forward_only() -> None:
    assert found(typed("int"), record_type()) == []
    assert found(typed("int"), record_type(), "forward") == [("x", "field_without_default")]


def test_alias_carries_a_renamed_field() -> None:
    renamed = record_type({"name": "y", "type": "int", "aliases": ["x"]})
    assert found(typed("int"), renamed) == []


def test_renamed_field_without_alias_breaks() -> None:
    assert found(typed("int"), record_type({"name": "y", "type": "int"})) == [
        ("y", "field_without_default")
    ]


def test_column_that_becomes_nullable_breaks_forward_only() -> None:
    nullable = typed(["null", "int"], default=None)
    assert found(typed("int"), nullable) == []
    assert found(typed("int"), nullable, "forward") == [("x", "type")]


def test_value_that_no_branch_takes_is_named() -> None:
    assert found(typed("string"), typed(["null", "int"])) == [("x", "union")]


def test_lost_enum_symbol_breaks() -> None:
    (only,) = check(typed(enum("e", "A", "B", "C")), typed(enum("e", "A")), "backward")
    assert (only.path, only.rule) == ("x", "enum_symbols")
    assert "B, C" in only.message


def test_lost_enum_symbol_with_default_does_not() -> None:
    assert found(typed(enum("e", "A", "B")), typed(enum("e", "A", default="A"))) == []


def test_added_enum_symbol_breaks_forward() -> None:
    old, new = typed(enum("e", "A")), typed(enum("e", "A", "B"))
    assert found(old, new) == []
    assert found(old, new, "forward") == [("x", "enum_symbols")]


def test_renamed_type_breaks() -> None:
    assert found(typed(enum("e", "A")), typed(enum("f", "A"))) == [("x", "name")]


def test_alias_carries_a_renamed_type() -> None:
    assert found(typed(enum("e", "A")), typed(enum("f", "A", aliases=["e"]))) == []


def test_renamed_record_type_is_reported_at_the_empty_path() -> None:
    assert found(record_type(), record_type(name="u")) == [("", "name")]


def test_namespace_alone_breaks_nothing() -> None:
    assert found(record_type(namespace="a"), record_type(namespace="b"), "full") == []


@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (array, "x[]"),
        (mapping, "x{}"),
        (lambda inner: record("r", {"name": "y", "type": inner}), "x.y"),
        (lambda inner: array(record("r", {"name": "y", "type": mapping(inner)})), "x[].y{}"),
        (lambda inner: ["null", record("r", {"name": "y", "type": inner})], "x.y"),
    ],
)
def test_nested_change_is_named_by_its_path(wrap: Any, path: str) -> None:
    assert found(typed(wrap("string")), typed(wrap("int"))) == [(path, "type")]


def test_every_change_is_named() -> None:
    old = record_type({"name": "a", "type": "string"}, {"name": "b", "type": "long"})
    new = record_type({"name": "a", "type": "int"}, {"name": "b", "type": "int"})
    assert found(old, new) == [("a", "type"), ("b", "type")]


@pytest.mark.parametrize("changed", [decimal(10, 2), decimal(12, 4)])
def test_precision_and_scale_must_match(changed: dict[str, Any]) -> None:
    assert found(typed(decimal(12, 2)), typed(changed)) == [("x", "decimal")]


def test_decimal_without_a_scale_has_scale_zero() -> None:
    unscaled = {"type": "bytes", "logicalType": "decimal", "precision": 5}
    assert found(typed(unscaled), typed(decimal(5, 0)), "full") == []


@pytest.mark.parametrize(
    ("old", "new"), [("long", TIMESTAMP), ("int", TIMESTAMP), (decimal(9, 2), "bytes")]
)
def test_change_of_meaning_is_an_error_though_avro_reads_it(old: Any, new: Any) -> None:
    assert found(typed(old), typed(new)) == [("x", "logical_type")]


def of_avro(avro_type: Any) -> RecordType:
    """A type whose Avro schema holds what the registry would not take."""
    plain = record_type()
    fields = [*plain.avro["fields"], {"name": "x", "type": avro_type}]
    return replace(plain, avro={**plain.avro, "fields": fields})


def test_fixed_must_have_one_size() -> None:
    four, five = ({"type": "fixed", "name": "f", "size": size} for size in (4, 5))
    assert found(of_avro(four), of_avro(five)) == [("x", "fixed_size")]


def test_every_branch_of_a_union_must_be_readable() -> None:
    assert found(of_avro(["int", "string"]), of_avro(["long", "boolean"])) == [("x", "union")]


EMAIL = {"type": "string", "subject": "email", "pii": "email", "scrub": "hash"}


@pytest.mark.parametrize("mode", ["backward", "forward", "full"])
def test_subject_removed_is_an_error_in_every_mode(mode: Any) -> None:
    after = {**EMAIL}
    del after["subject"]
    old, new = record_type({"name": "x", **EMAIL}), record_type({"name": "x", **after})
    assert found(old, new, mode) == [("x", "subject")]


def test_subject_lost_with_its_field_is_an_error() -> None:
    old = record_type({"name": "x", **EMAIL})
    assert found(old, record_type()) == [("x", "subject")]


def test_subject_follows_a_renamed_field() -> None:
    old = record_type({"name": "x", **EMAIL})
    assert found(old, record_type({"name": "y", "aliases": ["x"], **EMAIL})) == []


def test_own_name_goes_before_an_alias() -> None:
    old = record_type({"name": "x", **EMAIL})
    other = {"name": "y", "type": "string", "default": "", "aliases": ["x"]}
    assert found(old, record_type({"name": "x", **EMAIL}, other)) == []
    assert found(old, record_type(other, {"name": "x", **EMAIL})) == []


def test_subject_in_fewer_rows_is_an_error() -> None:
    always, sometimes = (
        typed("string", subject="email", **when) for when in ({}, {"subjectWhen": {"type": "a"}})
    )
    assert found(always, sometimes) == [("x", "subject")]
    assert found(sometimes, always) == []


@pytest.mark.parametrize(
    ("old", "new"), [("hash", "keep"), ("mask", "keep"), ("hash", "mask"), ("drop", "hash")]
)
def test_weaker_scrub_is_an_error(old: str, new: str) -> None:
    before, after = (
        typed(["null", "string"], default=None, pii="phone", scrub=s) for s in (old, new)
    )
    assert found(before, after) == [("x", "scrub")]
    assert found(after, before) == []


def test_personal_field_that_is_no_longer_marked_is_an_error() -> None:
    assert found(typed("string", pii="phone"), typed("string")) == [("x", "scrub")]


def test_other_partition_field_is_an_error() -> None:
    old = record_type({"name": "made_at", "type": TIMESTAMP})
    fields = [
        {key: value for key, value in f.items() if key != "partition"}
        | ({"partition": True} if f["name"] == "made_at" else {})
        for f in old.avro["fields"]
    ]
    new = replace(old, avro={**old.avro, "fields": fields})
    assert found(old, new) == [("updated_at", "partition")]


@pytest.mark.parametrize(
    ("avro_type", "limit", "loose", "tight"),
    [
        ("int", "minimum", 1, 2),
        ("int", "maximum", 2, 1),
        ("string", "minLength", 1, 2),
        ("string", "maxLength", 2, 1),
    ],
)
def test_tightened_limit_is_a_warning(avro_type: str, limit: str, loose: int, tight: int) -> None:
    old, new = typed(avro_type, **{limit: loose}), typed(avro_type, **{limit: tight})
    assert [(f.rule, f.severity) for f in check(old, new, "full")] == [("limit", "warning")]
    assert check(new, old, "full") == []


def test_new_limit_is_a_warning() -> None:
    assert found(typed("string"), typed("string", pattern="^a")) == [("x", "limit")]


def test_limit_of_a_nested_field_is_compared() -> None:
    def of_length(longest: int) -> RecordType:
        return typed(array(record("r", {"name": "y", "type": "string", "maxLength": longest})))

    assert found(of_length(5), of_length(4)) == [("x.y", "limit")]


def test_only_rules_that_are_listed_are_used() -> None:
    old = record_type({"name": "x", **EMAIL}, {"name": "n", "type": "int"})
    new = record_type({"name": "x", "type": "int"}, {"name": "n", "type": "string"})
    assert {f.rule for f in check(old, new, "full")} <= AVRO_RULES | LETHE_RULES


# Pairs of schemas, alike enough that many are compatible, and rows that exercise every branch.

PRIMITIVES = ["boolean", "int", "long", "float", "double", "bytes", "string"]
SAMPLES: dict[str, Any] = {
    "null": None, "boolean": True, "int": 7, "long": 2**40, "float": 1.5, "double": 2.5,
    "bytes": b"b", "string": "s",
}  # fmt: skip
DEFAULTS: dict[str, Any] = {**SAMPLES, "bytes": "b"}
SYMBOLS = st.lists(st.sampled_from("ABC"), min_size=1, unique=True)
primitives = st.sampled_from(PRIMITIVES)

Pair = tuple[Any, Any]


@st.composite
def enum_pairs(draw: st.DrawFn, path: str) -> Pair:
    old = enum(f"{path}_e", *draw(SYMBOLS))
    symbols, name = draw(SYMBOLS), draw(st.sampled_from([f"{path}_e", f"{path}_f"]))
    new = enum(name, *symbols)
    if draw(st.booleans()):
        new["default"] = symbols[0]
    if draw(st.booleans()):
        new["aliases"] = [f"{path}_e"]
    return old, new


@st.composite
def record_pairs(draw: st.DrawFn, path: str, depth: int) -> Pair:
    old, new = draw(field_pairs(path, depth))
    name = draw(st.sampled_from([f"{path}_r", f"{path}_r", f"{path}_s"]))
    return record(f"{path}_r", *old), record(name, *new)


@st.composite
def field_pairs(draw: st.DrawFn, path: str, depth: int) -> tuple[list[Any], list[Any]]:
    old, new = [], []
    for name in ("a", "b"):
        before, after = draw(type_pairs(f"{path}_{name}", depth))
        in_old, in_new, renamed = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
        if in_old or not in_new:
            old.append({"name": name, "type": before})
        if in_new:
            new.append(draw(successors(name, after, renamed)))
    return old, new or [{"name": "z", "type": "int", "default": 0}]


@st.composite
def successors(draw: st.DrawFn, name: str, after: Any, renamed: bool) -> dict[str, Any]:
    field = {"name": name, "type": after}
    if renamed:
        field |= {"name": f"{name}_new"} | ({"aliases": [name]} if draw(st.booleans()) else {})
    first = after[0] if isinstance(after, list) else after
    if isinstance(first, str) and draw(st.booleans()):
        field["default"] = DEFAULTS[first]
    return field


@st.composite
def type_pairs(draw: st.DrawFn, path: str, depth: int) -> Pair:
    simple = [primitives.map(lambda p: (p, p)), st.tuples(primitives, primitives), enum_pairs(path)]
    nested = [list_or_map_pairs(path, depth - 1), record_pairs(path, depth - 1)] if depth else []
    old, new = draw(st.one_of(*simple, *nested))
    if draw(st.integers(0, 9)) == 0:
        new = draw(primitives)
    old_null, new_null = draw(st.tuples(st.booleans(), st.booleans()))
    return ["null", old] if old_null else old, ["null", new] if new_null else new


@st.composite
def list_or_map_pairs(draw: st.DrawFn, path: str, depth: int) -> Pair:
    old, new = draw(type_pairs(f"{path}_i", depth))
    outer = draw(st.sampled_from([(array, array), (mapping, mapping), (array, mapping)]))
    return outer[0](old), outer[1](new)


def witnesses(avro: Any) -> list[Any]:
    """Values that together take every branch and symbol of a type."""
    if isinstance(avro, list):
        return [value for branch in avro for value in witnesses(branch)]
    if isinstance(avro, str):
        return [SAMPLES[avro]]
    match avro["type"]:
        case "enum":
            return list(avro["symbols"])
        case "array":
            return [[value] for value in witnesses(avro["items"])]
        case "map":
            return [{"k": value} for value in witnesses(avro["values"])]
        case "record":
            return list(witness_records(avro["fields"]))
    return [datetime(2026, 1, 2, tzinfo=UTC)]


def witness_records(fields: list[Any]) -> Iterator[dict[str, Any]]:
    values = {f["name"]: witnesses(f["type"]) for f in fields}
    base = {name: options[0] for name, options in values.items()}
    yield base
    for name, options in values.items():
        yield from ({**base, name: option} for option in options[1:])


def fastavro_reads(old: RecordType, new: RecordType) -> bool:
    for row in witnesses(old.avro):
        written = io.BytesIO()
        schemaless_writer(written, old.avro, row)
        written.seek(0)
        try:
            schemaless_reader(written, old.avro, new.avro)
        except Exception:  # fastavro raises a family of unrelated classes
            return False
    return True


def avro_compatible(old: RecordType, new: RecordType) -> bool:
    return not [f for f in check(old, new, "backward") if f.rule in AVRO_RULES]


@settings(max_examples=400, deadline=None)
@given(field_pairs("t", 2))
def test_backward_is_compatible_just_when_fastavro_reads_old_rows(pair: Pair) -> None:
    old, new = record_type(*pair[0]), record_type(*pair[1])
    assert avro_compatible(old, new) == fastavro_reads(old, new)


@settings(max_examples=100, deadline=None)
@given(field_pairs("t", 2))
def test_full_finds_what_backward_and_forward_find(pair: Pair) -> None:
    old, new = record_type(*pair[0]), record_type(*pair[1])
    both = {*check(old, new, "backward"), *check(old, new, "forward")}
    assert set(check(old, new, "full")) == both
