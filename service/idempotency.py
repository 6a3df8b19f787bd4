"""Requests that can be repeated: the same ``Idempotency-Key`` gives the same answer, once done.

    claim ──> Claimed ──> work ──> complete            repeat: the answer, Idempotent-Replayed: true
      │                    ├─ 5xx, 429, exception ──> release        repeat: does the work
      │                    └─ killed ··· lock runs out               repeat: does the work
      ├──> InProgress: 409 with Retry-After
      └──> OtherRequest: 409

A process that is killed after its work and before ``complete`` leaves what it created. So what is
created has an id that derives from the key (``Attempt.created_id``): the repeat makes the same id
and finds it there. A key is one principal's own, and says nothing at another endpoint.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from flask import Request, Response

from config.service import IdempotencySection
from schemas.access import Principal
from schemas.errors import Conflict, Invalid, StoreError
from schemas.requests import Answered, Claimed, InProgress, StoredResponse
from service.security.pseudonyms import Pseudonyms
from stores.state.service_port import IdempotencyStore

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"

RETRY_AFTER = 2
"""Seconds after which one may ask again for what is being done right now."""

_KEY = re.compile(r'(["]?)([A-Za-z0-9._:-]{8,128})\1')
"""In quotes as draft-ietf-httpapi-idempotency-key-header has it, or without, as most send it."""

_KEPT_HEADERS = ("Content-Type", "Location")
_LARGEST_KEPT = 256 * 1024

_log = structlog.get_logger()


@dataclass(frozen=True)
class Attempt:
    """One request under a key, or under none; ``name`` and ``fingerprint`` hold nothing personal.

    ``name`` stands for the principal, the endpoint and the key; ``fingerprint`` for what is asked.
    """

    name: str | None
    fingerprint: str

    def created_id(self, index: int = 0) -> str:
        """The id for what this request creates, as 32 hexadecimal digits; random without a key.

        It is the same for every repeat, and another one for another body. ``index`` tells apart
        the things that one request creates.
        """
        if self.name is None:
            return uuid.uuid4().hex
        parts = f"{self.name}/{self.fingerprint}/{index}"
        return hashlib.sha256(parts.encode()).hexdigest()[:32]


class Idempotency:
    """Does the work of a key once. For any number of threads and processes."""

    def __init__(
        self, store: IdempotencyStore, pseudonyms: Pseudonyms, settings: IdempotencySection
    ) -> None:
        self._store = store
        self._pseudonyms = pseudonyms
        self._settings = settings

    def attempt(self, request: Request, principal: Principal) -> Attempt:
        """What this request asks for, and under which key. Raises ``Invalid`` for a bad key."""
        place = f"{request.method} {request.path}"
        asked = (request.query_string, canonical(request.get_data()))
        return self._attempt(principal, place, request.headers.get(HEADER), asked)

    def attempt_at(
        self, place: str, body: Mapping[str, Any], key: str | None, principal: Principal
    ) -> Attempt:
        """What a request to ``place``, such as ``POST /v1/dsr``, with this body would ask for.

        For what asks for the same in another way. Raises ``Invalid`` for a bad key.
        """
        return self._attempt(principal, place, key, (b"", canonical(json.dumps(body).encode())))

    def _attempt(
        self, principal: Principal, place: str, key: str | None, asked: tuple[bytes, bytes]
    ) -> Attempt:
        return Attempt(
            None if key is None else self._name(principal, place, _checked(key)),
            self._pseudonyms.of("fingerprint", place, *asked),
        )

    def _name(self, principal: Principal, place: str, key: str) -> str:
        who = (principal.organization, principal.subject)
        return self._pseudonyms.of("idempotency", *who, place, key)

    def once(self, attempt: Attempt, work: Callable[[], Response]) -> Response:
        """The answer of ``work``, or that of the request before under the same key.

        Raises ``Conflict`` if that one is not done yet or asked for something else, ``StoreError``
        if this cannot be known, and what ``work`` raises: an exception is not kept.
        """
        if attempt.name is None:
            return work()
        settings = self._settings
        claim = self._store.claim(
            attempt.name, attempt.fingerprint, settings.lock_seconds, settings.keep_seconds
        )
        if isinstance(claim, Claimed):
            return self._do(attempt.name, claim.token, work)
        if isinstance(claim, Answered):
            return _replayed(claim.response)
        raise _conflict(isinstance(claim, InProgress))

    def _do(self, name: str, token: str, work: Callable[[], Response]) -> Response:
        try:
            response = work()
        except BaseException:
            self._release(name, token)
            raise
        if _is_kept(response):
            self._complete(name, token, response)
        else:
            self._release(name, token)
        return response

    def _complete(self, name: str, token: str, response: Response) -> None:
        """What is done is done: if it cannot be noted, a repeat does it again, to the same id."""
        try:
            self._store.complete(name, token, _stored(response))
        except StoreError as error:
            _log.warning("an answer is not kept for repeats", code=error.code)

    def _release(self, name: str, token: str) -> None:
        try:
            self._store.release(name, token)
        except StoreError as error:
            _log.warning("a key stays locked until its lock runs out", code=error.code)


def canonical(body: bytes) -> bytes:
    """A body as it is compared: JSON without its spacing and the order of its members."""
    try:
        document = json.loads(body)
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return body


def _checked(key: str) -> str:
    found = _KEY.fullmatch(key)
    if found is None:
        raise Invalid(f"{HEADER}: must be 8 to 128 letters, digits or . _ : -, such as a UUID")
    return found[2]


def _is_kept(response: Response) -> bool:
    if response.status_code >= 500 or response.status_code == 429 or response.is_streamed:
        return False
    return len(response.get_data()) <= _LARGEST_KEPT


def _stored(response: Response) -> StoredResponse:
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return StoredResponse(response.status_code, response.get_data(), headers)


def _replayed(stored: StoredResponse) -> Response:
    response = Response(stored.body, stored.status, dict(stored.headers))
    response.headers[REPLAYED] = "true"
    return response


def _conflict(in_progress: bool) -> Conflict:
    if in_progress:
        message = f"the request with this {HEADER} is still being done: ask again soon"
        return Conflict(message, reason="in_progress", retry_after=RETRY_AFTER)
    message = f"this {HEADER} was used for another request: choose a new one for each"
    return Conflict(message, reason="other_request")
