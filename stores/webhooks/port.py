"""The port of webhooks. See ``stores.state.port`` for the rules."""

from __future__ import annotations

from typing import Protocol

from schemas.access import Reach
from schemas.webhooks import Webhook


class WebhookStore(Protocol):
    """Registered webhooks."""

    def add(self, webhook: Webhook) -> None:
        """Keep a new one. Raises ``StoreError`` if its id is taken."""

    def get(self, webhook_id: str, reach: Reach) -> Webhook | None:
        """The one of this id."""

    def find(self, reach: Reach) -> list[Webhook]:
        """All within reach, oldest first; an organization has few."""

    def change(self, changed: Webhook) -> Webhook | None:
        """Put it in the place of the version before it; None if that is not the one there."""

    def remove(self, webhook_id: str, reach: Reach) -> bool:
        """Forget it; False if there is none."""

    def enabled(self, after: str, limit: int) -> list[Webhook]:
        """Those of everybody that are not disabled and whose id follows ``after``, by id."""
