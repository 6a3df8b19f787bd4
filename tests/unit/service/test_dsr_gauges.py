"""What a scrape is told of data subject requests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from schemas.dsr import Dsr, DsrStatus
from schemas.errors import StoreUnavailable
from service.observe.dsr_gauges import DsrCollector
from tests.dsr_memory import MemoryDsr, Office
from tests.dsr_requests import RECEIVED, a_request


class Waiting(MemoryDsr):
    """The store in memory, with what waits; it may fail, and counts how often it is asked."""

    fails = False
    asked = 0

    def waiting(self, now: datetime, limit: int) -> list[Dsr]:
        self.asked += 1
        if self.fails:
            raise StoreUnavailable("no answer")
        found = [dsr for dsr in self.all.values() if dsr.status is DsrStatus.QUEUED]
        return [dsr for dsr in found if dsr.parked_reason is None][:limit]


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def store(office: Office) -> Waiting:
    return Waiting(office.audit)


@pytest.fixture
def registry(office: Office, store: Waiting) -> CollectorRegistry:
    def seconds() -> float:
        return office.clock.now.timestamp()

    made = CollectorRegistry()
    made.register(DsrCollector(store, 7, office.clock, seconds))
    return made


def keep(store: Waiting, *requests: Dsr) -> None:
    store.all.update({dsr.id: dsr for dsr in requests})


def value(registry: CollectorRegistry, name: str, **labels: str) -> Any:
    return registry.get_sample_value(name, labels)


def test_what_waits_is_told_by_kind(registry: CollectorRegistry, store: Waiting) -> None:
    queued = [a_request(), a_request(), a_request(parked_reason="refused")]
    keep(store, *queued, a_request(status=DsrStatus.HELD), a_request(status=DsrStatus.COMPLETED))
    found = {
        s: value(registry, "lethe_dsr_waiting", status=s) for s in ("held", "queued", "parked")
    }
    assert found == {"held": 1, "queued": 2, "parked": 1}


def test_nothing_that_waits_has_no_age(registry: CollectorRegistry) -> None:
    assert value(registry, "lethe_dsr_oldest_queued_age_seconds") == 0


def test_oldest_waiting_request_gives_the_age(
    registry: CollectorRegistry, store: Waiting, office: Office
) -> None:
    keep(store, a_request())
    office.clock.advance(seconds=90)
    assert value(registry, "lethe_dsr_oldest_queued_age_seconds") == 90


def test_open_requests_with_few_days_left_are_at_risk(
    registry: CollectorRegistry, store: Waiting
) -> None:
    soon, later = RECEIVED + timedelta(days=7.9), RECEIVED + timedelta(days=8)
    keep(store, a_request(due_at=soon), a_request(due_at=later))
    keep(store, a_request(due_at=soon, status=DsrStatus.COMPLETED))
    assert value(registry, "lethe_dsr_at_risk") == 1


def test_all_are_counted_however_many(registry: CollectorRegistry, store: Waiting) -> None:
    keep(store, *(a_request(due_at=RECEIVED) for _ in range(1200)))
    assert value(registry, "lethe_dsr_waiting", status="queued") == 1200
    assert value(registry, "lethe_dsr_at_risk") == 1200


def test_store_that_does_not_answer_gives_no_figure(
    registry: CollectorRegistry, store: Waiting
) -> None:
    store.fails = True
    assert value(registry, "lethe_dsr_at_risk") is None


def test_scrapes_in_a_row_ask_the_store_once(registry: CollectorRegistry, store: Waiting) -> None:
    for _ in range(5):
        value(registry, "lethe_dsr_at_risk")
    assert store.asked == 1
