"""Webhooks in SQL."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from schemas.access import Reach
from schemas.webhooks import Webhook
from stores.state.database import Database
from stores.state.sql_reach import within
from stores.state.sql_turns import take_turn
from stores.state.webhook_tables import WEBHOOKS
from stores.webhooks.port import too_many


class SqlWebhooks:
    """See ``stores.webhooks.port.WebhookStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, webhook: Webhook, most: int) -> None:
        insert = sa.insert(WEBHOOKS).values(**_columns(webhook))
        others = sa.select(sa.func.count()).where(WEBHOOKS.c.organization == webhook.organization)

        def work(connection: sa.Connection) -> None:
            take_turn(connection, "webhooks", webhook.organization)
            room = most - (connection.scalar(others) or 0)
            connection.execute(insert)
            if room <= 0:
                raise too_many(most)

        self._database.write(work)

    def get(self, webhook_id: str, reach: Reach) -> Webhook | None:
        query = sa.select(WEBHOOKS).where(WEBHOOKS.c.id == webhook_id, *_within(reach))
        return next(iter(self._all(query)), None)

    def find(self, reach: Reach) -> list[Webhook]:
        query = sa.select(WEBHOOKS).where(*_within(reach))
        return self._all(query.order_by(WEBHOOKS.c.created_at, WEBHOOKS.c.id))

    def change(self, changed: Webhook) -> Webhook | None:
        kept = replace(changed, version=changed.version + 1)
        is_known = (WEBHOOKS.c.id == changed.id) & (WEBHOOKS.c.version == changed.version)
        update = sa.update(WEBHOOKS).where(is_known).values(**_columns(kept))
        done = self._database.write(lambda connection: connection.execute(update).rowcount)
        return kept if done else None

    def remove(self, webhook_id: str, reach: Reach) -> bool:
        gone = sa.delete(WEBHOOKS).where(WEBHOOKS.c.id == webhook_id, *_within(reach))
        return self._database.write(lambda connection: connection.execute(gone).rowcount) > 0

    def enabled(self, after: str, limit: int) -> list[Webhook]:
        query = sa.select(WEBHOOKS).where(WEBHOOKS.c.disabled_at.is_(None), WEBHOOKS.c.id > after)
        return self._all(query.order_by(WEBHOOKS.c.id).limit(limit))

    def _all(self, query: sa.Select[Any]) -> list[Webhook]:
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [_webhook(row) for row in rows]


def _within(reach: Reach) -> list[sa.ColumnElement[bool]]:
    return within(reach, WEBHOOKS.c.organization, WEBHOOKS.c.owner)


def _columns(webhook: Webhook) -> dict[str, Any]:
    return {**asdict(webhook), "kinds": list(webhook.kinds)}


def _webhook(row: sa.Row[Any]) -> Webhook:
    values = dict(row._mapping)
    return Webhook(**{**values, "kinds": tuple(values["kinds"])})
