"""Requests that processors are asked about: all that they have by now, for they never were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "asked"
down_revision = "webhooks"

_THERE = "status IN ('submitted', 'in_progress') AND processor IS NOT NULL"
_TO_ASK_ABOUT = (
    "status IN ('submitted', 'in_progress') AND next_try_at IS NOT NULL AND parked_reason IS NULL"
    " AND (status = 'in_progress' OR cancel_requested_at IS NULL)"
)


def upgrade() -> None:
    op.execute(f"UPDATE dsrs SET next_try_at = updated_at WHERE next_try_at IS NULL AND {_THERE}")
    some, columns = sa.text(_TO_ASK_ABOUT), ["next_try_at", "id"]
    op.create_index("dsrs_to_ask_about", "dsrs", columns, sqlite_where=some, postgresql_where=some)
