"""The history of schedules in DynamoDB. Every write proves its lease in its own transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice

from schemas.errors import StoreError
from schemas.runs import RunOwner, RunRecord, RunStatus
from schemas.schedule import Lease, ScheduleEntry
from stores.state.dynamo.contention import contended
from stores.state.dynamo.items import (
    Item,
    Key,
    Value,
    decoded,
    digits,
    encoded,
    joined,
    key_of,
    micros,
    moment,
)
from stores.state.dynamo.layout import EVERYWHERE
from stores.state.dynamo.leases import check_lease, lost
from stores.state.dynamo.outbox import EventLog
from stores.state.dynamo.runs import changed_run, event_of_new, new_run, run_key
from stores.state.dynamo.table import DynamoTable, Refused
from stores.state.dynamo.writes import ABSENT, Write, put

_LATEST = 10**16 - 1
_PAGE = 50


class DynamoScheduleHistory:
    """See ``stores.state.port.ScheduleHistory``."""

    def __init__(self, table: DynamoTable, log: EventLog, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._log = log
        self._clock = clock

    def append(self, lease: Lease, entry: ScheduleEntry, run: RunRecord | None = None) -> None:
        writes = [check_lease(lease, self._clock()), put(_item(entry), ABSENT)]
        try:
            if run is None:
                self._table.transact(writes)
            else:
                self._log.commit([*writes, new_run(run)], [event_of_new(run)])
        except Refused as refused:
            if refused.failed[0]:
                raise lost(lease) from None
            raise StoreError("state store: this entry or run is there already") from None

    def hand_over(self, lease: Lease, run_id: str, owner: RunOwner) -> None:
        contended(lambda: self._hand_over(lease, run_id, owner))

    def last(self, schedule: str, job: str) -> ScheduleEntry | None:
        return next(self._of_job(schedule, job, page=1), None)

    def entries(self, schedule: str, job: str | None, limit: int) -> list[ScheduleEntry]:
        if job is not None:
            return list(islice(self._of_job(schedule, job, page=limit), limit))
        keys = list(islice(self._keys(schedule), limit))
        return [decoded(ScheduleEntry, item) for item in self._table.get_all(keys)]

    def prune(self, schedule: str, before: datetime) -> int:
        """Newest first, so that the first of each job, and those of its time, are to stay."""
        newest: dict[str, datetime] = {}
        old = []
        for entry in self._all(schedule):
            kept = newest.setdefault(entry.job, entry.due_at)
            if entry.at < before and entry.due_at < kept:
                old.append(_key(entry))
        self._table.delete_all(old)
        return len(old)

    def _hand_over(self, lease: Lease, run_id: str, owner: RunOwner) -> None:
        try:
            self._table.transact(
                [check_lease(lease, self._clock()), *self._handed_over(run_id, owner)]
            )
        except Refused as refused:
            if refused.failed[0]:
                raise lost(lease) from None
            raise

    def _handed_over(self, run_id: str, owner: RunOwner) -> list[Write]:
        item = self._table.get(run_key(run_id))
        run = None if item is None else decoded(RunRecord, item)
        if item is None or run is None or run.status is not RunStatus.QUEUED:
            return []
        return [changed_run(replace(run, owner=owner), item)]

    def _of_job(self, schedule: str, job: str, page: int) -> Iterator[ScheduleEntry]:
        values: dict[str, Value] = {"pk": _partition(schedule), "job": joined(job, "")}
        condition = "#pk = :pk AND begins_with(#sk, :job)"
        items = self._table.query(condition, values=values, newest_first=True, page=page)
        return (decoded(ScheduleEntry, item) for item in items)

    def _all(self, schedule: str) -> Iterator[ScheduleEntry]:
        keys = self._keys(schedule)
        while some := list(islice(keys, _PAGE)):
            yield from (decoded(ScheduleEntry, item) for item in self._table.get_all(some))

    def _keys(self, schedule: str) -> Iterator[Key]:
        values: dict[str, Value] = {"list": _partition(schedule)}
        return map(key_of, self._table.query("#list_all = :list", EVERYWHERE, values=values))


def _item(entry: ScheduleEntry) -> Item:
    key = _key(entry)
    listed = {"list_all": _partition(entry.schedule), "list_time": _newest_first(entry)}
    return {**encoded(entry), **listed, "pk": key.pk, "sk": key.sk}


def _key(entry: ScheduleEntry) -> Key:
    place = moment(entry.due_at, digits(entry.sequence))
    return Key(_partition(entry.schedule), f"{joined(entry.job)}#{place}")


def _partition(schedule: str) -> str:
    return joined("schedule", schedule)


def _newest_first(entry: ScheduleEntry) -> str:
    """Sorts the newest first, and those of one place by the job's name."""
    time, sequence = _LATEST - micros(entry.due_at), _LATEST - entry.sequence
    return joined(digits(time), digits(sequence), entry.job)
