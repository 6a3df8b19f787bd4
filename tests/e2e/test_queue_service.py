"""The whole service: a request is queued, forwarded, and told of to a webhook."""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.mock_processor import RunningProcessor, running_processor
from tests.service_process import Service, running_service
from tests.waiting import wait_until

Heard = list[tuple[Mapping[str, str], bytes]]


@contextmanager
def receiver() -> Iterator[tuple[str, Heard]]:
    """A server that takes everything, and what it was sent."""
    heard: Heard = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            heard.append((dict(self.headers), self.rfile.read(length)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", heard
    finally:
        server.shutdown()
        server.server_close()


def settings(processor: RunningProcessor) -> dict[str, str]:
    regions = [{"name": "eu", "url": processor.specification_url}]
    one = {"dialect": "opendsr-2.0", "regions": regions}
    return {
        "LETHE_PROCESSORS": json.dumps({"one": one}),
        "LETHE_OUTBOUND": json.dumps({"plain_http": True, "networks": ["127.0.0.0/8"]}),
        "LETHE_DRAIN": json.dumps({"first_pause_seconds": 0.3, "longest_pause_seconds": 0.6}),
    }


def submitted(service: Service, token: str) -> str:
    body = {"email": "ana.canary@example.com", "type": "gdpr_delete"}
    answer = service.post("/v1/dsr", body, token=token)
    assert answer.status == 202, answer.body
    return str(answer.json["id"])


def wait_for(what: str, heard: Heard) -> list[str]:
    """The statuses that were told, as soon as this one was."""

    def told() -> list[str]:
        statuses = [json.loads(body)["data"]["status"] for _, body in list(heard)]
        return statuses if what in statuses else []

    return wait_until(told, what)


def is_signed(key: str, headers: Mapping[str, str], body: bytes) -> bool:
    text = headers["X-Lethe-Timestamp"].encode() + b"." + body
    digest = hmac.digest(key.encode(), text, "sha256").hex()
    return headers["X-Lethe-Signature"] == f"k1={digest}"


def test_request_is_accepted_while_the_processor_is_down_and_arrives_once_it_is_back(
    tmp_path: Path,
) -> None:
    with (
        running_processor(outage=True) as processor,
        receiver() as (url, heard),
        running_service(tmp_path, env=settings(processor)) as service,
    ):
        token = service.token("privacy")
        hook = service.post("/v1/webhooks", {"url": url, "kinds": ["dsr"]}, token=token)
        assert hook.status == 201, hook.body
        one = submitted(service, token)
        assert service.get(f"/v1/dsr/{one}", token=token).json["status"] == "queued"
        processor.set(outage=False)
        statuses = wait_for("submitted", heard)
        assert (statuses[0], statuses[-1]) == ("queued", "submitted")
        assert processor.received() == [one]
        versions = [json.loads(body)["version"] for _, body in heard]
        assert versions == sorted(versions)
        assert all(is_signed(hook.json["key"], *delivery) for delivery in heard)
        assert "canary" not in service.logged() + repr(heard)
