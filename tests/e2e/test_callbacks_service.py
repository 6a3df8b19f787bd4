"""A real service hears from a real processor what becomes of requests, and believes it alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mock_processor import DOMAIN, RunningProcessor, running_processor
from tests.service_process import Service, running_service
from tests.waiting import wait_until


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def service_beside(processor: RunningProcessor, folder: Path) -> Iterator[Service]:
    """A service that forwards to the processor, and takes its callbacks."""
    port = free_port()
    (folder / "roots.pem").write_bytes(processor.root)
    region = {"name": "here", "url": processor.specification_url}
    peer = {"domain": DOMAIN, "certificate_url": processor.certificate_url}
    env = {
        "LETHE_PROCESSORS": json.dumps({"mock": {"dialect": "opendsr-2.0", "regions": [region]}}),
        "LETHE_OUTBOUND": json.dumps({"plain_http": True, "networks": ["127.0.0.0/8"]}),
        "LETHE_CALLBACKS": json.dumps(
            {
                "urls": [f"http://127.0.0.1:{port}/v1/dsr/callbacks/opendsr"],
                "roots": str(folder / "roots.pem"),
                "processors": {"mock": peer},
            }
        ),
    }
    with running_service(folder, "--port", port, "--workers", 1, env=env) as service:
        yield service


def test_request_is_followed_by_signed_callbacks_and_no_others(tmp_path: Path) -> None:
    with running_processor(step=None) as processor, service_beside(processor, tmp_path) as service:
        token = service.token("privacy")
        body = {"type": "gdpr_delete", "email": "ana@example.com"}
        request_id = service.post("/v1/dsr", body, token=token).json["id"]

        def status() -> str:
            return str(service.get(f"/v1/dsr/{request_id}", token=token).json["status"])

        wait_until(lambda: status() == "submitted")
        processor.set(signing="wrong")
        processor.advance()
        wait_until(lambda: '"check": "signature"' in service.logged())
        assert status() == "submitted"
        processor.set(signing="good", repeats=3, shuffled=True, odd_times=True, sparse=True)
        processor.advance()
        wait_until(lambda: status() == "completed")
        assert "ana@example.com" not in service.logged()
