"""Which shards of a stream are to be read, from where, in what order; and a bounded round of it.

A reshard closes one or two shards and opens others that go on with their keys. A child is read
after its parents, so that changes of one item stay in order. A parent that the service no longer
lists holds no more records, and counts as read.

Where a shard begins that has no position yet:

- after a parent that has one, or that is to be read now: at its own beginning, whatever ``start``
  says, for it goes on with what is read already;
- else where ``start`` says. LATEST passes over shards that are closed, and an open one is read from
  its tip. Even if nothing is there, the moment is kept as its position (``ShardRange.until``), and
  the next round goes on from that moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from graphlib import TopologicalSorter

from schemas.changes import Block
from schemas.errors import InputError, UsageError
from schemas.streams import Shard, ShardRange, Start, StartKind, StreamAddress, rank
from stores.streams.backoff import Clock, SystemClock, patiently
from stores.streams.port import StreamClient
from transforms.shard_cursor import ShardCursor, ShardStep, lost_block

__all__ = [
    "PACE",
    "Gap",
    "OnGap",
    "RoundPlan",
    "ShardStep",
    "ShardTask",
    "StreamGap",
    "find_gaps",
    "join_ranges",
    "plan_round",
    "read_task",
    "reading_order",
    "shard_count",
    "shared_out",
]

PACE = 0.2
"""Seconds from one GetRecords to the next of a shard: the service allows 5 a second."""

_HORIZON = Start(StartKind.TRIM_HORIZON)


class OnGap(StrEnum):
    """What to do when records may have been lost before they were read."""

    FAIL = "fail"
    SKIP = "skip"


class StreamGap(InputError):
    """A shard's records have expired, or may have, before they were read."""

    code = "stream_gap"


@dataclass(frozen=True)
class Gap:
    """A shard that was read until a moment from which on its records need not be there any more.

    ``horizon`` is the earliest arrival of the records that the stream still keeps. ``is_lost`` says
    that the whole shard is gone.
    """

    source: str
    until: datetime
    horizon: datetime
    is_lost: bool

    def error(self) -> StreamGap:
        return StreamGap(
            f"{self.source}: was read until {_text(self.until)}, but the stream keeps only what "
            f"has arrived since {_text(self.horizon)}{self._lost()}: records in between may be "
            "lost: --on-gap skip goes on with what is left",
            source=self.source,
        )

    def _lost(self) -> str:
        return ", and the shard is gone" if self.is_lost else ""


@dataclass(frozen=True)
class ShardTask:
    """Related shards, to be read one after another by one worker, parents first."""

    steps: tuple[ShardStep, ...]


@dataclass(frozen=True)
class RoundPlan:
    """What to read: tasks that are independent of each other, and gaps that were passed over.

    ``childless`` are shards that were read to their end, and of which no child is listed yet.
    """

    tasks: tuple[ShardTask, ...]
    gaps: tuple[Gap, ...] = ()
    childless: tuple[str, ...] = ()


def plan_round(
    address: StreamAddress,
    shards: Iterable[Shard],
    positions: Mapping[str, ShardRange],
    start: Start,
    now: datetime,
    retention: timedelta,
    on_gap: OnGap = OnGap.FAIL,
) -> RoundPlan:
    """The tasks of a round, one for each group of related shards that are still to be read.

    ``positions`` has, by source, how far each shard was read (see ``join_ranges``); those of other
    streams and files may be among them. Raises ``StreamGap`` if records may be lost, unless
    ``on_gap`` says to skip, and ``UsageError`` for a start that lies ahead.
    """
    if start.moment is not None and start.moment > now:
        raise UsageError(f"start {_text(start.moment)} lies ahead: nothing can be read from there")
    stream = _Stream(address, reading_order(shards), _of_stream(address, positions), start)
    gaps = find_gaps(stream.positions, stream.listed, now - retention)
    if gaps and on_gap is OnGap.FAIL:
        raise gaps[0].error()
    return stream.plan(gaps)


