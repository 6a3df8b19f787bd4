"""Every generated format is JSON of the documented shape, and tells the same changes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from runners.generate import changes

COUNT = 250
Json = dict[str, Any]


def lines(fmt: str) -> list[Json]:
    return [json.loads(line) for line in b"".join(changes(COUNT, 3, fmt)).splitlines()]


@pytest.fixture(scope="module")
def reference() -> list[Json]:
    return lines("kinesis")


def test_kinesis_records_have_the_documented_members(reference: list[Json]) -> None:
    assert set(reference[0]) == set(
        "awsRegion eventID eventName userIdentity recordFormat tableName dynamodb "
        "eventSource".split()
    )
    assert len({record["eventID"] for record in reference}) == COUNT


def test_kinesis_times_are_milliseconds_of_the_month(reference: list[Json]) -> None:
    times = [record["dynamodb"]["ApproximateCreationDateTime"] for record in reference]
    assert min(times) >= 1_767_225_600_000
    assert max(times) < 1_767_225_600_000 + 32 * 86_400_000


def test_lambda_kinesis_events_hold_the_records_in_base64(reference: list[Json]) -> None:
    members = [member for event in lines("lambda-kinesis") for member in event["Records"]]
    held = [json.loads(base64.b64decode(m["kinesis"]["data"], validate=True)) for m in members]
    assert held == reference


def test_lambda_events_hold_at_most_100_records() -> None:
    sizes = [len(event["Records"]) for event in lines("lambda-kinesis")]
    assert sizes == [100, 100, 50]


def test_lambda_kinesis_members_have_the_documented_shape() -> None:
    member = lines("lambda-kinesis")[0]["Records"][0]
    assert member["eventID"] == f"shardId-000000000000:{member['kinesis']['sequenceNumber']}"
    assert set(member["kinesis"]) == set(
        "kinesisSchemaVersion partitionKey sequenceNumber data approximateArrivalTimestamp".split()
    )


def test_lambda_dynamodb_records_tell_the_same_in_seconds(reference: list[Json]) -> None:
    members = [member for event in lines("lambda-dynamodb") for member in event["Records"]]
    times = [member["dynamodb"]["ApproximateCreationDateTime"] for member in members]
    expected = [r["dynamodb"]["ApproximateCreationDateTime"] // 1000 for r in reference]
    assert times == expected
    assert [m["eventName"] for m in members] == [r["eventName"] for r in reference]


def test_sequence_numbers_rise() -> None:
    members = [member for event in lines("lambda-dynamodb") for member in event["Records"]]
    numbers = [int(member["dynamodb"]["SequenceNumber"]) for member in members]
    assert numbers == sorted(set(numbers))


def test_an_export_holds_the_latest_image_of_each_item(reference: list[Json]) -> None:
    data = [record["dynamodb"] for record in reference]
    latest = [{"Item": d.get("NewImage", d.get("OldImage"))} for d in data]
    assert lines("export") == latest


def test_an_incremental_export_adds_keys_and_the_time_in_microseconds(
    reference: list[Json],
) -> None:
    data = [record["dynamodb"] for record in reference]
    expected = [(d["Keys"], f"{d['ApproximateCreationDateTime']}000") for d in data]
    made = lines("incremental-export")
    assert [(m["Keys"], m["Metadata"]["WriteTimestampMicros"]["N"]) for m in made] == expected


def test_concatenated_records_have_nothing_between_them(reference: list[Json]) -> None:
    text = b"".join(changes(COUNT, 3, "concatenated")).decode()
    decoder, found, place = json.JSONDecoder(), [], 0
    while place < len(text):
        record, place = decoder.raw_decode(text, place)
        found.append(record)
    assert found == reference


def test_debezium_operations_match_the_event_names(reference: list[Json]) -> None:
    operations = {"INSERT": "c", "MODIFY": "u", "REMOVE": "d"}
    assert [m["op"] for m in lines("debezium")] == [operations[r["eventName"]] for r in reference]


def test_debezium_values_are_plain_json() -> None:
    rows = [event["after"] or event["before"] for event in lines("debezium")]
    demand = next(row for row in rows if row["type"] == "demand")
    kinds = {name: type(demand[name]) for name in ("version", "maxPrice", "updatedAt", "sections")}
    assert kinds == {"version": int, "maxPrice": str, "updatedAt": str, "sections": list}


@pytest.mark.parametrize("fmt", ["kinesis", "lambda-kinesis", "export", "debezium"])
def test_json_is_compact_and_ends_with_a_newline(fmt: str) -> None:
    made = b"".join(changes(20, 3, fmt))
    assert made.endswith(b"}\n")
    assert b'": ' not in made
    assert b', "' not in made
