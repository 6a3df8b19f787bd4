"""A stream as an unbounded source of Beam: every shard, in order, with checkpoints and a watermark.

The element is a block: one answer of the service. Its timestamp is the arrival of its last record.
A reader hands on what threads have read ahead, so that it never blocks a bundle. It holds them for
one bundle only: between bundles they are parked (``transforms/parked.py``).

Several sub-sources share a stream by lineage: each has the shards it was given at the split, and
their children after. A child that goes on with two shards belongs to the sub-source of the first,
and waits until the delivery log says that the other, which may be elsewhere, was read to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from apache_beam import coders
from apache_beam.io.unbounded_source import UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from schemas.changes import Block
from schemas.streams import Shard, ShardRange, Start, StreamAddress
from stores.streams import StreamClient, open_stream
from stores.streams.backoff import Clock, SystemClock, patiently
from transforms.checkpoint import ShardMark, StreamMark, StreamMarkCoder
from transforms.parked import PARKING, Parking
from transforms.read_ahead import ReadAhead
from transforms.readings import Beginning, IsFinished, child_step
from transforms.shards import (
    OnGap,
    RoundPlan,
    ShardStep,
    find_gaps,
    plan_round,
    shard_count,
    shared_out,
)

THREADS = 8
"""The most threads of a part, and so the answers that it may be waiting for at once."""


@dataclass(frozen=True)
class KinesisSource(UnboundedSource):
    """A stream, or the part of one that a split has made.

    ``positions`` says, by source, how far the delivery log has each shard; ``start`` is for a
    stream that it does not have. ``is_finished`` says by source whether the log has a shard to its
    end; it is called in threads, and without it a source is not split. ``connect`` makes a client.
    Both have to be picklable.

    A reader raises what the client raises, and ``StreamGap`` if it resumes after records have
    expired that it had not read: begin again then with the log's positions and ``on_gap``.
    """

    address: StreamAddress
    start: Start = field(default_factory=Start)
    positions: Mapping[str, ShardRange] = field(default_factory=dict)
    on_gap: OnGap = OnGap.FAIL
    is_finished: IsFinished | None = None
    connect: Callable[[StreamAddress], StreamClient] = open_stream
    part: RoundPlan | None = None

    def split(self, desired_num_splits: int, options: Any = None) -> list[KinesisSource]:
        """At most so many parts, each with whole groups of related shards."""
        del options
        client, clock = self.connect(self.address), SystemClock()
        plan = patiently(lambda: self._plan(client, client.list_shards(), clock), clock)
        count = 1 if self.is_finished is None else desired_num_splits
        return [replace(self, part=part, positions={}) for part in _parts(plan, count)]

    def create_reader(self, options: Any, checkpoint_mark: StreamMark | None) -> KinesisReader:
        del options
        return KinesisReader(self, checkpoint_mark)

    @property
    def identity(self) -> Hashable:
        """Equal for equal parts, however often they went from process to process."""
        known = frozenset(self.positions.items())
        return self.address, self.start, known, self.on_gap, self.connect, self.part

    @property
    def threads(self) -> int:
        """As many as the part can use: one a shard, and one to list them."""
        if self.part is None:
            return THREADS
        return min(THREADS, shard_count(self.part.tasks) + 1)

    def read_ahead(self, mark: StreamMark | None, clock: Clock) -> ReadAhead:
        """What a reader that resumes at ``mark`` takes its blocks from. Does no I/O yet."""
        client = self.connect(self.address)
        return ReadAhead(client, lambda: self._begin(client, mark, clock), self.is_finished, clock)

    def get_checkpoint_mark_coder(self) -> StreamMarkCoder:
        return StreamMarkCoder()

    def default_output_coder(self) -> Any:
        return coders.registry.get_coder(Block)

    def _begin(self, client: StreamClient, mark: StreamMark | None, clock: Clock) -> Beginning:
        shards = client.list_shards()
        listed = {shard.shard_id: shard for shard in shards}
        if mark is not None and mark.shards:
            _check_gaps(client, mark, listed, clock)
            resumed = (_resumed(each, listed) for each in mark.shards)
            return Beginning(tuple(zip(resumed, mark.shards, strict=True)), listed)
        plan = self._plan(client, shards, clock) if self.part is None else self.part
        return Beginning(_planned(plan, self.address), listed)

    def _plan(self, client: StreamClient, shards: Sequence[Shard], clock: Clock) -> RoundPlan:
        return plan_round(
            self.address,
            shards,
            self.positions,
            self.start,
            clock.now(),
            client.retention(),
            self.on_gap,
        )


def _parts(plan: RoundPlan, count: int) -> list[RoundPlan]:
    """The plan in at most ``count`` parts with about equally many shards; at least one."""
    parts = shared_out(plan.tasks, max(1, count)) or [()]
    return [
        RoundPlan(own, childless=plan.childless[place :: len(parts)])
        for place, own in enumerate(parts)
    ]


def _planned(plan: RoundPlan, address: StreamAddress) -> tuple[tuple[ShardStep, ShardMark], ...]:
    steps = [step for task in plan.tasks for step in task.steps]
    fresh = [(step, _first_mark(step)) for step in steps]
    read = [_step(key, address.source(key)) for key in plan.childless]
    return (*fresh, *((step, ShardMark(step.source, ended=True)) for step in read))


def _first_mark(step: ShardStep) -> ShardMark:
    is_new = step.until is None
    return ShardMark(step.source, step.after, step.until, start=step.start if is_new else None)


def _resumed(mark: ShardMark, listed: Mapping[str, Shard]) -> ShardStep:
    """The step by which a shard goes on from a checkpoint."""
    key = _shard_id(mark.source)
    if mark.start is None:
        is_closed = key in listed and listed[key].is_closed
        return replace(
            _step(key, mark.source), after=mark.sequence, until=mark.until, is_closed=is_closed
        )
    return replace(child_step(listed[key], mark.source), start=mark.start)


def _step(shard_id: str, source: str) -> ShardStep:
    return ShardStep(shard_id, source, None, Start())


def _check_gaps(
    client: StreamClient, mark: StreamMark, listed: Mapping[str, Shard], clock: Clock
) -> None:
    horizon = clock.now() - client.retention()
    positions = {_shard_id(each.source): _position(each, horizon) for each in mark.shards}
    for gap in find_gaps(positions, listed, horizon):
        raise gap.error()


def _position(mark: ShardMark, horizon: datetime) -> ShardRange:
    """A checkpoint's shard as the log would have it; one that was never read is lost only whole."""
    until = horizon if mark.until is None else mark.until
    return ShardRange(mark.source, None, mark.sequence, until, mark.ended)


