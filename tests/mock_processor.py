"""The mock processor in a process of its own, for tests to run against.

with running_processor(step=None) as processor:
    ...                               # forward requests to processor.url, or .specification_url
    processor.set(outage=True)
    assert processor.received() == [request_id]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[1]
DOMAIN = "processor.example"


@dataclass(frozen=True)
class RunningProcessor:
    """A running mock processor; ``root`` is the certificate to trust, in PEM."""

    address: str
    root: bytes

    @property
    def url(self) -> str:
        """Where it speaks as mParticle does."""
        return f"{self.address}/v3"

    @property
    def specification_url(self) -> str:
        """Where it speaks as the specification says."""
        return f"{self.address}/v2"

    @property
    def certificate_url(self) -> str:
        return f"{self.address}/certificate.pem"

    def set(self, **settings: Any) -> None:
        """Change its settings."""
        self._ask("PUT", "/settings", json.dumps(settings).encode())

    def stats(self) -> dict[str, int]:
        """What it has done so far."""
        return dict(self._ask("GET", "/stats"))

    def received(self) -> list[str]:
        """The ids of the requests that it has, in the order in which they came."""
        return list(self._ask("GET", "/received"))

    def advance(self) -> int:
        """Put all requests that are open into their next status, and tell so by callbacks."""
        return int(self._ask("POST", "/advance", b"")["changed"])

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        with urlopen(Request(self.address + path, body, method=method), timeout=10) as answer:
            return json.load(answer)


@contextmanager
def running_processor(*options: str, port: int = 0, **settings: Any) -> Iterator[RunningProcessor]:
    """Start it, at a free port unless told otherwise, and end it afterwards.

    ``options`` are those of the command, ``settings`` those that can be changed while it runs.
    """
    with tempfile.TemporaryDirectory() as folder:
        ca = Path(folder) / "ca.pem"
        command = [
            sys.executable, "-m", "runners.cli", "mock-processor", "--port", str(port),
            "--domain", DOMAIN, "--ca", str(ca), *options,
        ]  # fmt: skip
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
            try:
                assert process.stdout is not None
                address = process.stdout.readline().rpartition(" ")[2].strip()
                running = RunningProcessor(address, ca.read_bytes())
                running.set(**settings)
                yield running
            finally:
                process.terminate()
