"""The trace of a run: one span, which continues the trace of whoever asked for it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from config.settings import Settings
from runners.runs import RUN_ID
from stores.tracing import TRACEPARENT, SpanKind, open_tracer


@contextmanager
def traced_run(kind: str, settings: Settings, job: str) -> Iterator[None]:
    """Trace the run within, if traces are sent anywhere.

    The span is made when the run is over: before, its process forks workers, and is to have no
    threads. A run that is killed leaves none. Raises ``UsageError`` if OpenTelemetry is missing.
    """
    endpoint = settings.service.observe.otlp_endpoint
    if endpoint is None:
        yield
        return
    began, error = time.monotonic(), {}
    try:
        yield
    except BaseException as raised:
        error = {"error__type": type(raised).__name__}
        raise
    finally:
        tracer = open_tracer(endpoint, "lethe")
        tracer.record(
            f"run {kind}",
            SpanKind.INTERNAL,
            time.monotonic() - began,
            os.environ.get(TRACEPARENT),
            lethe__kind=kind,
            lethe__job=job,
            lethe__run=os.environ.get(RUN_ID, ""),
            **error,
        )
        tracer.close()
