"""The service is measured: what is scraped is right and well formed, and a line tells of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Blueprint, Response
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from config.service import MetricsAccess
from schemas.access import Reach
from schemas.errors import StoreUnavailable
from schemas.jobs import Job, JobQuery, JobStatus
from service.app import create_app
from service.bootstrap import Wiring
from service.context import public
from service.observe.exposition import Exposition
from service.observe.metrics import Metrics
from tests.integration.service.principals import ADMIN, VIEWER, Client

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def test_a_scrape_needs_its_right(client: Client) -> None:
    statuses = [client(who).get("/metrics").status_code for who in (None, VIEWER, ADMIN)]
    assert statuses == [401, 403, 200]


def test_requests_are_counted_by_the_template_of_their_path(client: Client) -> None:
    asking = client(ADMIN)
    for number in range(3):
        asking.get(f"/v1/runs/run-{number}")
    found = scraped(asking.get("/metrics").text)
    labels = {"method": "GET", "route": "/v1/runs/<id:run_id>"}
    assert sample(found, "lethe_http_requests_total", **labels, status="404") == 3
    assert sample(found, "lethe_http_request_duration_seconds_count", **labels) == 3


def test_paths_that_lead_nowhere_are_one_route(client: Client) -> None:
    asking = client(ADMIN)
    for path in ("/ana@example.com", "/b", "/c?d"):
        asking.get(path)
    text = asking.get("/metrics").text
    labels = {"method": "GET", "route": "unmatched", "status": "404"}
    assert sample(scraped(text), "lethe_http_requests_total", **labels) == 3
    assert "ana" not in text


def test_methods_that_nobody_knows_are_one(client: Client) -> None:
    asking = client(ADMIN)
    asking.open("/healthz", method="ANA")
    found = scraped(asking.get("/metrics").text)
    assert any(("method", "OTHER") in labels for _, labels in found)
    assert not any(("method", "ANA") in labels for _, labels in found)


def test_an_operation_counts_its_statements(client: Client) -> None:
    asking = client(ADMIN)
    asking.get("/v1/runs")
    found = scraped(asking.get("/metrics").text)
    labels = {"operation": "runs.list_runs"}
    for name in ("calls", "seconds"):
        assert (sample(found, f"lethe_operation_database_{name}_total", **labels) or 0) > 0


def test_an_error_is_counted_by_its_code(client: Client) -> None:
    asking = client(ADMIN)
    asking.get("/nowhere")
    found = scraped(asking.get("/metrics").text)
    labels = {"operation": "unmatched", "error": "not_found"}
    assert sample(found, "lethe_operation_errors_total", **labels) == 1


def test_no_request_is_in_progress_but_the_scrape(client: Client) -> None:
    asking = client(ADMIN)
    for path in ("/healthz", "/nowhere", "/v1/runs"):
        asking.get(path)
    found = scraped(asking.get("/metrics").text)
    assert sample(found, "lethe_http_requests_in_progress") == 1


def test_a_share_of_requests_below_50_ms_can_be_told(client: Client) -> None:
    asking = client(ADMIN)
    asking.get("/healthz")
    found = scraped(asking.get("/metrics").text)
    labels = {"method": "GET", "route": "/healthz", "le": "0.05"}
    assert sample(found, "lethe_http_request_duration_seconds_bucket", **labels) == 1


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("10.1.2.3", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "10.1.2.3"}, 403),
    ],
)
def test_metrics_for_this_machine_are_not_for_others(
    wiring: Wiring, address: str, headers: dict[str, str], status: int
) -> None:
    asking = create_app(with_access(wiring, MetricsAccess.LOOPBACK)).test_client()
    answer = asking.get("/metrics", headers=headers, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == status


def with_access(wiring: Wiring, access: MetricsAccess) -> Wiring:
    service = wiring.settings.service
    observe = service.observe.model_copy(update={"metrics": access})
    service = service.model_copy(update={"observe": observe})
    return replace(wiring, settings=wiring.settings.model_copy(update={"service": service}))


NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Jobs:
    """A store that counts what it is asked for, and fails when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False

    def unfinished(self, limit: int) -> list[Job]:
        self.asked += 1
        if self.fails:
            raise StoreUnavailable("locked")
        ages = [(JobStatus.RUNNING, 600), (JobStatus.QUEUED, 90), (JobStatus.QUEUED, 30)]
        return [job(status, NOW - timedelta(seconds=age)) for status, age in ages]

    def count(self, query: JobQuery, reach: Reach) -> int:
        return {JobStatus.COMPLETED: 7}.get(query.status or JobStatus.FAILED, 0)


