"""Signed tokens (RFC 7519) become principals, by the keys of the issuers that are trusted.

The token's ``kid`` chooses the key; the key says which algorithms it is for. What the token's own
header says of its algorithm is never followed, only compared (RFC 8725, 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import jwt

from schemas.access import ROLES, Principal, check_names, rights_of
from schemas.errors import UsageError
from stores.tokens import ALGORITHM, SharedKeys, known_rights

_LONGEST = 8192
_MOST_NAMES = 64
_REQUIRED = ["iss", "aud", "sub", "exp", "iat", "org"]


class Refused(Exception):
    """A credential is no good. ``cause`` is for the log, and holds nothing of the credential."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True)
class Identity:
    """Whoever a credential stands for, and until when; None is without end."""

    principal: Principal
    expires_at: datetime | None


@dataclass(frozen=True)
class VerifyingKey:
    """A key, and the only algorithms that it may be used with."""

    material: Any = field(repr=False)
    algorithms: tuple[str, ...]


class KeySource(Protocol):
    """The keys of one issuer."""

    def find(self, key_id: str) -> VerifyingKey | None:
        """The key of this id. Raises ``Unavailable`` if that cannot be known now."""


class SharedKeySource:
    """The shared keys, for HMAC-SHA256 alone."""

    def __init__(self, keys: SharedKeys) -> None:
        self._keys = keys

    def find(self, key_id: str) -> VerifyingKey | None:
        key = self._keys.find(key_id)
        return None if key is None else VerifyingKey(key.secret, (ALGORITHM,))


@dataclass(frozen=True)
class TrustedIssuer:
    """Whose tokens are taken: a name, and the keys that it signs with."""

    name: str
    keys: KeySource


class TokenVerifier:
    """Checks tokens for ``audience``; clocks may differ by ``leeway`` seconds."""

    def __init__(self, issuers: Sequence[TrustedIssuer], audience: str, leeway: float) -> None:
        self._issuers = tuple(issuers)
        self._audience = audience
        self._leeway = leeway
        self._jwt = jwt.PyJWT(
            {"require": _REQUIRED, "strict_aud": False, "enforce_minimum_key_length": True}
        )

    def identify(self, token: str) -> Identity:
        """Whoever this token is for. Raises ``Refused``, and ``Unavailable`` for want of keys."""
        if len(token) > _LONGEST:
            raise Refused("too long")
        try:
            issuer, key = self._key_for(jwt.get_unverified_header(token).get("kid"))
            claims = self._verified(token, issuer, key)
        except (jwt.PyJWTError, RecursionError, ValueError, TypeError, OverflowError) as error:
            # The class alone: messages of the library may repeat parts of the token. It lets some
            # errors through that numbers beyond all bounds raise.
            raise Refused(type(error).__name__) from None
        return _identity(claims)

    def _key_for(self, key_id: Any) -> tuple[TrustedIssuer, VerifyingKey]:
        if not isinstance(key_id, str) or not key_id:
            raise Refused("names no key")
        for issuer in self._issuers:
            key = issuer.keys.find(key_id)
            if key is not None:
                return issuer, key
        raise Refused("unknown key")

    def _verified(self, token: str, issuer: TrustedIssuer, key: VerifyingKey) -> dict[str, Any]:
        claims: dict[str, Any] = self._jwt.decode(
            token,
            key.material,
            algorithms=list(key.algorithms),
            audience=self._audience,
            issuer=issuer.name,
            leeway=self._leeway,
        )
        return claims


def _identity(claims: Mapping[str, Any]) -> Identity:
    subject, organization = claims["sub"], claims["org"]
    if not isinstance(subject, str) or not isinstance(organization, str):
        raise Refused("claims of wrong types")
    try:
        check_names(subject, organization)
    except UsageError:
        raise Refused("bad subject or organization") from None
    roles = frozenset(_names(claims, "roles")) & ROLES.keys()
    rights = rights_of(roles, known_rights(_names(claims, "rights")))
    principal = Principal(subject, organization, roles, rights)
    return Identity(principal, _time(claims["exp"]))


def _names(claims: Mapping[str, Any], claim: str) -> list[str]:
    names = claims.get(claim, [])
    if not isinstance(names, list) or len(names) > _MOST_NAMES:
        raise Refused("claims of wrong types")
    if not all(isinstance(name, str) for name in names):
        raise Refused("claims of wrong types")
    return names


def _time(seconds: Any) -> datetime:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, OSError, ValueError):
        raise Refused("expires beyond all times") from None
