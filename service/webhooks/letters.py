"""What is sent to an address of somebody else's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from schemas.events import StoredEvent
from schemas.webhooks import Webhook


@dataclass(frozen=True)
class Letter:
    """A body, and the headers that it is sent with, signatures among them."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


Write = Callable[[Webhook, StoredEvent], Letter | None]
"""What a webhook is sent of an event; None if nothing. Raises ``UsageError`` if it cannot sign."""
