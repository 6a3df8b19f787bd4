"""The unbounded source: order, checkpoints, watermark, pace and lineage, without real time."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from schemas.changes import Block
from schemas.errors import AccessDenied, InputError, StoreUnavailable
from schemas.streams import ShardRange, Start, StartKind, StreamAddress
from stores.streams.backoff import ATTEMPTS
from tests.unit.transforms.fake_stream import (
    ADDRESS,
    BEGIN,
    BUSY,
    RETENTION,
    FakeClock,
    FakeStream,
    data_of,
    positions_of,
)
from tests.waiting import wait_until
from transforms.checkpoint import ShardMark, StreamMark, StreamMarkCoder, stream_mark
from transforms.kinesis import KinesisReader, KinesisSource
from transforms.parked import Parking
from transforms.read_ahead import (
    IDLE_SECONDS,
    LIST_SECONDS,
    READ_AHEAD_BYTES,
    TELL_SECONDS,
    ReadAhead,
)
from transforms.shards import StreamGap

LATEST = Start(StartKind.LATEST)
STORED = (
    b'{"version":1,"shards":[{"source":"kinesis://eu-west-1/changes/s0","sequence":"7",'
    b'"until":"2026-01-02T00:00:00Z","ended":true,"start":null},'
    b'{"source":"kinesis://eu-west-1/changes/s1","sequence":null,"until":null,"ended":false,'
    b'"start":{"kind":"LATEST","moment":null}}]}'
)
"""A checkpoint as the first version wrote it."""


def at(seconds: float) -> Timestamp:
    return Timestamp.from_utc_datetime(BEGIN + timedelta(seconds=seconds))


@dataclass
class Reading:
    """A source's reader, whose threads' work is done by the test, when the clock says so."""

    stream: FakeStream
    clock: FakeClock
    source: KinesisSource
    mark: StreamMark | None = None
    taken: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ahead: ReadAhead = self.source.read_ahead(self.mark, self.clock)
        parking = Parking(self.clock)
        parking.park(self.source.identity, self.mark or StreamMark(), self.ahead)
        self.reader = KinesisReader(self.source, self.mark, parking)
        self.reader.start()

    def fetch(self, seconds: float = 0.0) -> None:
        """Do what the threads would do in the next so many seconds."""
        end = self.clock.elapsed + seconds
        while True:
            while (job := self.ahead.due_job()) is not None:
                self.ahead.do(job)
            if self.clock.elapsed >= end:
                return
            self.clock.sleep(0.05)

    def drain(self, most: int = 1000) -> list[bytes]:
        """Take what is there, up to so many blocks."""
        before = len(self.taken)
        while len(self.taken) - before < most and self.reader.advance():
            self.taken.append(self.reader.get_current())
        return data_of(self.taken[before:])

    def run(self, seconds: float) -> list[bytes]:
        """Fetch and take for a while."""
        found = []
        for _ in range(round(seconds / 0.25)):
            self.fetch(0.25)
            found += self.drain()
        return found

    def restart(self) -> Reading:
        """Another reader, from this one's checkpoint as it is stored."""
        coder = self.source.get_checkpoint_mark_coder()
        stored = coder.decode(coder.encode(self.reader.get_checkpoint_mark()))
        return Reading(self.stream, self.clock, self.source, stored)


def reading(
    stream: FakeStream | None = None, start: Start | None = None, **more: object
) -> Reading:
    clock = FakeClock() if stream is None else stream.clock
    stream = FakeStream(clock) if stream is None else stream
    source = KinesisSource(ADDRESS, start or Start(), connect=lambda _: stream, **more)  # type: ignore[arg-type]
    return Reading(stream, clock, source)


def parts_of(stream: FakeStream, count: int, is_finished: Callable[[str], bool]) -> list[Reading]:
    source = KinesisSource(ADDRESS, connect=lambda _: stream, is_finished=is_finished)
    return [Reading(stream, stream.clock, part) for part in source.split(count)]


# --- order


def test_nothing_is_there_before_the_threads_have_worked() -> None:
    assert not reading().reader.advance()


def test_records_come_in_order() -> None:
    run = reading()
    run.stream.put("s0", b"1", b"2", b"3", b"4", b"5")
    assert run.run(2) == [b"1", b"2", b"3", b"4", b"5"]


