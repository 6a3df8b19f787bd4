"""The end of the demonstration: contacts enriched through the service, and watched on the way."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

WITHIN = 60.0
"""Seconds that anything here may take."""


class Service:
    """The service as a client sees it."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON that is answered."""
        data = None if body is None else json.dumps(body).encode()
        return json.loads(self.send(method, path, data, {"Content-Type": "application/json"}))

    def send(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> bytes:
        request = Request(self._url + path, data, headers, method=method)
        request.add_header("Authorization", f"Bearer {self._token}")
        with urlopen(request, timeout=WITHIN) as answer:
            return bytes(answer.read())


@contextmanager
def started(words: list[str], log: Path, **variables: str) -> Iterator[str]:
    """The address of a server, which says it in the first line that it prints."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            ["lethe", *words],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **variables},
        )
    try:
        assert process.stdout is not None
        found = re.search(rb"http://[\d.]+:\d+", process.stdout.readline())
        if found is None:
            raise SystemExit(f"{words[0]} did not start: see {log}")
        yield found[0].decode()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WITHIN)


def enrich(service: Service, contacts: Path) -> str:
    """Upload a file, have it enriched, show how far it is. The path of the result."""
    content = contacts.read_bytes()
    upload = service.ask("POST", "/v1/uploads", announced(content))
    service.send("PUT", upload["uploadUrl"], content, upload["headers"])
    asked = service.ask("POST", "/v1/enrichment", {"inputFileKey": upload["inputFileKey"]})
    watch(service, f"/v1/enrichment/{asked['requestId']}")
    return str(asked["downloadUrl"])


def announced(content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"contentType": "application/x-ndjson", "size": len(content), "sha256": digest}


def watch(service: Service, path: str) -> None:
    """Print each state that is seen, until the last one."""
    last, until = "", time.monotonic() + WITHIN
    while time.monotonic() < until:
        job = service.ask("GET", path)
        shown = f"{job['status']:<10} {job['processedBatches']:>4} of {job['totalBatches'] or '?'}"
        if shown != last:
            print(f"  {shown} batches")
        last = shown
        if job["status"] in {"completed", "failed", "cancelled"}:
            return
        time.sleep(0.2)
    raise SystemExit("the contacts were not enriched in time")


def main(folder: Path) -> None:
    """Run the service on a mock API, with all that it keeps in ``folder``."""
    own = {
        "LETHE_STATE__FOLDER": str(folder / "state"),
        "LETHE_PARAMETERS__FOLDER": str(folder / "keys"),
    }
    os.environ.update(own)
    mock = ["mock-api", "--port", "0", "--latency", "300ms", "--error-rate", "0.02"]
    with (
        started(mock, folder / "mock.log") as api,
        started(
            ["serve", "--port", "0", "--workers", "1"],
            folder / "serve.log",
            LETHE_SERVICE__ENRICHMENT__API=api,
        ) as url,
    ):
        service = Service(url, token())
        print(f"the service is at {url}, its documentation at {url}/openapi/")
        result = enrich(service, folder / "contacts.ndjson")
        first, *rest = service.send("GET", result, None, {}).splitlines()
        print(first.decode()[:160], f"... and {len(rest):,} more lines", sep="\n")


def token() -> str:
    words = [
        "token",
        "create",
        "--subject",
        "demo",
        "--organisation",
        "demo",
        "--roles",
        "operator",
    ]
    made = subprocess.run(["lethe", *words], check=True, capture_output=True, text=True)
    return made.stdout.strip()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except HTTPError as error:
        raise SystemExit(f"the service answers {error.code}: {error.read().decode()}") from None
