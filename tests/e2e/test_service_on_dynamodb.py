"""The whole service with its state in DynamoDB, the dispatcher and the runs' processes included."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_enrichment_service import (
    QUIET,
    assert_each_once,
    kill_jobs,
    status,
    submit,
    wait_for_batches,
)
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, ministack_url
from tests.mock_api import Mock, running_mock
from tests.service_process import Service, running_service

__all__ = ["ministack_url"]  # a fixture: pytest finds it here


@pytest.fixture
def mock() -> Iterator[Mock]:
    with running_mock() as mock:
        mock.set(**QUIET)
        yield mock


@pytest.fixture
def service(tmp_path: Path, mock: Mock, ministack_url: str) -> Iterator[Service]:
    table = f"dynamodb://lethe-{uuid.uuid4().hex}?region={REGION}&endpoint={ministack_url}"
    env = {
        "LETHE_STATE__URL": table,
        "LETHE_SERVICE__ENRICHMENT__API": mock.url,
        "LETHE_SERVICE__ENRICHMENT__CONCURRENCY": "2",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    with running_service(tmp_path, "--workers", 2, env=env) as service:
        try:
            yield service
        finally:
            kill_jobs(service)


def test_contacts_come_out_once_though_their_run_is_killed(service: Service, mock: Mock) -> None:
    token = service.token("operator")
    mock.set(latency=1.0)  # so that it is killed in its midst however slow the machine is
    job = submit(service, token, seed=1)
    wait_for_batches(service, token, job, 2)
    kill_jobs(service)
    mock.set(latency=0.0)
    assert_each_once(service, token, job)
    assert status(service, token, job)["attempts"] == 2
