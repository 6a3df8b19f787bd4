"""Inputs told apart: files, and streams with where they begin."""

from __future__ import annotations

import pytest

from runners.plan_streams import StreamInput, parse_inputs
from schemas.errors import UsageError
from schemas.streams import Start, StartKind, StreamAddress
from transforms.shards import ShardStep, ShardTask, shared_out


def test_files_and_streams_are_told_apart_by_their_scheme() -> None:
    files, streams = parse_inputs(
        ["a.ndjson", "kinesis://changes?region=eu-west-1&start=LATEST", "s3://b/c"]
    )
    assert files == ("a.ndjson", "s3://b/c")
    address = StreamAddress("changes", "eu-west-1")
    assert streams == (StreamInput(address, Start(StartKind.LATEST)),)


def test_the_region_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    _, (stream,) = parse_inputs(["kinesis://changes"])
    assert stream.address.region == "eu-central-1"


def test_a_stream_that_is_given_twice_is_refused() -> None:
    uris = ["kinesis://a?region=eu-west-1", "kinesis://a?region=eu-west-1&start=LATEST"]
    with pytest.raises(UsageError, match="given twice"):
        parse_inputs(uris)


def task(*names: str) -> ShardTask:
    return ShardTask(tuple(ShardStep(name, name, None, Start()) for name in names))


def test_related_shards_stay_together_and_workers_get_about_the_same() -> None:
    family, single, other = task("a", "b"), task("c"), task("d")
    assert shared_out([single, family, other], 2) == [(family,), (single, other)]


def test_no_worker_is_left_with_nothing() -> None:
    assert shared_out([task("a")], 4) == [(task("a"),)]
    assert shared_out([], 4) == []