def shard_count(tasks: Iterable[ShardTask]) -> int:
    """How many shards some tasks are about."""
    return sum(len(task.steps) for task in tasks)


def shared_out(tasks: Sequence[ShardTask], count: int) -> list[tuple[ShardTask, ...]]:
    """The tasks in at most ``count`` parts with about equally many shards; none is empty."""
    parts: list[list[ShardTask]] = [[] for _ in range(min(count, len(tasks)))]
    for task in sorted(tasks, key=lambda each: len(each.steps), reverse=True):
        min(parts, key=shard_count).append(task)
    return [tuple(part) for part in parts]


def find_gaps(
    positions: Mapping[str, ShardRange], listed: Mapping[str, Shard], horizon: datetime
) -> tuple[Gap, ...]:
    """The shards of ``positions`` (by id) that may have lost records since they were read."""
    unfinished = sorted((key, each) for key, each in positions.items() if not each.ended)
    return tuple(
        Gap(each.source, each.until, horizon, key not in listed)
        for key, each in unfinished
        if key not in listed or each.until < horizon
    )


def join_ranges(stretches: Iterable[ShardRange]) -> ShardRange:
    """Stretches of one shard as one: from where the first began to where the last one ended."""
    ordered = sorted(stretches, key=lambda each: (rank(each.after), rank(each.last)))
    return reduce(_joined, ordered)


def _joined(first: ShardRange, second: ShardRange) -> ShardRange:
    return ShardRange(
        first.source,
        first.after,
        max(first.last, second.last, key=rank),
        max(first.until, second.until),
        first.ended or second.ended,
    )


@dataclass(frozen=True)
class _Stream:
    """The shards that are listed, parents first, and the positions of shards, by id."""

    address: StreamAddress
    listed: Mapping[str, Shard]
    positions: Mapping[str, ShardRange]
    start: Start

    def plan(self, gaps: tuple[Gap, ...]) -> RoundPlan:
        lost = {gap.source for gap in gaps if gap.is_lost}
        unread = self._unread(bool(lost))
        tasks = [ShardTask((_lost_step(position),)) for position in self._gone(lost)]
        tasks += [ShardTask(tuple(group)) for group in _related(self._steps(unread))]
        return RoundPlan(tuple(tasks), gaps, self._childless())

    def _gone(self, lost: set[str]) -> list[ShardRange]:
        return [each for _, each in sorted(self.positions.items()) if each.source in lost]

    def _unread(self, orphans_continue: bool) -> dict[str, Start]:
        """The shards to be read, and where each begins that has no position."""
        continued = self._continued(orphans_continue)
        starts = {key: _HORIZON if key in continued else self.start for key in self.listed}
        return {
            key: start
            for key, start in starts.items()
            if not self._is_read(key) and not self._is_passed_over(key, start)
        }

    def _continued(self, orphans_continue: bool) -> set[str]:
        """The shards that go on with one that was read before, perhaps over others.

        Once a shard is lost, one whose parents are gone may descend from it.
        """
        continued: set[str] = set()
        for key, shard in self.listed.items():
            gone = shard.parents and not any(parent in self.listed for parent in shard.parents)
            if (orphans_continue and gone) or any(
                parent in self.positions or parent in continued for parent in shard.parents
            ):
                continued.add(key)
        return continued

    def _is_read(self, key: str) -> bool:
        return key in self.positions and self.positions[key].ended

    def _is_passed_over(self, key: str, start: Start) -> bool:
        is_new = key not in self.positions
        return is_new and self.listed[key].is_closed and start.kind is StartKind.LATEST

    def _steps(self, unread: Mapping[str, Start]) -> list[ShardStep]:
        return [self._step(self.listed[key], start, unread) for key, start in unread.items()]

    def _step(self, shard: Shard, start: Start, unread: Mapping[str, Start]) -> ShardStep:
        position = self.positions.get(shard.shard_id)
        return ShardStep(
            shard.shard_id,
            self.address.source(shard.shard_id),
            after=None if position is None else _last_read(position),
            start=start,
            until=None if position is None else position.until,
            parents=tuple(parent for parent in shard.parents if parent in unread),
            is_closed=shard.is_closed,
        )

    def _childless(self) -> tuple[str, ...]:
        parents = {parent for shard in self.listed.values() for parent in shard.parents}
        return tuple(key for key in self.listed if self._is_read(key) and key not in parents)


