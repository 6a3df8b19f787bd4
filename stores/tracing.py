"""Traces: what took how long, across processes, sent to an OpenTelemetry collector.

Off unless a collector is named, and then nothing of OpenTelemetry is even imported. A span has a
name of the code and a few attributes, of which none can hold what a client sent: other names than
those of ``ATTRIBUTES`` are refused. Spans are sent by a thread, and dropped if the collector is too
slow for them: nothing waits for it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from schemas.errors import UsageError

TRACEPARENT = "TRACEPARENT"
"""The variable by which a process is told of which trace it is part, as W3C writes it."""

ATTRIBUTES = frozenset(
    {
        "http.request.method", "http.route", "http.response.status_code", "error.type",
        "db.system.name", "peer.service", "lethe.job", "lethe.run", "lethe.kind",
    }
)  # fmt: skip
"""Names of attributes: methods, templates, codes and ids of ours."""

_FLUSH_MILLISECONDS = 5000

Attribute = str | int


class SpanKind(StrEnum):
    """What a span is of: our own work, a request to us, or one of ours to another."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"


class Tracer(ABC):
    """Makes spans. For any number of threads; a span belongs to one."""

    @contextmanager
    @abstractmethod
    def span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: str | None = None,
        **attributes: Attribute,
    ) -> Iterator[Span]:
        """Trace what is done within, as part of the span around it, or of ``parent``'s trace.

        Attributes are named with two underscores for a dot: ``http__route``.
        """

    @abstractmethod
    def record(
        self,
        name: str,
        kind: SpanKind,
        seconds: float,
        parent: str | None = None,
        **attributes: Attribute,
    ) -> None:
        """A span of something that took so long and is over now."""

    @abstractmethod
    def traceparent(self) -> str | None:
        """What continues this trace elsewhere; None if there is none."""

    @abstractmethod
    def close(self) -> None:
        """Send what is left, for some seconds at most."""


class Span:
    """A span under way that nobody looks at."""

    def note(self, **attributes: Attribute) -> None:
        """Add attributes."""

    def fail(self, error: str) -> None:
        """Mark it as failed, by a code or a type."""


class NoTracer(Tracer):
    """Traces nothing, for next to nothing."""

    @contextmanager
    def span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: str | None = None,
        **attributes: Attribute,
    ) -> Iterator[Span]:
        del name, kind, parent, attributes
        yield _NOBODY_LOOKS

    def record(
        self,
        name: str,
        kind: SpanKind,
        seconds: float,
        parent: str | None = None,
        **attributes: Attribute,
    ) -> None:
        del name, kind, seconds, parent, attributes

    def traceparent(self) -> str | None:
        return None

    def close(self) -> None:
        pass


_NOBODY_LOOKS = Span()


def open_tracer(endpoint: str | None, service: str) -> Tracer:
    """Sends spans by OTLP over HTTP to a collector, such as ``http://localhost:4318``.

    To be opened after a process was forked. Raises ``UsageError`` if OpenTelemetry is missing.
    """
    if endpoint is None:
        return NoTracer()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise UsageError(
            "traces need packages that are not installed: pip install 'lethe[tracing]'"
        ) from None
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
    return OpenTelemetry(BatchSpanProcessor(exporter), service)


class OpenTelemetry(Tracer):
    """Spans by OpenTelemetry's SDK, handed to a span processor."""

    def __init__(self, processor: Any, service: str) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = TracerProvider(
            resource=Resource({"service.name": service}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("lethe")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: str | None = None,
        **attributes: Attribute,
    ) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name,
            context=self._context(parent),
            kind=_kind(kind),
            attributes=_named(attributes),
            # Exceptions' messages and stacks may hold values.
            record_exception=False,
            set_status_on_exception=False,
        ) as made:
            span = _OpenSpan(made)
            try:
                yield span
            except Exception as error:
                span.fail(type(error).__name__)
                raise

    def record(
        self,
        name: str,
        kind: SpanKind,
        seconds: float,
        parent: str | None = None,
        **attributes: Attribute,
    ) -> None:
        ended = time.time_ns()
        span = self._tracer.start_span(
            name,
            context=self._context(parent),
            kind=_kind(kind),
            attributes=_named(attributes),
            start_time=ended - int(seconds * 1e9),
        )
        if "error__type" in attributes:
            _OpenSpan(span).fail(str(attributes["error__type"]))
        span.end(ended)

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def close(self) -> None:
        self._provider.force_flush(_FLUSH_MILLISECONDS)
        self._provider.shutdown()

    def _context(self, parent: str | None) -> Any:
        return None if parent is None else self._propagator.extract({"traceparent": parent})


class _OpenSpan(Span):
    """A span of OpenTelemetry under way."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def note(self, **attributes: Attribute) -> None:
        self._span.set_attributes(_named(attributes))

    def fail(self, error: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("error.type", error)
        self._span.set_status(Status(StatusCode.ERROR))


def _kind(kind: SpanKind) -> Any:
    from opentelemetry import trace

    return trace.SpanKind[kind.value]


def _named(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    if not named.keys() <= ATTRIBUTES:
        raise ValueError(f"no attributes of spans: {sorted(named.keys() - ATTRIBUTES)}")
    return named
