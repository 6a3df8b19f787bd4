"""The parts of observation, built from the settings in one place."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.registry import Collector

from config.service import ObserveSection
from service.observe.cloudwatch import CloudWatch
from service.observe.database import count_statements
from service.observe.exposition import Exposition
from service.observe.metrics import Metrics
from service.observe.operations import Operations, Sink, SlowOperations
from stores.state.service_port import JobStore
from stores.tracing import Tracer, open_tracer


@dataclass(frozen=True)
class Observer:
    """What observes the service: ``operations`` to measure by, ``metrics`` to count with."""

    operations: Operations
    metrics: Metrics
    exposition: Exposition
    tracer: Tracer

    @staticmethod
    def of(
        settings: ObserveSection,
        jobs: JobStore,
        now: Callable[[], datetime],
        collectors: Sequence[Collector] = (),
    ) -> Observer:
        """Build it. From now on statements of SQL are counted in this process.

        Scrapes ask ``collectors``, too, for what all processes share.

        Raises ``UsageError`` if traces are wanted and cannot be made.
        """
        count_statements()
        metrics, tracer = Metrics(), open_tracer(settings.otlp_endpoint, "lethe")
        return Observer(
            Operations(_sinks(settings, metrics, now), time.perf_counter, tracer),
            metrics,
            Exposition(metrics, jobs, now, time.monotonic, collectors),
            tracer,
        )


def _sinks(settings: ObserveSection, metrics: Metrics, now: Callable[[], datetime]) -> list[Sink]:
    sinks: list[Sink] = [metrics.count_operation, SlowOperations(settings, metrics.count_slow)]
    if settings.cloudwatch_namespace is not None:
        sinks.append(CloudWatch(settings.cloudwatch_namespace, now))
    return sinks
