"""Runs in DynamoDB: a run is read, changed by a function of ``run_changes``, and put back if nobody
else has changed it meanwhile.

``revision`` grows with every change, also one that is not told of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice

from schemas import run_changes
from schemas.access import Reach
from schemas.errors import StoreError
from schemas.events import Event, Topic
from schemas.runs import RunEnd, RunOwner, RunQuery, RunRecord, event_of_run
from stores.state.dynamo.contention import contended, done
from stores.state.dynamo.items import Item, Key, decoded, encoded
from stores.state.dynamo.listing import Listing, due, due_before, listed, listed_of, records_of
from stores.state.dynamo.outbox import EventLog, events_key
from stores.state.dynamo.table import DynamoTable, Refused
from stores.state.dynamo.writes import ABSENT, Write, delete, put

_LIST = ("runs",)
_RECORD = "record"

Change = Callable[[RunRecord, datetime], RunRecord | None]
"""What becomes of a run at a time, None if nothing may."""


class DynamoRuns:
    """See ``stores.state.port.RunStore``."""

    def __init__(self, table: DynamoTable, log: EventLog, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._log = log
        self._clock = clock

    def add(self, run: RunRecord) -> None:
        try:
            self._log.commit([new_run(run)], [event_of_new(run)])
        except Refused:
            raise StoreError("state store: this run is there already") from None

    def get(self, run_id: str) -> RunRecord | None:
        item = self._table.get(run_key(run_id))
        return None if item is None else decoded(RunRecord, item)

    def visible(self, run_id: str, reach: Reach) -> RunRecord | None:
        run = self.get(run_id)
        return run if run is not None and _within(run, reach) else None

    def find(self, query: RunQuery, reach: Reach) -> list[RunRecord]:
        wanted = {"status": query.status, "kind": query.kind, "job_id": query.job_id}
        equal = {name: str(value) for name, value in wanted.items() if value is not None}
        after = None if query.after is None else (query.after.queued_at, query.after.id)
        keys = Listing(self._table, _LIST, reach).keys(equal, after)

        def read(item: Item) -> RunRecord | None:
            run = decoded(RunRecord, item)
            return run if query.status in {None, run.status} else None

        return records_of(self._table, islice(keys, query.offset, None), read, query.limit)

    def begin(self, run_id: str, owner: RunOwner) -> bool:
        return self._change(run_id, lambda run, now: run_changes.begun(run, owner, now))

    def beat(self, run_id: str, counts: Mapping[str, int] | None = None) -> bool:
        return self._change(run_id, lambda run, now: run_changes.seen(run, counts, now))

    def finish(self, run_id: str, end: RunEnd, counts: Mapping[str, int] | None = None) -> bool:
        return self._change(run_id, lambda run, now: run_changes.ended(run, end, counts, now))

    def request_cancel(self, run_id: str) -> bool:
        return self._change(run_id, run_changes.asked_to_end)

    def prune(self, before: datetime) -> list[RunRecord]:
        found = [self._forgotten(key) for key in due_before(self._table, "runs", before)]
        return [run for run in found if run is not None]

    def _forgotten(self, key: Key) -> RunRecord | None:
        """The run, if this call is the one that forgets it."""
        item = self._table.get(key)
        if item is None:
            return None
        unchanged = delete(key, "#revision = :before", before=item["revision"])
        return decoded(RunRecord, item) if done(self._table, [unchanged]) else None

    def _change(self, run_id: str, change: Change) -> bool:
        now = self._clock()
        return contended(lambda: self._attempt(run_id, change, now))

    def _attempt(self, run_id: str, change: Change, now: datetime) -> bool:
        item = self._table.get(run_key(run_id))
        if item is None:
            return False
        before = decoded(RunRecord, item)
        after = change(before, now)
        if after is None:
            return False
        told = run_changes.is_told(before, after)
        after = replace(after, version=before.version + told)
        self._store(changed_run(after, item), [event_of_run(after, now)] if told else [])
        return True

    def _store(self, write: Write, events: list[Event]) -> None:
        if events:
            self._log.commit([write], events)
        else:
            self._table.transact([write])


def new_run(run: RunRecord) -> Write:
    """The part of a transaction that adds a run; ``event_of_new`` is to be told with it."""
    return put(_item(run, 1), ABSENT)


def event_of_new(run: RunRecord) -> Event:
    return event_of_run(run, run.queued_at)


def changed_run(run: RunRecord, before: Item) -> Write:
    """The part of a transaction that puts a run into the place of what was read."""
    revision = before["revision"]
    return put(_item(run, revision + 1), "#revision = :before", before=revision)


def run_key(run_id: str) -> Key:
    return Key(events_key(Topic("run", run_id)), _RECORD)


def _item(run: RunRecord, revision: int) -> Item:
    key = run_key(run.id)
    return {
        **encoded(run),
        **listed(_LIST, run.queued_at, run.id),
        **listed_of(_LIST, run.organization, run.requested_by),
        **({} if run.ended_at is None else due("runs", run.ended_at, run.id)),
        "pk": key.pk,
        "sk": key.sk,
        "revision": revision,
    }


def _within(run: RunRecord, reach: Reach) -> bool:
    limits = ((run.organization, reach.organization), (run.requested_by, reach.owner))
    return all(limit in {None, value} for value, limit in limits)
