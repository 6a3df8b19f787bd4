"""Clients of data subject requests that do not give up: each asks until it has an answer."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.service_process import Answer, Service
from tests.waiting import PATIENCE

PATH = "/v1/dsr"
AGAIN = {429, 502, 503, 504}
LINGERS = 1.0


@dataclass
class Clients:
    """Clients who submit, repeat, look up and cancel, under one token.

    ``taken`` are the ids of all requests that they were told of, ``cancelled`` of those that they
    were told are cancelled. An answer that nobody should get is an ``AssertionError``.
    """

    service: Service
    token: str
    taken: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    unanswered: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, count: int, threads: int, seed: int) -> None:
        """So many stories, each of a subject of its own."""
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(
                lambda number: self._live(number, Random(seed + number)), range(count)
            ):
                pass

    def _live(self, number: int, random: Random) -> None:
        body = {
            "type": random.choice(["gdpr_delete", "ccpa_delete", "export"]),
            "email": f"canary-{number}@example.com",
        }
        key = f"chaos-{number:08d}"
        request_id = self._submit(body, key)
        for _ in range(random.randint(0, 3)):
            time.sleep(random.uniform(0.0, LINGERS))
            story = random.choice([self._cancel, self._look_up, self._search, self._repeat])
            story(request_id, body, key)
        if random.random() < 0.2:
            self._submit_another(request_id, body, key)

    def _submit(self, body: Any, key: str) -> str:
        answer = self._ask("POST", PATH, body, key, expected=(202,))
        request_id = str(answer.json["id"])
        with self._lock:
            self.taken.add(request_id)
        return request_id

    def _repeat(self, request_id: str, body: Any, key: str) -> None:
        assert self._submit(body, key) == request_id, "a repeat is another request"

    def _submit_another(self, request_id: str, body: Any, key: str) -> None:
        """The same again, which there can be only if the first one is closed."""
        answer = self._ask("POST", PATH, body, f"{key}-again", expected=(202, 409))
        if answer.status == 202:
            with self._lock:
                self.taken.add(str(answer.json["id"]))
        else:
            assert answer.json["error"]["details"]["requestId"] == request_id

    def _cancel(self, request_id: str, body: Any, key: str) -> None:
        del body, key
        answer = self._ask("DELETE", f"{PATH}/{request_id}", expected=(202, 409))
        if answer.status == 202 and answer.json["status"] == "cancelled":
            with self._lock:
                self.cancelled.add(request_id)

    def _look_up(self, request_id: str, body: Any, key: str) -> None:
        del body, key
        self._ask("GET", f"{PATH}/{request_id}", expected=(200,))

    def _search(self, request_id: str, body: Any, key: str) -> None:
        del key
        answer = self._ask("POST", f"{PATH}:search", {"email": body["email"]}, expected=(200,))
        assert request_id in [item["id"] for item in answer.json["items"]]

    def _ask(
        self, method: str, path: str, body: Any = None, key: str = "", *, expected: Sequence[int]
    ) -> Answer:
        """The first answer that is one, however often that takes."""
        headers = {"Idempotency-Key": key} if key else {}
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            answer = self._once(method, path, body, headers)
            if answer is not None and not _is_to_come_again(answer):
                assert answer.status in expected, f"{method} {path}: {answer.body.decode()}"
                return answer
            time.sleep(0.1)
        raise AssertionError(f"{method} {path} has had no answer for {PATIENCE} s")

    def _once(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer | None:
        try:
            return self.service.ask(method, path, body, token=self.token, headers=headers)
        except (OSError, http.client.HTTPException):
            with self._lock:
                self.unanswered += 1
            return None


def _is_to_come_again(answer: Answer) -> bool:
    if answer.status == 409:
        return bool(answer.json["error"]["details"].get("reason") == "in_progress")
    return answer.status in AGAIN
