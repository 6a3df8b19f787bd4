"""A request is a span that continues its caller's trace, with its statements and its job."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from config.settings import Settings, load_settings
from runners.launcher import Launch, ProcessLauncher
from runners.traces import traced_run
from schemas.jobs import TRACE as OF_JOB
from service.app import create_app
from service.bootstrap import Wiring
from service.observe.observer import Observer
from service.observe.operations import Operations
from stores.tracing import OpenTelemetry
from tests.integration.service.principals import OPERATOR

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def sent() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traced(wiring: Wiring, sent: InMemorySpanExporter) -> Wiring:
    tracer = OpenTelemetry(SimpleSpanProcessor(sent), "lethe")
    observer: Observer = replace(
        wiring.observer, tracer=tracer, operations=Operations([], lambda: 0.0, tracer)
    )
    return replace(wiring, observer=observer, authenticate=lambda _: OPERATOR)


@pytest.fixture
def asking(traced: Wiring) -> FlaskClient:
    return create_app(traced).test_client()


def named(sent: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in sent.get_finished_spans() if span.name == name]


def test_a_request_continues_its_caller_s_trace(
    asking: FlaskClient, sent: InMemorySpanExporter
) -> None:
    asking.get("/v1/runs/run-1?email=ana@example.com", headers={"traceparent": PARENT})
    (span,) = named(sent, "GET /v1/runs/<id:run_id>")
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/v1/runs/<id:run_id>",
        "http.response.status_code": 404,
    }


def test_its_statements_are_part_of_it(asking: FlaskClient, sent: InMemorySpanExporter) -> None:
    asking.get("/v1/runs", headers={"traceparent": PARENT})
    (request,) = named(sent, "GET /v1/runs")
    statements = named(sent, "sqlite")
    assert statements
    assert {s.parent.span_id for s in statements if s.parent} == {request.context.span_id}
    assert {tuple(s.attributes or {}) for s in statements} == {("db.system.name",)}


def test_a_job_remembers_the_trace_of_its_request(
    traced: Wiring, sent: InMemorySpanExporter
) -> None:
    service = traced.settings.service
    enrichment = service.enrichment.model_copy(update={"api": "http://127.0.0.1:9"})
    service = service.model_copy(update={"enrichment": enrichment})
    settings = traced.settings.model_copy(update={"service": service})
    asking = create_app(replace(traced, settings=settings)).test_client()
    asking.post(
        "/v1/enrichment", json={"contacts": [{"id": "c-1"}]}, headers={"traceparent": PARENT}
    )
    (job,) = traced.state.jobs.unfinished(10)
    (request,) = named(sent, "POST /v1/enrichment")
    assert job.parameters[OF_JOB] == f"00-{TRACE}-{request.context.span_id:016x}-01"


def test_a_run_is_told_of_the_trace_by_its_environment(tmp_path: Path) -> None:
    child = ProcessLauncher().start(Launch("run-1", ("--help",), tmp_path / "log", PARENT))
    try:
        environment = Path(f"/proc/{child.owner.pid}/environ").read_bytes().split(b"\0")
    finally:
        child.turn_away()
    assert f"TRACEPARENT={PARENT}".encode() in environment


class Collector(HTTPServer):
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.taken: list[ExportTraceServiceRequest] = []


class _Take(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.taken.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def with_collector(collector: Collector) -> Settings:
    url = f"http://127.0.0.1:{collector.server_port}"
    return load_settings(service={"observe": {"otlp_endpoint": url}})


def test_a_run_s_process_continues_the_trace(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", PARENT)
    with traced_run("job", with_collector(collector), "job-1"):
        pass
    (span,) = collector.taken[0].resource_spans[0].scope_spans[0].spans
    assert (span.name, span.trace_id.hex()) == ("run job", TRACE)
    assert span.parent_span_id.hex() == "b7ad6b7169203331"


def test_a_run_that_fails_is_told_of_without_its_message(
    collector: Collector,
) -> None:
    with (
        pytest.raises(ValueError, match="ana"),
        traced_run("job", with_collector(collector), "job-1"),
    ):
        raise ValueError("ana@example.com")
    (span,) = collector.taken[0].resource_spans[0].scope_spans[0].spans
    assert "ValueError" in str(span)
    assert "ana@example" not in str(span)
