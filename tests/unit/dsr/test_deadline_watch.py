"""Deadlines are told of: all of them, once for each request and number of days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from dsr.alerts import Alerts
from dsr.deadline_watch import DeadlineWatch, reached
from schemas.access import Reach
from schemas.alerts import Alert
from schemas.dsr import Dsr, DsrStatus, DueCursor
from stores.notify.memory import AlertMemory
from stores.notify.port import NotTold
from tests.dsr_memory import MemoryDsr, Office
from tests.dsr_requests import RECEIVED, a_request

DAYS = (7, 3, 1, 0)


class Paged(MemoryDsr):
    """Requests in memory, and how many were asked for at once."""

    largest = 0

    def due_before(
        self, moment: datetime, reach: Reach, limit: int, after: DueCursor | None = None
    ) -> list[Dsr]:
        self.largest = max(self.largest, limit)
        return super().due_before(moment, reach, limit, after)


class Remembered(AlertMemory):
    """What was told, as a dict."""

    def __init__(self) -> None:
        self.kept: dict[str, datetime] = {}

    def since(self, key: str) -> datetime | None:
        return self.kept.get(key)

    def known(self, keys: Sequence[str]) -> frozenset[str]:
        assert len(keys) <= 100
        return frozenset({*keys} & {*self.kept})

    def remember(self, key: str, at: datetime) -> datetime:
        return self.kept.setdefault(key, at)

    def forget(self, key: str) -> None:
        self.kept.pop(key, None)

    def prune(self, before: datetime) -> int:
        raise NotImplementedError


class House(Office):
    """Requests, operators, and watches that come and go."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.dsr: Paged = Paged(self.audit)
        self.memory = Remembered()
        self.heard: list[Alert] = []
        self.deaf = False
        self.missed = 0
        self.seconds_each = 0.0

    def notify(self, alert: Alert) -> None:
        self.clock.advance(seconds=self.seconds_each)
        if self.deaf:
            self.missed += 1
            raise NotTold("nobody listens")
        self.heard.append(alert)

    def watch(self) -> DeadlineWatch:
        alerts = Alerts(self.memory, self, self.clock)
        return DeadlineWatch(self.desk(), alerts, DAYS, "drain")

    def due_in(self, days: float, **changes: object) -> Dsr:
        dsr = a_request(due_at=self.clock() + timedelta(days=days), **changes)
        self.dsr.all[dsr.id] = dsr
        return dsr

    def noticed(self, dsr: Dsr) -> int | None:
        """The number of days that whoever watches the request was told of last."""
        notice = self.dsr.all[dsr.id].due_notice
        return None if notice is None else notice.days


@pytest.fixture
def house() -> House:
    return House()


def test_all_are_told_of_though_only_some_are_read_at_once(house: House) -> None:
    made = [house.due_in(2) for _ in range(1234)]
    assert house.watch().look()
    assert {alert.resource for alert in house.heard} == {f"dsr:{dsr.id}" for dsr in made}
    assert {house.noticed(dsr) for dsr in made} == {3}
    assert house.dsr.largest <= 100


def test_each_is_told_of_once_for_each_number_whoever_looks(house: House) -> None:
    dsr = house.due_in(8)
    for _ in range(10):
        for _ in range(3):
            house.watch().look()
        house.clock.advance(days=1)
    assert [alert.details["days"] for alert in house.heard] == [7, 3, 1, 0]
    assert house.actions == ["dsr.deadline_noticed"] * 4
    assert house.noticed(dsr) == 0


def test_numbers_that_passed_meanwhile_are_one_notice(house: House) -> None:
    dsr = house.due_in(0.5)
    house.watch().look()
    assert (house.noticed(dsr), house.actions) == (1, ["dsr.deadline_noticed"])


def test_requests_that_are_closed_or_not_near_are_left(house: House) -> None:
    house.due_in(2, status=DsrStatus.COMPLETED)
    house.due_in(7)
    house.watch().look()
    assert (house.heard, house.actions) == ([], [])


def test_clients_are_told_though_operators_cannot_be(house: House) -> None:
    made = [house.due_in(2) for _ in range(150)]
    house.deaf, watch = True, house.watch()
    watch.look()
    assert house.missed == 1
    assert {house.noticed(dsr) for dsr in made} == {3}
    house.deaf = False
    watch.look()
    assert len(house.heard) == 150


def test_a_look_that_takes_long_goes_on_where_it_was(house: House) -> None:
    made = [house.due_in(1 + n / 100) for n in range(10)]
    house.seconds_each, watch = 1.0, house.watch()
    ends = [watch.look() for _ in range(3)]
    assert ends == [False, False, True]
    assert [alert.resource for alert in house.heard] == [f"dsr:{dsr.id}" for dsr in made]


def test_a_deadline_that_was_moved_is_told_of_again(house: House) -> None:
    dsr = house.due_in(2)
    house.watch().look()
    moved = replace(house.dsr.all[dsr.id], due_at=RECEIVED + timedelta(days=62), due_notice=None)
    house.dsr.all[dsr.id] = moved
    house.clock.advance(days=56)
    house.watch().look()
    assert house.noticed(dsr) == 7


@pytest.mark.parametrize(
    ("hours", "days"), [(169, None), (168, None), (167, 7), (25, 3), (1, 1), (0, 1), (-1, 0)]
)
def test_least_number_of_days_that_is_reached_counts(hours: int, days: int | None) -> None:
    dsr = a_request(due_at=RECEIVED + timedelta(hours=hours))
    assert reached(dsr, DAYS, RECEIVED) == days
