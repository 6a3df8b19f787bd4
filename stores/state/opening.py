"""Opening a state store by its URL, whatever kind it is of; only what that kind needs is loaded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from stores.state.service_port import Stores


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_stores(url: str, clock: Callable[[], datetime] = utc_now) -> Stores:
    """The state at a ``dynamodb://`` URL, or at one of a database as SQLAlchemy writes it.

    Raises ``UsageError`` for a bad URL, ``StoreUnavailable`` and ``StoreError``.
    """
    if url.startswith("dynamodb:"):
        from stores.state.dynamo.state import open_dynamo_state

        return open_dynamo_state(url, clock)
    from stores.state.sql import open_state

    return open_state(url, clock)
