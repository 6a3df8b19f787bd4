"""The drain with SQS before it: nothing lost, nothing twice, whatever SQS and drains do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dsr.changing import change
from dsr.desk import Desk
from dsr.drain import LEASE_SECONDS
from dsr.forwarding import Outcome, retried
from runners.commands.dsr import app
from schemas.access import Reach
from schemas.dsr import Dsr
from stores.processors.errors import Unreachable
from stores.queues.port import RequestQueue
from stores.state.sql import open_state
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, moto_url
from tests.integration.dsr.test_drain import Clock, House
from tests.request_queues import Fifo

__all__ = ["moto_url"]


@dataclass
class SlowQueue(RequestQueue):
    """A queue whose taking takes so many seconds."""

    queue: RequestQueue
    clock: Clock
    seconds: float

    @property
    def has_waited(self) -> bool:
        return self.queue.has_waited

    def put(self, dsr: Dsr) -> None:
        self.queue.put(dsr)

    def take(self, now: datetime, limit: int) -> list[Dsr]:
        self.clock.advance(seconds=self.seconds)
        return self.queue.take(now, limit)

    def settle(self, now: datetime) -> None:
        self.queue.settle(now)


@dataclass
class SqsHouse(House):
    """Each desk, that is each process, has a queue of its own on one FIFO queue."""

    fifo: Fifo | None = None
    queue_takes: float = 0.0

    @property
    def desk(self) -> Desk:
        assert self.fifo is not None
        queue = SlowQueue(self.fifo.queue(self.state.dsr), self.clock, self.queue_takes)
        return replace(super().desk, queue=queue)

    def counts(self) -> tuple[int, int]:
        assert self.fifo is not None
        return self.fifo.counts()


@pytest.fixture
def house(tmp_path: Path, moto_url: str) -> Iterator[SqsHouse]:
    clock = Clock()
    with closing(open_state(f"sqlite:///{tmp_path / 'state.db'}", clock)) as state:
        yield SqsHouse(state, clock, fifo=Fifo.at(moto_url))


def test_request_is_forwarded_by_its_message_and_the_message_deleted(house: SqsHouse) -> None:
    with closing(house.drain()) as drain:
        drain.round()
        one = house.submitted("subject")
        assert drain.round() == {Outcome.FORWARDED: 1}
    assert house.processor.arrived == [one]
    assert house.counts() == (0, 0)


def test_requests_of_a_subject_go_in_order(house: SqsHouse) -> None:
    with closing(house.drain()) as drain:
        drain.round()
        first = house.submitted("subject")
        house.clock.advance(seconds=1)
        second = house.submitted("subject", 1, "export")
        house.processor.fails_for[first] = Unreachable("not now")
        drain.round()
        assert house.processor.arrived == []
        house.processor.fails_for.clear()
        for _ in range(6):  # Of two, one finds its lease gone by.
            house.clock.advance(minutes=5)
            drain.round()
    assert house.processor.arrived == [first, second]


def test_queue_that_takes_its_time_keeps_nothing_from_being_sent(house: SqsHouse) -> None:
    """So long that the lease would not last for sending, were it not renewed."""
    house.queue_takes = LEASE_SECONDS - 1
    one = house.submitted("subject")
    assert house.drained() == {Outcome.FORWARDED: 1}
    assert house.processor.arrived == [one]


def test_every_request_arrives_once_though_the_processor_is_down_and_drains_are_killed(
    house: SqsHouse,
) -> None:
    """And though half of the messages are lost, and the others come twice."""
    ids = [house.submitted(f"subject-{n}") for n in range(6)]
    assert house.fifo is not None
    for message in house.fifo.client.receive_message(
        QueueUrl=house.fifo.url, MaxNumberOfMessages=3
    )["Messages"]:
        handle = message["ReceiptHandle"]
        house.fifo.client.delete_message(QueueUrl=house.fifo.url, ReceiptHandle=handle)
    for one in ids[3:]:
        house.desk.queue.put(replace(house.get(one), version=9))
    house.processor.fails = Unreachable("it does not answer")
    drain = house.drain()
    until = house.clock() + timedelta(hours=1)
    while house.clock() < until:
        drain.round()
        house.clock.advance(minutes=10)
    house.processor.fails = None
    house.processor.dies_before, house.processor.dies_after = {ids[1]}, {ids[4]}
    house.clock.advance(minutes=10)
    house.killed("drain-2")
    house.clock.advance(minutes=10)
    house.drained("drain-4")
    assert sorted(house.processor.arrived) == sorted(ids)
    assert {house.status(one) for one in ids} == {"submitted"}


def test_parked_request_is_put_again_when_it_is_to_be_tried_again(house: SqsHouse) -> None:
    house.max_attempts = 1
    house.processor.fails = Unreachable("down")
    with closing(house.drain()) as drain:
        drain.round()
        one = house.submitted("subject")
        drain.round()
        assert (house.get(one).parked_reason is not None, house.counts()) == (True, (0, 0))
        house.processor.fails = None
        change(house.desk, one, Reach(None), "cli", retried)
        assert house.counts() == (1, 0)
        house.clock.advance(seconds=5)
        drain.round()
    assert house.processor.arrived == [one]


def test_command_line_puts_by_the_settings(
    tmp_path: Path, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = Fifo.at(moto_url)
    settings = {
        "LETHE_ENV": "local",
        "LETHE_STATE__FOLDER": str(tmp_path / "state"),
        "LETHE_PARAMETERS__FOLDER": str(tmp_path / "keys"),
        "LETHE_DSR__QUEUE": "sqs",
        "LETHE_DSR__QUEUE_URL": fifo.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    arguments = ["submit", "access", "--identity=android_id=x1", "--organization", "org-1"]
    request_id = CliRunner().invoke(app, arguments).stdout.strip()
    assert [message["request"] for message in fifo.messages()] == [request_id]