def reading_order(shards: Iterable[Shard]) -> dict[str, Shard]:
    """Shards by id, parents before their children; otherwise in the order of their ids."""
    by_id = {shard.shard_id: shard for shard in sorted(shards, key=lambda each: each.shard_id)}
    parents = {
        key: [parent for parent in shard.parents if parent in by_id] for key, shard in by_id.items()
    }
    return {key: by_id[key] for key in TopologicalSorter(parents).static_order()}


def _of_stream(
    address: StreamAddress, positions: Mapping[str, ShardRange]
) -> dict[str, ShardRange]:
    prefix = address.source("")
    return {
        source.removeprefix(prefix): position
        for source, position in positions.items()
        if source.startswith(prefix)
    }


def _last_read(position: ShardRange) -> str | None:
    return position.after if position.last is None else position.last


def _lost_step(position: ShardRange) -> ShardStep:
    return ShardStep(
        position.source.rpartition("/")[2],
        position.source,
        _last_read(position),
        _HORIZON,
        position.until,
        is_lost=True,
    )


def _related(steps: Sequence[ShardStep]) -> list[list[ShardStep]]:
    """The steps in groups that have no parents in common, each in the order they came in."""
    group: dict[str, str] = {}
    members: dict[str, list[str]] = defaultdict(list)
    for step in steps:
        joined = {group[parent] for parent in step.parents}
        ids = [step.shard_id, *(key for each in joined for key in members.pop(each))]
        group.update(dict.fromkeys(ids, step.shard_id))
        members[step.shard_id] = ids
    groups: dict[str, list[ShardStep]] = defaultdict(list)
    for step in steps:
        groups[group[step.shard_id]].append(step)
    return list(groups.values())


def read_task(
    client: StreamClient, task: ShardTask, until: datetime, clock: Clock | None = None
) -> Iterator[Block]:
    """The blocks of a task's shards, up to ``until``, by this machine's clock.

    A shard is read to its end; else until nothing more is there, or until records come that
    arrived after ``until``. Its children are read if it has ended. The last block of a shard may
    have no documents, and says how far it was read. Raises what the client raises: for a
    ``StoreUnavailable``, attempts were made over a while.
    """
    clock = SystemClock() if clock is None else clock
    finished: set[str] = set()
    for step in task.steps:
        if step.is_lost:
            yield lost_block(step)
        elif finished.issuperset(step.parents):
            cursor = ShardCursor(client, step)
            yield from _read_shard(cursor, until, clock)
            if cursor.ended:
                finished.add(step.shard_id)


def _read_shard(cursor: ShardCursor, until: datetime, clock: Clock) -> Iterator[Block]:
    while True:
        asked = clock.now()
        block = patiently(cursor.read, clock)
        is_done = _is_done(cursor, block, asked, until)
        if block is not None:
            yield block
        elif is_done:
            yield cursor.rest()
        if is_done:
            return
        clock.sleep(max(0.0, PACE - (clock.now() - asked).total_seconds()))


def _is_done(cursor: ShardCursor, block: Block | None, asked: datetime, until: datetime) -> bool:
    is_past = block is not None and block.arrived is not None and block.arrived > until
    # The end of a closed shard may take one more answer to be told.
    is_ending = cursor.is_closed and block is not None
    has_caught_up = cursor.caught_up and asked >= until and not is_ending
    return cursor.ended or is_past or has_caught_up


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