def _shard_id(source: str) -> str:
    return source.rpartition("/")[2]


class KinesisReader(UnboundedReader):
    """Hands on blocks of a part, from ``mark``.

    What reads ahead is held from a bundle's first ``start`` or ``advance`` to its checkpoint, and
    parked then. So a reader that the engine keeps can go on in the next bundle, and so can another
    one that it makes from the mark instead. ``close`` in the midst of a bundle ends the threads:
    they are further than any mark says.
    """

    def __init__(
        self, part: KinesisSource, mark: StreamMark | None, parking: Parking = PARKING
    ) -> None:
        self._part = part
        self._mark = mark or StreamMark()
        self._parking = parking
        self._ahead: ReadAhead | None = None
        self._current: Block | None = None
        self._watermark = MIN_TIMESTAMP

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        if self._ahead is None:
            self._ahead = self._taken_back() or self._begun()
        self._current = self._ahead.take()
        return self._current is not None

    def _taken_back(self) -> ReadAhead | None:
        return self._parking.take(self._part.identity, self._mark)

    def _begun(self) -> ReadAhead:
        ahead = self._part.read_ahead(self._mark, SystemClock())
        ahead.start(self._part.threads)
        return ahead

    def get_current(self) -> Block:
        if self._current is None:
            raise ValueError("there is no current block")
        return self._current

    def get_current_timestamp(self) -> Timestamp:
        block = self.get_current()
        if block.arrived is not None:
            return _timestamp(block.arrived)
        assert block.stretch is not None  # every block of a stream has one
        return _timestamp(block.stretch.until)

    def get_watermark(self) -> Timestamp:
        """The time before which no record will arrive; never goes back."""
        if self._ahead is not None:
            self._watermark = max(self._watermark, _watermark(self._ahead))
        return self._watermark

    def get_checkpoint_mark(self) -> StreamMark:
        """Where the next bundle goes on. Ends this one: the watermark stays until ``advance``."""
        if self._ahead is not None:
            self.get_watermark()
            self._mark = self._ahead.mark() or self._mark
            self._put_away(self._ahead)
            self._ahead = None
        return self._mark

    def _put_away(self, ahead: ReadAhead) -> None:
        # The mark of a part that is over may be empty, and so that of a part not yet begun.
        if ahead.is_over:
            ahead.close()
        else:
            self._parking.park(self._part.identity, self._mark, ahead)

    def close(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None


def _watermark(ahead: ReadAhead) -> Timestamp:
    if ahead.is_over:
        return MAX_TIMESTAMP
    reached = ahead.reached()
    return MIN_TIMESTAMP if reached is None else _timestamp(reached)


def _timestamp(moment: datetime) -> Timestamp:
    return Timestamp.from_utc_datetime(moment)
