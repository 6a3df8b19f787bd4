"""Data subject requests, and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "dsr"
down_revision = "service"

_OPEN = "status IN ('held', 'queued', 'submitted', 'in_progress')"
_WAITING = "status = 'queued' AND parked_reason IS NULL"
_TO_CANCEL = "status = 'submitted' AND cancel_requested_at IS NOT NULL AND parked_reason IS NULL"
_TO_MINIMISE = "closed_at IS NOT NULL AND minimised_at IS NULL"


def upgrade() -> None:
    _create_requests()
    _index_requests()
    _create_subjects()
    _create_audit_log()


def _create_requests() -> None:
    op.create_table(
        "dsrs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("organization", sa.String(255), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("regulation", sa.String(16), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("subjects", sa.JSON, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("confirm_at", sa.BigInteger),
        sa.Column("extended_at", sa.BigInteger),
        sa.Column("extension_reason", sa.Text),
        sa.Column("risk", sa.JSON, nullable=False),
        sa.Column("review", sa.JSON),
        sa.Column("processor", sa.String(255)),
        sa.Column("region", sa.String(255)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("tried_at", sa.BigInteger),
        sa.Column("next_try_at", sa.BigInteger),
        sa.Column("controller_id", sa.String(255)),
        sa.Column("expected_completion_at", sa.BigInteger),
        sa.Column("results_count", sa.BigInteger),
        sa.Column("cancel_requested_at", sa.BigInteger),
        sa.Column("parked_reason", sa.Text),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("minimised_at", sa.BigInteger),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text),
        sa.Column("version", sa.Integer, nullable=False),
    )


def _index_requests() -> None:
    newest = ["received_at", "id"]
    op.create_index("dsrs_by_time", "dsrs", newest)
    op.create_index("dsrs_by_organization", "dsrs", ["organization", *newest])
    op.create_index("dsrs_by_status", "dsrs", ["organization", "status", *newest])
    op.create_index("dsrs_by_owner", "dsrs", ["organization", "owner", *newest])
    _index_some("dsrs_waiting", [*newest, "next_try_at"], _WAITING)
    _index_some("dsrs_to_cancel", [*newest, "next_try_at"], _TO_CANCEL)
    _index_some("dsrs_by_deadline", ["due_at", "id"], _OPEN)
    _index_some("dsrs_to_minimise", ["closed_at", "id"], _TO_MINIMISE)


def _index_some(name: str, columns: list[str], which: str) -> None:
    some = sa.text(which)
    op.create_index(name, "dsrs", columns, sqlite_where=some, postgresql_where=some)


def _create_subjects() -> None:
    op.create_table(
        "dsr_subjects",
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(64), primary_key=True),
        sa.Column("organization", sa.String(255), nullable=False),
        sa.Column("regulation", sa.String(16), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("open", sa.SmallInteger, nullable=False),
    )
    op.create_index("dsrs_by_subject", "dsr_subjects", ["subject", "received_at", "request_id"])
    still_open = sa.text("open = 1")
    op.create_index(
        "dsrs_open_by_subject",
        "dsr_subjects",
        ["organization", "subject", "regulation", "type"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )


def _create_audit_log() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("organization", sa.String(255), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("resource", sa.String(255), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("audit_entries_by_resource", "audit_entries", ["resource", "sequence"])
    op.create_table(
        "audit_checkpoints",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.String(128), nullable=False),
    )
