"""The public keys of an issuer, from the address of its JSON Web Key Set (RFC 7517).

            fresh (5 min)              stale, but used while the issuer is out (24 h)
    fetch ──────────────────> fetch ─x─ fetch ─x─ fetch ──────> keys again
                    unknown kid ──┘ at most once in 10 s, whatever comes

One thread fetches; the others go on with the keys there are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec
import structlog
import urllib3

from schemas.errors import Unavailable, UsageError
from service.security.tokens import VerifyingKey

FRESH = 300.0
"""Seconds that keys are used without asking whether they have changed."""

PAUSE = 10.0
"""Seconds that pass between two fetches at least, were it for an unknown key or after a failure."""

STALE = 24 * 3600.0
"""Seconds after which keys that could not be fetched anew are not trusted any more."""

_WITHIN = 5.0
_LARGEST = 256 * 1024
_MOST_KEYS = 100
_PIECE = 1 << 14
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

_log = structlog.get_logger()

Fetch = Callable[[], bytes]
"""Gets the document. May raise ``Unavailable``; bounds its own time and size."""


class Jwks:
    """Keys by id, for these asymmetric algorithms only. For any number of threads."""

    def __init__(
        self,
        fetch: Fetch,
        algorithms: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._algorithms = tuple(algorithms)
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, VerifyingKey] | None = None
        self._fetched_at = self._tried_at = float("-inf")

    def find(self, key_id: str) -> VerifyingKey | None:
        """The key of this id. Raises ``Unavailable`` if no keys could be fetched for too long."""
        keys = self._usable()
        if keys is None or key_id not in keys or self._age() >= FRESH:
            self._refresh(wait=keys is None)
            keys = self._usable()
        if keys is None:
            raise Unavailable("the keys of the issuer of tokens cannot be fetched now")
        return keys.get(key_id)

    def _usable(self) -> dict[str, VerifyingKey] | None:
        return self._keys if self._age() < STALE else None

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _refresh(self, wait: bool) -> None:
        # Whether it is due is asked under the lock: who waits is waiting for a fetch under way.
        if not self._lock.acquire(blocking=wait):
            return
        try:
            if self._is_due():
                self._tried_at = self._clock()
                self._take(self._fetch())
        except Unavailable as error:
            _log.warning("keys of the issuer not fetched", reason=error.message)
        finally:
            self._lock.release()

    def _is_due(self) -> bool:
        return self._clock() - self._tried_at >= PAUSE

    def _take(self, document: bytes) -> None:
        self._keys = keys_of(document, self._algorithms)
        self._fetched_at = self._tried_at


def keys_of(document: bytes, algorithms: Sequence[str]) -> dict[str, VerifyingKey]:
    """The signing keys of a key set, by id. Raises ``Unavailable`` if it is none, or has none.

    Left out: secret keys (``oct``), keys for encryption, keys without an id, or of a kind or an
    algorithm that is not allowed.
    """
    try:
        listed = msgspec.json.decode(document)["keys"][:_MOST_KEYS]
    except (msgspec.DecodeError, KeyError, TypeError):
        raise Unavailable("the issuer's answer is no key set") from None
    found = {}
    for key in listed:
        verifying = _verifying_key(key, algorithms) if isinstance(key, Mapping) else None
        if verifying is not None:
            found[str(key["kid"])] = verifying
    if not found:
        raise Unavailable("the issuer's key set has no key that can be used")
    return found


def _verifying_key(key: Mapping[str, Any], algorithms: Sequence[str]) -> VerifyingKey | None:
    fitting = tuple(name for name in algorithms if _fits(key, name))
    if not fitting or not key.get("kid") or key.get("use", "sig") != "sig":
        return None
    try:
        return VerifyingKey(jwt.PyJWK(dict(key), fitting[0]).key, fitting)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    return key.get("kty") == _KINDS[algorithm[:2]] and key.get("alg", algorithm) == algorithm


def check_address(url: str) -> str:
    """Raises ``UsageError`` unless it is https, or http to this machine itself."""
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if not parts.hostname or not (parts.scheme == "https" or local) or parts.username:
        raise UsageError("service.auth.jwks_url: write https://HOST/..., without user or password")
    return url


def fetch_from(url: str) -> Fetch:
    """Gets the document at ``url`` within 5 seconds and 256 KiB, and follows no redirect."""
    address = check_address(url)
    pool = urllib3.PoolManager(num_pools=1, retries=False, timeout=_WITHIN)

    def fetch() -> bytes:
        until = time.monotonic() + _WITHIN
        try:
            response = pool.request("GET", address, preload_content=False, redirect=False)
            return _content(response, until)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"the issuer does not answer: {type(error).__name__}") from None

    return fetch


def _content(response: urllib3.BaseHTTPResponse, until: float) -> bytes:
    """All of the answer, and the connection given back or closed."""
    content = b""
    try:
        if response.status != 200:
            raise Unavailable(f"the issuer answers {response.status}")
        for piece in response.stream(_PIECE):
            content += piece
            if len(content) > _LARGEST or time.monotonic() > until:
                raise Unavailable("the issuer's answer is too long or too slow")
        return content
    finally:
        response.close()
