"""The example files keep what their README says of them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.registry import load_registry

EXAMPLES = Path(__file__).parents[3] / "examples"
EXPORTS = ["dynamodb-export", "dynamodb-incremental-export"]


def tags(value: Any) -> set[str]:
    """The DynamoDB types in an image or attribute value."""
    if isinstance(value, list):
        return set().union(*map(tags, value))
    if not isinstance(value, dict):
        return set()
    return {key for key in value if key.isupper()}.union(*map(tags, value.values()))


def kinesis_records() -> list[dict[str, Any]]:
    text = (EXAMPLES / "kinesis-records.ndjson").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_all_ten_dynamodb_types_are_shown() -> None:
    found = set().union(*(tags(record["dynamodb"]) for record in kinesis_records()))
    assert found == set("S N B BOOL NULL M L SS NS BS".split())


def test_one_removal_is_by_request_and_one_by_ttl() -> None:
    removals = [r["userIdentity"] for r in kinesis_records() if r["eventName"] == "REMOVE"]
    assert removals == [None, {"type": "Service", "principalId": "dynamodb.amazonaws.com"}]


@pytest.mark.parametrize("folder", EXPORTS)
def test_manifests_lead_to_files_with_the_checksums_and_counts_they_tell(folder: str) -> None:
    (summary,) = (EXAMPLES / folder).rglob("manifest-summary.json")
    listing = EXAMPLES / json.loads(summary.read_text())["manifestFilesS3Key"]
    for row in map(json.loads, listing.read_text().splitlines()):
        data = (EXAMPLES / row["dataFileS3Key"]).read_bytes()
        assert base64.b64encode(hashlib.md5(data).digest()).decode() == row["md5Checksum"]
        assert len(gzip.decompress(data).splitlines()) == row["itemCount"]


@pytest.mark.parametrize("folder", EXPORTS)
def test_the_summary_counts_all_files(folder: str) -> None:
    (summary,) = (EXAMPLES / folder).rglob("manifest-summary.json")
    (listing,) = (EXAMPLES / folder).rglob("manifest-files.json")
    rows = map(json.loads, listing.read_text().splitlines())
    assert json.loads(summary.read_text())["itemCount"] == sum(row["itemCount"] for row in rows)


def test_lambda_events_are_printed_over_many_lines() -> None:
    for name, count in (("lambda-kinesis-event.json", 5), ("lambda-dynamodb-event.json", 7)):
        text = (EXAMPLES / name).read_text()
        assert len(json.loads(text)["Records"]) == count
        assert text.count("\n") > 50


def test_the_firehose_file_has_no_newline() -> None:
    assert b"\n" not in (EXAMPLES / "firehose-concatenated.json").read_bytes()


def test_the_readme_speaks_of_every_example() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    names = {path.name for path in EXAMPLES.iterdir()} - {"README.md", "schemas"}
    assert [name for name in names if name not in readme] == []


def test_the_shipment_schema_loads() -> None:
    shipment = load_registry(EXAMPLES / "schemas")["shipment"]
    assert shipment.partition_field.name == "updated_at"
    assert {path for path, _ in shipment.subjects} == {"user_id", "email"}
