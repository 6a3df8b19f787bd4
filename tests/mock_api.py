"""The mock enrichment API in a process of its own, for tests to run against.

with running_mock(latency=0.02) as mock:
    ...                               # call mock.url
    mock.set(outage=True)
    assert mock.stats()["calls"] == 3
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mock:
    """A running mock API."""

    url: str

    def set(self, **settings: Any) -> None:
        """Change its settings."""
        self._ask("PUT", "/settings", json.dumps(settings).encode())

    def stats(self) -> dict[str, int]:
        """What it has answered so far."""
        return dict(self._ask("GET", "/stats"))

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        with urlopen(Request(self.url + path, body, method=method), timeout=10) as answer:
            return json.load(answer)


@contextmanager
def running_mock(**settings: Any) -> Iterator[Mock]:
    """Start it at a free port, and end it afterwards."""
    command = [sys.executable, "-m", "runners.cli", "mock-api", "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        mock = Mock(process.stdout.readline().rpartition(" ")[2].strip())
        try:
            mock.set(**settings)
            yield mock
        finally:
            process.terminate()
