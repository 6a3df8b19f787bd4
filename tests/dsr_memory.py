"""The stores of data subject requests, in memory: fakes of the ports, for pure tests."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from config.dsr import DsrSection
from dsr.desk import Desk, open_desk
from schemas.access import Reach
from schemas.alerts import Alert
from schemas.audit import AuditCheckpoint, AuditDraft, AuditEntry, AuditHead, chained
from schemas.dsr import Dsr, DsrQuery, DsrStatus, DueCursor, OpenTally
from schemas.dsr_lake import LakeState
from schemas.errors import StoreError
from schemas.requests import Counted, Tally
from stores.parameters import ParameterStore
from stores.state.dsr_port import AuditLog, DsrStore, OpenRequestExists
from stores.state.service_port import RequestCounters
from tests.dsr_requests import RECEIVED


@dataclass
class Heard:
    """Alerts as they arrive."""

    alerts: list[Alert] = field(default_factory=list)

    def notify(self, alert: Alert) -> None:
        self.alerts.append(alert)


class MemoryAudit(AuditLog):
    """The audit log as a list."""

    def __init__(self, clock: SetClock) -> None:
        self._clock = clock
        self.all: list[AuditEntry] = []
        self._checkpoints: list[AuditCheckpoint] = []

    def append(self, draft: AuditDraft) -> AuditEntry:
        entry = chained(draft, self._clock(), self.head())
        self.all.append(entry)
        return entry

    def head(self) -> AuditHead:
        return AuditHead(self.all[-1].sequence, self.all[-1].hash) if self.all else AuditHead()

    def entries(self, after: int, limit: int) -> list[AuditEntry]:
        return self.all[after : after + limit]

    def of(self, resource: str, reach: Reach) -> Iterator[AuditEntry]:
        wanted = {None, reach.organization}
        for entry in self.all:
            if entry.draft.resource == resource and (
                reach.organization is None or entry.draft.organization in wanted
            ):
                yield entry

    def keep_checkpoint(self, checkpoint: AuditCheckpoint) -> None:
        self._checkpoints.append(checkpoint)

    def checkpoints(self, after: int, limit: int) -> list[AuditCheckpoint]:
        return [each for each in self._checkpoints if each.sequence > after][:limit]

    def newest_checkpoint(self) -> AuditCheckpoint | None:
        return self._checkpoints[-1] if self._checkpoints else None


class MemoryDsr(DsrStore):
    """Requests as a dict."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self.all: dict[str, Dsr] = {}

    def add(self, requests: Sequence[Dsr], drafts: Sequence[AuditDraft]) -> None:
        for dsr in requests:
            self._check_new(dsr)
        self.all.update({dsr.id: dsr for dsr in requests})
        for draft in drafts:
            self._audit.append(draft)

    def get(self, request_id: str, reach: Reach) -> Dsr | None:
        dsr = self.all.get(request_id)
        return dsr if dsr is not None and _is_within(dsr, reach) else None

    def get_many(self, request_ids: Sequence[str], reach: Reach) -> list[Dsr]:
        found = (self.get(one, reach) for one in request_ids)
        return [dsr for dsr in found if dsr is not None]

    def find(self, query: DsrQuery, reach: Reach) -> list[Dsr]:
        found = [
            dsr
            for dsr in self.all.values()
            if _is_within(dsr, reach)
            and (query.subject is None or query.subject in dsr.subjects)
            and query.group_hash in {None, dsr.group_hash}
            and query.status in {None, dsr.status}
            and (
                query.after is None
                or (dsr.received_at, dsr.id) < (query.after.received_at, query.after.id)
            )
        ]
        newest = sorted(found, key=lambda dsr: (dsr.received_at, dsr.id), reverse=True)
        return newest[: query.limit]

    def change(self, changed: Dsr, draft: AuditDraft) -> Dsr | None:
        known = self.all[changed.id]
        stays = known.status is changed.status
        if known.version != changed.version or not (
            stays or known.status.may_become(changed.status)
        ):
            return None
        kept = replace(changed, version=changed.version + 1)
        self.all[kept.id] = kept
        self._audit.append(draft)
        return kept

    def waiting(self, now: datetime, limit: int) -> list[Dsr]:
        raise NotImplementedError

    def to_cancel(self, now: datetime, limit: int) -> list[Dsr]:
        raise NotImplementedError

    def to_ask_about(self, now: datetime, limit: int) -> list[Dsr]:
        raise NotImplementedError

    def at_lake(self, states: Collection[LakeState], limit: int) -> list[Dsr]:
        found = [
            dsr
            for dsr in self.all.values()
            if dsr.lake is not None
            and dsr.lake.state in states
            and dsr.status in {DsrStatus.QUEUED, DsrStatus.SUBMITTED, DsrStatus.IN_PROGRESS}
            and dsr.cancel_requested_at is None
        ]
        return sorted(found, key=lambda dsr: (dsr.received_at, dsr.id))[:limit]

    def due_before(
        self, moment: datetime, reach: Reach, limit: int, after: DueCursor | None = None
    ) -> list[Dsr]:
        place = (
            (datetime.min.replace(tzinfo=UTC), "") if after is None else (after.due_at, after.id)
        )
        found = [
            dsr
            for dsr in self.all.values()
            if _is_within(dsr, reach)
            and not dsr.status.is_final
            and dsr.due_at < moment
            and (dsr.due_at, dsr.id) > place
        ]
        return sorted(found, key=lambda dsr: (dsr.due_at, dsr.id))[:limit]

    def tally(self, due_before: datetime) -> OpenTally:
        queued = [dsr for dsr in self.all.values() if dsr.status is DsrStatus.QUEUED]
        open_ones = [dsr for dsr in self.all.values() if not dsr.status.is_final]
        waiting = sum(dsr.parked_reason is None for dsr in queued)
        parked = sum(dsr.parked_reason is not None for dsr in open_ones)
        held = sum(dsr.status is DsrStatus.HELD for dsr in self.all.values())
        due = len(self.due_before(due_before, Reach(None), len(self.all)))
        return OpenTally(held, waiting, parked, due)

    def to_minimise(self, closed_before: datetime, limit: int) -> list[Dsr]:
        found = [
            dsr
            for dsr in self.all.values()
            if dsr.closed_at is not None
            and dsr.closed_at < closed_before
            and dsr.minimised_at is None
        ]
        return found[:limit]

    def _check_new(self, dsr: Dsr) -> None:
        for other in self.all.values():
            if _alike(other) == _alike(dsr) and {*other.subjects} & {*dsr.subjects}:
                raise OpenRequestExists("one is open", request_id=other.id)
        if dsr.id in self.all:
            raise StoreError("the id is taken")


