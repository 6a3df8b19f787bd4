"""Requests that the lake answers on a real service: submitted, killed amid it, and certified."""

from __future__ import annotations

import json
import os
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

from dsr.signing import OPENDSR, check_signature
from tests.e2e.harness import SCRUB_KEY, deliver, generated
from tests.pki import Pki
from tests.service_process import Service, running_service
from tests.waiting import wait_until

DOMAIN = "opendsr.lethe.example"
SIGNER = Pki().signer(DOMAIN)


class Controller(BaseHTTPRequestHandler):
    """Takes callbacks, and believes those that are signed."""

    told: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers[OPENDSR.domain] == DOMAIN
        check_signature(SIGNER.key.public_key(), body, self.headers[OPENDSR.signature])
        self.told.append(json.loads(body)["request_status"])
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def callback_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Controller) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/told"
        server.shutdown()


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
    done = deliver(folder / "lake", source)
    assert done.status == 0, done.err
    return folder / "lake"


@pytest.fixture(scope="module")
def service(folder: Path, lake: Path) -> Iterator[Service]:
    env = {
        "LETHE_ENV": "test",
        "LETHE_SCRUB_KEY": SCRUB_KEY,
        "LETHE_DSR__LAKE__URI": str(lake),
        "LETHE_DSR__LAKE__MAX_MATCH_SHARE": "0.5",
        "LETHE_DSR__LAKE__WAIT_SECONDS": "0",
        "LETHE_OUTBOUND": json.dumps({"plain_http": True, "networks": ["127.0.0.0/8"]}),
        "LETHE_OPENDSR": json.dumps(
            {
                "domain": DOMAIN,
                "url": f"https://{DOMAIN}/v3",
                "certificate": str(folder / "own.pem"),
            }
        ),
    }
    (folder / "keys").mkdir(exist_ok=True)
    (folder / "keys" / "opendsr-key").write_bytes(SIGNER.key_pem)
    (folder / "own.pem").write_bytes(SIGNER.pem)
    with running_service(folder, env=env) as running:
        yield running


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
    wait_until(lambda: request_of(service, token, request_id)["lake"]["state"] == "running")
    os.kill(wait_until(lambda: job_process(folder, service)), signal.SIGKILL)
    wait_until(lambda: request_of(service, token, request_id)["status"] == "completed")
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


def test_controller_has_a_subject_forgotten_and_is_told_signed(
    service: Service, lake: Path, callback_url: str
) -> None:
    words = ("--subject", "acme", "--organisation", "org-1", "--roles", "privacy", "--api-key")
    headers = {"X-Api-Key": service.lethe("token", "create", *words)}
    gone = emails_in(lake)[-1]
    identity = {"identity_type": "email", "identity_value": gone, "identity_format": "raw"}
    body = {
        "regulation": "ccpa",
        "subject_request_id": str(uuid.uuid4()),
        "subject_request_type": "erasure",
        "submitted_time": "2026-11-21T10:00:00Z",
        "subject_identities": [identity],
        "status_callback_urls": [callback_url],
    }
    assert service.post("/opendsr/v3/requests", body, headers=headers).status == 201
    wait_until(lambda: "completed" in Controller.told)
    assert gone not in emails_in(lake)
    assert Controller.told[-1] == "completed"
    shown = service.get(f"/opendsr/v3/requests/{body['subject_request_id']}", headers=headers)
    assert shown.json["request_status"] == "completed"
