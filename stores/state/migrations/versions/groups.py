"""The groups that controllers put requests in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "groups"
down_revision = "notices"

_GROUPED = "group_hash IS NOT NULL"


def upgrade() -> None:
    op.add_column("dsrs", sa.Column("group_hash", sa.String(64)))
    some, columns = sa.text(_GROUPED), ["group_hash", "received_at", "id"]
    op.create_index("dsrs_by_group", "dsrs", columns, sqlite_where=some, postgresql_where=some)
