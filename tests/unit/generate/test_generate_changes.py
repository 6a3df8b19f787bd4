"""What generated change records are: the same every time, as many as asked, and realistic."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.generate import FileFormat, changes, contacts
from schemas.errors import UsageError

SAMPLE = 4_000


def kinesis_records(count: int = SAMPLE, seed: int = 1) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(changes(count, seed, "kinesis")).splitlines()]


def images(record: dict[str, Any]) -> list[dict[str, Any]]:
    data = record["dynamodb"]
    return [data[name] for name in ("NewImage", "OldImage") if name in data]


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return kinesis_records()


PINNED = {
    ("kinesis", 0.0): "e927f3dcd1328b1c",
    ("kinesis", 0.3): "9cf692d45fc28ef4",
    ("lambda-kinesis", 0.0): "e5c8ef311d6dbaf6",
    ("lambda-kinesis", 0.3): "53f3231c43942dc4",
    ("lambda-dynamodb", 0.0): "b5616a285c8ab894",
    ("lambda-dynamodb", 0.3): "b3a87843c4dd59f6",
    ("export", 0.0): "1c4bc2cebb440254",
    ("export", 0.3): "556f52debfb7bbe5",
    ("incremental-export", 0.0): "86f2f5c2f63b7ed2",
    ("incremental-export", 0.3): "b25252288b5c6932",
    ("concatenated", 0.0): "b3c3baaee5c1f0c4",
    ("concatenated", 0.3): "e7d5bad78e75f6ef",
    ("debezium", 0.0): "d5827bb01bf82be9",
    ("debezium", 0.3): "5e26f7fdfd3e7bb5",
}


@pytest.mark.parametrize(("fmt", "rate"), PINNED)
def test_the_bytes_of_a_seed_are_pinned(fmt: str, rate: float) -> None:
    made = hashlib.sha256(b"".join(changes(500, 7, fmt, rate))).hexdigest()
    assert made[:16] == PINNED[fmt, rate]


def test_the_bytes_of_contacts_are_pinned() -> None:
    made = hashlib.sha256(b"".join(contacts(500, 7))).hexdigest()
    assert made[:16] == "999fcc44fd506063"


def test_another_seed_gives_other_changes() -> None:
    assert b"".join(changes(10, 1, "kinesis")) != b"".join(changes(10, 2, "kinesis"))


@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 700))
def test_the_count_is_exact(count: int) -> None:
    assert len(kinesis_records(count)) == count


@pytest.mark.parametrize("fmt", FileFormat)
def test_a_huge_count_yields_at_once(fmt: FileFormat) -> None:
    first = list(islice(changes(10**12, 1, fmt, 0.01), 2))
    assert all(0 < len(chunk) < 1_000_000 for chunk in first)


def test_types_are_mixed_as_promised(records: list[dict[str, Any]]) -> None:
    seen = Counter(images(record)[0]["type"]["S"] for record in records)
    share = {name: count / SAMPLE for name, count in seen.items()}
    expected = {"demand": 0.4, "notification": 0.3, "event": 0.15, "sale": 0.15}
    assert share == pytest.approx(expected, abs=0.03)


def test_event_names_are_mixed_as_promised(records: list[dict[str, Any]]) -> None:
    seen = Counter(record["eventName"] for record in records)
    share = {name: count / SAMPLE for name, count in seen.items()}
    assert share == pytest.approx({"INSERT": 0.6, "MODIFY": 0.3, "REMOVE": 0.1}, abs=0.03)


def test_each_event_carries_the_images_dynamodb_sends(records: list[dict[str, Any]]) -> None:
    carried = {
        (r["eventName"], "NewImage" in r["dynamodb"], "OldImage" in r["dynamodb"]) for r in records
    }
    assert carried == {
        ("INSERT", True, False),
        ("MODIFY", True, True),
        ("REMOVE", False, True),
    }


def test_a_fifth_of_the_removals_are_by_ttl(records: list[dict[str, Any]]) -> None:
    removals = [r["userIdentity"] for r in records if r["eventName"] == "REMOVE"]
    by_ttl = [identity for identity in removals if identity]
    assert 0.1 < len(by_ttl) / len(removals) < 0.3
    assert by_ttl[0] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


def test_every_date_of_the_month_gets_every_type(records: list[dict[str, Any]]) -> None:
    stamps = [(images(r)[0]["type"]["S"], images(r)[0]["updatedAt"]) for r in records]
    partitions = {(kind, at["S"][:10]) for kind, at in stamps if at.get("S", "").endswith("Z")}
    assert len(partitions) == 120


def test_a_user_id_always_has_the_same_email(records: list[dict[str, Any]]) -> None:
    found = [image for r in records for image in images(r) if "email" in image]
    emails = {(image["userId"]["S"], image["email"]["S"]) for image in found}
    assert len(emails) == len({user for user, _ in emails})


def test_people_have_several_records(records: list[dict[str, Any]]) -> None:
    users = Counter(images(r)[0]["userId"]["S"] for r in records if "userId" in images(r)[0])
    assert 2 < users.total() / len(users) < 10


def test_optional_fields_are_sometimes_absent(records: list[dict[str, Any]]) -> None:
    demands = [i for r in records for i in images(r) if i["type"]["S"] == "demand"]
    with_phone = sum("phone" in demand for demand in demands)
    assert 0.4 < with_phone / len(demands) < 0.8


def test_a_modification_follows_the_version_it_replaces(records: list[dict[str, Any]]) -> None:
    pairs = [images(r) for r in records if r["eventName"] == "MODIFY"]
    steps = {int(new["version"]["N"]) - int(old["version"]["N"]) for new, old in pairs}
    assert steps == {1}


def test_a_record_takes_about_900_bytes() -> None:
    size = sum(map(len, changes(SAMPLE, 1, "kinesis"))) / SAMPLE
    assert 800 < size < 1_000


def test_contacts_are_the_people_of_the_changes(records: list[dict[str, Any]]) -> None:
    people = {json.loads(line)["email"] for line in b"".join(contacts(SAMPLE, 1)).splitlines()}
    emails = {i["email"]["S"] for r in records for i in images(r) if "email" in i}
    assert emails <= people


@pytest.mark.parametrize(
    ("count", "fmt", "rate"),
    [(-1, "kinesis", 0.0), (1, "csv", 0.0), (1, "kinesis", 1.01), (1, "kinesis", float("nan"))],
)
def test_senseless_requests_are_refused_before_anything_is_made(
    count: int, fmt: str, rate: float
) -> None:
    with pytest.raises(UsageError):
        changes(count, 1, fmt, rate)


def test_a_negative_count_of_contacts_is_refused() -> None:
    with pytest.raises(UsageError, match="negative"):
        contacts(-5, 1)
