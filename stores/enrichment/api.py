"""One call to the enrichment API over HTTP.

    POST <url>/v1/enrich  {"contacts": [{"id": ..., ...}, ...]}
    200                   {"results": [{"id": ..., ...}, ...]}

A result with an ``error`` is the API's word that it has nothing for that contact. Redirects are
not followed, so that contacts go nowhere but to the address that was given.
"""

from __future__ import annotations

import http.client
import select
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from schemas.contacts import Reason
from schemas.errors import UsageError
from stores.enrichment.errors import ApiMisused, BadCall, BatchNotEnriched, Unreachable

PATH = "/v1/enrich"

MAX_ANSWER = 64 << 20
"""Bytes of an answer beyond which it is taken for garbage."""

_PIECE = 1 << 16
_REFUSED = {400, 413, 422}
_FAILED = {408, *range(500, 600)} - {503}
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
_decode = msgspec.json.Decoder(dict[str, Any]).decode

Wire = dict[str, Any]
"""A result as it came over the wire."""


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
        parts = urlsplit(check_url(url))
        self._path = parts.path + PATH
        self._timeout = timeout
        self._address = (str(parts.hostname), parts.port)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._free = threading.BoundedSemaphore(connections)
        self._kept: list[http.client.HTTPConnection] = []

    def call(self, contacts: Sequence[msgspec.Raw]) -> list[Wire]:
        """The results for these contacts: in any order, some perhaps missing.

        Raises ``CallFailed``, ``BatchNotEnriched`` if the API finds fault with the contacts, and
        ``ApiMisused``.
        """
        body = b'{"contacts":[%b]}' % b",".join(contacts)
        with self._free:
            until = time.monotonic() + self._timeout
            status, wish, content = self._answer(body, until)
        _check_status(status, wish)
        return results_of(content)

    def close(self) -> None:
        while self._kept:
            self._kept.pop().close()

    def _answer(self, body: bytes, until: float) -> tuple[int, str | None, bytes]:
        """Status, wish to be left alone, and body of what the API says to this."""
        connection = self._connection()
        is_whole = False
        try:
            with _reporting():
                connection.request("POST", self._path, body, _HEADERS)
                response = connection.getresponse()
                content = _bounded(connection, response, until)
                response.close()  # the connection takes no other call before
            is_whole = not response.will_close
            return response.status, response.headers.get("Retry-After"), content
        finally:
            if is_whole:
                self._kept.append(connection)
            else:
                connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        """A kept connection that the API has not closed meanwhile, or a new one."""
        with suppress(IndexError):
            while not _is_idle(connection := self._kept.pop()):
                connection.close()
            connection.sock.settimeout(self._timeout)
            return connection
        return self._connected()

    def _connected(self) -> http.client.HTTPConnection:
        host, port = self._address
        if self._tls is None:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        else:
            connection = http.client.HTTPSConnection(
                host, port, timeout=self._timeout, context=self._tls
            )
        try:
            connection.connect()
        except ssl.SSLError:
            raise ApiMisused(
                "the API's certificate, or its TLS, is not to be trusted: look at --api"
            ) from None
        except OSError:
            raise Unreachable from None
        return connection


def _is_idle(connection: http.client.HTTPConnection) -> bool:
    """Whether nothing has come since the last answer: neither an end nor what nobody asked for."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)


def _bounded(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse, until: float
) -> bytes:
    """The body, though it may come a byte at a time, or without end."""
    content = bytearray()
    while piece := response.read1(_PIECE):
        content += piece
        left = until - time.monotonic()
        if left <= 0:
            raise BadCall(Reason.API_TIMEOUT)
        if len(content) > MAX_ANSWER:
            raise BadCall(Reason.INVALID_ANSWER)
        if connection.sock is not None:
            connection.sock.settimeout(left)
    if response.length:
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


@contextmanager
def _reporting() -> Iterator[None]:
    """What goes wrong with a connection as a bad call: it may be the contacts' doing."""
    try:
        yield
    except TimeoutError:
        raise BadCall(Reason.API_TIMEOUT) from None
    except (http.client.HTTPException, OSError):
        raise BadCall(Reason.INVALID_ANSWER) from None


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
