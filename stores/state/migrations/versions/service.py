"""Jobs, events, requests, keys; who asked for a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "service"
down_revision = "first"

_UNFINISHED = "status IN ('queued', 'running')"
_IN_SIGHT = "deleted_at IS NULL"


def upgrade() -> None:
    _say_who_asked_for_runs()
    _create_jobs()
    _create_events()
    _create_requests()
    _create_api_keys()


def _say_who_asked_for_runs() -> None:
    op.add_column("runs", sa.Column("organization", sa.String(255)))
    op.add_column("runs", sa.Column("requested_by", sa.String(255)))
    op.add_column("runs", sa.Column("job_id", sa.String(64)))
    op.add_column("runs", sa.Column("version", sa.Integer, nullable=False, server_default="1"))
    op.create_index("runs_by_organization", "runs", ["organization", "queued_at"])
    op.create_index("runs_by_job", "runs", ["job_id"])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("organization", sa.String(255), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("input_key", sa.Text, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("output_key", sa.Text),
        sa.Column("total_batches", sa.BigInteger),
        sa.Column("processed_batches", sa.BigInteger, nullable=False),
        sa.Column("contacts", sa.BigInteger),
        sa.Column("failed_contacts", sa.BigInteger, nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("cancel_requested_at", sa.BigInteger),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("version", sa.Integer, nullable=False),
    )
    _index_jobs()
    op.create_table(
        "job_parts",
        sa.Column("job_id", sa.String(64), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("processed_batches", sa.BigInteger, nullable=False),
        sa.Column("failed_contacts", sa.BigInteger, nullable=False),
    )


def _index_jobs() -> None:
    newest = ["created_at", "id"]
    op.create_index("jobs_by_end", "jobs", ["ended_at"])
    _index("jobs_unfinished", _UNFINISHED, newest)
    _index("jobs_by_time", _IN_SIGHT, ["kind", *newest])
    _index("jobs_by_organization", _IN_SIGHT, ["organization", "kind", *newest])
    _index("jobs_by_status", _IN_SIGHT, ["organization", "kind", "status", *newest])
    _index("jobs_by_owner", _IN_SIGHT, ["organization", "owner", "kind", *newest])
    _index("jobs_by_fingerprint", _IN_SIGHT, ["organization", "kind", "fingerprint", *newest])


def _index(name: str, which: str, columns: list[str]) -> None:
    some = sa.text(which)
    op.create_index(name, "jobs", columns, sqlite_where=some, postgresql_where=some)


def _create_events() -> None:
    place = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "events",
        sa.Column("place", place, primary_key=True, autoincrement=True),
        sa.Column("topic_kind", sa.String(16), nullable=False),
        sa.Column("topic_id", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("organization", sa.String(255)),
        sa.Column("owner", sa.String(255)),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.UniqueConstraint("topic_kind", "topic_id", "version", name="events_of_topic"),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_time", "events", ["at"])


def _create_requests() -> None:
    op.create_table(
        "idempotency",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("locked_until", sa.BigInteger, nullable=False),
        sa.Column("kept_until", sa.BigInteger, nullable=False),
        sa.Column("response_status", sa.Integer),
        sa.Column("response_body", sa.LargeBinary),
        sa.Column("response_headers", sa.JSON),
    )
    op.create_index("idempotency_by_end", "idempotency", ["kept_until"])
    op.create_table(
        "request_counters",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("seconds", sa.Integer, primary_key=True),
        sa.Column("period", sa.BigInteger, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("organization", sa.String(255), nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("rights", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.UniqueConstraint("digest", name="api_keys_by_digest"),
    )
