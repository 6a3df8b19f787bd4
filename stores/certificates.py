"""Certificates of processors, from where each publishes its own, in PEM with the intermediates.

            fresh (1 h)          stale, but used while it cannot be had (24 h)
    fetch ─────────────> fetch ─x─ fetch ─x─ fetch ─────────> certificates again
                 did not serve ──┘ at most once in 30 s, whatever comes

One thread fetches; the others go on with the certificates there are, or wait for the first. That
it cannot be had is remembered for as long as it takes until it may be fetched again. What a
certificate is worth is not judged here.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificates

from schemas.errors import StoreError, StoreUnavailable, UsageError
from stores.outbound import AddressRefused, Outbound

FRESH = 3600.0
"""Seconds that certificates are used without asking whether they have changed."""

STALE = 24 * 3600.0
"""Seconds after which certificates that could not be fetched anew are not used any more."""

PAUSE = 30.0
"""Seconds that pass between two fetches at least."""

WAIT = 15.0
"""Seconds that a thread without certificates waits for another's fetch."""

_MOST = 10

_log = structlog.get_logger()

Chain = tuple[Certificate, ...]
Fetch = Callable[[], bytes]
"""Gets the PEM. May raise ``StoreError``; bounds its own time and size."""


@dataclass(frozen=True)
class _Fetched:
    chain: Chain
    at: float


class CertificateSource:
    """The certificates of one processor. For any number of threads."""

    def __init__(
        self, name: str, fetch: Fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._held: _Fetched | None = None
        self._tried_at = float("-inf")

    def chain(self, other_than: Chain | None = None) -> Chain:
        """The certificates; fetched anew if ``other_than`` these are wanted, which did not serve.

        They may be these all the same. Raises ``StoreUnavailable`` if there are none.
        """
        held = self._usable()
        if held is None or held.chain == other_than or self._clock() - held.at >= FRESH:
            self._refresh(wait=held is None)
            held = self._usable()
        if held is None:
            raise StoreUnavailable(f"the certificate of {self._name!r} cannot be had now")
        return held.chain

    def _usable(self) -> _Fetched | None:
        held = self._held
        return held if held is not None and self._clock() - held.at < STALE else None

    def _refresh(self, wait: bool) -> None:
        # Whether it is due is asked under the lock: who waits is waiting for a fetch under way.
        if not self._lock.acquire(timeout=WAIT if wait else 0):
            return
        try:
            if self._is_due():
                self._tried_at = self._clock()
                self._held = _Fetched(chain_of(self._fetch()), self._tried_at)
        except StoreError as error:
            _log.warning("certificate not fetched", processor=self._name, reason=error.message)
        finally:
            self._lock.release()

    def _is_due(self) -> bool:
        return self._clock() - self._tried_at >= PAUSE


def chain_of(pem: bytes) -> Chain:
    """The certificates of a PEM file, in its order. Raises ``StoreUnavailable`` if it is none."""
    try:
        found = load_pem_x509_certificates(pem)
    except ValueError:
        raise StoreUnavailable("there is no certificate in PEM there") from None
    if len(found) > _MOST:
        raise StoreUnavailable(f"there are more than {_MOST} certificates there")
    return tuple(found)


def read_certificates(path: Path, setting: str) -> Chain:
    """The certificates of a file of this machine. Raises ``UsageError`` that names the setting."""
    try:
        return tuple(load_pem_x509_certificates(path.expanduser().read_bytes()))
    except OSError as error:
        raise UsageError(f"{setting}: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{setting}: {path} holds no certificates in PEM") from None


def system_roots(setting: str) -> Chain:
    """The roots that this system trusts. Raises ``UsageError`` if it shows none."""
    found = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not found:
        raise UsageError(f"this system shows no root certificates: set {setting} to a file of them")
    return tuple(root for root in map(_readable, found) if root is not None)


def _readable(der: bytes) -> Certificate | None:
    """Systems keep some old roots that break the rules of today."""
    try:
        return load_der_x509_certificate(der)
    except ValueError:
        return None


def fetch_from(outbound: Outbound, url: str) -> Fetch:
    """Gets what is at ``url`` now; ``outbound`` bounds time and size, and where it may lead."""

    def fetch() -> bytes:
        try:
            answer = outbound.send("GET", url)
        except AddressRefused as error:
            raise StoreUnavailable(error.message) from None
        if answer.status != 200:
            raise StoreUnavailable(f"the certificate's host answers {answer.status}")
        if not answer.is_whole:
            raise StoreUnavailable("the certificate is too long to be one")
        return answer.body

    return fetch
