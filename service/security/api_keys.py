"""API keys of machines become principals."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable
from datetime import datetime

from cachetools import TTLCache

from schemas.access import ROLES, Principal, rights_of
from schemas.requests import ApiKey
from service.security.tokens import Identity, Refused
from stores.state.service_port import ApiKeyStore
from stores.tokens import digest_of, known_rights

KNOWN_FOR = 5.0
"""Seconds within which a revoked key is refused by every process."""

_MOST = 4096


class ApiKeys:
    """Looks keys up by their digests, and remembers good ones for a few seconds.

    Keys that there are not are not remembered: a new one works at once, and guesses cannot push
    good ones out.
    """

    def __init__(
        self,
        store: ApiKeyStore,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._now = now
        self._known: TTLCache[str, ApiKey] = TTLCache(_MOST, KNOWN_FOR, monotonic)
        self._lock = threading.Lock()

    def identify(self, secret: str) -> Identity:
        """Whoever this key was given to. Raises ``Refused`` and ``StoreError``."""
        key = self._find(digest_of(secret))
        if key.revoked_at is not None:
            raise Refused("revoked key")
        if key.expires_at is not None and key.expires_at <= self._now():
            raise Refused("expired key")
        roles = frozenset(key.roles) & ROLES.keys()
        rights = rights_of(roles, known_rights(key.rights))
        principal = Principal(key.subject, key.organization, roles, rights)
        return Identity(principal, key.expires_at)

    def _find(self, digest: str) -> ApiKey:
        with self._lock:
            known = self._known.get(digest)
        if known is not None:
            return known
        found = self._store.find(digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise Refused("unknown key")
        with self._lock:
            self._known[digest] = found
        return found