def test_children_come_after_their_parents() -> None:
    run = reading()
    run.stream.put("s0", b"1")
    left, right = run.stream.split("s0")
    run.stream.put(left, b"2")
    merged = run.stream.merge(left, right)
    run.stream.put(merged, b"3")
    assert run.run(5) == [b"1", b"2", b"3"]


def test_child_that_appears_while_reading_is_found_and_read_from_its_beginning() -> None:
    run = reading(start=LATEST)
    run.run(2)
    left, _ = run.stream.split("s0")
    run.stream.put(left, b"1")
    assert run.run(5) == [b"1"]


def test_end_of_a_shard_is_told() -> None:
    run = reading()
    run.stream.put("s0", b"1")
    run.run(2)
    run.stream.split("s0")
    run.run(5)
    assert positions_of(run.taken)[ADDRESS.source("s0")].ended
    ended = run.reader.get_checkpoint_mark().shards[0]
    assert (ended.sequence, ended.ended) == ("2", True)


@given(st.data())
def test_every_record_comes_once_whenever_the_reader_is_restarted(data: st.DataObject) -> None:
    run, put, got = reading(FakeStream(FakeClock(), page=2)), [], []
    for number in range(data.draw(st.integers(1, 10))):
        event = data.draw(st.sampled_from(["put", "split", "merge", "take", "restart", "fetch"]))
        opened = run.stream.open_shards
        if event == "put":
            put.append(str(number).encode())
            run.stream.put(data.draw(st.sampled_from(opened)), put[-1])
        elif event == "split":
            run.stream.split(data.draw(st.sampled_from(opened)))
        elif event == "merge" and len(opened) > 1:
            run.stream.merge(*data.draw(st.permutations(opened))[:2])
        elif event == "take":
            got += run.drain(data.draw(st.integers(1, 3)))
        elif event == "restart":
            run = run.restart()
        else:
            run.fetch(data.draw(st.sampled_from([0.1, 1.0, 40.0])))
    for _ in range(8):
        got += run.run(LIST_SECONDS / 4)
    assert sorted(got) == sorted(put)


# --- checkpoints


def test_checkpoint_leaves_out_what_was_only_read_ahead() -> None:
    run = reading(FakeStream(FakeClock(), page=1))
    run.stream.put("s0", b"1", b"2")
    run.fetch(1)
    assert run.drain(1) == [b"1"]
    assert run.restart().run(1) == [b"2"]


def test_reader_that_never_began_gives_back_the_checkpoint_it_was_made_from() -> None:
    mark = StreamMarkCoder().decode(STORED)
    assert reading().restart().reader.get_checkpoint_mark() == StreamMark()
    fresh = KinesisReader(reading().source, mark)
    assert fresh.get_checkpoint_mark() == mark


def test_latest_is_remembered_from_the_first_answer_on() -> None:
    run = reading(start=LATEST)
    run.stream.put("s0", b"before")
    run.clock.sleep(60)
    run.run(1)
    run.stream.put("s0", b"between")
    assert run.restart().run(1) == [b"between"]


def test_latest_without_an_answer_is_still_latest_after_a_restart() -> None:
    run = reading(start=LATEST)
    run.stream.put("s0", b"before")
    run.stream.faults["s0"] = [BUSY]
    run.fetch()
    assert run.restart().run(1) == []


def test_positions_of_the_log_are_gone_on_from() -> None:
    first = reading()
    first.stream.put("s0", b"1")
    first.run(1)
    first.stream.put("s0", b"2")
    assert reading(first.stream, positions=positions_of(first.taken)).run(1) == [b"2"]


def test_shard_that_was_read_before_does_not_come_again_after_a_restart() -> None:
    stream = FakeStream(FakeClock())
    stream.put("s0", b"1")
    stream.split("s0")
    read = ShardRange(ADDRESS.source("s0"), None, "2", BEGIN, ended=True)
    run = reading(stream, positions={read.source: read})
    assert run.run(1) + run.restart().run(LIST_SECONDS * 2) == []


def test_resuming_after_the_records_have_expired_is_a_gap() -> None:
    run = reading()
    run.run(1)
    run.clock.sleep(RETENTION.total_seconds() * 2)
    resumed = run.restart()
    resumed.fetch()
    with pytest.raises(StreamGap, match="s0: was read until"):
        resumed.reader.advance()


