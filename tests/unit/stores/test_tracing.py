"""Spans continue traces, hold only what they may, and cost nothing when nobody wants them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from stores.tracing import NoTracer, OpenTelemetry, SpanKind, Tracer, open_tracer

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def sent() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(sent: InMemorySpanExporter) -> Tracer:
    return OpenTelemetry(SimpleSpanProcessor(sent), "lethe")


def finished(sent: InMemorySpanExporter) -> list[Any]:
    return list(sent.get_finished_spans())


def trace_of(span: Any) -> str:
    return f"{span.context.trace_id:032x}"


def test_a_span_continues_the_trace_that_it_is_given(
    tracer: Tracer, sent: InMemorySpanExporter
) -> None:
    with tracer.span("GET /healthz", SpanKind.SERVER, PARENT):
        handed_on = tracer.traceparent()
    (span,) = finished(sent)
    assert (trace_of(span), f"{span.parent.span_id:016x}") == (TRACE, "b7ad6b7169203331")
    assert handed_on == f"00-{TRACE}-{span.context.span_id:016x}-01"


def test_what_is_done_within_is_part_of_it(tracer: Tracer, sent: InMemorySpanExporter) -> None:
    with tracer.span("outer", parent=PARENT):
        tracer.record("sqlite", SpanKind.CLIENT, 0.5, db__system__name="sqlite")
    inner, outer = finished(sent)
    assert inner.parent.span_id == outer.context.span_id
    assert inner.end_time - inner.start_time == 500_000_000


def test_an_exception_leaves_its_type_and_no_more(
    tracer: Tracer, sent: InMemorySpanExporter
) -> None:
    with pytest.raises(ValueError, match="ana"), tracer.span("a"):
        raise ValueError("ana@example.com")
    (span,) = finished(sent)
    assert span.attributes == {"error.type": "ValueError"}
    assert (span.events, span.status.description) == ((), None)


def test_an_attribute_that_nobody_allowed_is_refused(tracer: Tracer) -> None:
    with pytest.raises(ValueError, match="no attributes of spans"), tracer.span("a", email="x"):
        pass


@pytest.mark.parametrize("parent", [None, "nonsense", ""])
def test_without_a_trace_a_new_one_begins(
    tracer: Tracer, sent: InMemorySpanExporter, parent: str | None
) -> None:
    with tracer.span("a", parent=parent):
        pass
    (span,) = finished(sent)
    assert span.parent is None


def test_nothing_is_traced_without_a_collector() -> None:
    tracer = open_tracer(None, "lethe")
    with tracer.span("a", parent=PARENT, email="x"):
        assert tracer.traceparent() is None
    assert isinstance(tracer, NoTracer)


def test_open_telemetry_is_not_loaded_without_a_collector() -> None:
    code = (
        "import sys; from stores.tracing import open_tracer; open_tracer(None, 'lethe');"
        "sys.exit('opentelemetry' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