def job(status: JobStatus, at: datetime) -> Job:
    return Job("j", "enrichment", "org-1", "user-1", "f", status, at, at, "in")


class FakeTime:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def exposition(jobs: Jobs, time: FakeTime) -> Exposition:
    store: Any = jobs
    return Exposition(Metrics(), store, lambda: NOW, time)


def test_the_queue_is_told_by_status_and_age(exposition: Exposition) -> None:
    found = scraped(exposition.text().decode())
    by_status = {status: sample(found, "lethe_jobs", status=status) for status in JobStatus}
    assert by_status == {"queued": 2, "running": 1, "completed": 7, "failed": 0, "cancelled": 0}
    assert sample(found, "lethe_jobs_oldest_queued_age_seconds") == 90


def test_scrapes_in_a_row_ask_the_store_once(
    exposition: Exposition, jobs: Jobs, time: FakeTime
) -> None:
    for _ in range(20):
        exposition.text()
        time.now += 0.1
    assert jobs.asked == 1


def test_a_slow_store_is_asked_more_seldom(
    exposition: Exposition, jobs: Jobs, time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(query: JobQuery, reach: Reach) -> int:
        time.now += 1
        return 0

    monkeypatch.setattr(jobs, "count", slow)
    exposition.text()
    time.now += 59
    exposition.text()
    assert jobs.asked == 1


def test_a_store_that_does_not_answer_leaves_the_other_metrics(
    exposition: Exposition, jobs: Jobs
) -> None:
    jobs.fails = True
    found = scraped(exposition.text().decode())
    assert sample(found, "lethe_state_store_up") == 0
    assert sample(found, "lethe_sockets_open") == 0
    assert not any(name == "lethe_jobs" for name, _ in found)


@pytest.fixture
def lines(client: Client) -> list[Any]:
    """The access log of a few requests of an operator."""
    with capture_logs() as found:
        asking = client(ADMIN)
        asking.get("/v1/runs/run-1?email=ana@example.com", headers={"X-Correlation-ID": "c-1"})
    return [line for line in found if line["event"] == "request"]


def test_a_line_tells_of_a_request_without_its_query(lines: list[Any]) -> None:
    (line,) = lines
    shown = [line[name] for name in ("method", "route", "status", "subject", "correlation_id")]
    assert shown == ["GET", "/v1/runs/<id:run_id>", 404, "admin-1", "c-1"]
    assert "ana" not in str(line)
    assert "run-1" not in str(line)


def test_a_line_tells_sizes(lines: list[Any]) -> None:
    assert lines[0]["request_bytes"] == 0
    assert lines[0]["response_bytes"] > 100


def test_a_body_that_is_sent_bit_by_bit_is_counted_to_its_end(wiring: Wiring) -> None:
    with capture_logs() as lines:
        app = create_app(wiring)
        pages = Blueprint("slow", __name__)

        @pages.get("/bits")
        @public
        def bits() -> Response:
            return Response(b"x" * 100 for _ in range(5))

        app.register_blueprint(pages)
        with app.test_client().get("/bits") as answer:
            assert len(answer.data) == 500
    assert [line["response_bytes"] for line in lines if line["event"] == "request"] == [500]
