"""What the mock processor answers, and what it wants to tell by callbacks. No input or output.

Below ``/v3`` it speaks as mParticle does, below ``/v2`` as the specification says.
"""

from __future__ import annotations

import base64
import hmac
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from runners.mock_api.settings import changed
from runners.mock_processor.identity import ProcessorIdentity
from runners.mock_processor.requests import (
    CONTROLLER,
    TAKES,
    InProgress,
    Kept,
    Requests,
    Taken,
    TooLate,
)
from runners.mock_processor.settings import ProcessorSettings, checked
from runners.mock_server import Reply, Request
from schemas.dsr import IdentityFormat, IdentityType, RequestType
from schemas.errors import UsageError
from schemas.opendsr.answers import (
    encode_acceptance,
    encode_cancellation,
    encode_discovery,
    encode_error,
    encode_report,
    encode_reports,
)
from schemas.opendsr.model import (
    Acceptance,
    Dialect,
    Discovery,
    ProcessingStatus,
    SupportedIdentity,
)
from schemas.opendsr.requests import decode_request
from schemas.opendsr.wire import Malformed
from stores.resilience.bucket import TokenBucket
from stores.streams.backoff import Clock

_BASES = {"v2": Dialect.SPECIFICATION_2, "v3": Dialect.MPARTICLE_3}
_VERSIONS = {Dialect.SPECIFICATION_2: "2.0", Dialect.MPARTICLE_3: "3.0"}
_RATE_LIMIT = "X-mp-rate-limit-percentage-used"


@dataclass(frozen=True)
class CallbackDue:
    """A callback to be sent, as it goes over the wire."""

    url: str
    body: bytes
    headers: Mapping[str, str]


