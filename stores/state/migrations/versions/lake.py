"""The lake's part in requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "lake"
down_revision = "groups"

_AT_LAKE = (
    "lake_state IN ('waiting', 'counting', 'running')"
    " AND status IN ('queued', 'submitted', 'in_progress')"
)


def upgrade() -> None:
    op.add_column("dsrs", sa.Column("lake", sa.JSON(none_as_null=True)))
    op.add_column("dsrs", sa.Column("lake_state", sa.String(16)))
    some, columns = sa.text(_AT_LAKE), ["lake_state", "received_at", "id"]
    op.create_index("dsrs_at_lake", "dsrs", columns, sqlite_where=some, postgresql_where=some)
