"""The tables of data subject requests and of the audit log, as the newest migration leaves them."""

from __future__ import annotations

import sqlalchemy as sa

from stores.state.tables import METADATA, UtcTime

OPEN = sa.text("status IN ('held', 'queued', 'submitted', 'in_progress')")
WAITING = sa.text("status = 'queued' AND parked_reason IS NULL")
TO_CANCEL = sa.text(
    "status = 'submitted' AND cancel_requested_at IS NOT NULL AND parked_reason IS NULL"
)
TO_ASK_ABOUT = sa.text(
    "status IN ('submitted', 'in_progress') AND next_try_at IS NOT NULL AND parked_reason IS NULL"
    " AND (status = 'in_progress' OR cancel_requested_at IS NULL)"
)
AT_LAKE = sa.text(
    "lake_state IN ('waiting', 'counting', 'running')"
    " AND status IN ('queued', 'submitted', 'in_progress')"
)
GROUPED = sa.text("group_hash IS NOT NULL")
TO_MINIMISE = sa.text("closed_at IS NOT NULL AND minimised_at IS NULL")
STILL_OPEN = sa.text("open = 1")
"""Conditions of indexes; a query needs the same words for the database to see that one fits."""


def _index(
    name: str, *columns: str, which: sa.TextClause | None = None, unique: bool = False
) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=which, postgresql_where=which, unique=unique)


_NEWEST = ("received_at", "id")

DSRS = sa.Table(
    "dsrs",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("organization", sa.String(255), nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("regulation", sa.String(16), nullable=False),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("due_at", UtcTime, nullable=False),
    sa.Column("subjects", sa.JSON, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("confirm_at", UtcTime),
    sa.Column("extended_at", UtcTime),
    sa.Column("extension_reason", sa.Text),
    sa.Column("risk", sa.JSON, nullable=False),
    sa.Column("review", sa.JSON(none_as_null=True)),
    sa.Column("processor", sa.String(255)),
    sa.Column("region", sa.String(255)),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("tried_at", UtcTime),
    sa.Column("next_try_at", UtcTime),
    sa.Column("controller_id", sa.String(255)),
    sa.Column("expected_completion_at", UtcTime),
    sa.Column("results_count", sa.BigInteger),
    sa.Column("cancel_requested_at", UtcTime),
    sa.Column("parked_reason", sa.Text),
    sa.Column("closed_at", UtcTime),
    sa.Column("minimised_at", UtcTime),
    sa.Column("error_code", sa.String(64)),
    sa.Column("error_message", sa.Text),
    sa.Column("due_notice", sa.JSON(none_as_null=True)),
    sa.Column("group_hash", sa.String(64)),
    sa.Column("lake", sa.JSON(none_as_null=True)),
    sa.Column("lake_state", sa.String(16)),
    sa.Column("version", sa.Integer, nullable=False),
    _index("dsrs_by_time", *_NEWEST),
    _index("dsrs_by_organization", "organization", *_NEWEST),
    _index("dsrs_by_status", "organization", "status", *_NEWEST),
    _index("dsrs_by_owner", "organization", "owner", *_NEWEST),
    _index("dsrs_waiting", *_NEWEST, "next_try_at", which=WAITING),
    _index("dsrs_to_cancel", *_NEWEST, "next_try_at", which=TO_CANCEL),
    _index("dsrs_to_ask_about", "next_try_at", "id", which=TO_ASK_ABOUT),
    _index("dsrs_by_group", "group_hash", *_NEWEST, which=GROUPED),
    _index("dsrs_at_lake", "lake_state", *_NEWEST, which=AT_LAKE),
    _index("dsrs_by_deadline", "due_at", "id", which=OPEN),
    _index("dsrs_to_minimise", "closed_at", "id", which=TO_MINIMISE),
)

DSR_SUBJECTS = sa.Table(
    "dsr_subjects",
    METADATA,
    sa.Column("request_id", sa.String(64), primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("organization", sa.String(255), nullable=False),
    sa.Column("regulation", sa.String(16), nullable=False),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("open", sa.SmallInteger, nullable=False),
    _index("dsrs_by_subject", "subject", "received_at", "request_id"),
    _index(
        "dsrs_open_by_subject",
        "organization",
        "subject",
        "regulation",
        "type",
        which=STILL_OPEN,
        unique=True,
    ),
)
"""By which hashes a request is found. ``open`` is 1 of one that is not closed, of which there is
one a subject, regulation and type."""

AUDIT_ENTRIES = sa.Table(
    "audit_entries",
    METADATA,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("organization", sa.String(255), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("resource", sa.String(255), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index("audit_entries_by_resource", "resource", "sequence"),
)

AUDIT_CHECKPOINTS = sa.Table(
    "audit_checkpoints",
    METADATA,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key_id", sa.String(64), primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("signature", sa.String(128), nullable=False),
)
