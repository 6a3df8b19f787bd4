"""Webhooks, and which alerts have been told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "webhooks"
down_revision = "dsr"


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("organization", sa.String(255), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("kinds", sa.JSON, nullable=False),
        sa.Column("of_owner", sa.String(255)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("key_number", sa.Integer, nullable=False),
        sa.Column("rotated_at", sa.BigInteger),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failing_since", sa.BigInteger),
        sa.Column("next_try_at", sa.BigInteger),
        sa.Column("disabled_at", sa.BigInteger),
        sa.Column("disabled_reason", sa.Text),
        sa.Column("version", sa.Integer, nullable=False),
    )
    by_organization = ["organization", "created_at", "id"]
    op.create_index("webhooks_by_organization", "webhooks", by_organization)
    op.create_table(
        "alerts_told",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("alerts_told_by_time", "alerts_told", ["at"])