def test_read_shards_that_have_expired_leave_the_checkpoint() -> None:
    run = reading()
    run.stream.split("s0")
    run.run(3)
    run.stream.expire("s0")
    run.run(LIST_SECONDS * 2)
    sources = [mark.source[-2:] for mark in run.reader.get_checkpoint_mark().shards]
    assert sources == ["s1", "s2"]


MARKS = st.builds(
    ShardMark,
    st.text(min_size=1),
    st.none() | st.integers(0, 10**129 - 1).map(str),
    st.none() | st.datetimes(timezones=st.just(BEGIN.tzinfo)),
    st.booleans(),
    st.none() | st.sampled_from([Start(), LATEST, Start(StartKind.AT_TIMESTAMP, BEGIN)]),
)


@given(st.lists(MARKS, unique_by=lambda mark: mark.source))
def test_checkpoint_is_decoded_to_what_was_encoded(marks: list[ShardMark]) -> None:
    coder, mark = StreamMarkCoder(), stream_mark(marks)
    assert coder.decode(coder.encode(mark)) == mark


@given(st.lists(MARKS, unique_by=lambda mark: mark.source))
def test_equal_checkpoints_have_equal_bytes(marks: list[ShardMark]) -> None:
    encode = StreamMarkCoder().encode
    assert encode(stream_mark(reversed(marks))) == encode(stream_mark(marks))


def test_stored_checkpoint_of_version_1_is_read_and_written_alike() -> None:
    mark = StreamMarkCoder().decode(STORED)
    assert mark.shards[0] == ShardMark(ADDRESS.source("s0"), "7", BEGIN, ended=True)
    assert mark.shards[1] == ShardMark(ADDRESS.source("s1"), start=LATEST)
    assert StreamMarkCoder().encode(mark) == STORED


def test_members_that_are_not_known_are_passed_over() -> None:
    later = STORED.replace(b'"ended"', b'"lag":[1],"ended"').replace(b"{", b'{"note":{},', 1)
    assert StreamMarkCoder().decode(later) == StreamMarkCoder().decode(STORED)


def test_checkpoint_of_a_later_version_is_refused() -> None:
    with pytest.raises(InputError, match="has version 2, and this Lethe reads version 1"):
        StreamMarkCoder().decode(b'{"version":2,"shards":{"another":"shape"}}')


def test_what_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        StreamMarkCoder().decode(b"\x80\x04")


# --- watermark


def test_block_has_the_time_of_its_last_record() -> None:
    run = reading()
    run.clock.sleep(5)
    run.stream.put("s0", b"1")
    run.clock.sleep(5)
    run.fetch()
    run.drain(1)
    assert run.reader.get_current_timestamp() == at(5)


def test_watermark_is_unknown_before_every_shard_has_answered() -> None:
    run = reading(FakeStream(FakeClock(), shards=2))
    run.stream.faults["s1"] = [BUSY]
    run.stream.put("s0", b"1")
    run.fetch()
    run.drain()
    assert run.reader.get_watermark() == MIN_TIMESTAMP


def test_watermark_is_that_of_the_shard_that_lags_most() -> None:
    run = reading(FakeStream(FakeClock(), page=1, shards=2))
    run.stream.put("s0", b"1", b"2")
    run.clock.sleep(100)
    run.stream.put("s1", b"3", b"4")
    run.fetch()
    run.drain()
    assert run.reader.get_watermark() == at(0)


def test_watermark_advances_on_an_idle_shard() -> None:
    run = reading()
    run.run(100)
    assert at(97) <= run.reader.get_watermark() <= at(100)


def test_watermark_does_not_pass_what_was_only_read_ahead() -> None:
    run = reading()
    run.run(1)
    run.stream.put("s0", b"1")
    arrived = run.clock.elapsed
    run.fetch(50)
    assert run.reader.get_watermark() <= at(arrived)


