"""The shards that one reader of a stream has: what each waits for, and how far each has come.

Shards come and go as the stream is resharded. A child belongs to the reader that has its first
parent, and is read once all its parents have been, whoever has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.streams import Shard, ShardRange, Start, StartKind
from stores.streams.port import StreamClient
from transforms.checkpoint import ShardMark, StreamMark, stream_mark
from transforms.shard_cursor import ShardCursor, ShardStep
from transforms.shards import PACE, reading_order

Listing = Mapping[str, Shard]
"""The shards that the service lists, by id."""


@dataclass(frozen=True)
class Beginning:
    """What a reader begins with: a step and how far it has come for each of its shards."""

    shards: tuple[tuple[ShardStep, ShardMark], ...]
    listed: Listing


@dataclass
class Reading:
    """A shard being read.

    ``mark`` says how far it has been handed on, and ``floor`` before which moment nothing will
    come as long as nothing has been. ``waiting`` counts blocks that were read ahead; ``is_read``
    says that they are the last ones. Intervals and ``due`` are in seconds of the clock.
    """

    step: ShardStep
    cursor: ShardCursor
    mark: ShardMark
    floor: datetime | None
    waiting: int = 0
    failures: int = 0
    interval: float = PACE
    due: float = 0.0
    told_at: float = float("-inf")
    is_read: bool = False
    is_started: bool = False
    is_scheduled: bool = False
    has_no_heirs: bool = False

    @property
    def is_over(self) -> bool:
        """Handed on to its end, and no children of it are yet to be found."""
        return self.mark.ended and self.has_no_heirs

    @property
    def reached(self) -> datetime | None:
        return self.floor if self.mark.until is None else self.mark.until

    def hand_on(self, stretch: ShardRange) -> None:
        """Count one of its blocks as handed on."""
        last = stretch.after if stretch.last is None else stretch.last
        self.mark = ShardMark(self.mark.source, last, stretch.until, stretch.ended)
        self.waiting -= 1

    def catch_up(self) -> None:
        """Count as handed on what was found to be nothing."""
        self.mark = ShardMark(self.mark.source, self.cursor.sequence, self.cursor.until)


class Readings:
    """All shards of one reader. Its methods do no I/O, and are not safe for threads."""

    def __init__(self, client: StreamClient, beginning: Beginning) -> None:
        self._client = client
        self._by_id: dict[str, Reading] = {}
        for step, mark in beginning.shards:
            self._add(step, mark, _floor(mark))

    def __len__(self) -> int:
        return len(self._by_id)

    def __getitem__(self, shard_id: str) -> Reading:
        return self._by_id[shard_id]

    def _add(self, step: ShardStep, mark: ShardMark, floor: datetime | None) -> None:
        reading = Reading(step, ShardCursor(self._client, step), mark, floor)
        reading.is_read = reading.is_started = mark.ended
        self._by_id[step.shard_id] = reading

    def adopt(self, listed: Listing) -> None:
        """Take up the children of our shards, and let go of those that are over and expired."""
        self._note_closed(listed)
        self._note_heirs(listed)
        for shard in reading_order(listed.values()).values():
            if shard.shard_id not in self._by_id and self._is_heir(shard):
                self._add_child(shard)
        expired = [key for key, each in self._by_id.items() if each.is_over and key not in listed]
        for key in expired:
            del self._by_id[key]

    def _note_closed(self, listed: Listing) -> None:
        for key in self._by_id.keys() & listed.keys():
            self._by_id[key].cursor.is_closed = listed[key].is_closed

    def _note_heirs(self, listed: Listing) -> None:
        """Children are listed before their parents expire: those that are missing will not come."""
        parents = {parent for shard in listed.values() for parent in shard.parents}
        for key, reading in self._by_id.items():
            reading.has_no_heirs = key in parents or key not in listed

    def _is_heir(self, shard: Shard) -> bool:
        return any(parent in self._by_id for parent in shard.parents[:1])

    def _add_child(self, shard: Shard) -> None:
        source = self._client.address.source(shard.shard_id)
        step = child_step(shard, source)
        mark = ShardMark(source, start=step.start)
        self._add(step, mark, self._by_id[shard.parents[0]].reached)

    def awaited_elsewhere(self, listed: Listing) -> set[str]:
        """The parents that shards of ours wait for, and that belong to another reader."""
        parents = {key for each in self._not_started() for key in each.step.parents}
        return (parents & listed.keys()) - self._by_id.keys()

    def startable(self, awaited: Iterable[str]) -> list[Reading]:
        """The shards that can be read now; ``awaited`` are unfinished shards of other readers."""
        unfinished = {key for key, each in self._by_id.items() if not each.is_read}
        unfinished.update(awaited)
        return [each for each in self._not_started() if unfinished.isdisjoint(each.step.parents)]

    def _not_started(self) -> list[Reading]:
        return [each for each in self._by_id.values() if not each.is_started]

    @property
    def is_awaiting(self) -> bool:
        """Whether children are yet to be found, or parents yet to be finished."""
        orphaned = any(each.is_read and not each.has_no_heirs for each in self._by_id.values())
        return orphaned or bool(self._not_started())

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to read and never will be."""
        return all(each.is_over for each in self._by_id.values())

    def reached(self) -> datetime | None:
        """Before which moment no record will come any more; None if that cannot be said."""
        moments = [each.reached for each in self._by_id.values() if not each.is_over]
        known = [moment for moment in moments if moment is not None]
        return min(known, default=None) if len(known) == len(moments) else None

    def mark(self) -> StreamMark:
        return stream_mark(each.mark for each in self._by_id.values())


def _floor(mark: ShardMark) -> datetime | None:
    return mark.until if mark.start is None else mark.start.moment


def child_step(shard: Shard, source: str) -> ShardStep:
    """The step of a shard that goes on with another one: all of it, after all its parents."""
    start = Start(StartKind.TRIM_HORIZON)
    return ShardStep(
        shard.shard_id, source, None, start, None, shard.parents, is_closed=shard.is_closed
    )


IsFinished = Callable[[str], bool]
"""Whether a shard, by its source, has been read to its end; asked of the delivery log."""
