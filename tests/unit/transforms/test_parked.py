"""Readers that an engine makes anew for every bundle go on with what was read ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.changes import Block
from schemas.errors import AccessDenied
from stores.streams.backoff import SystemClock
from tests.unit.transforms.fake_stream import ADDRESS, FakeClock, FakeStream, data_of
from tests.waiting import wait_until
from transforms.checkpoint import ShardMark, StreamMark
from transforms.kinesis import KinesisReader, KinesisSource
from transforms.parked import IDLE_SECONDS, Parking
from transforms.read_ahead import LIST_SECONDS, ReadAhead


class CountingStream(FakeStream):
    """A stream that counts how often its shards are listed."""

    def __init__(self, page: int = 3) -> None:
        super().__init__(FakeClock(), page)
        self.listings = 0

    def list_shards(self) -> list:
        self.listings += 1
        return super().list_shards()


@dataclass
class Engine:
    """An engine that makes a reader for every bundle, of a source whose threads the test plays."""

    stream: CountingStream = field(default_factory=CountingStream)
    mark: StreamMark = field(default_factory=StreamMark)
    begun: list[ReadAhead] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parking = Parking(self.stream.clock)
        self.source = KinesisSource(ADDRESS, connect=lambda _: self.stream)

    def bundle(self, most: int = 1000, seconds: float = 0.25) -> list[bytes]:
        """What a bundle of so many blocks hands on; its mark is what the next begins with."""
        self._park_if_nothing_stands()
        reader, taken = self._reader(), list[Block]()
        is_there = reader.start()
        self._fetch(seconds)
        is_there = is_there or reader.advance()
        while is_there:
            taken.append(reader.get_current())
            is_there = len(taken) < most and reader.advance()
        self.mark = self._stored(reader.get_checkpoint_mark())
        return data_of(taken)

    def _reader(self) -> KinesisReader:
        return KinesisReader(self.source, self.mark, self.parking)

    def _park_if_nothing_stands(self) -> None:
        """Begin a read-ahead as a reader would, but without threads."""
        ahead = self.parking.take(self.source.identity, self.mark)
        if ahead is None:
            ahead = self.source.read_ahead(self.mark, self.stream.clock)
            self.begun.append(ahead)
        self.parking.park(self.source.identity, self.mark, ahead)

    def _fetch(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            while (job := self.begun[-1].due_job()) is not None:
                self.begun[-1].do(job)
            self.stream.clock.sleep(0.05)

    def _stored(self, mark: StreamMark) -> StreamMark:
        coder = self.source.get_checkpoint_mark_coder()
        return coder.decode(coder.encode(mark))


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_many_bundles_share_one_listing_and_one_iterator() -> None:
    engine = Engine()
    for number in range(100):
        engine.stream.put("s0", b"%d" % number)
        engine.bundle()
    assert len(engine.begun) == len(engine.stream.iterators) == 1
    assert engine.stream.listings <= 2 + 100 * 0.25 / LIST_SECONDS


def test_what_was_read_ahead_is_handed_on_by_the_next_reader() -> None:
    engine = Engine(CountingStream(page=1))
    engine.stream.put("s0", *numbered(4))
    assert [engine.bundle(most=1, seconds=1) for _ in range(4)] == [[each] for each in numbered(4)]
    assert len(engine.begun) == 1


def test_what_is_over_is_not_handed_to_a_reader_that_begins() -> None:
    engine = Engine()
    engine.stream.put("s0", b"1")
    engine.stream.close_for_good("s0")
    engine.bundle(seconds=1)
    engine.stream.expire("s0")
    engine.bundle(seconds=LIST_SECONDS * 2)
    assert engine.mark == StreamMark()  # as if nothing had been read yet
    assert engine.parking.take(engine.source.identity, StreamMark()) is None


def test_an_older_mark_begins_again_at_its_place() -> None:
    engine = Engine()
    engine.stream.put("s0", b"1")
    engine.bundle()
    checkpoint = engine.mark
    engine.stream.put("s0", b"2")
    assert engine.bundle(seconds=1) == [b"2"]
    engine.mark = checkpoint
    assert engine.bundle(seconds=1) == [b"2"]
    assert len(engine.begun) == 2


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=12))
def test_every_record_comes_after_the_mark_it_is_asked_from(steps: list[tuple[int, bool]]) -> None:
    """Whatever bundles are lost, what is handed on from a mark is what followed it before."""
    engine = Engine(CountingStream(page=2))
    engine.stream.put("s0", *numbered(60))
    kept: list[bytes] = []
    for most, is_lost in steps:
        before = engine.mark
        found = engine.bundle(most, seconds=1)
        engine.mark, kept = (before, kept) if is_lost else (engine.mark, kept + found)
    assert kept == numbered(60)[: len(kept)]


def test_a_reader_that_the_engine_keeps_goes_on_after_its_checkpoint() -> None:
    engine = Engine()
    engine.bundle()
    reader = engine._reader()
    for number in numbered(3):
        engine.stream.put("s0", number)
        engine._fetch(1)
        assert reader.advance()
        assert reader.get_current().documents == [number]
        reader.get_checkpoint_mark()
    assert len(engine.begun) == 1


def test_a_reader_closed_in_the_midst_of_a_bundle_leaves_nothing_to_go_on_with() -> None:
    engine = Engine()
    engine.stream.put("s0", b"1")
    engine._park_if_nothing_stands()
    lost = engine._reader()
    lost.start()
    engine._fetch(1)
    assert lost.advance()
    lost.close()
    assert engine.bundle() == [b"1"]
    assert len(engine.begun) == 2


def test_the_watermark_stays_from_the_checkpoint_on() -> None:
    engine = Engine()
    engine.bundle()
    reader = engine._reader()
    reader.start()
    engine._fetch(5)
    reader.get_checkpoint_mark()
    at_checkpoint = reader.get_watermark()
    engine._fetch(5)
    assert reader.get_watermark() == at_checkpoint


def test_what_ended_the_reading_ends_every_reader_until_it_is_begun_again() -> None:
    engine = Engine()
    engine.stream.list_faults = [AccessDenied("no")]
    with pytest.raises(AccessDenied):
        engine.bundle()


# --- what is closed


class Closable(ReadAhead):
    """Only that it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def parking(clock: FakeClock) -> Iterator[Parking]:
    made = Parking(clock, most=2)
    yield made
    made.close()


