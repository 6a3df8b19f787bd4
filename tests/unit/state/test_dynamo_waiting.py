"""Waiting for events of DynamoDB: often while something goes on, seldom otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from stores.state.dynamo.outbox import DynamoOutbox


class Table:
    """A table with events to come: by how many looks each takes to appear."""

    def __init__(self, looks: list[int]) -> None:
        self.looks = looks

    def query(self, condition: str, **options: Any) -> Iterator[dict[str, str]]:
        self.looks[0] -= 1
        return iter([] if self.looks[0] else [{"sk": "1"}])


class Log:
    """A log of a process that writes nothing itself; its pauses make time pass."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def pause(self, place: int, seconds: float) -> bool:
        self.pauses.append(round(seconds, 3))
        self.now += seconds
        return False


@pytest.fixture
def log() -> Log:
    return Log()


def outbox(log: Log, *looks: int) -> DynamoOutbox:
    return DynamoOutbox(cast(Any, Table([*looks])), cast(Any, log), lambda: log.now)


def test_an_event_that_is_there_is_not_waited_for(log: Log) -> None:
    assert outbox(log, 1).wait(0, 10)
    assert log.pauses == []


def test_a_quiet_outbox_is_looked_at_seldom(log: Log) -> None:
    assert outbox(log, 4).wait(0, 10)
    assert log.pauses == [0.25] * 3


def test_after_an_event_it_is_looked_at_often(log: Log) -> None:
    lively = outbox(log, 1)
    lively.wait(0, 10)
    cast(Any, lively)._table.looks = [4]
    assert lively.wait(1, 10)
    assert log.pauses == [0.02] * 3


def test_it_becomes_quiet_again(log: Log) -> None:
    lively = outbox(log, 1)
    lively.wait(0, 10)
    log.now += 6
    cast(Any, lively)._table.looks = [3]
    lively.wait(1, 10)
    assert log.pauses == [0.25] * 2


def test_waiting_takes_no_longer_than_it_may(log: Log) -> None:
    assert not outbox(log, 99).wait(0, 0.6)
    assert log.pauses == [0.25, 0.25, 0.1]
