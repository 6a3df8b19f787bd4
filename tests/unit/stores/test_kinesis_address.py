"""The address of a stream: what it says, and what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UsageError
from schemas.streams import Start, StartKind, StreamAddress
from stores.streams.address import default_region, parse_address

EVENING = datetime(2026, 1, 2, 20, tzinfo=UTC)


def test_address_names_stream_region_and_endpoint() -> None:
    address, _ = parse_address("kinesis://changes?region=eu-west-1&endpoint=http://localhost:4567/")
    assert address == StreamAddress("changes", "eu-west-1", "http://localhost:4567")


def test_region_of_the_address_wins_over_the_default() -> None:
    assert parse_address("kinesis://a?region=eu-west-1", "us-east-1")[0].region == "eu-west-1"
    assert parse_address("kinesis://a", "us-east-1")[0].region == "us-east-1"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", Start(StartKind.TRIM_HORIZON)),
        ("&start=TRIM_HORIZON", Start(StartKind.TRIM_HORIZON)),
        ("&start=LATEST", Start(StartKind.LATEST)),
        ("&start=2026-01-02T20:00:00Z", Start(StartKind.AT_TIMESTAMP, EVENING)),
        ("&start=2026-01-02T22:00:00+02:00", Start(StartKind.AT_TIMESTAMP, EVENING)),
        ("&start=2026-01-02T22%3A00%3A00%2B02:00", Start(StartKind.AT_TIMESTAMP, EVENING)),
    ],
)
def test_start_is_one_of(text: str, start: Start) -> None:
    assert parse_address(f"kinesis://a?region=eu-west-1{text}")[1] == start


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://a", "no address of a stream"),
        ("kinesis://?region=eu-west-1", "'' is no name of a stream"),
        ("kinesis://a/b?region=eu-west-1", "'a/b' is no name of a stream"),
        ("kinesis://arn:aws:kinesis?region=eu-west-1", "is no name of a stream"),
        ("kinesis://" + "a" * 129 + "?region=eu-west-1", "1 to 128 letters"),
        ("kinesis://a", "names no region: add .region=REGION, or set AWS_REGION"),
        ("kinesis://a?region=", "names no region"),
        ("kinesis://a?region=Europe", "'Europe' is no region"),
        ("kinesis://a?region=eu-west-1&region=eu-west-1", "region is given twice"),
        ("kinesis://a?region=eu-west-1&form=x", "unknown option 'form': use region"),
        ("kinesis://a?region=eu-west-1&endpoint=localhost:4567", "endpoint 'localhost:4567'"),
        ("kinesis://a?region=eu-west-1&endpoint=http://:4567", "is no URL"),
        ("kinesis://a?region=eu-west-1&endpoint=http://a:99999", "is no URL"),
        ("kinesis://a?region=eu-west-1&start=latest", "start 'latest' is none of"),
        ("kinesis://a?region=eu-west-1&start=", "start '' is none of"),
        ("kinesis://a?region=eu-west-1&start=2026-01-02T20:00:00", "has no zone"),
        ("kinesis://a?region=eu-west-1&start=2026-02-30T20:00:00Z", "is none of"),
    ],
)
def test_error_says_what_is_wrong_with(uri: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_address(uri)


@given(st.text())
def test_any_other_text_is_a_usage_error_or_an_address(text: str) -> None:
    try:
        address, _ = parse_address("kinesis://a?" + text, "eu-west-1")
    except UsageError:
        return
    assert address.name == "a"


def test_default_region_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    assert default_region() == "eu-west-3"
