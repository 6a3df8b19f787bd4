"""One call to the enrichment API over HTTP.

    POST <url>/v1/enrich  {"contacts": [{"id": ..., ...}, ...]}
    200                   {"results": [{"id": ..., ...}, ...]}

A result with an ``error`` is the API's word that it has nothing for that contact. Redirects are
not followed, so that contacts go nowhere but to the address that was given.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as CallTimeout

from schemas.contacts import Reason
from schemas.errors import UsageError
from stores.enrichment.errors import ApiMisused, BadCall, BatchNotEnriched, CallFailed, Unreachable

PATH = "/v1/enrich"

MAX_ANSWER = 64 << 20
"""Bytes of an answer beyond which it is taken for garbage."""

_PIECE = 1 << 16
_REFUSED = {400, 413, 422}
_FAILED = {408, *range(500, 600)} - {503}
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
_decode = msgspec.json.Decoder(dict[str, Any]).decode

Wire = Mapping[str, Any]
"""A contact, or a result, as it goes over the wire."""


def check_url(url: str) -> str:
    """The address of an API, without a ``/`` at its end. Raises ``UsageError``."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise UsageError("--api: write http://HOST:PORT or https://HOST, without user or password")
    return url.rstrip("/")


class EnrichmentApi:
    """The API at ``url``, by up to ``connections`` kept connections. For any number of threads.

    ``timeout`` bounds a call in seconds, from connecting to the answer's last byte.
    """

    def __init__(self, url: str, connections: int, timeout: float) -> None:
        self._url = check_url(url) + PATH
        self._timeout = timeout
        self._pool = urllib3.PoolManager(
            num_pools=1, maxsize=connections, block=True, retries=False, headers=_HEADERS
        )

    def call(self, contacts: Sequence[Wire]) -> list[Wire]:
        """The results for these contacts: in any order, some perhaps missing.

        Raises ``CallFailed``, ``BatchNotEnriched`` if the API finds fault with the contacts, and
        ``ApiMisused``.
        """
        body = msgspec.json.encode({"contacts": contacts})
        until = time.monotonic() + self._timeout
        try:
            response = self._post(body)
            content = self._read(response, until)
        except (HTTPError, OSError) as error:
            raise _failure(error) from None
        _check_status(response.status, response.headers.get("Retry-After"))
        return results_of(content)

    def close(self) -> None:
        self._pool.clear()

    def _post(self, body: bytes) -> urllib3.BaseHTTPResponse:
        return self._pool.request(
            "POST",
            self._url,
            body=body,
            timeout=urllib3.Timeout(total=self._timeout),
            redirect=False,
            preload_content=False,
        )

    def _read(self, response: urllib3.BaseHTTPResponse, until: float) -> bytes:
        """The body; the connection goes back to the pool, closed if there may be a rest."""
        try:
            return _bounded(response, until)
        except BaseException:
            response.close()
            raise
        finally:
            response.release_conn()


def _bounded(response: urllib3.BaseHTTPResponse, until: float) -> bytes:
    """The body, though it may come a byte at a time, or without end."""
    content = bytearray()
    while piece := response.read1(_PIECE):
        content += piece
        if time.monotonic() > until:
            raise BadCall(Reason.API_TIMEOUT)
        if len(content) > MAX_ANSWER:
            raise BadCall(Reason.INVALID_ANSWER)
    return bytes(content)


def results_of(content: bytes) -> list[Wire]:
    """The results in an answer. Raises ``BadCall`` if it is not one."""
    try:
        results = _decode(content).get("results")
    except msgspec.DecodeError:
        raise BadCall(Reason.INVALID_ANSWER) from None
    if not isinstance(results, list):
        raise BadCall(Reason.INVALID_ANSWER)
    return [result for result in results if isinstance(result, dict)]


def retry_after(text: str | None, now: datetime) -> float | None:
    """The seconds that a ``Retry-After`` asks for, as a number or a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _failure(error: Exception) -> CallFailed | ApiMisused:
    if isinstance(error, SSLError):
        return ApiMisused("the API's certificate, or its TLS, is not to be trusted: look at --api")
    if isinstance(error, NewConnectionError | ConnectTimeoutError | ConnectionRefusedError):
        return Unreachable()
    if isinstance(error, CallTimeout):
        return BadCall(Reason.API_TIMEOUT)
    return BadCall(Reason.INVALID_ANSWER)


def _check_status(status: int, wish: str | None) -> None:
    """Raise what a status other than 200 says."""
    if status == 200:
        return
    if status in {429, 503}:
        raise Unreachable(retry_after(wish, datetime.now(UTC)), throttled=status == 429)
    if status in _REFUSED:
        raise BatchNotEnriched(Reason.REJECTED)
    if status in _FAILED:
        raise BadCall(Reason.API_ERROR)
    raise ApiMisused(f"the API answered {status}: look at --api, and at what it wants of callers")
