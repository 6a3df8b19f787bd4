"""What alembic runs: the migrations, in the transaction that the caller has opened."""

from __future__ import annotations

from alembic import context

from stores.state.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
context.run_migrations()
