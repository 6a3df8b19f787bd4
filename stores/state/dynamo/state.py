"""State in one DynamoDB table, for several machines without a database server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from schemas.events import EVENTS_KEPT
from stores.state.dynamo.address import DynamoAddress
from stores.state.dynamo.audit import AuditChain, DynamoAudit
from stores.state.dynamo.dsr import DynamoDsr
from stores.state.dynamo.jobs import DynamoJobs
from stores.state.dynamo.layout import ensure_table
from stores.state.dynamo.leases import DynamoLeases
from stores.state.dynamo.outbox import DynamoOutbox, EventLog
from stores.state.dynamo.requests import DynamoApiKeys, DynamoIdempotency, DynamoRequestCounters
from stores.state.dynamo.runs import DynamoRuns
from stores.state.dynamo.schedule import DynamoScheduleHistory
from stores.state.dynamo.table import DynamoTable
from stores.state.dynamo.webhooks import DynamoAlertMemory, DynamoWebhooks
from stores.state.service_port import Pruned


@dataclass(frozen=True)
class DynamoState:
    """All aggregates of one table. Open it in each process: connections survive no fork."""

    runs: DynamoRuns
    leases: DynamoLeases
    history: DynamoScheduleHistory
    jobs: DynamoJobs
    outbox: DynamoOutbox
    idempotency: DynamoIdempotency
    counters: DynamoRequestCounters
    api_keys: DynamoApiKeys
    dsr: DynamoDsr
    audit: DynamoAudit
    webhooks: DynamoWebhooks
    alerts: DynamoAlertMemory
    table: DynamoTable

    def prune(self, now: datetime) -> Pruned:
        """See ``stores.state.service_port.ServiceState``."""
        return Pruned(
            self.outbox.prune(now - EVENTS_KEPT), self.idempotency.prune(), self.counters.prune()
        )

    def close(self) -> None:
        """Let go of connections."""
        self.counters.close()
        self.table.close()


def open_dynamo_state(url: str, clock: Callable[[], datetime]) -> DynamoState:
    """The state at a ``dynamodb://`` URL; at an endpoint of its own the table is made.

    Raises ``UsageError`` for a bad URL or a table that is not as it has to be, ``AccessDenied``,
    ``StoreUnavailable`` and ``StoreError``.
    """
    table = DynamoTable(DynamoAddress.parse(url))
    ensure_table(table)
    log, chain = EventLog(table), AuditChain(table, clock)
    dsr = DynamoDsr(table, log, chain)
    dsr.open()
    return DynamoState(
        DynamoRuns(table, log, clock),
        DynamoLeases(table, clock),
        DynamoScheduleHistory(table, log, clock),
        DynamoJobs(table, log, clock),
        DynamoOutbox(table, log),
        DynamoIdempotency(table, clock),
        DynamoRequestCounters(table, clock),
        DynamoApiKeys(table, clock),
        dsr,
        DynamoAudit(table, chain),
        DynamoWebhooks(table),
        DynamoAlertMemory(table),
        table,
    )
