"""A real ``lethe serve`` on a free port, for tests to ask.

with running_service(folder) as service:
    answer = service.get("/v1/runs", token=token)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]

_ENDS_WITHIN = 40.0


@dataclass(frozen=True)
class Answer:
    """What the service said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    """A running service; ``env`` is what its process, and commands beside it, are given."""

    url: str
    process: subprocess.Popen[str]
    env: Mapping[str, str] = field(repr=False)
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make a request; ``body`` becomes JSON unless it is bytes."""
        request = Request(self.url + path, method=method, headers=dict(headers or {}))
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urlopen(request, body, timeout=30) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.ask("POST", path, body, **more)

    def lethe(self, *words: object) -> str:
        """What a command of Lethe prints that shares the service's settings."""
        command = [sys.executable, "-m", "runners.cli", *map(str, words)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def token(self, *roles: str, subject: str = "user-1", organization: str = "org-1") -> str:
        """A token of somebody who has these roles."""
        return self.lethe(
            "token", "create", "--subject", subject, "--organisation", organization,
            "--roles", ",".join(roles),
        )  # fmt: skip

    def logged(self) -> str:
        """What the service has written to its log so far."""
        return self.log.read_text()

    def workers(self) -> list[int]:
        """The process numbers of its workers."""
        pid = self.process.pid
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def terminate(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.terminate()
        return self.process.wait(_ENDS_WITHIN)


def service_environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables by which all that Lethe keeps lies in ``folder``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LETHE_")}
    ours = {
        "PYTHONPATH": str(ROOT),
        "LETHE_STATE__FOLDER": str(folder / "state"),
        "LETHE_PARAMETERS__SOURCE": "file",
        "LETHE_PARAMETERS__FOLDER": str(folder / "keys"),
    }
    return {**inherited, **ours, **(more or {})}


@contextmanager
def running_service(
    folder: Path, *options: object, env: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Start it with everything in ``folder``, wait until it is ready, and end it afterwards."""
    environment = service_environment(folder, env)
    command = [sys.executable, "-m", "runners.cli", "serve", "--port", "0", *map(str, options)]
    log = folder / "service.log"
    folder.mkdir(parents=True, exist_ok=True)
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        try:
            service = Service(_url(process, log), process, environment, log)
            _wait_until_ready(service)
            yield service
        finally:
            _end(process)


def _url(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, f"the service did not start: {log.read_text()}"
    return line.rpartition(" ")[2]


def _wait_until_ready(service: Service) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert service.process.poll() is None, service.logged()
        try:
            if service.get("/readyz").status == 200:
                return
        except (URLError, OSError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"the service is not ready: {service.logged()}")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