HERE, THERE = (StreamMark((ShardMark("s0", sequence),)) for sequence in "12")


def test_what_stands_at_the_mark_is_taken_once(parking: Parking) -> None:
    ahead = Closable()
    parking.park("part", HERE, ahead)
    assert parking.take("part", HERE) is ahead
    assert parking.take("part", HERE) is None
    assert not ahead.is_closed


def test_another_mark_of_the_same_part_closes_what_is_parked(parking: Parking) -> None:
    ahead = Closable()
    parking.park("part", HERE, ahead)
    assert parking.take("part", THERE) is None
    assert ahead.is_closed


def test_parts_do_not_disturb_each_other(parking: Parking) -> None:
    ahead = Closable()
    parking.park("part", HERE, ahead)
    assert parking.take("other", HERE) is None
    assert parking.take("part", HERE) is ahead


def test_of_two_that_are_parked_for_a_part_the_first_is_closed(parking: Parking) -> None:
    first, second = Closable(), Closable()
    parking.park("part", HERE, first)
    parking.park("part", THERE, second)
    assert (first.is_closed, second.is_closed) == (True, False)


def test_of_too_many_those_parked_longest_ago_are_closed(parking: Parking) -> None:
    parked = [Closable() for _ in range(4)]
    for number, ahead in enumerate(parked):
        parking.park(number, HERE, ahead)
    assert [ahead.is_closed for ahead in parked] == [True, True, False, False]


def test_nothing_stays_for_longer_than_a_minute(parking: Parking, clock: FakeClock) -> None:
    ahead = Closable()
    parking.park("part", HERE, ahead)
    clock.sleep(IDLE_SECONDS - 1)
    parking.sweep()
    assert not ahead.is_closed
    clock.sleep(1)
    parking.sweep()
    assert ahead.is_closed


def test_the_sweep_comes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.parked.IDLE_SECONDS", 0.05)
    ahead = Closable()
    Parking(SystemClock()).park("part", HERE, ahead)
    wait_until(lambda: ahead.is_closed)


def test_the_end_closes_everything(parking: Parking) -> None:
    ahead = Closable()
    parking.park("part", HERE, ahead)
    parking.close()
    assert ahead.is_closed


def test_threads_that_are_closed_while_parked_end() -> None:
    stream = FakeStream(FakeClock())
    parking = Parking(stream.clock)
    before = threading.active_count()
    reader = KinesisReader(KinesisSource(ADDRESS, connect=lambda _: stream), None, parking)
    reader.start()
    reader.get_checkpoint_mark()
    assert threading.active_count() > before
    parking.close()
    wait_until(lambda: threading.active_count() <= before)
