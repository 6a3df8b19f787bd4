"""What the mock API answers: a decision a call, without any input or output."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from random import Random
from typing import Any

import msgspec
import xxhash

from runners.mock_api.settings import MockSettings, changed, checked
from runners.mock_server import Reply
from schemas.errors import UsageError
from stores.resilience.bucket import TokenBucket

_SEGMENTS = ("family", "club", "student", "business", "traveller")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class MockApi:
    """The API, for one thread. ``seed`` decides what it knows of contacts, and which calls fail."""

    def __init__(self, settings: MockSettings, seed: int, clock: Callable[[], float]) -> None:
        self._seed = seed
        self._random = Random(seed)
        self._clock = clock
        self._stats = Counter[str]()
        self._use(settings)

    def reply(self, method: str, path: str, body: bytes) -> Reply:
        """The answer to a request."""
        match method, path:
            case "POST", "/v1/enrich":
                return self._enrich(body)
            case "GET", "/settings":
                return _json(200, asdict(self._settings))
            case "PUT", "/settings":
                return self._change(body)
            case "GET", "/stats":
                return _json(200, {"calls": 0, "contacts": 0, **self._stats})
        return _error(404, "there is nothing here")

    def _use(self, settings: MockSettings) -> None:
        self._settings = settings
        rate = settings.throttle
        self._bucket = None if rate is None else TokenBucket(rate, rate, self._clock)

    def _change(self, body: bytes) -> Reply:
        try:
            self._use(checked(changed(self._settings, body)))
        except UsageError as error:
            return _error(400, error.message)
        return _json(200, asdict(self._settings))

    def _enrich(self, body: bytes) -> Reply:
        self._stats["calls"] += 1
        if self._settings.outage:
            return self._counted("refused", _error(503, "out of service"))
        wait = 0.0 if self._bucket is None else self._bucket.take()
        if wait > 0:
            headers = {"Retry-After": str(math.ceil(wait))}
            return self._counted("throttled", _error(429, "too many calls", headers))
        return self._considered(body)

    def _considered(self, body: bytes) -> Reply:
        delay = self._settings.latency
        if self._random.random() < self._settings.error_rate:
            return self._counted("errors", _error(500, "an error as asked for", delay=delay))
        contacts = _contacts(body)
        if contacts is None:
            return self._counted("rejected", _error(400, "no list of contacts with ids"))
        ids = {contact["id"] for contact in contacts}
        if ids & set(self._settings.breaking):
            return self._counted("errors", _error(500, "a contact breaks it", delay=delay))
        if ids & set(self._settings.rejected):
            return self._counted("rejected", _error(422, "a contact is rejected", delay=delay))
        results = [self._result(contact["id"]) for contact in contacts]
        if self._random.random() < self._settings.malformed:
            return self._counted("malformed", self._malformed(results))
        self._stats["contacts"] += len(results)
        return self._counted("answered", _json(200, {"results": results}, delay=delay))

    def _result(self, contact: str) -> dict[str, Any]:
        drawn = xxhash.xxh3_64_intdigest(contact.encode(), self._seed)
        return {
            "id": contact,
            "segment": _SEGMENTS[drawn % len(_SEGMENTS)],
            "score": drawn // 8 % 101,
            "verified": drawn >> 20 & 1 == 1,
            "likelihood": (drawn >> 24) % 1000 / 1000,
        }

    def _malformed(self, results: list[dict[str, Any]]) -> Reply:
        delay = self._settings.latency
        whole = _json(200, {"results": results}, delay=delay)
        match self._random.randrange(4):
            case 0:
                return Reply(200, b"<html>well met</html>", delay=delay)
            case 1:
                return Reply(200, whole.body, delay=delay, cut=True)
            case 2:
                return _json(200, {"results": results[: len(results) // 2]}, delay=delay)
        self._random.shuffle(results)
        return _json(200, {"results": results}, delay=delay)

    def _counted(self, name: str, reply: Reply) -> Reply:
        self._stats[name] += 1
        return reply


def _contacts(body: bytes) -> list[dict[str, Any]] | None:
    """The contacts of a request, None if it has none."""
    try:
        contacts = _decode(body).get("contacts")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not isinstance(contacts, list) or not all(map(_has_id, contacts)):
        return None
    return contacts


def _has_id(contact: object) -> bool:
    return isinstance(contact, dict) and isinstance(contact.get("id"), str)


def _json(status: int, content: Any, delay: float = 0.0) -> Reply:
    return Reply(status, msgspec.json.encode(content), delay=delay)


def _error(
    status: int, message: str, headers: Mapping[str, str] | None = None, delay: float = 0.0
) -> Reply:
    return Reply(status, msgspec.json.encode({"error": message}), headers or {}, delay)
