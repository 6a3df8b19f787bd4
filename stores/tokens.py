"""Tokens of users and keys of machines: what whoever gives them out and whoever checks them share.

A token is a JWT (RFC 7519) signed by HMAC-SHA256 with a key of the parameter ``token-keys``: one
or several secrets of at least 32 bytes, separated by blanks. The first one signs; all verify, so
that a key is replaced without a token being refused. A key's id is derived from it.

An API key is ``lk_`` and 256 random bits. Only its SHA-256 is kept: of so many random bits a plain
digest says nothing, and it can be looked up.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import jwt

from config.service import AuthSection
from schemas.access import Right, check_names, rights_of
from schemas.errors import StoreUnavailable, UsageError
from schemas.requests import ApiKey
from stores.parameters import ParameterStore

TOKEN_KEYS = "token-keys"
"""The parameter that holds the keys which tokens are signed with, unless settings name another."""

ALGORITHM = "HS256"
"""How tokens are signed with a shared key."""

_SHORTEST_KEY = 32  # RFC 7518, 3.2: as long as the digest
_API_KEY = re.compile(r"lk_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class SharedKey:
    """A secret that signs and verifies. Its id tells it from others, and nothing of itself."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        return hmac.digest(self.secret, b"lethe key id", "sha256").hex()[:16]


class SharedKeys:
    """The keys of a parameter, as they are now. For any number of threads."""

    def __init__(self, parameters: ParameterStore, name: str = TOKEN_KEYS) -> None:
        self._parameters = parameters
        self._name = name
        self._last: tuple[SharedKey, ...] = ()

    def all(self) -> tuple[SharedKey, ...]:
        """All keys, the signing one first; those known before if their store does not answer.

        Raises ``UsageError`` if there is none, or one is too short.
        """
        try:
            self._last = _parse(self._name, self._parameters.get(self._name))
        except StoreUnavailable:
            if not self._last:
                raise
        return self._last

    def find(self, key_id: str) -> SharedKey | None:
        """The key of this id."""
        return next((key for key in self.all() if key.id == key_id), None)


def shared_keys(auth: AuthSection, parameters: ParameterStore) -> SharedKeys:
    """The keys that the settings name. Raises ``UsageError`` if they name an issuer alone."""
    if not auth.takes_shared_keys:
        raise UsageError(
            f"tokens are given out by {auth.jwks_issuer} alone: ask there for one, make an API "
            "key, or set service.auth.keys_parameter"
        )
    return SharedKeys(parameters, auth.keys_parameter or TOKEN_KEYS)


def _parse(name: str, text: str) -> tuple[SharedKey, ...]:
    keys = tuple(SharedKey(part.encode()) for part in text.split())
    if not keys or any(len(key.secret) < _SHORTEST_KEY for key in keys):
        raise UsageError(
            f"the parameter {name!r} must hold keys of at least {_SHORTEST_KEY} bytes "
            "each, separated by blanks"
        )
    return keys


@dataclass(frozen=True)
class Grant:
    """Who is to be let in, and as what. Raises ``UsageError`` for names or roles that cannot be."""

    subject: str
    organization: str
    roles: tuple[str, ...] = ()
    rights: tuple[Right, ...] = ()

    def __post_init__(self) -> None:
        check_names(self.subject, self.organization)
        if not rights_of(self.roles, self.rights):
            raise UsageError("there is nothing to be allowed: give a role or a right")


def sign_token(
    grant: Grant, key: SharedKey, issuer: str, audience: str, now: datetime, lives: timedelta
) -> str:
    """A token for ``grant`` that is good from ``now`` on, for so long."""
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": grant.subject,
        "org": grant.organization,
        "roles": list(grant.roles),
        "rights": [str(right) for right in grant.rights],
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int((now + lives).timestamp()),
        "jti": uuid.uuid4().hex,
    }
    return jwt.encode(claims, key.secret, ALGORITHM, headers={"kid": key.id})


def new_api_key(grant: Grant, now: datetime, lives: timedelta) -> tuple[str, ApiKey]:
    """A new key as its machine gets it, this once, and as it is kept."""
    secret = f"lk_{secrets.token_urlsafe(32)}"
    key = ApiKey(
        id=secrets.token_hex(8),
        digest=digest_of(secret),
        subject=grant.subject,
        organization=grant.organization,
        roles=grant.roles,
        created_at=now,
        expires_at=now + lives,
        rights=tuple(str(right) for right in grant.rights),
    )
    return secret, key


def is_api_key(text: str) -> bool:
    """Whether this has the form of an API key."""
    return _API_KEY.fullmatch(text) is not None


def digest_of(secret: str) -> str:
    """What is kept of an API key, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def known_rights(names: Iterable[str]) -> list[Right]:
    """The rights among these names. What is not known here gives nothing: others may know it."""
    found = []
    for name in names:
        try:
            found.append(Right.parse(name))
        except UsageError:
            continue
    return found
