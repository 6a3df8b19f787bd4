"""Metrics of all worker processes add up, also when one is killed; logs are JSON with ids."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service_process import Service, running_service

LOOPBACK = {"LETHE_SERVICE__OBSERVE__METRICS": "loopback", "LETHE_LOG_FORMAT": "json"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("observed")
    with running_service(folder, env=LOOPBACK) as running:
        yield running


def value(service: Service, name: str, **labels: str) -> float:
    text = service.ask("GET", "/metrics").body.decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_counts_of_all_workers_add_up(service: Service) -> None:
    for _ in range(30):
        service.ask("GET", "/nowhere")
    labels = {"route": "unmatched", "status": "404"}
    assert value(service, "lethe_http_requests_total", **labels) == 30


def test_counts_of_a_killed_worker_stay(service: Service) -> None:
    labels = {"route": "unmatched", "status": "404"}
    before = value(service, "lethe_http_requests_total", **labels)
    killed = service.workers()[0]
    os.kill(killed, signal.SIGKILL)
    while killed in service.workers():
        time.sleep(0.05)
    assert value(service, "lethe_http_requests_total", **labels) == before


def test_a_killed_worker_is_at_no_request(service: Service) -> None:
    assert value(service, "lethe_http_requests_in_progress") == 1


def test_each_line_is_json_and_tells_its_request(service: Service) -> None:
    service.ask("GET", "/nowhere?email=ana@example.com", headers={"X-Correlation-ID": "c-77"})
    lines = [json.loads(line) for line in service.logged().splitlines() if line[:1] == "{"]
    told = [line for line in lines if line.get("correlation_id") == "c-77"]
    assert [line["route"] for line in told if line["event"] == "request"] == ["unmatched"]
    assert "ana@example" not in service.logged()


def test_the_shared_folder_goes_with_the_service(tmp_path: Path) -> None:
    shared = {**LOOPBACK, "TMPDIR": str(tmp_path)}
    with running_service(tmp_path / "service", env=shared) as running:
        assert list(tmp_path.glob("lethe-metrics-*"))
        assert value(running, "lethe_state_store_up") == 1
    assert not list(tmp_path.glob("lethe-metrics-*"))