class MemoryCounters(RequestCounters):
    """Counts of one period that never ends."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def count(self, counted: Sequence[Counted]) -> list[Tally]:
        for one in counted:
            self.counts[one.name] = self.counts.get(one.name, 0) + 1
        return [Tally(self.counts[one.name], 0) for one in counted]

    def prune(self) -> int:
        return 0


class MadeKeys(ParameterStore):
    """Every parameter has a value."""

    def _fetch(self, name: str) -> str:
        return f"{name} of a test, which is long enough"[:40].replace(" ", "-")


@dataclass
class SetClock:
    """A clock that stands until it is moved."""

    now: datetime = RECEIVED

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Office:
    """A desk on stores in memory."""

    clock: SetClock = field(default_factory=SetClock)

    def __post_init__(self) -> None:
        self.audit = MemoryAudit(self.clock)
        self.dsr = MemoryDsr(self.audit)
        self.counters = MemoryCounters()

    def desk(self, section: DsrSection | None = None) -> Desk:
        return open_desk(section or DsrSection(), self, MadeKeys(), self.clock)

    @property
    def actions(self) -> list[str]:
        """What the audit log was told, in order."""
        return [entry.draft.action for entry in self.audit.all]


def _is_within(dsr: Dsr, reach: Reach) -> bool:
    if reach.organization not in {None, dsr.organization}:
        return False
    return reach.owner in {None, dsr.owner}


def _alike(dsr: Dsr) -> tuple[object, ...]:
    """What open requests of one subject may not have in common; one that is closed is unlike."""
    return (
        dsr.organization,
        dsr.regulation,
        dsr.type,
        dsr.id if dsr.status.is_final else None,
    )
