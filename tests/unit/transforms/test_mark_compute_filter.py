"""What is said of every row: removal, computed fields, and whether it is wanted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import change, column, decode, deliver, demand, probe

from schemas.changes import ChangeBatch, InputFormat
from schemas.registry import Registry, build_record_type
from transforms.compute import compute_fields
from transforms.filter import ChangeFilter, filter_changes
from transforms.mark import mark_changes

TTL = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
TIME = datetime(2026, 1, 2, 12, tzinfo=UTC)
TIMED = b'"dynamodb":{"ApproximateCreationDateTime":1767355200000,'


def marked(event: str, **members: Any) -> dict[str, Any]:
    record = change(demand(), event, **members).replace(b'"dynamodb":{', TIMED)
    batch = mark_changes(decode(record))
    names = ("deleted", "deleted_at", "deleted_by", "change_time", "change_id")
    return {name: column(batch, name)[0] for name in names}


@pytest.mark.parametrize("event", ["INSERT", "MODIFY"])
def test_a_write_is_not_marked_as_deleted(event: str) -> None:
    found = marked(event)
    assert (found["deleted"], found["deleted_at"], found["deleted_by"]) == (False, None, None)


def test_a_removal_is_marked_with_its_time() -> None:
    found = marked("REMOVE")
    assert (found["deleted"], found["deleted_at"]) == (True, TIME)


@pytest.mark.parametrize(("identity", "by"), [(TTL, "ttl"), (None, "request")])
def test_a_removal_says_who_asked_for_it(identity: Any, by: str) -> None:
    assert marked("REMOVE", userIdentity=identity)["deleted_by"] == by


def test_a_change_keeps_its_own_time_and_id() -> None:
    found = marked("INSERT")
    assert (found["change_time"], found["change_id"]) == (TIME, "c-1")


def test_an_export_has_neither_time_nor_id() -> None:
    batch = mark_changes(decode(f'{{"Item":{demand()}}}'.encode(), fmt=InputFormat.EXPORT))
    names = ("change_time", "change_id", "deleted")
    assert [column(batch, name)[0] for name in names] == [None, None, False]


def system_id(event_id: str) -> str:
    batch = compute_fields(decode(change(demand(eventId={"S": event_id}))))
    return str(column(batch, "system_id")[0])


@pytest.mark.parametrize(
    ("event_id", "expected"),
    [
        ("tm-200417", "TM"),
        ("AXS-1-2", "AXS"),
        ("a1b2c3d4e5-1", "A1B2C3D4E5"),
        ("a1b2c3d4e5f-1", "UNKNOWN"),
        ("t-1", "UNKNOWN"),
        ("tm", "UNKNOWN"),
        ("evt_9921", "UNKNOWN"),
        ("ev t-1", "UNKNOWN"),
        ("-1", "UNKNOWN"),
        ("", "UNKNOWN"),
        ("é1-2", "UNKNOWN"),
        ("ßß-2", "UNKNOWN"),
        ("\u0661\u0662-2", "UNKNOWN"),
        ("x\ntm-1", "UNKNOWN"),
        ("tm-\n", "TM"),
    ],
)
def test_a_system_is_what_stands_before_the_first_hyphen(event_id: str, expected: str) -> None:
    assert system_id(event_id) == expected


@given(event_id=st.text(st.characters(exclude_categories=["Cs"]), max_size=14))
def test_a_system_is_capitals_and_digits_or_unknown(event_id: str) -> None:
    head, hyphen, _ = event_id.partition("-")
    named = bool(hyphen) and head.isascii() and head.isalnum() and 2 <= len(head) <= 10
    assert system_id(event_id) == (head.upper() if named else "UNKNOWN")


@pytest.mark.parametrize("own_id", ["D-1", "ü/ :", "😀"])
def test_a_reference_names_one_version_of_one_item(own_id: str) -> None:
    image = demand(id={"S": own_id}, version={"N": "1E+2"})
    batch = compute_fields(decode(change(image)))
    assert column(batch, "reference") == [f"urn:lethe:demand:{own_id}:100"]


def filtered(wanted: ChangeFilter) -> ChangeBatch:
    days = {"INSERT": "01", "MODIFY": "02", "REMOVE": "03"}
    records = [
        change(demand(updatedAt={"S": f"2026-01-{day}T00:00:00Z"}), event)
        for event, day in days.items()
    ]
    return filter_changes(decode(*records), wanted)


SECOND, THIRD = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wanted", "events"),
    [
        (ChangeFilter(), ["INSERT", "MODIFY", "REMOVE"]),
        (ChangeFilter(frozenset({"REMOVE", "INSERT"})), ["INSERT", "REMOVE"]),
        (ChangeFilter(since=SECOND), ["MODIFY", "REMOVE"]),
        (ChangeFilter(until=SECOND), ["INSERT"]),
        (ChangeFilter(since=SECOND, until=THIRD), ["MODIFY"]),
        (ChangeFilter(frozenset({"INSERT"}), since=SECOND), []),
    ],
)
def test_a_filter_keeps_what_is_wanted_and_counts_the_rest(
    wanted: ChangeFilter, events: list[str]
) -> None:
    batch = filtered(wanted)
    kept = [event for changes in batch.typed for event in changes.event_name.to_pylist()]
    assert (kept, batch.filtered, batch.read) == (events, 3 - len(events), 3)


def test_a_filter_by_time_takes_a_date_as_its_midnight() -> None:
    day = {"name": "day", "type": {"type": "int", "logicalType": "date"}, "partition": True}
    own = [{"name": name, "type": "string"} for name in ("id", "type", "version")]
    dated = build_record_type({"type": "record", "name": "probe", "fields": [*own, day]})
    record = probe(day={"S": "2026-01-02"}, version={"S": "1"})
    batch = deliver(record, registry=Registry({"probe": dated}))
    assert column(filter_changes(batch, ChangeFilter(since=SECOND)), "id") == ["1"]
