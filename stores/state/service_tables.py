"""The service's tables as the newest migration leaves them."""

from __future__ import annotations

import sqlalchemy as sa

from stores.state.tables import METADATA, UtcTime

_PLACE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""SQLite counts up by itself only what is declared as INTEGER."""

UNFINISHED = sa.text("status IN ('queued', 'running')")
IN_SIGHT = sa.text("deleted_at IS NULL")
"""Conditions of indexes; a query needs the same words for the database to see that one fits."""


def _index_of_jobs(name: str, which: sa.TextClause, *columns: str) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=which, postgresql_where=which)


_NEWEST = ("created_at", "id")

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("organization", sa.String(255), nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("input_key", sa.Text, nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("output_key", sa.Text),
    sa.Column("total_batches", sa.BigInteger),
    sa.Column("processed_batches", sa.BigInteger, nullable=False),
    sa.Column("contacts", sa.BigInteger),
    sa.Column("failed_contacts", sa.BigInteger, nullable=False),
    sa.Column("run_id", sa.String(64)),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("cancel_requested_at", UtcTime),
    sa.Column("error_code", sa.String(64)),
    sa.Column("error_message", sa.Text),
    sa.Column("ended_at", UtcTime),
    sa.Column("deleted_at", UtcTime),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index("jobs_by_end", "ended_at"),
    _index_of_jobs("jobs_unfinished", UNFINISHED, "created_at", "id"),
    _index_of_jobs("jobs_by_time", IN_SIGHT, "kind", *_NEWEST),
    _index_of_jobs("jobs_by_organization", IN_SIGHT, "organization", "kind", *_NEWEST),
    _index_of_jobs("jobs_by_status", IN_SIGHT, "organization", "kind", "status", *_NEWEST),
    _index_of_jobs("jobs_by_owner", IN_SIGHT, "organization", "owner", "kind", *_NEWEST),
    _index_of_jobs(
        "jobs_by_fingerprint", IN_SIGHT, "organization", "kind", "fingerprint", *_NEWEST
    ),
)

JOB_PARTS = sa.Table(
    "job_parts",
    METADATA,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("processed_batches", sa.BigInteger, nullable=False),
    sa.Column("failed_contacts", sa.BigInteger, nullable=False),
)

EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("place", _PLACE, primary_key=True, autoincrement=True),
    sa.Column("topic_kind", sa.String(16), nullable=False),
    sa.Column("topic_id", sa.String(64), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("organization", sa.String(255)),
    sa.Column("owner", sa.String(255)),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.UniqueConstraint("topic_kind", "topic_id", "version", name="events_of_topic"),
    sa.Index("events_by_time", "at"),
    sqlite_autoincrement=True,
)

IDEMPOTENCY = sa.Table(
    "idempotency",
    METADATA,
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("token", sa.String(64), nullable=False),
    sa.Column("locked_until", UtcTime, nullable=False),
    sa.Column("kept_until", UtcTime, nullable=False),
    sa.Column("response_status", sa.Integer),
    sa.Column("response_body", sa.LargeBinary),
    sa.Column("response_headers", sa.JSON),
    sa.Index("idempotency_by_end", "kept_until"),
)

COUNTERS = sa.Table(
    "request_counters",
    METADATA,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("seconds", sa.Integer, primary_key=True),
    sa.Column("period", sa.BigInteger, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)

API_KEYS = sa.Table(
    "api_keys",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("organization", sa.String(255), nullable=False),
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("rights", sa.JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("revoked_at", UtcTime),
    sa.UniqueConstraint("digest", name="api_keys_by_digest"),
)
