"""Webhooks, and which alerts have been told, in DynamoDB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from schemas.access import Reach
from schemas.webhooks import Webhook
from stores.state.dynamo.contention import contended, done
from stores.state.dynamo.items import Item, Key, decoded, encoded, joined, key_of, micros, time_of
from stores.state.dynamo.table import DynamoTable, Refused
from stores.state.dynamo.writes import ABSENT, Write, delete, put, update
from stores.state.port import AlreadyThere
from stores.webhooks.port import too_many

_ALL = "webhooks"
"""All are in one partition: there are few."""

_ALERTS = "alerts-told"
_SAME = "#version = :version"


class DynamoWebhooks:
    """See ``stores.webhooks.port.WebhookStore``."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def add(self, webhook: Webhook, most: int) -> None:
        contended(lambda: self._add(webhook, most))

    def get(self, webhook_id: str, reach: Reach) -> Webhook | None:
        item = self._table.get(_key(webhook_id))
        webhook = None if item is None else decoded(Webhook, item)
        return webhook if webhook is not None and _is_within(webhook, reach) else None

    def find(self, reach: Reach) -> list[Webhook]:
        found = [webhook for webhook in self._all() if _is_within(webhook, reach)]
        return sorted(found, key=lambda webhook: (webhook.created_at, webhook.id))

    def change(self, changed: Webhook) -> Webhook | None:
        kept = replace(changed, version=changed.version + 1)
        is_done = done(self._table, [put(_item(kept), _SAME, version=changed.version)])
        return kept if is_done else None

    def remove(self, webhook_id: str, reach: Reach) -> bool:
        if self.get(webhook_id, reach) is None:
            return False
        return done(self._table, [delete(_key(webhook_id), "attribute_exists(#pk)")])

    def enabled(self, after: str, limit: int) -> list[Webhook]:
        found = [one for one in self._all() if one.disabled_at is None and one.id > after]
        return found[:limit]

    def _add(self, webhook: Webhook, most: int) -> None:
        """Add it if nobody of its organization has added one since they were counted."""
        turn = _turn_of(webhook.organization)
        known = self._table.get(turn)
        others = self.find(Reach(webhook.organization))
        if any(other.id == webhook.id for other in others):
            raise _there_already()
        if len(others) >= most:
            raise too_many(most)
        try:
            self._table.transact([put(_item(webhook), ABSENT), _taken(turn, known)])
        except Refused as refused:
            if refused.failed[0]:
                raise _there_already() from None
            raise

    def _all(self) -> list[Webhook]:
        items = self._table.query("#pk = :pk", values={"pk": _ALL})
        return [decoded(Webhook, item) for item in items]


class DynamoAlertMemory:
    """See ``stores.notify.memory.AlertMemory``."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def since(self, key: str) -> datetime | None:
        item = self._table.get(_alert(key))
        return None if item is None else time_of(int(item["at"]))

    def known(self, keys: Sequence[str]) -> frozenset[str]:
        places = {_alert(key): key for key in keys}
        return frozenset(places[key_of(item)] for item in self._table.get_all(list(places)))

    def remember(self, key: str, at: datetime) -> datetime:
        known = self.since(key)
        if known is None:
            pk, sk = _alert(key)
            done(self._table, [put({"pk": pk, "sk": sk, "at": micros(at)}, ABSENT)])
        return known or self.since(key) or at

    def forget(self, key: str) -> None:
        self._table.delete_all([_alert(key)])

    def prune(self, before: datetime) -> int:
        items = self._table.query("#pk = :pk", values={"pk": _ALERTS})
        old = [key_of(item) for item in items if time_of(int(item["at"])) < before]
        self._table.delete_all(old)
        return len(old)


def _is_within(webhook: Webhook, reach: Reach) -> bool:
    if reach.organization not in {None, webhook.organization}:
        return False
    return reach.owner in {None, webhook.owner}


def _turn_of(organization: str) -> Key:
    return Key(joined("webhooks-of", organization), "turn")


def _taken(turn: Key, known: Item | None) -> Write:
    """The turn as taken, unless somebody has taken it since it was read."""
    change, before = "SET #number = :number", 0 if known is None else int(known["number"])
    if known is None:
        return update(turn, change, ABSENT, number=1)
    return update(turn, change, "#number = :before", number=before + 1, before=before)


def _there_already() -> AlreadyThere:
    return AlreadyThere("state store: this webhook is there already")


def _item(webhook: Webhook) -> Item:
    pk, sk = _key(webhook.id)
    return {**encoded(webhook), "pk": pk, "sk": sk}


def _key(webhook_id: str) -> Key:
    return Key(_ALL, joined("webhook", webhook_id))


def _alert(key: str) -> Key:
    return Key(_ALERTS, joined("alert", key))
