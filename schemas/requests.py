"""What the service remembers of requests: keys that make them repeatable, and keys of machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class StoredResponse:
    """The answer to a request that was made under an idempotency key."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Claimed:
    """The key is new, or its claim has run out: do the work, then complete the claim.

    ``token`` tells this claim from a later one of the same key.
    """

    token: str


@dataclass(frozen=True)
class InProgress:
    """Somebody is doing the work right now."""


@dataclass(frozen=True)
class Answered:
    """The work was done, and answered so."""

    response: StoredResponse


@dataclass(frozen=True)
class OtherRequest:
    """The key was used for another request."""


Claim = Claimed | InProgress | Answered | OtherRequest


@dataclass(frozen=True)
class Tally:
    """How often something was counted in one period and in the period before it."""

    current: int
    previous: int


@dataclass(frozen=True)
class Counted:
    """What to count: ``name``'s requests in periods of ``seconds``. Names hold no personal data.

    Periods lie alike for everybody: one is the whole number of ``seconds`` since 1970.
    """

    name: str
    seconds: int

    def period(self, now: datetime) -> int:
        """The number of the period that this time lies in."""
        return int(now.timestamp()) // self.seconds


@dataclass(frozen=True)
class ApiKey:
    """A machine's key; the key itself is not kept, only the SHA-256 of its 256 random bits.

    ``rights`` are those it has beside its roles', as ``schemas.access.Right`` writes them.
    """

    id: str
    digest: str
    subject: str
    organization: str
    roles: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    rights: tuple[str, ...] = ()
