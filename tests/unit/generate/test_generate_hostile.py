"""Hostile records: as many as asked, broken, and harmless to their neighbours."""

from __future__ import annotations

import json

import pytest

from runners.generate import FileFormat, changes
from runners.generate.formats import SHAPES
from runners.generate.hostile import Breakage, breakages_of
from runners.generate.images import Dialect
from runners.generate.records import Change, draw_changes

LINED = ["kinesis", "export", "incremental-export", "debezium"]


def split(fmt: str, rate: float, count: int = 2_000) -> list[bytes]:
    return b"".join(changes(count, 9, fmt, rate)).split(b"\n")


def an_insert(dialect: Dialect) -> Change:
    return next(c for c in draw_changes(50, 9, dialect) if c.event == "INSERT")


def every_breakage() -> list[tuple[FileFormat, Breakage]]:
    return [(fmt, breakage) for fmt in FileFormat for breakage in breakages_of(fmt)]


@pytest.mark.parametrize("fmt", LINED)
def test_the_share_of_broken_records_is_as_asked(fmt: str) -> None:
    pairs = zip(split(fmt, 0.0), split(fmt, 0.1), strict=True)
    broken = sum(whole != other for whole, other in pairs)
    assert 0.07 < broken / 2_000 < 0.13


@pytest.mark.parametrize("fmt", LINED)
def test_a_rate_of_one_breaks_every_record(fmt: str) -> None:
    pairs = list(zip(split(fmt, 0.0), split(fmt, 1.0), strict=True))[:-1]
    assert all(whole != other for whole, other in pairs)


@pytest.mark.parametrize(("fmt", "breakage"), every_breakage())
def test_every_breakage_changes_the_record(fmt: FileFormat, breakage: Breakage) -> None:
    shape = SHAPES[fmt]
    change = an_insert(shape.dialect)
    assert breakage(change, shape) != shape.render(change).encode()


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_a_lambda_event_of_stream_records_stays_json(rate: float) -> None:
    events = [json.loads(line) for line in split("lambda-dynamodb", rate)[:-1]]
    assert sum(len(event["Records"]) for event in events) == 2_000


def test_concatenated_records_keep_their_braces_paired() -> None:
    made = b"".join(changes(2_000, 9, "concatenated", 1.0))
    assert made.count(b"{") == made.count(b"}")


def test_no_breakage_adds_a_line() -> None:
    assert len(split("kinesis", 1.0)) == 2_001