class MockProcessor:
    """The processor, for one thread. ``credentials`` are what controllers have to give, if any.

    ``address`` is where it can be reached, and where its certificate is.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        identity: ProcessorIdentity,
        clock: Clock,
        seed: int = 0,
        credentials: str | None = None,
    ) -> None:
        self._identity = identity
        self._clock = clock
        self._random = Random(seed)
        self._credentials = credentials
        self._requests = Requests()
        self._stats = Counter[str]()
        self._due: list[CallbackDue] = []
        self.address = ""
        self._use(settings)

    def reply(self, request: Request) -> Reply:
        """The answer to a request."""
        match request.method, request.path:
            case "GET", "/certificate.pem":
                kind = {"Content-Type": "application/x-pem-file"}
                return Reply(200, self._identity.chain, kind)
            case "GET", "/settings":
                return _json(200, asdict(self._settings))
            case "PUT", "/settings":
                return self._change(request.body)
            case "GET", "/stats":
                return _json(200, {"submitted": 0, "accepted": 0, **self._stats})
            case "GET", "/received":
                return _json(200, self._requests.ids())
            case "POST", "/advance":
                return _json(200, {"changed": self._tell(self._requests.advance())})
        return self._as_processor(request)

    def callbacks(self) -> list[CallbackDue]:
        """What is to be told since it was asked last."""
        self._tell(self._requests.go_on(self._clock.monotonic(), self._settings.step))
        due, self._due = self._due, []
        return due[::-1] if self._settings.shuffled else due

    def count(self, what: str) -> None:
        """Count something in the statistics."""
        self._stats[what] += 1

    def _use(self, settings: ProcessorSettings) -> None:
        self._settings = settings
        rate = settings.throttle
        self._bucket = None if rate is None else TokenBucket(rate, rate, self._clock.monotonic)

    def _change(self, body: bytes) -> Reply:
        try:
            self._use(checked(changed(self._settings, body)))
        except UsageError as error:
            return _json(400, {"error": error.message})
        return _json(200, asdict(self._settings))

    def _as_processor(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        base, _, rest = parts.path.lstrip("/").partition("/")
        dialect = _BASES.get(base)
        if dialect is None:
            return _json(404, {"error": "there is nothing here"})
        trouble = self._trouble(request, dialect)
        if trouble is not None:
            return trouble
        reply = self._routed(request, dialect, rest, parse_qs(parts.query))
        if self._random.random() < self._settings.lost:
            self.count("lost")
            return replace(reply, cut=True, delay=self._settings.latency)
        return self._signed(reply)

    def _trouble(self, request: Request, dialect: Dialect) -> Reply | None:
        """An answer that has nothing to do with what is asked."""
        if self._settings.outage:
            return self._refusal(dialect, 503, "backendError", "out of service")
        wait = 0.0 if self._bucket is None else self._bucket.take()
        if wait > 0:
            refusal = self._refusal(dialect, 429, "rateLimitExceeded", "too many requests")
            return replace(refusal, headers={"Retry-After": str(math.ceil(wait))})
        if self._random.random() < self._settings.error_rate:
            return self._refusal(dialect, 500, "backendError", "an error as asked for")
        if not self._knows(request):
            return self._refusal(dialect, 401, "unauthorized", "credentials are needed")
        return None

    def _knows(self, request: Request) -> bool:
        if self._credentials is None:
            return True
        expected = "Basic " + base64.b64encode(self._credentials.encode()).decode()
        given = request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), expected.encode())

    def _routed(
        self, request: Request, dialect: Dialect, path: str, query: Mapping[str, list[str]]
    ) -> Reply:
        match request.method, path.split("/"):
            case "POST", ["requests"]:
                return self._submit(request.body, dialect)
            case "GET", ["requests"] if "group_id" in query and dialect is Dialect.MPARTICLE_3:
                group = self._requests.group(query["group_id"][0])
                return Reply(200, encode_reports([kept.report for kept in group]))
            case "GET", ["requests", request_id]:
                return self._status(request_id, dialect)
            case "DELETE", ["requests", request_id]:
                return self._cancel(request_id, dialect)
            case "GET", ["discovery"]:
                return Reply(200, encode_discovery(self._discovery(dialect)))
        return self._refusal(dialect, 404, "notFound", "there is nothing here")

    def _submit(self, body: bytes, dialect: Dialect) -> Reply:
        self.count("submitted")
        now = self._clock.now()
        try:
            request = decode_request(body)
            self._requests.add(
                Kept(request, dialect, now, ProcessingStatus.PENDING, self._first_step())
            )
        except Malformed as error:
            return self._refusal(dialect, 400, "badRequest", error.message)
        except Taken:
            self.count("repeated")
            return self._refusal(dialect, 400, "badRequest", "the request id is taken")
        except InProgress:
            return self._refusal(dialect, 409, "conflict", "the identities are in progress")
        self.count("accepted")
        acceptance = Acceptance(request.id, CONTROLLER, now, now + TAKES)
        return Reply(201, encode_acceptance(acceptance, body, now))

    def _first_step(self) -> float | None:
        step = self._settings.step
        return None if step is None else self._clock.monotonic() + step

    def _status(self, request_id: str, dialect: Dialect) -> Reply:
        kept = self._requests.get(request_id)
        if kept is None:
            return self._refusal(dialect, 404, "notFound", "there is no such request")
        return Reply(200, encode_report(kept.report))

    def _cancel(self, request_id: str, dialect: Dialect) -> Reply:
        kept = self._requests.get(request_id)
        if kept is None:
            return self._refusal(dialect, 404, "notFound", "there is no such request")
        try:
            self._tell([self._requests.cancel(kept)])
        except TooLate:
            return self._refusal(dialect, 400, "badRequest", "the request is not pending")
        acceptance = Acceptance(request_id, CONTROLLER)
        return Reply(202, encode_cancellation(acceptance, self._clock.now()))

    def _discovery(self, dialect: Dialect) -> Discovery:
        formats = [IdentityFormat.RAW] if dialect is Dialect.MPARTICLE_3 else list(IdentityFormat)
        return Discovery(
            api_version=_VERSIONS[dialect],
            identities=tuple(
                SupportedIdentity(one, form) for one in IdentityType for form in formats
            ),
            types=tuple(RequestType),
            certificate=f"{self.address}/certificate.pem",
        )

    def _tell(self, kept: list[Kept]) -> int:
        """Note the callbacks for what has changed."""
        for one in kept:
            for url in one.request.callback_urls:
                self._due += [self._callback(one, url)] * self._settings.repeats
        return len(kept)

    def _callback(self, kept: Kept, url: str) -> CallbackDue:
        body = _callback_body(kept, url, self._settings)
        if self._random.random() < self._settings.garbage:
            body = b"<html>well met</html>"
        headers = self._identity.headers(body, self._settings.signing, self._settings.legacy)
        return CallbackDue(url, body, {"Content-Type": "application/json", **headers})

    def _refusal(self, dialect: Dialect, status: int, reason: str, message: str) -> Reply:
        self.count(f"status_{status}")
        body = encode_error(dialect, status, reason, message)
        return Reply(status, body, delay=self._settings.latency)

    def _signed(self, reply: Reply) -> Reply:
        headers = dict(reply.headers)
        headers |= self._identity.headers(reply.body, self._settings.signing, False)
        if self._settings.used_percent is not None:
            headers[_RATE_LIMIT] = str(self._settings.used_percent)
        return replace(reply, headers=headers, delay=self._settings.latency)


def _callback_body(kept: Kept, url: str, settings: ProcessorSettings) -> bytes:
    """The status, with the oddities that are asked for."""
    report = replace(kept.report, callback_url=None if settings.sparse else url)
    content = msgspec.json.decode(encode_report(report))
    if settings.odd_times:
        content["expected_completion_time"] = _odd(kept.received_at + TAKES)
    if settings.sparse:
        content["expected_completion_time"] = None
    return msgspec.json.encode(content)


def _odd(time: datetime) -> str:
    """Seven fractional digits and no zone, as .NET writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f") + "7"


def _json(status: int, content: Any) -> Reply:
    return Reply(status, msgspec.json.encode(content))
