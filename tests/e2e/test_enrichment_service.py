"""Enrichment by a real service, whose processes are killed: each contact once, statuses right."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from runners.generate import contacts
from runners.runs import owner_of
from tests.e2e.harness import lethe
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_url
from tests.mock_api import Mock, running_mock
from tests.service_process import Service, running_service
from tests.waiting import PATIENCE, wait_until

__all__ = ["moto_url"]

COUNT = 1_000
BATCH = 20
QUIET: dict[str, Any] = {
    "latency": 0.0, "error_rate": 0.0, "throttle": None, "malformed": 0.0, "outage": False,
    "breaking": [], "rejected": [],
}  # fmt: skip
SLOW = 0.15
"""Seconds of a call, so that a job takes long enough to be killed in its midst."""


@pytest.fixture(scope="module")
def running() -> Iterator[Mock]:
    with running_mock() as mock:
        yield mock


@pytest.fixture
def mock(running: Mock) -> Mock:
    running.set(**QUIET)
    return running


@contextmanager
def service_in(folder: Path, mock: Mock, **more: str) -> Iterator[Service]:
    env = {
        **more,
        "LETHE_SERVICE__ENRICHMENT__API": mock.url,
        "LETHE_SERVICE__ENRICHMENT__CONCURRENCY": "2",
        "LETHE_SERVICE__ENRICHMENT__PATIENCE_SECONDS": "30",
    }
    with running_service(folder, "--workers", 2, env=env) as service:
        try:
            yield service
        finally:
            kill_jobs(service)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, running: Mock) -> Iterator[Service]:
    with service_in(tmp_path_factory.mktemp("service"), running) as service:
        yield service


@pytest.fixture(scope="module")
def token(lasting: Service) -> str:
    return lasting.token("operator")


def rows(seed: int, count: int = COUNT) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(contacts(count, seed=seed)).splitlines()]


def submit(service: Service, token: str, seed: int, **more: Any) -> str:
    body = {"contacts": rows(seed), "batchSize": BATCH, **more}
    answer = service.post("/v1/enrichment", body, token=token)
    assert answer.status == 202, answer.body
    return str(answer.json["requestId"])


def status(service: Service, token: str, job: str) -> dict[str, Any]:
    answer = service.get(f"/v1/enrichment/{job}", token=token)
    assert answer.status == 200, answer.body
    return dict(answer.json)


def wait_for(
    service: Service, token: str, job: str, reached: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    until = time.monotonic() + PATIENCE
    while not reached(now := status(service, token, job)):
        assert time.monotonic() < until, now
        time.sleep(0.05)
    return now


def wait_for_end(service: Service, token: str, job: str) -> dict[str, Any]:
    return wait_for(
        service, token, job, lambda now: now["status"] in {"completed", "failed", "cancelled"}
    )


def wait_for_batches(service: Service, token: str, job: str, count: int) -> dict[str, Any]:
    return wait_for(service, token, job, lambda now: now["processedBatches"] >= count)


def output(service: Service, token: str, job: str) -> list[dict[str, Any]]:
    answer = service.get(f"/v1/enrichment/{job}/output", token=token)
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


def processes(service: Service) -> list[int]:
    """The process numbers of the runs that have not ended."""
    listed = service.lethe("runs", "list", "--json").splitlines()
    runs = [json.loads(line) for line in listed]
    return [run["owner"]["pid"] for run in runs if run["status"] in {"queued", "running"}]


def kill_jobs(service: Service) -> None:
    for pid in processes(service):
        kill(pid)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 10
    while owner_of(pid).started and time.monotonic() < until:
        time.sleep(0.01)


def assert_each_once(service: Service, token: str, job: str) -> None:
    ended = wait_for_end(service, token, job)
    assert (ended["status"], ended["processedBatches"]) == ("completed", COUNT // BATCH), ended
    found = output(service, token, job)
    assert [each["id"] for each in found] == [f"c-{number:08d}" for number in range(COUNT)]
    assert all(each["status"] == "enriched" for each in found)


def test_a_request_gives_what_the_command_gives(
    lasting: Service, token: str, mock: Mock, tmp_path: Path
) -> None:
    file, out = tmp_path / "contacts.ndjson", tmp_path / "out.ndjson"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(1)))
    assert lethe("enrich", file, "--out", out, "--api", mock.url).status == 0
    job = submit(lasting, token, 1)
    assert_each_once(lasting, token, job)
    expected = [json.loads(line) for line in out.read_text().splitlines()]
    assert output(lasting, token, job) == expected


def test_status_moves_forward_while_the_work_is_done(
    lasting: Service, token: str, mock: Mock
) -> None:
    mock.set(latency=SLOW)
    job, seen = submit(lasting, token, 2), list[int]()

    def is_completed(now: dict[str, Any]) -> bool:
        seen.append(now["processedBatches"])
        return bool(now["status"] == "completed")

    wait_for(lasting, token, job, is_completed)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert seen[-1] == COUNT // BATCH


def test_the_same_contacts_again_are_not_enriched_again(
    lasting: Service, token: str, mock: Mock
) -> None:
    job = submit(lasting, token, 3)
    body = {"contacts": rows(3), "batchSize": BATCH}
    assert lasting.post("/v1/enrichment", body, token=token).json["requestId"] == job
    wait_for_end(lasting, token, job)
    calls = mock.stats()["calls"]
    again = lasting.post("/v1/enrichment", body, token=token)
    assert (again.status, again.json["requestId"], again.json["status"]) == (200, job, "completed")
    assert mock.stats()["calls"] == calls


def test_forced_contacts_are_enriched_again(lasting: Service, token: str, mock: Mock) -> None:
    job = submit(lasting, token, 4)
    wait_for_end(lasting, token, job)
    forced = submit(lasting, token, 4, force=True)
    assert forced != job
    assert_each_once(lasting, token, forced)


def test_a_request_that_is_cancelled_ends_without_an_output(
    lasting: Service, token: str, mock: Mock
) -> None:
    mock.set(latency=SLOW)
    job = submit(lasting, token, 5)
    wait_for_batches(lasting, token, job, 2)
    assert lasting.post(f"/v1/enrichment/{job}:cancel", token=token).status == 202
    assert wait_for_end(lasting, token, job)["status"] == "cancelled"
    assert lasting.get(f"/v1/enrichment/{job}/output", token=token).status == 409


def test_a_deleted_request_ends_and_is_not_there(lasting: Service, token: str, mock: Mock) -> None:
    mock.set(latency=SLOW)
    job = submit(lasting, token, 6)
    wait_for_batches(lasting, token, job, 2)
    assert lasting.ask("DELETE", f"/v1/enrichment/{job}", token=token).status == 204
    assert lasting.get(f"/v1/enrichment/{job}", token=token).status == 404
    wait_until(lambda: not processes(lasting))


def test_an_api_that_is_down_is_waited_for(lasting: Service, token: str, mock: Mock) -> None:
    mock.set(latency=SLOW)
    job = submit(lasting, token, 7)
    wait_for_batches(lasting, token, job, 2)
    mock.set(outage=True)
    time.sleep(1.5)
    mock.set(outage=False, latency=0.0)
    assert_each_once(lasting, token, job)


def test_an_upload_is_enriched_and_formulas_stay_text(
    lasting: Service, token: str, mock: Mock
) -> None:
    content = b"id;note\n1;=HYPERLINK(1)\n2;+1+1\n3;harmless\n"
    key = uploaded(lasting, token, content)
    body = {"inputFileKey": key, "outputFormat": "csv"}
    job = lasting.post("/v1/enrichment", body, token=token).json["requestId"]
    assert wait_for_end(lasting, token, job)["contacts"] == 3
    fetched = lasting.get(f"/v1/enrichment/{job}/output", token=token)
    notes = [row["contact.note"] for row in csv.DictReader(io.StringIO(fetched.body.decode()))]
    assert notes == ["'=HYPERLINK(1)", "'+1+1", "harmless"]
    assert fetched.headers["Content-Type"].startswith("text/csv")


def announced(service: Service, token: str, content: bytes) -> dict[str, Any]:
    body = {
        "contentType": "text/csv",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "fileName": "contacts.csv",
    }
    answer = service.post("/v1/uploads", body, token=token)
    assert answer.status == 201, answer.body
    return dict(answer.json)


def uploaded(service: Service, token: str, content: bytes) -> str:
    upload = announced(service, token, content)
    sent = service.ask("PUT", upload["uploadUrl"], content, headers=upload["headers"])
    assert sent.status == 204, sent.body
    return str(upload["inputFileKey"])


def test_an_upload_that_is_cut_off_leaves_nothing_and_can_be_repeated(
    lasting: Service, token: str, mock: Mock
) -> None:
    content = b"id\n" + b"1\n" * 500_000
    upload = announced(lasting, token, content)
    with socket.create_connection(("127.0.0.1", lasting.port)) as connection:
        head = f"PUT {upload['uploadUrl']} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}"
        connection.sendall(head.encode() + b"\r\n\r\n" + content[:600_000])
    files = Path(lasting.env["LETHE_STATE__FOLDER"]) / "files"
    left = files / "_lethe" / "staging" / upload["uploadId"]
    wait_until(lambda: not left.exists())
    refused = lasting.post(
        "/v1/enrichment", {"inputFileKey": upload["inputFileKey"]}, token=token
    )  # fmt: skip
    assert refused.status == 409
    assert lasting.ask("PUT", upload["uploadUrl"], content).status == 204


def test_a_killed_run_is_gone_on_with(lasting: Service, token: str, mock: Mock) -> None:
    mock.set(latency=SLOW)
    before = mock.stats()["contacts"]
    job = submit(lasting, token, 8)
    wait_for_batches(lasting, token, job, 10)
    kill_jobs(lasting)
    wait_for(lasting, token, job, lambda now: now["attempts"] == 2)
    mock.set(latency=0.0)
    assert_each_once(lasting, token, job)
    # Only what was under way, or not yet written, at the kill was asked for twice.
    assert mock.stats()["contacts"] - before < 2 * COUNT - 5 * BATCH


def test_a_run_that_dies_each_time_fails_with_a_reason(
    lasting: Service, token: str, mock: Mock
) -> None:
    mock.set(latency=1.0)
    job = submit(lasting, token, 9)
    for attempt in (1, 2, 3):
        wait_for(lasting, token, job, lambda now, n=attempt: now["attempts"] == n)  # type: ignore[misc]
        wait_until(lambda: bool(processes(lasting)))
        kill_jobs(lasting)
    ended = wait_for_end(lasting, token, job)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "run_lost")


def test_the_death_of_web_workers_harms_no_request(tmp_path: Path, mock: Mock) -> None:
    with service_in(tmp_path, mock) as service:
        token = service.token("operator")
        mock.set(latency=SLOW)
        job = submit(service, token, 10)
        wait_for_batches(service, token, job, 5)
        for worker in service.workers():
            kill(worker)
        wait_until(lambda: len(service.workers()) == 2)
        second = submit(service, token, 11)
        mock.set(latency=0.0)
        assert_each_once(service, token, job)
        assert_each_once(service, token, second)
        assert status(service, token, job)["attempts"] == 1


@pytest.mark.parametrize("runs_die", [False, True])
def test_the_death_of_the_whole_service_loses_no_request(
    runs_die: bool, tmp_path: Path, mock: Mock
) -> None:
    mock.set(latency=SLOW)
    with service_in(tmp_path, mock) as service:
        token = service.token("operator")
        job, waiting = submit(service, token, 12), [submit(service, token, n) for n in (13, 14)]
        before = wait_for_batches(service, token, job, 5)
        workers = service.workers()
        kill_process(service)
        for worker in workers:
            kill(worker)
        if runs_die:
            kill_jobs(service)
    if runs_die:
        mock.set(latency=0.0)
    with service_in(tmp_path, mock) as service:
        now = status(service, token, job)
        assert now["status"] in {"running", "queued", "completed"}
        assert now["processedBatches"] >= before["processedBatches"]
        mock.set(latency=0.0)
        for each in [job, *waiting]:
            assert_each_once(service, token, each)


def kill_process(service: Service) -> None:
    service.process.kill()
    service.process.wait()


def test_a_service_that_is_asked_to_end_leaves_runs_running(tmp_path: Path, mock: Mock) -> None:
    mock.set(latency=SLOW)
    with running_service(tmp_path, env={"LETHE_SERVICE__ENRICHMENT__API": mock.url}) as service:
        token = service.token("operator")
        job = submit(service, token, 15)
        wait_for(service, token, job, lambda now: now["status"] == "running")
        assert service.terminate() == 0
    with service_in(tmp_path, mock) as service:
        assert_each_once(service, token, job)
        assert status(service, token, job)["attempts"] == 1


def test_files_on_s3_go_and_come_directly(tmp_path: Path, mock: Mock, moto_url: str) -> None:
    make_bucket(moto_url, "enrichment")
    s3 = {
        "LETHE_S3__ENDPOINT_URL": moto_url,
        "LETHE_S3__REGION": REGION,
        "LETHE_S3__ACCESS_KEY": ACCESS_KEY,
        "LETHE_S3__SECRET_KEY": SECRET_KEY,
        "LETHE_SERVICE__FILES": "s3://enrichment/files",
    }
    with service_in(tmp_path, mock, **s3) as service:
        token, content = service.token("operator"), b"id,name\nc-1,Ana\n"
        upload = announced(service, token, content)
        sent = requests.put(
            upload["uploadUrl"], data=content, headers=upload["headers"], timeout=10
        )
        assert sent.status_code == 200, sent.text
        body = {"inputFileKey": upload["inputFileKey"]}
        job = service.post("/v1/enrichment", body, token=token).json["requestId"]
        assert wait_for_end(service, token, job)["status"] == "completed"
        headers = {"Authorization": f"Bearer {token}"}
        output = f"{service.url}/v1/enrichment/{job}/output"
        answer = requests.get(output, headers=headers, allow_redirects=False, timeout=10)
        assert answer.status_code == 302
        fetched = requests.get(answer.headers["Location"], timeout=10)
        assert fetched.json()["id"] == "c-1"
        assert "enriched-" in fetched.headers["Content-Disposition"]
