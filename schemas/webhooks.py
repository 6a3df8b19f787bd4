"""Webhooks: addresses of clients that are told what happens to what they may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from schemas.access import Resource
from schemas.events import Event, StoredEvent, shown_time

KINDS: Mapping[str, Resource] = {
    "dsr": Resource.DSR,
    "job": Resource.ENRICHMENT,
    "run": Resource.RUN,
}
"""What can be told of, and the resource that one needs the right to read."""


CALLBACK = "opendsr"
"""The kind of an address that a controller has named in its requests: it speaks OpenDSR."""


def kept_for_callbacks(organization: str | None) -> str:
    """Under what the addresses of an organization's controllers are kept.

    That is no name of an organization: they take no room of its webhooks, nor are they among them.
    """
    return f"{CALLBACK}:{organization}"


@dataclass(frozen=True)
class Webhook:
    """A registered address. ``url`` may hold a secret of the client's.

    It is told of events of these ``kinds`` in its organization; if ``of_owner`` is set, of those
    about this owner's things alone. ``place`` is that of the last event in the outbox that was
    delivered or is none of its. ``key_number`` grows with each rotation of its key; until
    ``rotated_at`` plus the time of a rotation the one before signs, too.
    """

    id: str
    organization: str
    owner: str
    url: str = field(repr=False)
    kinds: tuple[str, ...]
    created_at: datetime
    place: int
    of_owner: str | None = None
    key_number: int = 1
    rotated_at: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    next_try_at: datetime | None = None
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    version: int = 1

    @property
    def is_callback(self) -> bool:
        """Whether it is a controller's address, which is told by OpenDSR."""
        return CALLBACK in self.kinds

    def wants(self, event: Event) -> bool:
        """Whether it is to be told of this event; a controller's address wants some of these."""
        kinds, organization = self.kinds, event.organization
        if self.is_callback:
            kinds, organization = ("dsr",), kept_for_callbacks(organization)
        return (
            event.topic.kind in kinds
            and organization == self.organization
            and self.of_owner in {None, event.owner}
        )

    def key_numbers(self, now: datetime, rotation: timedelta) -> tuple[int, ...]:
        """The numbers of the keys that sign now, the newest first."""
        is_rotating = self.rotated_at is not None and now < self.rotated_at + rotation
        return (self.key_number, self.key_number - 1) if is_rotating else (self.key_number,)


def shown_webhook(webhook: Webhook) -> dict[str, Any]:
    """A webhook as clients see it, without its key."""
    return {
        "id": webhook.id,
        "url": webhook.url,
        "kinds": [*webhook.kinds],
        "createdAt": shown_time(webhook.created_at),
        "failures": webhook.failures,
        "failingSince": shown_time(webhook.failing_since),
        "nextTryAt": shown_time(webhook.next_try_at),
        "disabledAt": shown_time(webhook.disabled_at),
        "disabledReason": webhook.disabled_reason,
        "version": webhook.version,
    }


def event_id(event: Event) -> str:
    """The same however often an event is delivered."""
    return f"{event.topic}:{event.version}"


def delivery_of(webhook: Webhook, stored: StoredEvent) -> dict[str, Any]:
    """What a webhook is sent of an event."""
    event = stored.event
    return {
        "id": event_id(event),
        "webhookId": webhook.id,
        "topic": str(event.topic),
        "kind": event.topic.kind,
        "resourceId": event.topic.id,
        "version": event.version,
        "at": shown_time(event.at),
        "data": dict(event.payload),
    }
