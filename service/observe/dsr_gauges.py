"""Data subject requests as a scrape is told of them: what waits, for how long, and what is late."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schemas.dsr import OpenTally
from schemas.errors import LetheError
from service.observe.operations import Clock, error_type
from service.observe.pacing import Paced
from stores.state.dsr_port import DsrStore

_AT_LAST = timedelta(days=3650)
"""Whenever a waiting request is tried next, it is before so long."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class DsrReading:
    """The requests at some time."""

    open: OpenTally
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
            "Requests that wait here: for a reviewer, for their processor, or for an operator.",
            labels=["status"],
        )
        for status in ("held", "queued", "parked"):
            waiting.add_metric([status], getattr(reading.open, status))
        yield waiting
        yield GaugeMetricFamily(
            "lethe_dsr_oldest_queued_age_seconds",
            "How long the oldest request that is not parked waits for its processor; 0 if none.",
            value=self._age(reading.oldest_waiting_at),
        )
        yield GaugeMetricFamily(
            "lethe_dsr_at_risk",
            "Open requests that are due soon or overdue.",
            value=reading.open.due,
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
        oldest = requests.waiting(now + _AT_LAST, 1)
        since = oldest[0].received_at if oldest else None
        return DsrReading(requests.tally(now + self._at_risk), since)
