"""Finding the values that identify subjects in rows of any version and any layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from schemas.dsr import IdentityType
from schemas.errors import SchemaError
from schemas.fields import RecordType
from tests.unit.schemas.record_types import array, mapping, record, record_type
from transforms.subject_columns import SubjectColumn, subject_column_names, subject_columns

EMAIL = {"name": "email", "type": "string", "subject": "email"}
ADDRESS = {"name": "address", "type": "string", "subject": "email", "subjectWhen": {"via": "mail"}}
VIA = {"name": "via", "type": "string"}
IDS = {"name": "ids", "type": array("long"), "subject": "controller_customer_id"}


def found(kind: RecordType, batch: pa.RecordBatch) -> list[tuple[int, str]]:
    """Each value with its row."""
    return [pair for column in subject_columns(kind, batch) for pair in pairs(column)]


def pairs(column: SubjectColumn) -> list[tuple[int, str]]:
    rows = range(len(column.values)) if column.rows is None else column.rows.tolist()
    pairs = zip(rows, column.values.to_pylist(), strict=True)
    return [(row, value) for row, value in pairs if value is not None]


def batch(name: str, values: list[Any], kind: pa.DataType, **others: list[Any]) -> pa.RecordBatch:
    return pa.record_batch({name: pa.array(values, kind), **others})


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.binary_view(),
        pa.dictionary(pa.int8(), pa.string()),
    ],
)
def test_text_of_any_arrow_type_is_read(kind: pa.DataType) -> None:
    rows = batch("email", ["a@x.org", None, "b@x.org"], kind)
    assert found(record_type(EMAIL), rows) == [(0, "a@x.org"), (2, "b@x.org")]


def test_columns_are_found_in_whatever_case_engines_wrote_their_names() -> None:
    rows = batch("EMAIL", ["a@x.org"], pa.string())
    assert found(record_type(EMAIL), rows) == [(0, "a@x.org")]
    assert subject_column_names(record_type(EMAIL), rows.schema) == ["EMAIL"]


def test_columns_that_differ_in_case_all_count() -> None:
    rows = pa.record_batch({"Email": ["a@x.org"], "email": ["b@x.org"]})
    assert found(record_type(EMAIL), rows) == [(0, "a@x.org"), (0, "b@x.org")]


def test_uuids_are_read_as_they_are_written() -> None:
    user = {"name": "user", "type": "string", "subject": "controller_customer_id"}
    ids = pa.array([UUID(int=1).bytes, None], pa.uuid())
    expected = [(0, "00000000-0000-0000-0000-000000000001")]
    assert found(record_type(user), pa.record_batch({"user": ids})) == expected


@pytest.mark.parametrize("kind", [pa.float64(), pa.decimal128(30, 6), pa.int64()])
def test_whole_numbers_are_read_as_ids_are_written(kind: pa.DataType) -> None:
    user = {"name": "user", "type": "string", "subject": "controller_customer_id"}
    ids = pa.array([123456789012, None, 7], pa.int64()).cast(kind)
    found_ids = found(record_type(user), pa.record_batch({"user": ids}))
    assert found_ids == [(0, "123456789012"), (2, "7")]


def test_columns_that_the_rows_do_not_have_are_skipped() -> None:
    assert found(record_type(EMAIL), batch("other", ["a@x.org"], pa.string())) == []


def test_field_that_the_type_did_not_know_is_found_among_the_extra_ones() -> None:
    mail = {**EMAIL, "source": "eMail"}
    extra = [None, '{"eMail": "a@x.org", "n": 1}', '{"n": "eMail"}', '{"eMail": ["b", 7, null]}']
    rows = pa.record_batch({"extra": extra})
    assert found(record_type(mail), rows) == [(1, "a@x.org"), (3, "b"), (3, "7")]
    assert subject_column_names(record_type(mail), rows.schema) == ["extra"]


def test_name_beyond_ascii_is_found_among_the_extra_ones_escaped_or_not() -> None:
    mail = {**EMAIL, "source": "e-pošta"}
    extra = [json.dumps({mail["source"]: "a@x.org"}, ensure_ascii=way) for way in (True, False)]
    rows = pa.record_batch({"extra": [*extra, '{"e-posta": "b@x.org"}']})
    assert found(record_type(mail), rows) == [(0, "a@x.org"), (1, "a@x.org")]


def test_fields_of_records_that_the_type_did_not_know_are_found_among_the_extra_ones() -> None:
    person = record("person", {**EMAIL, "source": "eMail"}, ADDRESS, VIA)
    kind = record_type({"name": "people", "type": array(person), "source": "guests"})
    via = '{"address": "c@x.org", "via": "post"}, {"address": "d@x.org", "via": "mail"}'
    extra = [None, f'{{"guests": [{{"eMail": "a@x.org"}}, {via}]}}', '{"guests": 1, "n": "eMail"}']
    rows = pa.record_batch({"extra": extra})
    assert found(kind, rows) == [(1, "a@x.org"), (1, "d@x.org")]
    assert subject_column_names(kind, rows.schema) == ["extra"]


def test_half_of_a_surrogate_pair_among_extra_fields_stops_nothing() -> None:
    extra = ['{"email": "\\ud800@x.org"}', '{"email": "a@x.org"}']
    rows = pa.record_batch({"extra": extra})
    assert found(record_type(EMAIL), rows) == [(0, "?@x.org"), (1, "a@x.org")]


def test_extra_fields_are_not_looked_at_where_the_column_is_there() -> None:
    rows = pa.record_batch({"email": ["a@x.org"], "extra": ['{"email": "b@x.org"}']})
    assert found(record_type(EMAIL), rows) == [(0, "a@x.org")]
    assert subject_column_names(record_type(EMAIL), rows.schema) == ["email"]


def test_value_counts_only_in_rows_that_meet_its_condition() -> None:
    rows = batch("address", ["a", "b", "c"], pa.string(), via=["mail", "sms", None])
    assert found(record_type(ADDRESS, VIA), rows) == [(0, "a")]


def test_value_counts_where_its_conditions_column_is_not_there() -> None:
    assert found(record_type(ADDRESS, VIA), batch("address", ["a"], pa.string())) == [(0, "a")]


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
def test_every_value_of_a_list_belongs_to_its_row(kind: Callable[..., pa.DataType]) -> None:
    rows = batch("ids", [[1, 2], None, [], [None, 3]], kind(pa.int64()))
    assert found(record_type(IDS), rows) == [(0, "1"), (0, "2"), (3, "3")]
    assert found(record_type(IDS), rows.slice(2)) == [(1, "3")]


def test_values_of_a_map_belong_to_its_row() -> None:
    emails = {"name": "emails", "type": mapping("string"), "subject": "email"}
    rows = batch("emails", [None, [("home", "a"), ("work", "b")]], pa.map_("string", "string"))
    assert found(record_type(emails), rows) == [(1, "a"), (1, "b")]


def test_fields_of_records_in_lists_are_found_through_null_parents() -> None:
    contacts = {"name": "contacts", "type": array(["null", record("contact", ADDRESS, VIA)])}
    people = [
        None,
        [None, {"address": "a", "via": "mail"}],
        [{"address": "b", "via": "sms"}, {"address": "c", "via": "mail"}],
    ]
    kind = pa.list_(pa.struct({"address": pa.string(), "via": pa.string()}))
    rows = batch("contacts", people, kind)
    assert found(record_type(contacts), rows) == [(1, "a"), (2, "c")]
    assert found(record_type(contacts), rows.slice(2)) == [(0, "c")]


def test_condition_within_a_record_is_on_the_fields_beside() -> None:
    contact = {"name": "contact", "type": record("contact", ADDRESS, VIA)}
    kind = pa.struct({"address": pa.string(), "via": pa.string()})
    rows = batch("contact", [{"address": "a", "via": "sms"}], kind, via=["mail"])
    assert found(record_type(contact, VIA), rows) == []


def test_bytes_that_are_no_text_are_no_reason_to_stop() -> None:
    rows = batch("email", [b"\xff", b"a@x.org"], pa.binary())
    assert found(record_type(EMAIL), rows)[1] == (1, "a@x.org")


def test_column_that_cannot_be_text_is_an_error_and_not_passed_over() -> None:
    rows = batch("email", [{"x": "a@x.org"}], pa.struct({"x": pa.string()}))
    with pytest.raises(SchemaError, match="column 'email' is struct"):
        found(record_type(EMAIL), rows)


def test_types_that_no_request_can_name_are_left_out() -> None:
    phone = {"name": "phone", "type": "string", "subject": "mobile_number"}
    assert found(record_type(phone), batch("phone", ["+49"], pa.string())) == []


def test_column_tells_its_identity_type() -> None:
    (column,) = subject_columns(record_type(IDS), batch("ids", [[7]], pa.list_(pa.int64())))
    assert column.type is IdentityType.CONTROLLER_CUSTOMER_ID
