"""How S3 is reached. Apart from the client, so that who needs no S3 need not load it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schemas.errors import UsageError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from config.sections import S3Section

MINIMUM_PART = 5 * 1024 * 1024


@dataclass(frozen=True)
class S3Settings:
    """How to reach S3, or a store that speaks its protocol.

    What is left out comes from boto3's usual places (environment, profile, instance role), and
    should for credentials: those given here travel with the store when it is pickled.
    ``max_attempts`` counts the first one. Timeouts are in seconds, ``part_size`` in bytes, at least
    5 MiB; an object has at most 10,000 parts. With ``endpoint_url``, the bucket stands in the path.
    """

    endpoint_url: str | None = None
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    max_attempts: int = 5
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    part_size: int = 8 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.part_size < MINIMUM_PART:
            raise UsageError(f"part_size is {self.part_size} bytes: S3 asks for {MINIMUM_PART}")
        if self.max_attempts < 1:
            raise UsageError(f"max_attempts is {self.max_attempts}: at least 1 is needed")

    @classmethod
    def of(cls, section: S3Section) -> S3Settings:
        """The settings' S3 section as the store takes it."""
        return cls(
            endpoint_url=section.endpoint_url,
            region=section.region,
            access_key=_revealed(section.access_key),
            secret_key=_revealed(section.secret_key),
            session_token=_revealed(section.session_token),
        )


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
