"""Events in DynamoDB.

The events of one change are one item, the commit, under the place of the last of them. Its places
follow the newest one, and the transaction that writes it moves the newest on, if it still is what
it was taken for. So places become visible in their order, without a gap, and every change with an
event meets the others at one item. Changes of one process take turns, and one that comes too late
is told the newest place with the refusal, and tries again at once. What remains is the time of a
transaction: some 10 ms at AWS, so about a hundred changes with an event a second, whatever the
number of processes. Jobs tell of their progress about once a second each.

To wait is to ask for commits after a place: every 20 ms for five seconds after an event, every
250 ms otherwise; a change of one's own process is seen at once. So whoever waits hears of another
process's event within some 30 ms (p99) while something is going on, and of the first one after a
quiet time within some 260 ms.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from schemas.errors import StoreError
from schemas.events import EVENTS_KEPT, Event, StoredEvent, Topic
from stores.state.dynamo.contention import Overtaken, one_at_a_time, raced
from stores.state.dynamo.items import Item, Key, Value, digits, joined, key_of, micros, time_of
from stores.state.dynamo.layout import EXPIRES
from stores.state.dynamo.table import DynamoTable, Refused
from stores.state.dynamo.writes import ABSENT, Write, put, update

_COMMITS = "outbox"
_NEWEST = Key(_COMMITS, "newest")
_LAST = "9" * 16
_BETWEEN = "#pk = :pk AND #sk BETWEEN :first AND :last"

_LOOK_EVERY = 0.02
_LOOK_SELDOM = 0.25
_LIVELY_SECONDS = 5.0


class EventLog:
    """What writes events together with the changes that they tell of; one a process."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table
        self._turn = threading.Lock()
        self._grown = threading.Condition()
        self._newest: int | None = None

    def commit(self, writes: Sequence[Write], events: Sequence[Event]) -> None:
        """Do ``writes`` and tell of them. Raises ``Refused`` if one of their conditions fails."""
        with one_at_a_time(self._turn):
            raced(lambda: self._attempt(writes, events))
        with self._grown:
            self._grown.notify_all()

    def pause(self, place: int, seconds: float) -> bool:
        """Wait for so long, or until this process has written an event after ``place``."""
        with self._grown:
            return self._grown.wait_for(lambda: (self._newest or 0) > place, seconds)

    def _attempt(self, writes: Sequence[Write], events: Sequence[Event]) -> None:
        before = self._last_given() if self._newest is None else self._newest
        try:
            self._table.transact([*writes, *_commit(before, events)])
        except Refused as refused:
            self._newest = _place_seen(refused, before)
            raise _reason(refused, len(writes)) from None
        self._newest = before + len(events)

    def _last_given(self) -> int:
        found = self._table.get(_NEWEST)
        return 0 if found is None else found["place"]


class DynamoOutbox:
    """See ``stores.state.service_port.Outbox``."""

    def __init__(
        self,
        table: DynamoTable,
        log: EventLog,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._log = log
        self._monotonic = monotonic
        self._lively_until = 0.0

    def append(self, event: Event) -> None:
        self._log.commit([], [event])

    def newest(self) -> int:
        commits = self._commits(0, page=1, newest_first=True)
        return max((int(commit["sk"]) for commit in islice(commits, 1)), default=0)

    def after(self, place: int, limit: int) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        for commit in self._commits(place, page=limit):
            found += [stored for stored in _stored(commit) if stored.place > place]
            if len(found) >= limit:
                break
        return found[:limit]

    def of(self, topic: Topic, after_version: int, limit: int) -> list[Event]:
        first, last = event_sk(after_version + 1), joined("event", _LAST)
        items = self._table.query(
            _BETWEEN, values={"pk": events_key(topic), "first": first, "last": last}, page=limit
        )
        return [_event(json.loads(item["event"])) for item in islice(items, limit)]

    def wait(self, place: int, seconds: float) -> bool:
        until = self._monotonic() + seconds
        while not any(self._commits(place, page=1)):
            left = until - self._monotonic()
            if left <= 0:
                return False
            self._log.pause(place, min(left, self._look_every()))
        self._lively_until = self._monotonic() + _LIVELY_SECONDS
        return True

    def prune(self, before: datetime) -> int:
        """From the oldest on; an event's own item first, so that a prune cut short goes on."""
        total = 0
        for commit in self._commits(0, page=100):
            if commit["at"] >= micros(before):
                break
            events = [stored.event for stored in _stored(commit)]
            self._table.delete_all(_key(event) for event in events)
            self._table.delete_all([key_of(commit)])
            total += len(events)
        return total

    def _look_every(self) -> float:
        lively = self._monotonic() < self._lively_until
        return _LOOK_EVERY if lively else _LOOK_SELDOM

    def _commits(self, place: int, page: int, newest_first: bool = False) -> Iterator[Item]:
        values: dict[str, Value] = {"pk": _COMMITS, "first": digits(place + 1), "last": _LAST}
        return self._table.query(_BETWEEN, values=values, page=page, newest_first=newest_first)


def _place_seen(refused: Refused, before: int) -> int | None:
    """The newest place as the refusal has it; None if it does not say."""
    found = refused.found[-1]
    if not refused.failed[-1]:
        return before
    return None if found is None else int(found["place"])


def _reason(refused: Refused, writes: int) -> Exception:
    """Why it was: a condition of the change itself, the events', or the place only."""
    if any(refused.failed[:writes]):
        return Refused(refused.failed[:writes], refused.found[:writes])
    if refused.failed[-1]:
        return Overtaken()
    return StoreError("state store: this event is there already")


def events_key(topic: Topic) -> str:
    """The partition of what is kept of a topic: the record, and its events."""
    return joined(topic.kind, topic.id)


def _commit(before: int, events: Sequence[Event]) -> list[Write]:
    """The writes that give these events the places after ``before``; the last moves it on."""
    last = before + len(events)
    at = max(event.at for event in events)
    commit: Item = {
        "pk": _COMMITS,
        "sk": digits(last),
        "at": micros(at),
        "events": json.dumps([_plain(event) for event in events]),
        EXPIRES: int((at + EVENTS_KEPT * 2).timestamp()),
    }
    return [*map(_kept, events), put(commit, ABSENT), _moved(before, last)]


def _moved(before: int, last: int) -> Write:
    condition = ABSENT if before == 0 else "#place = :before"
    values = {"last": last} if before == 0 else {"last": last, "before": before}
    return update(_NEWEST, "SET #place = :last", condition, **values)


def _kept(event: Event) -> Write:
    key = _key(event)
    expires = int((event.at + EVENTS_KEPT * 2).timestamp())
    item = {"pk": key.pk, "sk": key.sk, "event": json.dumps(_plain(event)), EXPIRES: expires}
    return put(item, ABSENT)


def _key(event: Event) -> Key:
    return Key(events_key(event.topic), event_sk(event.version))


def event_sk(version: int) -> str:
    return joined("event", digits(version))


def _stored(commit: Item) -> list[StoredEvent]:
    """The events of a commit, which has the place of its last one."""
    events = [_event(plain) for plain in json.loads(commit["events"])]
    first = int(commit["sk"]) - len(events) + 1
    return [StoredEvent(place, event) for place, event in enumerate(events, first)]


def _plain(event: Event) -> dict[str, Any]:
    topic = [event.topic.kind, event.topic.id]
    return {**vars(event), "topic": topic, "at": micros(event.at), "payload": dict(event.payload)}


def _event(plain: Mapping[str, Any]) -> Event:
    return Event(**{**plain, "topic": Topic(*plain["topic"]), "at": time_of(plain["at"])})
