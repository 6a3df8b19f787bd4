"""Where a state table is: ``dynamodb://TABLE?region=REGION[&endpoint=URL]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, urlsplit

from schemas.errors import UsageError

SCHEME = "dynamodb"

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_REGION = re.compile(r"[a-z0-9-]{2,32}")
_HOW = "write dynamodb://TABLE?region=REGION, and &endpoint=URL for an emulator"


@dataclass(frozen=True)
class DynamoAddress:
    """A table. A region that is None is left to the AWS SDK's own chain, as credentials are."""

    table: str
    region: str | None = None
    endpoint: str | None = None

    @staticmethod
    def parse(url: str) -> DynamoAddress:
        """Raises ``UsageError``, which does not show the URL."""
        parts = _split(url)
        options = _options(parts.query)
        if parts.scheme != SCHEME or parts.path.strip("/") or not _TABLE.fullmatch(parts.netloc):
            raise UsageError(f"state.url names no table: {_HOW}")
        return DynamoAddress(parts.netloc, _region(options), _endpoint(options))

    def __str__(self) -> str:
        return f"{SCHEME}://{self.table}"


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise UsageError(f"state.url cannot be read: {_HOW}") from None


def _options(query: str) -> dict[str, str]:
    try:
        found = parse_qs(query, keep_blank_values=True, strict_parsing=True) if query else {}
    except ValueError:
        raise UsageError(f"state.url: its options cannot be read: {_HOW}") from None
    if not found.keys() <= {"region", "endpoint"} or any(
        len(given) > 1 for given in found.values()
    ):
        raise UsageError(f"state.url: it takes one region and one endpoint, no more: {_HOW}")
    return {name: given[0] for name, given in found.items()}


def _region(options: dict[str, str]) -> str | None:
    region = options.get("region")
    if region is not None and not _REGION.fullmatch(region):
        raise UsageError(f"state.url: its region is none: {_HOW}")
    return region


def _endpoint(options: dict[str, str]) -> str | None:
    endpoint = options.get("endpoint")
    if endpoint is None:
        return None
    parts = _split(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise UsageError(f"state.url: its endpoint is no http(s) address: {_HOW}")
    return endpoint
