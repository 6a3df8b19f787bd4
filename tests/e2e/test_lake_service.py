"""Requests that the lake answers on a real service: submitted, killed amid it, and certified."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.e2e.harness import Outcome, deliver, generated
from tests.service_process import Service, running_service

WITHIN = 90.0


def emails_in(lake: Path) -> list[str]:
    """Of the rows of its notifications, each as often as it is there."""
    files = sorted((lake / "type=notification").rglob("*.parquet"))
    columns = [pq.read_table(file, columns=["address"])["address"].to_pylist() for file in files]
    return [one for column in columns for one in column if one and "@" in one]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lake-service")


@pytest.fixture(scope="module")
def lake(folder: Path) -> Path:
    source = generated(folder / "changes.ndjson", 400, days=2)
    keys = {"LETHE_PARAMETERS__SOURCE": "file", "LETHE_PARAMETERS__FOLDER": str(folder / "keys")}
    done: Outcome = deliver(folder / "lake", source, env=keys)
    assert done.status == 0, done.err
    return folder / "lake"


@pytest.fixture(scope="module")
def service(folder: Path, lake: Path) -> Iterator[Service]:
    env = {
        "LETHE_ENV": "test",
        "LETHE_DSR__LAKE__URI": str(lake),
        "LETHE_DSR__LAKE__MAX_MATCH_SHARE": "0.5",
        "LETHE_DSR__LAKE__WAIT_SECONDS": "0",
    }
    with running_service(folder, env=env) as running:
        yield running


def wait_for(look: Callable[[], Any]) -> Any:
    until = time.monotonic() + WITHIN
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def request_of(service: Service, token: str, request_id: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = service.get(f"/v1/dsr/{request_id}", token=token).json
    return found


def job_process(folder: Path, service: Service) -> int | None:
    """The process of a job of the service, if one runs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                own = (entry / "environ").read_bytes()
            except OSError:
                continue
            if (
                b"job" in words
                and str(folder / "state").encode() in own
                and b"runners.cli" in words
            ):
                return int(entry.name)
    return None


def test_erasure_whose_process_is_killed_is_gone_on_with_and_certified(
    service: Service, folder: Path, lake: Path
) -> None:
    token = service.token("privacy")
    before = emails_in(lake)
    gone, stays = before[0], next(one for one in before if one != before[0])
    request_id = service.post("/v1/dsr", {"type": "gdpr_delete", "email": gone}, token=token).json[
        "id"
    ]
    wait_for(lambda: request_of(service, token, request_id)["lake"]["state"] == "running")
    os.kill(wait_for(lambda: job_process(folder, service)), signal.SIGKILL)
    wait_for(lambda: request_of(service, token, request_id)["status"] == "completed")
    shown = request_of(service, token, request_id)["lake"]
    after = emails_in(lake)
    assert gone not in after
    assert stays in after
    assert shown["certificate"]["rows"] >= before.count(gone)
    certificate = lake / "_lethe" / "certificates" / f"{shown['certificate']['id']}.json"
    checked = service.lethe("verify-erasure", "--lake", lake, "--certificate", certificate)
    assert checked
    assert gone not in service.logged()
    logs = [path.read_text() for path in (folder / "state" / "logs").iterdir()]
    assert not any(gone in log for log in logs)
