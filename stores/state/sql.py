"""State in SQLite, which is a file, or in PostgreSQL, for several machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.events import EVENTS_KEPT
from stores.state.database import Database
from stores.state.service_port import Pruned
from stores.state.sql_alerts import SqlAlertMemory
from stores.state.sql_audit import SqlAudit
from stores.state.sql_dsr import SqlDsr
from stores.state.sql_jobs import SqlJobs
from stores.state.sql_leases import SqlLeases
from stores.state.sql_outbox import SqlOutbox
from stores.state.sql_requests import SqlApiKeys, SqlIdempotency, SqlRequestCounters
from stores.state.sql_runs import SqlRuns
from stores.state.sql_schedule import SqlScheduleHistory
from stores.state.sql_webhooks import SqlWebhooks


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class SqlState:
    """All aggregates of one database. Open it in each process: connections survive no fork."""

    runs: SqlRuns
    leases: SqlLeases
    history: SqlScheduleHistory
    jobs: SqlJobs
    outbox: SqlOutbox
    idempotency: SqlIdempotency
    counters: SqlRequestCounters
    api_keys: SqlApiKeys
    dsr: SqlDsr
    audit: SqlAudit
    webhooks: SqlWebhooks
    alerts: SqlAlertMemory
    database: Database

    def prune(self, now: datetime) -> Pruned:
        """See ``stores.state.service_port.ServiceState``."""
        return Pruned(
            self.outbox.prune(now - EVENTS_KEPT), self.idempotency.prune(), self.counters.prune()
        )

    def close(self) -> None:
        """Let go of connections."""
        self.outbox.close()
        self.database.close()


def open_state(url: str, clock: Callable[[], datetime] = utc_now) -> SqlState:
    """The state at a SQLAlchemy URL; tables are made or brought up to date.

    Raises ``UsageError`` for a bad URL, ``StoreUnavailable`` and ``StoreError``.
    """
    database = Database(url)
    database.open()
    return SqlState(
        SqlRuns(database, clock),
        SqlLeases(database, clock),
        SqlScheduleHistory(database, clock),
        SqlJobs(database, clock),
        SqlOutbox(database),
        SqlIdempotency(database, clock),
        SqlRequestCounters(database, clock),
        SqlApiKeys(database, clock),
        SqlDsr(database, clock),
        SqlAudit(database, clock),
        SqlWebhooks(database),
        SqlAlertMemory(database),
        database,
    )
