"""Flink's REST service: jobs that are found, watched, stopped and counted.

https://nightlies.apache.org/flink/flink-docs-release-1.19/docs/ops/rest_api/
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from runners.engines.errors import EngineError, EngineUnreachable
from runners.engines.jobs import JobState
from transforms.stages import NAMESPACE

_TIMEOUT = 20.0
_TAKEN_SECONDS = 120.0
_SAVEPOINT_SECONDS = 600.0
_EVERY = 0.2


class FlinkRest:
    """The REST service at HOST:PORT. Every call may raise ``EngineUnreachable``."""

    def __init__(self, master: str) -> None:
        self._master = master

    def check(self) -> None:
        """Raise ``EngineUnreachable`` if there is no Flink."""
        self.get("/overview")

    def get(self, path: str) -> Any:
        """What is at a path, as decoded JSON."""
        return self._call(urllib.request.Request(self._url(path)))

    def send(self, method: str, path: str, body: Any) -> Any:
        """Change something by a request with a JSON body."""
        headers = {"Content-Type": "application/json"}
        data = json.dumps(body).encode()
        return self._call(
            urllib.request.Request(self._url(path), data=data, headers=headers, method=method)
        )

    def job_named(self, name: str, submitted: Callable[[], str]) -> FlinkJob:
        """The job of this name, once it is there; ``submitted`` tells Beam's state meanwhile.

        Raises ``EngineError`` if it never comes.
        """
        end = time.monotonic() + _TAKEN_SECONDS
        while time.monotonic() < end and submitted() != "FAILED":
            for job in self.get("/jobs/overview")["jobs"]:
                if job["name"] == name:
                    return FlinkJob(self, job["jid"])
            time.sleep(_EVERY)
        raise EngineError("Flink did not take the job: its job manager's log says why")

    def _url(self, path: str) -> str:
        return f"http://{self._master}{path}"

    def _call(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise EngineUnreachable(f"Flink at {self._master} is not ready") from None
            # Not chained, and without its body: Flink answers with texts of exceptions.
            raise EngineError(f"Flink answered {error.code} at {request.selector}") from None
        except OSError as error:
            raise EngineUnreachable(f"no Flink answers at {self._master}") from error


class FlinkJob:
    """A job of a Flink cluster."""

    def __init__(self, rest: FlinkRest, job_id: str) -> None:
        self._rest = rest
        self._id = job_id

    @property
    def id(self) -> str:
        """Flink's id of the job."""
        return self._id

    def state(self) -> JobState:
        """What the job is doing now."""
        return JobState.of_flink(self._details()["state"])

    def counters(self) -> dict[str, int]:
        """The pipeline's counters by name. They begin again at 0 when Flink restarts the job."""
        found: dict[str, int] = {}
        for vertex in self._details()["vertices"]:
            for name, value in self._counters_of(vertex["id"]):
                found[name] = found.get(name, 0) + value
        return found

    def cancel(self) -> None:
        """End the job; its last checkpoint stays."""
        self._rest.send("PATCH", f"/jobs/{self._id}?mode=cancel", {})

    def stop(self, folder: str) -> str:
        """End the job with a savepoint in the folder (a URI); where the savepoint is.

        Raises ``EngineError`` if Flink cannot make it; the job goes on then.
        """
        wish = {"targetDirectory": folder, "drain": False}
        asked = self._rest.send("POST", f"/jobs/{self._id}/stop", wish)["request-id"]
        end = time.monotonic() + _SAVEPOINT_SECONDS
        while time.monotonic() < end:
            answer = self._rest.get(f"/jobs/{self._id}/savepoints/{asked}")
            if answer["status"]["id"] == "COMPLETED":
                return _location(answer["operation"])
            time.sleep(_EVERY)
        raise EngineError(f"Flink made no savepoint of job {self._id} in time")

    def _details(self) -> Any:
        return self._rest.get(f"/jobs/{self._id}")

    def _counters_of(self, vertex: str) -> list[tuple[str, int]]:
        """Flink names a counter ``<operator>.<namespace>_<counter>``."""
        path = f"/jobs/{self._id}/vertices/{vertex}/subtasks/metrics"
        sign = f".{NAMESPACE}_"
        ours = [metric["id"] for metric in self._rest.get(path) if sign in metric["id"]]
        if not ours:
            return []
        query = urllib.parse.urlencode({"get": ",".join(ours), "agg": "sum"})
        sums = self._rest.get(f"{path}?{query}")
        return [(one["id"].rpartition(sign)[2], int(one["sum"])) for one in sums]


def _location(operation: Any) -> str:
    if "location" not in operation:
        raise EngineError("Flink made no savepoint: its job manager's log says why")
    return str(operation["location"])
