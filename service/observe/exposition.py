"""What a scrape is answered: the metrics of all worker processes, and the state of the queue."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from schemas.access import Reach
from schemas.errors import LetheError
from schemas.jobs import JobQuery, JobStatus
from service.observe import processes
from service.observe.metrics import Metrics
from service.observe.operations import Clock, error_type
from service.observe.pacing import Paced
from service.observe.processes import VARIABLE
from stores.state.service_port import JobStore

KIND = "enrichment"

COUNTED = 1000
"""Unfinished jobs are counted up to so many."""

_log = structlog.get_logger()


class Exposition:
    """Answers scrapes. ``now`` gives UTC, ``clock`` seconds that only grow.

    ``further`` are collectors that read what all processes share.
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(
        self,
        metrics: Metrics,
        jobs: JobStore,
        now: Callable[[], datetime],
        clock: Clock,
        further: Sequence[Collector] = (),
    ) -> None:
        self._registry = CollectorRegistry()
        folder = os.environ.get(VARIABLE)
        self._is_shared = folder is not None
        if folder is None:
            self._registry.register(_Local(metrics.registry))
        else:
            MultiProcessCollector(self._registry, folder)  # type: ignore[no-untyped-call]
        for collector in (QueueCollector(jobs, now, clock), *further):
            self._registry.register(collector)

    def text(self) -> bytes:
        """The Prometheus text format. Raises nothing if the store does not answer."""
        if self._is_shared:
            processes.forget_the_dead()
        return generate_latest(self._registry)


class _Local(Collector):
    """The metrics of this process, within another registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        yield from self._registry.collect()

    def describe(self) -> list[Metric]:
        return []


@dataclass(frozen=True)
class QueueReading:
    """The jobs at some time; None where the store did not answer."""

    by_status: dict[JobStatus, int] | None = None
    oldest_queued_at: datetime | None = None


class QueueCollector(Collector):
    """Jobs by status, read from the store when a scrape asks."""

    def __init__(self, jobs: JobStore, now: Callable[[], datetime], clock: Clock) -> None:
        self._jobs = jobs
        self._now = now
        self._paced = Paced(self._read, clock)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        reading = self._paced.current()
        up = GaugeMetricFamily("lethe_state_store_up", "Whether the state store answers.")
        up.add_metric([], float(reading.by_status is not None))
        yield up
        if reading.by_status is not None:
            yield from self._told(reading, reading.by_status)

    def _told(self, reading: QueueReading, by_status: dict[JobStatus, int]) -> Iterator[Metric]:
        jobs = GaugeMetricFamily(
            "lethe_jobs",
            f"Jobs by status; queued and running ones up to {COUNTED} together.",
            labels=["status"],
        )
        for status, count in by_status.items():
            jobs.add_metric([status.value], count)
        yield jobs
        yield GaugeMetricFamily(
            "lethe_jobs_oldest_queued_age_seconds",
            "How long the oldest queued job has waited; 0 if none does.",
            value=self._age(reading.oldest_queued_at),
        )

    def _age(self, since: datetime | None) -> float:
        return 0.0 if since is None else max(0.0, (self._now() - since).total_seconds())

    def _read(self) -> QueueReading:
        try:
            unfinished = self._jobs.unfinished(COUNTED)
            ended = {status: self._ended(status) for status in JobStatus if status.is_final}
        except LetheError as error:
            _log.warning("the queue cannot be measured", error=error_type(error))
            return QueueReading()
        counted = Counter(job.status for job in unfinished)
        waiting = (job.created_at for job in unfinished if job.status is JobStatus.QUEUED)
        open_jobs = {s: counted[s] for s in (JobStatus.QUEUED, JobStatus.RUNNING)}
        return QueueReading({**open_jobs, **ended}, next(waiting, None))

    def _ended(self, status: JobStatus) -> int:
        return self._jobs.count(JobQuery(KIND, status), Reach(None))
