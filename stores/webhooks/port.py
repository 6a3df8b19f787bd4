"""The port of webhooks. See ``stores.state.port`` for the rules."""

from __future__ import annotations

from typing import Protocol

from schemas.access import Reach
from schemas.errors import StoreError
from schemas.webhooks import Webhook


class TooManyWebhooks(StoreError):
    """The organization has as many as it may have."""

    code = "too_many_webhooks"
    http_status = 409


def too_many(most: int) -> TooManyWebhooks:
    """The error that says how many it may have."""
    return TooManyWebhooks(f"an organization has {most} webhooks at most")


class WebhookStore(Protocol):
    """Registered webhooks."""

    def add(self, webhook: Webhook, most: int) -> None:
        """Keep a new one, unless its organization has ``most`` already.

        Raises ``AlreadyThere`` if its id is taken, or else ``TooManyWebhooks``. Of several callers
        at once as many add as there is room for.
        """

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
