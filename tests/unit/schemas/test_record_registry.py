"""Reading record types from Avro schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import SchemaError, UsageError
from schemas.fields import (
    BooleanKind,
    BytesKind,
    DateKind,
    DecimalKind,
    EnumKind,
    FloatKind,
    IntegerKind,
    Kind,
    Limits,
    ListKind,
    MapKind,
    Scrub,
    StringKind,
    TimestampKind,
)
from schemas.registry import (
    LAKE_FIELDS,
    SHIPPED,
    build_record_type,
    fingerprint,
    load_record_type,
    load_registry,
)
from tests.unit.schemas.record_types import (
    EVERY_KIND,
    array,
    decimal,
    document,
    mapping,
    record,
    record_type,
    typed,
)

MAIL = {"name": "mail", "type": "string", "subject": "email"}


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("text", StringKind()),
        ("raw", BytesKind()),
        ("flag", BooleanKind()),
        ("small", IntegerKind(32)),
        ("big", IntegerKind(64)),
        ("single", FloatKind(32)),
        ("double", FloatKind(64)),
        ("price", DecimalKind(12, 2)),
        ("day", DateKind()),
        ("moment", TimestampKind()),
        ("status", EnumKind("status", ("ON", "OFF"))),
        ("tags", ListKind(StringKind(), item_nullable=True)),
        ("counts", MapKind(IntegerKind(64))),
    ],
)
def test_avro_type_becomes_a_kind(column: str, kind: Kind) -> None:
    assert EVERY_KIND.field(column).kind == kind


def test_shipped_types_are_there() -> None:
    assert [t.name for t in load_registry()] == ["demand", "event", "notification", "sale"]


def test_lake_fields_are_appended_as_system_or_computed_fields() -> None:
    names = [f.name for f in EVERY_KIND.fields][-len(LAKE_FIELDS) :]
    assert names == [f["name"] for f in LAKE_FIELDS]
    assert not {f.name for f in EVERY_KIND.image_fields} & set(names)


def test_union_with_null_may_be_null() -> None:
    assert EVERY_KIND.field("moment").nullable
    assert not EVERY_KIND.field("text").nullable


def test_attributes_reach_the_field() -> None:
    field = typed(
        ["null", "string"], default=None, source="X", pii="phone", scrub="mask", maxLength=9
    ).field("x")
    assert (field.source, field.pii, field.scrub) == ("X", "phone", Scrub.MASK)
    assert field.limits == Limits(max_length=9)


def test_subject_condition_reaches_the_field() -> None:
    field = typed("string", subject="email", subjectWhen={"type": "a"}).field("x")
    assert (field.subject, field.subject_when) == ("email", (("type", "a"),))


def test_unknown_type_error_lists_known_types() -> None:
    with pytest.raises(UsageError, match="known types are demand, event, notification, sale"):
        load_registry()["sales"]


def test_dropped_file_adds_a_type(tmp_path: Path) -> None:
    (tmp_path / "t.avsc").write_text(json.dumps(document()))
    assert "t" in load_registry(tmp_path)


def test_dropped_file_wins_over_a_shipped_type(tmp_path: Path) -> None:
    (tmp_path / "sale.avsc").write_text(json.dumps(document(name="sale")))
    assert "total" not in {f.name for f in load_registry(tmp_path)["sale"].fields}


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        load_registry(tmp_path / "nowhere")


def test_file_named_after_another_type_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "other.avsc").write_text(json.dumps(document()))
    with pytest.raises(SchemaError, match=r"other\.avsc: holds type 't'"):
        load_record_type(tmp_path / "other.avsc")


def test_broken_json_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.avsc").write_text("{")
    with pytest.raises(SchemaError, match=r"t\.avsc: is not JSON"):
        load_record_type(tmp_path / "t.avsc")


def test_fingerprint_is_of_the_canonical_form() -> None:
    assert typed("string", doc="a note").fingerprint == typed("string").fingerprint
    assert typed("string").fingerprint != typed("int").fingerprint


@pytest.mark.parametrize(
    ("avro_type", "attributes", "message"),
    [
        ("string", {"subjekt": "email"}, "unknown attribute"),
        ("string", {"subject": "mail"}, "no OpenDSR identity type"),
        ("string", {"subject": ["email"]}, "'subject' must be of type str"),
        ("string", {"subjectWhen": {"type": "a"}}, "'subjectWhen' without 'subject'"),
        (
            "string",
            {"subject": "email", "subjectWhen": {"chanel": "email"}},
            r"'subjectWhen' names no column \['chanel'\]",
        ),
        ("string", {"scrub": "burn"}, "not a valid Scrub"),
        ("int", {"scrub": "hash"}, "only strings can be scrubbed"),
        ("string", {"scrub": "drop"}, "needs a field that may be null"),
        ("string", {"computed": "magic"}, "no computed field"),
        ("string", {"pattern": "("}, "pattern"),
        ("string", {"pattern": 5}, "'pattern' must be of type str"),
        ("int", {"minimum": "5"}, "'minimum' must be of type int"),
        ("int", {"minimum": True}, "'minimum' must be of type int"),
        (["string", "int"], {}, "only union supported"),
        ("null", {}, "not supported"),
        ({"type": "fixed", "name": "f", "size": 4}, {}, "not supported"),
        ({"type": "long", "logicalType": "timestamp-millis"}, {}, "not supported"),
        ({"type": "bytes", "logicalType": "decimal"}, {}, "1 to 38 digits"),
        (decimal(39, 2), {}, "1 to 38 digits"),
        ({"type": "string", "subject": "email"}, {}, "belong beside 'type'"),
        (
            record("r", {"name": "mail", "type": "string", "pii": "email", "scrub": "hash"}),
            {},
            r"nested field 'mail': only a column of its own can carry \['scrub'\]",
        ),
        (
            record("r", {"name": "mail", "type": "string", "subject": "e-mail"}),
            {},
            "field 'mail': 'e-mail' is no OpenDSR identity type",
        ),
        (
            record("r", {**MAIL, "subjectWhen": {"status": "ON"}}),
            {},
            r"field 'mail': 'subjectWhen' names no column \['status'\]",
        ),
        ("double", {"subject": "email"}, "field 'x': a subject is a string or a whole number"),
        (array(record("r", MAIL)), {"subject": "email"}, "give 'subject' to the field that holds"),
    ],
)
def test_misuse_of_a_field_is_an_error(
    avro_type: Any, attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        typed(avro_type, **attributes)


def test_subjects_and_personal_values_are_found_at_any_depth() -> None:
    phones = {"name": "phones", "type": mapping("string"), "pii": "phone"}
    found = typed(array(record("contact", MAIL, phones)))
    assert [(path, field.subject) for path, field in found.subjects] == [("x[].mail", "email")]
    assert [path for path, _ in found.personal] == ["x[].phones"]


@pytest.mark.parametrize("name", ["date", "Date"])
def test_field_cannot_take_the_partition_columns_name(name: str) -> None:
    with pytest.raises(SchemaError, match="lake's partition"):
        record_type({"name": name, "type": "string"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([{"name": "ID", "type": "string"}], "differ only in case"),
        ([{"name": "deleted", "type": "boolean"}], "added to every type"),
        ([{"name": 5, "type": "string"}], "list of named fields"),
        (
            [{"name": "x", "type": {"type": "int", "logicalType": "date"}, "partition": True}],
            "exactly one field",
        ),
    ],
)
def test_misuse_of_the_type_is_an_error(fields: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        record_type(*fields)


@pytest.mark.parametrize("needed", ["id", "type", "version", "updated_at"])
def test_type_without_a_needed_field_is_an_error(needed: str) -> None:
    without = document()
    without["fields"] = [f for f in without["fields"] if f["name"] != needed]
    with pytest.raises(SchemaError):
        build_record_type(without)


@pytest.mark.parametrize("given", [[], "string", {"type": "enum"}, document(name="Bad Name")])
def test_what_is_no_record_is_an_error(given: Any) -> None:
    with pytest.raises(SchemaError):
        build_record_type(given)


def test_fingerprint_tells_logical_types_apart() -> None:
    narrow = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
    wide = {**narrow, "precision": 10, "scale": 4}
    assert fingerprint(narrow) != fingerprint(wide)


def test_fingerprint_ignores_attributes_that_change_no_value() -> None:
    assert fingerprint({"type": "string", "doc": "a name"}) == fingerprint("string")


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("int", {"minLength": 1}),
        ("string", {"maximum": 5}),
        ({"type": "array", "items": "string"}, {"maxLength": 3}),
        ({"type": "long", "logicalType": "timestamp-micros"}, {"minimum": 0}),
        ("long", {"pattern": "^1$"}),
        ("string", {"pattern": "(?=look-ahead)"}),
    ],
)
def test_limit_that_cannot_be_checked_is_an_error(kind: Any, limit: dict[str, Any]) -> None:
    document = json.loads((SHIPPED / "event.avsc").read_text())
    document["fields"].append({"name": "added", "type": kind, **limit})
    with pytest.raises(SchemaError, match="'added'"):
        build_record_type(document)


@pytest.mark.parametrize("scrub", ["mask", "drop"])
def test_subject_that_could_not_be_found_again_is_an_error(scrub: str) -> None:
    document = json.loads((SHIPPED / "event.avsc").read_text())
    who = {"name": "who", "type": ["null", "string"], "subject": "email", "pii": "email"}
    document["fields"].append({**who, "scrub": scrub})
    with pytest.raises(SchemaError, match="erased"):
        build_record_type(document)
