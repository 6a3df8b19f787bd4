"""One HTTP exchange with one region: pooled, bounded in time and size, TLS verified.

Redirects are not followed, so that requests go nowhere but to the address that was given. Bodies
hold personal data: they are in no error.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    EmptyPoolError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)

from schemas.errors import UsageError
from stores.enrichment.api import retry_after
from stores.processors.connections import open_pool

MAX_ANSWER = 1 << 20
"""Bytes of an answer beyond which it is not read."""

_PIECE = 1 << 14
_USED = "X-mp-rate-limit-percentage-used"
_NOT_SENT = (NewConnectionError, ConnectTimeoutError, NameResolutionError, EmptyPoolError)


class NoAnswer(Exception):
    """There is no whole answer. ``kind`` says in one word why, ``may_have_arrived`` what of it."""

    def __init__(self, kind: str, may_have_arrived: bool, is_untrusted: bool = False) -> None:
        super().__init__(kind, may_have_arrived, is_untrusted)
        self.kind = kind
        self.may_have_arrived = may_have_arrived
        self.is_untrusted = is_untrusted


@dataclass(frozen=True)
class Reply:
    """An answer; ``used_percent`` is what it says of the rate limit."""

    status: int
    body: bytes = field(repr=False)
    retry_after: float | None = None
    used_percent: float | None = None

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


def check_address(url: str) -> str:
    """The base of a region's addresses, without a ``/`` at its end.

    Raises ``UsageError`` unless it is https, or http to this machine itself.
    """
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname))
    if not parts.hostname or not is_safe or parts.username or parts.query or parts.fragment:
        raise UsageError(
            "processors: a region's url must be https://HOST/PATH, without user or password"
        )
    return url.rstrip("/")


class Exchange:
    """One region at ``url``, by up to ``connections`` kept connections. For any number of threads.

    ``timeout`` bounds connecting, the wait for an answer's head, and its body, in seconds each.
    """

    def __init__(
        self, url: str, connections: int, timeout: float, ca_file: Path | None = None
    ) -> None:
        address = check_address(url)
        self._path = urlsplit(address).path
        self._timeout = timeout
        self._pool = open_pool(address, connections, timeout, ca_file)

    def call(
        self, method: str, path: str, authorization: str | None, body: bytes | None = None
    ) -> Reply:
        """What the region answers. Raises ``NoAnswer``."""
        until = time.monotonic() + self._timeout
        try:
            response = self._pool.request(
                method,
                self._path + path,
                body=body,
                headers=_headers(authorization),
                preload_content=False,
                redirect=False,
                retries=False,
                pool_timeout=self._timeout,
            )
        except (HTTPError, OSError) as error:
            raise _no_answer(error) from None
        return self._read(response, until)

    def close(self) -> None:
        self._pool.close()

    def _read(self, response: urllib3.BaseHTTPResponse, until: float) -> Reply:
        """The whole answer; its connection is kept if nothing of it is left."""
        content, is_whole = b"", False
        try:
            content = _bounded(response, until)
            is_whole = _is_framed(response)
        except (HTTPError, OSError) as error:
            raise NoAnswer(type(error).__name__, may_have_arrived=True) from None
        finally:
            if is_whole:
                response.release_conn()
            else:
                response.close()
        if not is_whole and response.status >= 300:
            raise NoAnswer("the answer may be cut off", may_have_arrived=True)
        return _reply(response, content)


def _bounded(response: urllib3.BaseHTTPResponse, until: float) -> bytes:
    content = bytearray()
    for piece in response.stream(_PIECE, decode_content=False):
        content += piece
        if len(content) > MAX_ANSWER or time.monotonic() > until:
            raise NoAnswer("the answer is too long or too slow", may_have_arrived=True)
    return bytes(content)


def _is_framed(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether its end can be told from a connection that broke; JSON shows that by itself."""
    return "Content-Length" in response.headers or "Transfer-Encoding" in response.headers


def _reply(response: urllib3.BaseHTTPResponse, content: bytes) -> Reply:
    return Reply(
        status=response.status,
        body=content,
        retry_after=retry_after(response.headers.get("Retry-After"), datetime.now(UTC)),
        used_percent=percent(response.headers.get(_USED)),
    )


def percent(text: str | None) -> float | None:
    """A share in per cent; None for what is none."""
    try:
        share = float(text or "")
    except ValueError:
        return None
    return share if 0 <= share <= 1000 else None


def _is_here(host: str | None) -> bool:
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def _headers(authorization: str | None) -> dict[str, str]:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": "lethe",
    }
    return headers if authorization is None else {**headers, "Authorization": authorization}


def _no_answer(error: Exception) -> NoAnswer:
    kind = type(error).__name__
    if _is_untrusted(error):
        return NoAnswer("its certificate is not to be trusted", False, is_untrusted=True)
    return NoAnswer(kind, may_have_arrived=not isinstance(error, _NOT_SENT))


def _is_untrusted(error: Exception) -> bool:
    """Whether the handshake failed, before which nothing is sent, over the certificate."""
    causes = (*error.args, error.__cause__, error.__context__)
    return isinstance(error, SSLError) and any(
        isinstance(cause, ssl.SSLCertVerificationError) for cause in causes
    )
