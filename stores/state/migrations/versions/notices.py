"""Of which deadlines those who watch requests were told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "notices"
down_revision = "asked"


def upgrade() -> None:
    op.add_column("dsrs", sa.Column("due_notice", sa.JSON))
