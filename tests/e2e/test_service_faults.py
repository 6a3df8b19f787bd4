"""A real service under load whose database is locked, whose disk is full, whose processes die."""

from __future__ import annotations

import http.client
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.mock_api import Mock, running_mock
from tests.service_process import Service, running_service

PATH = "/v1/enrichment"
CLIENTS = 6
LOCKED_SECONDS = 3.0
SMALL, LARGER = 640 * 1024, 16 * 1024 * 1024
"""Bytes of disks: room for the contacts of a request, not for its output; room for a database."""


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with running_mock(latency=0.02) as mock:
        yield mock


@contextmanager
def service_in(folder: Path, mock: Mock, **env: str) -> Iterator[Service]:
    ours = {
        "LETHE_SERVICE__ENRICHMENT__API": mock.url,
        "LETHE_SERVICE__ENRICHMENT__MAX_RUNNING": "1",
    }
    with running_service(folder, "--workers", 2, env={**ours, **env}) as service:
        yield service


class Clients:
    """Clients that submit all the time, each its next request when the one before was answered.

    ``refused`` has statuses, and whether it was said when to come again.
    """

    def __init__(self, service: Service, token: str) -> None:
        self.taken: list[str] = []
        self.refused: list[tuple[int, bool]] = []
        self.broken = 0
        self._service = service
        self._token = token
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [pool.submit(self._submit, f"c{number}") for number in range(CLIENTS)]
            try:
                yield
            finally:
                self._stop.set()
                for each in running:
                    each.result(60)

    def _submit(self, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            body = {"contacts": [{"id": f"{name}-{number}"}]}
            try:
                answer = self._service.post(PATH, body, token=self._token)
            except (OSError, http.client.HTTPException):
                self.broken += 1
                continue
            if answer.status == 202:
                self.taken.append(answer.json["requestId"])
            else:
                self.refused.append((answer.status, "Retry-After" in answer.headers))


def listed(service: Service, token: str) -> list[str]:
    """The ids of all requests there are."""
    found, cursor = list[str](), ""
    while True:
        page = service.get(f"{PATH}?limit=100{cursor}", token=token).json
        found += [item["requestId"] for item in page["items"]]
        if page["nextCursor"] is None:
            return found
        cursor = f"&cursor={page['nextCursor']}"


@contextmanager
def locked(service: Service) -> Iterator[None]:
    """Another process than the service's holds the lock of its database."""
    [file] = Path(service.env["LETHE_STATE__FOLDER"]).glob("*.db")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def test_what_was_taken_outlives_the_worker_that_took_it(tmp_path: Path, mock: Mock) -> None:
    with service_in(tmp_path, mock) as service:
        token = service.token("operator")
        clients = Clients(service, token)
        with clients.running():
            time.sleep(0.5)
            os.kill(service.workers()[0], signal.SIGKILL)
        known = listed(service, token)
    assert len(known) == len(set(known)) > CLIENTS
    assert set(clients.taken) <= set(known)
    assert len(known) - len(clients.taken) <= clients.broken <= CLIENTS
    assert clients.refused == []


def test_a_locked_database_is_waited_for_and_nothing_is_half_done(
    tmp_path: Path, mock: Mock
) -> None:
    with service_in(tmp_path, mock) as service:
        token = service.token("operator")
        clients = Clients(service, token)
        with clients.running(), locked(service):
            time.sleep(LOCKED_SECONDS)
        known = listed(service, token)
    assert sorted(known) == sorted(clients.taken)
    assert (len(known) >= CLIENTS, clients.broken) == (True, 0)
    assert set(clients.refused) <= {(503, True)}


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of so many bytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield disk
    # Lazily: the process of a job may be about to end.
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("disk", [SMALL], indirect=True)
def test_a_job_whose_output_has_no_room_fails_with_a_reason_and_the_service_lives(
    tmp_path: Path, disk: Path, mock: Mock
) -> None:
    with service_in(tmp_path, mock, LETHE_SERVICE__FILES=str(disk / "files")) as service:
        token = service.token("operator")
        ended = enriched(service, token, 4_000)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "store_full")
        assert "no room left" in ended["error"]["message"]
        assert str(disk) not in ended["error"]["message"]
        assert service.get("/healthz").status == 200


def enriched(service: Service, token: str, count: int) -> dict[str, Any]:
    """A request of so many contacts, as it ended."""
    body = {"contacts": [{"id": f"c-{number}", "name": "Ana"} for number in range(count)]}
    answer = service.post(PATH, body, token=token)
    assert answer.status == 202, answer.body
    until = time.monotonic() + 60
    while True:
        now = service.get(f"{PATH}/{answer.json['requestId']}", token=token).json
        if now["status"] not in {"queued", "running"}:
            return dict(now)
        assert time.monotonic() < until, now
        time.sleep(0.05)


@pytest.mark.parametrize("disk", [LARGER], indirect=True)
def test_a_full_disk_is_answered_by_503_and_all_is_well_when_there_is_room(
    tmp_path: Path, disk: Path, mock: Mock
) -> None:
    state, filler = disk / "state", disk / "theirs"
    with service_in(tmp_path, mock, LETHE_STATE__FOLDER=str(state)) as service:
        token = service.token("operator")
        fill(filler)
        refused = service.post(PATH, {"contacts": [{"id": "1"}]}, token=token)
        assert (refused.status, "Retry-After" in refused.headers) == (503, True)
        assert service.get(PATH, token=token).json["items"] == []
        filler.unlink()
        assert enriched(service, token, 1)["status"] == "completed"


def fill(file: Path) -> None:
    """Take all the room there is."""
    with file.open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4096)
