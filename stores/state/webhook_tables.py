"""The tables of webhooks and alerts as the newest migration leaves them."""

from __future__ import annotations

import sqlalchemy as sa

from stores.state.tables import METADATA, UtcTime

WEBHOOKS = sa.Table(
    "webhooks",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("organization", sa.String(255), nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("kinds", sa.JSON, nullable=False),
    sa.Column("of_owner", sa.String(255)),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("key_number", sa.Integer, nullable=False),
    sa.Column("rotated_at", UtcTime),
    sa.Column("place", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("failing_since", UtcTime),
    sa.Column("next_try_at", UtcTime),
    sa.Column("disabled_at", UtcTime),
    sa.Column("disabled_reason", sa.Text),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index("webhooks_by_organization", "organization", "created_at", "id"),
)

ALERTS = sa.Table(
    "alerts_told",
    METADATA,
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index("alerts_told_by_time", "at"),
)
