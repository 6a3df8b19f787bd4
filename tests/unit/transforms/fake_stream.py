"""A stream in memory that behaves as the service documents, and a clock that only moves when told.

Its iterators expire, its answers hold few records, and what is closed says so only once it is read
to the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from schemas.changes import Block
from schemas.errors import LetheError, StoreUnavailable
from schemas.streams import Shard, ShardRange, Start, StartKind, StreamAddress
from stores.streams.port import Answer, IteratorExpired
from transforms.shards import join_ranges

ADDRESS = StreamAddress("changes", "eu-west-1")
BEGIN = datetime(2026, 1, 2, tzinfo=UTC)
BUSY = StoreUnavailable("busy")
LAST_HASH = 2**128 - 1
RETENTION = timedelta(hours=24)


class FakeClock:
    def __init__(self) -> None:
        self.elapsed = 0.0

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    def sleep(self, seconds: float) -> None:
        self.elapsed = round(self.elapsed + seconds, 6)


@dataclass
class _Stored:
    shard: Shard
    records: list[tuple[int, bytes, datetime]] = field(default_factory=list)


class FakeStream:
    """A stream of one shard ``s0`` at first. Each answer holds at most ``page`` records.

    With ``gives_no_end`` it does what emulators do, and gives closed shards iterators for ever.
    """

    address = ADDRESS

    def __init__(self, clock: FakeClock, page: int = 3, shards: int = 1) -> None:
        self.clock, self.page = clock, page
        self.gives_no_end = False
        self.faults: dict[str, list[LetheError]] = {}
        self.list_faults: list[LetheError] = []
        self.asked: list[tuple[str, float]] = []
        self.iterators: list[tuple[str, str | None, Start]] = []
        self._sequence = 0
        self._stored: dict[str, _Stored] = {}
        width = (LAST_HASH + 1) // shards
        for place in range(shards):
            self._open((), place * width, (place + 1) * width - 1)

    # --- what happens to it

    def put(self, shard_id: str, *data: bytes) -> None:
        for each in data:
            self._sequence += 1
            self._stored[shard_id].records.append((self._sequence, each, self.clock.now()))

    def split(self, shard_id: str) -> tuple[str, str]:
        shard = self._close(shard_id)
        middle = (shard.first_hash + shard.last_hash) // 2
        left = self._open((shard_id,), shard.first_hash, middle)
        return left, self._open((shard_id,), middle + 1, shard.last_hash)

    def merge(self, left: str, right: str) -> str:
        first, second = self._close(left), self._close(right)
        return self._open((left, right), first.first_hash, second.last_hash)

    def expire(self, shard_id: str) -> None:
        del self._stored[shard_id]

    def close_for_good(self, shard_id: str) -> None:
        """What no service does: close a shard without a child."""
        self._close(shard_id)

    @property
    def open_shards(self) -> list[str]:
        return [key for key, stored in self._stored.items() if not stored.shard.is_closed]

    def _open(self, parents: tuple[str, ...], first: int, last: int) -> str:
        shard_id = f"s{len(self._stored)}"
        self._sequence += 1
        shard = Shard(shard_id, parents, first, last, str(self._sequence))
        self._stored[shard_id] = _Stored(shard)
        return shard_id

    def _close(self, shard_id: str) -> Shard:
        stored = self._stored[shard_id]
        self._sequence += 1
        stored.shard = replace(stored.shard, last_sequence=str(self._sequence))
        return stored.shard

    # --- what the port asks for

    def list_shards(self) -> list[Shard]:
        if self.list_faults:
            raise self.list_faults.pop(0)
        return [stored.shard for stored in self._stored.values()]

    def retention(self) -> timedelta:
        return RETENTION

    def iterator(self, shard_id: str, after: str | None, start: Start) -> str:
        self.iterators.append((shard_id, after, start))
        return self._iterator(shard_id, self._place(self._stored[shard_id], after, start))

    def read(self, iterator: str) -> Answer:
        shard_id, place, issued = iterator.split("/")
        self.asked.append((shard_id, self.clock.elapsed))
        if self.faults.get(shard_id):
            raise self.faults[shard_id].pop(0)
        if self.clock.elapsed - float(issued) > 300:
            raise IteratorExpired("expired")
        return self._answer(self._stored[shard_id], int(place))

    def _place(self, stored: _Stored, after: str | None, start: Start) -> int:
        if after is not None:
            return sum(sequence <= int(after) for sequence, _, _ in stored.records)
        if start.kind is StartKind.LATEST:
            return len(stored.records)
        moment = start.moment
        return 0 if moment is None else sum(arrived < moment for _, _, arrived in stored.records)

    def _iterator(self, shard_id: str, place: int) -> str:
        return f"{shard_id}/{place}/{self.clock.elapsed}"

    def _answer(self, stored: _Stored, place: int) -> Answer:
        found = stored.records[place : place + self.page]
        following = place + len(found)
        is_end = following == len(stored.records)
        is_over = is_end and stored.shard.is_closed and not self.gives_no_end
        return Answer(
            documents=[data for _, data, _ in found],
            sequences=tuple(str(sequence) for sequence, _, _ in found),
            arrived=found[-1][2] if found else None,
            iterator=None if is_over else self._iterator(stored.shard.shard_id, following),
            behind=0 if is_end else 1000,
            answered=self.clock.now(),
        )


def data_of(blocks: Iterable[Block]) -> list[bytes]:
    return [document for block in blocks for document in block.documents]


def positions_of(blocks: Iterable[Block]) -> dict[str, ShardRange]:
    """What the delivery log would hold once these blocks are delivered."""
    stretches: dict[str, list[ShardRange]] = {}
    for block in blocks:
        assert block.stretch is not None
        stretches.setdefault(block.source, []).append(block.stretch)
    return {source: join_ranges(each) for source, each in stretches.items()}