def test_watermark_waits_for_children_that_are_yet_to_be_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = reading(FakeStream(FakeClock(), shards=2))
    run.run(2)
    run.stream.split("s0")
    closed = run.clock.elapsed
    monkeypatch.setattr("transforms.read_ahead.pause", lambda _: 1.0)
    run.stream.list_faults = [BUSY] * (ATTEMPTS - 1)
    run.run(3)
    assert at(0) < run.reader.get_watermark() <= at(closed + IDLE_SECONDS)


def test_watermark_never_goes_back() -> None:
    run = reading()
    run.run(10)
    seen = [run.reader.get_watermark()]
    run.clock.sleep(-5)
    run.stream.put("s0", b"from a clock that lags")
    run.clock.sleep(5)
    run.run(0.5)
    seen.append(run.reader.get_watermark())
    assert seen == sorted(seen)


def test_stream_never_ends() -> None:
    run = reading()
    run.stream.close_for_good("s0")
    run.run(LIST_SECONDS * 2)
    assert run.reader.get_watermark() < MAX_TIMESTAMP


# --- pace


def requests(run: Reading, shard_id: str, since: float = 0.0) -> list[float]:
    return [moment for key, moment in run.stream.asked if key == shard_id and moment >= since]


def test_shard_is_asked_at_most_five_times_a_second() -> None:
    run = reading(FakeStream(FakeClock(), page=1))
    run.stream.put("s0", *[b"x"] * 40)
    run.run(4)
    times = requests(run, "s0")
    assert 15 <= len(times) <= 21
    assert all(later - sooner > 0.95 for sooner, later in zip(times, times[5:], strict=False))


def test_idle_shard_is_asked_less_and_less_often() -> None:
    run = reading()
    run.run(60)
    assert len(requests(run, "s0", since=30)) <= 31


def test_many_idle_shards_share_the_requests() -> None:
    run = reading(FakeStream(FakeClock(), shards=400))
    run.run(20)
    late = [moment for _, moment in run.stream.asked if moment >= 10]
    assert 800 <= len(late) <= 1100


def test_shard_is_asked_often_again_once_it_has_something() -> None:
    run = reading(FakeStream(FakeClock(), page=1))
    run.run(30)
    run.stream.put("s0", *[b"x"] * 10)
    assert len(run.run(4)) == 10


def test_idle_shard_tells_its_position_now_and_then() -> None:
    run = reading()
    run.run(TELL_SECONDS * 2 + 10)
    assert [block.documents for block in run.taken] == [[], [], []]


