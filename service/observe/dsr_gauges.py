"""Data subject requests as a scrape is told of them: what waits, for how long, and what is late."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schemas.access import Reach
from schemas.dsr import DsrQuery, DsrStatus
from schemas.errors import LetheError
from service.observe.operations import Clock, error_type
from service.observe.pacing import Paced
from stores.state.dsr_port import DsrStore

COUNTED = 500
"""Requests of a status, and those at risk, are counted up to so many."""

_EVERYWHERE = Reach(None)
_AT_LAST = timedelta(days=3650)
"""Whenever a waiting request is tried next, it is before so long."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class DsrReading:
    """The requests at some time."""

    held: int
    queued: int
    parked: int
    at_risk: int
    oldest_waiting_at: datetime | None


class DsrCollector(Collector):
    """Requests read from the store when a scrape asks; nothing if it does not answer.

    A request is at risk with ``at_risk_days`` left or fewer. ``now`` gives UTC.
    """

    def __init__(
        self,
        requests: DsrStore,
        at_risk_days: int,
        now: Callable[[], datetime],
        clock: Clock,
    ) -> None:
        self._requests = requests
        self._at_risk = timedelta(days=at_risk_days + 1)
        self._now = now
        self._paced = Paced(self._read, clock)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for reading in self._paced.current():
            yield from self._told(reading)

    def _told(self, reading: DsrReading) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "lethe_dsr_waiting",
            f"Requests that wait here, up to {COUNTED} of each kind.",
            labels=["status"],
        )
        for status in ("held", "queued", "parked"):
            waiting.add_metric([status], getattr(reading, status))
        yield waiting
        yield GaugeMetricFamily(
            "lethe_dsr_oldest_queued_age_seconds",
            "How long the oldest request that is not parked waits for its processor; 0 if none.",
            value=self._age(reading.oldest_waiting_at),
        )
        yield GaugeMetricFamily(
            "lethe_dsr_at_risk",
            f"Open requests that are due soon or overdue, up to {COUNTED}.",
            value=reading.at_risk,
        )

    def _age(self, since: datetime | None) -> float:
        return 0.0 if since is None else max(0.0, (self._now() - since).total_seconds())

    def _read(self) -> tuple[DsrReading, ...]:
        try:
            return (self._measured(self._requests, self._now()),)
        except LetheError as error:
            _log.warning("requests cannot be measured", error=error_type(error))
            return ()

    def _measured(self, requests: DsrStore, now: datetime) -> DsrReading:
        held, queued = (
            requests.find(DsrQuery(status=status, limit=COUNTED), _EVERYWHERE)
            for status in (DsrStatus.HELD, DsrStatus.QUEUED)
        )
        parked = sum(dsr.parked_reason is not None for dsr in queued)
        oldest = requests.waiting(now + _AT_LAST, 1)
        at_risk = requests.due_before(now + self._at_risk, _EVERYWHERE, COUNTED)
        since = oldest[0].received_at if oldest else None
        return DsrReading(len(held), len(queued) - parked, parked, len(at_risk), since)
