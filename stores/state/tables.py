"""The tables as the newest migration leaves them; the service's are in ``service_tables``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A time, kept as microseconds since 1970: the same number and order in every database."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        del dialect
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:
        del dialect
        return None if value is None else _EPOCH + value * _MICROSECOND


METADATA = sa.MetaData()

RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("owner_host", sa.String(255), nullable=False),
    sa.Column("owner_pid", sa.BigInteger, nullable=False),
    sa.Column("owner_started", sa.String(64), nullable=False),
    sa.Column("queued_at", UtcTime, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.Column("ended_at", UtcTime),
    sa.Column("cancel_requested_at", UtcTime),
    sa.Column("schedule", sa.String(255)),
    sa.Column("log_path", sa.Text),
    sa.Column("counts", sa.JSON, nullable=False),
    sa.Column("exit_status", sa.Integer),
    sa.Column("error_code", sa.String(64)),
    sa.Column("error_message", sa.Text),
    sa.Column("organization", sa.String(255)),
    sa.Column("requested_by", sa.String(255)),
    sa.Column("job_id", sa.String(64)),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Index("runs_by_time", "queued_at"),
    sa.Index("runs_by_organization", "organization", "queued_at"),
    sa.Index("runs_by_job", "job_id"),
)

LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("holder", sa.String(255), nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
)

SCHEDULE_HISTORY = sa.Table(
    "schedule_history",
    METADATA,
    sa.Column("schedule", sa.String(64), primary_key=True),
    sa.Column("job", sa.String(64), primary_key=True),
    sa.Column("due_at", UtcTime, primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("expression", sa.String(255), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("missed", sa.Integer, nullable=False),
    sa.Column("run_id", sa.String(64)),
)