def test_reading_stops_while_nothing_is_taken() -> None:
    run = reading(FakeStream(FakeClock(), page=1, shards=20))
    for shard_id in run.stream.open_shards:
        run.stream.put(shard_id, *[bytes(READ_AHEAD_BYTES // 4)] * 2)
    run.fetch(30)
    waiting = len(run.drain())
    assert waiting == 4
    assert len(run.drain()) + len(run.run(10)) == 40 - waiting


def test_no_shard_waits_while_another_has_more() -> None:
    run = reading(FakeStream(FakeClock(), page=1, shards=2))
    run.stream.put("s0", *[b"much"] * 50)
    run.stream.put("s1", b"little")
    assert b"little" in run.run(1)


# --- faults


def test_expired_iterators_are_renewed() -> None:
    run = reading()
    run.stream.put("s0", b"1")
    run.run(1)
    run.clock.sleep(400)
    run.stream.put("s0", b"2")
    assert run.run(2) == [b"2"]


def test_throttled_shard_does_not_hold_up_the_others() -> None:
    run = reading(FakeStream(FakeClock(), shards=2))
    run.stream.faults["s0"] = [BUSY] * (ATTEMPTS - 1)
    run.stream.put("s0", b"late")
    run.stream.put("s1", b"soon")
    run.fetch()
    assert run.drain() == [b"soon"]
    assert run.run(90) == [b"late"]


def test_shard_that_is_busy_for_good_ends_the_reader() -> None:
    run = reading()
    run.stream.faults["s0"] = [BUSY] * ATTEMPTS
    run.fetch(120)
    with pytest.raises(StoreUnavailable):
        run.reader.advance()


def test_refusal_ends_the_reader_at_once() -> None:
    run = reading()
    run.stream.list_faults = [AccessDenied("no")]
    run.fetch()
    with pytest.raises(AccessDenied):
        run.reader.advance()


# --- several readers


def owned(parts: Iterable[Reading]) -> list[list[str]]:
    marks = [part.reader.get_checkpoint_mark() for part in parts]
    return [[each.source.rpartition("/")[2] for each in mark.shards] for mark in marks]


def test_every_shard_belongs_to_one_part() -> None:
    parts = parts_of(FakeStream(FakeClock(), shards=5), 2, lambda _: False)
    for part in parts:
        part.fetch()
    assert sorted(chain.from_iterable(owned(parts))) == ["s0", "s1", "s2", "s3", "s4"]
    assert sorted(map(len, owned(parts))) == [2, 3]


def test_without_a_log_to_ask_there_is_one_part() -> None:
    stream = FakeStream(FakeClock(), shards=5)
    assert len(KinesisSource(ADDRESS, connect=lambda _: stream).split(4)) == 1


def test_there_are_no_more_parts_than_groups_of_related_shards() -> None:
    assert len(parts_of(FakeStream(FakeClock(), shards=2), 20, lambda _: False)) == 2


def test_child_of_two_parts_belongs_to_the_first_parents_and_waits_for_the_other() -> None:
    stream, finished = FakeStream(FakeClock(), shards=2), set[str]()
    parts = parts_of(stream, 2, finished.__contains__)
    for part in parts:
        part.run(1)
    child = stream.merge("s1", "s0")
    stream.put(child, b"1")
    assert [part.run(LIST_SECONDS + 1) for part in parts] == [[], []]
    finished.add(ADDRESS.source("s0"))
    assert [part.run(5) for part in parts] == [[], [b"1"]]


def test_part_whose_shards_have_all_gone_to_others_is_over() -> None:
    stream = FakeStream(FakeClock(), shards=2)
    parts = parts_of(stream, 2, lambda _: True)
    for part in parts:
        part.run(1)
    stream.merge("s1", "s0")
    for part in parts:
        part.run(5)
    assert parts[0].reader.get_watermark() == MAX_TIMESTAMP
    assert parts[1].reader.get_watermark() < MAX_TIMESTAMP


def test_child_of_a_shard_read_before_the_split_is_not_forgotten() -> None:
    stream = FakeStream(FakeClock())
    stream.close_for_good("s0")
    read = ShardRange(ADDRESS.source("s0"), None, None, BEGIN, ended=True)
    source = KinesisSource(
        ADDRESS, positions={read.source: read}, connect=lambda _: stream, is_finished=bool
    )
    (part,) = (Reading(stream, stream.clock, each) for each in source.split(4))
    part.fetch()
    left, _ = stream.split("s0")  # its children are listed only now
    stream.put(left, b"1")
    assert part.run(5) == [b"1"]


# --- in a pipeline


class EndingStream(FakeStream):
    """A stream whose only shard is closed, and expires once it has been read."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.put("s0", b"1", b"2", b"3", b"4")
        self.close_for_good("s0")

    def list_shards(self) -> list:
        return [] if len(self.asked) > 1 else super().list_shards()


def ending_stream(address: StreamAddress) -> EndingStream:
    assert address == ADDRESS
    return EndingStream()


def test_source_and_its_parts_can_be_pickled() -> None:
    source = KinesisSource(ADDRESS, connect=ending_stream, is_finished=bool)
    for each in (source, *source.split(2)):
        assert pickle.loads(pickle.dumps(each)) == each


def test_pipeline_reads_the_blocks_of_a_stream() -> None:
    with beam.Pipeline(FnApiRunner()) as pipeline:
        blocks = pipeline | beam.io.Read(KinesisSource(ADDRESS, connect=ending_stream))
        documents = blocks | beam.FlatMap(lambda block: block.documents)
        assert_that(documents, equal_to([b"1", b"2", b"3", b"4"]))


def test_closing_ends_the_threads() -> None:
    run = reading()
    before = threading.active_count()
    reader = run.source.create_reader(None, None)
    reader.start()
    assert threading.active_count() > before
    reader.close()
    wait_until(lambda: threading.active_count() <= before)


def test_threads_bring_what_is_there() -> None:
    run = reading()
    run.stream.put("s0", b"1")
    reader = run.source.create_reader(None, None)
    wait_until(reader.advance)
    reader.close()
    assert data_of([reader.get_current()]) == [b"1"]
