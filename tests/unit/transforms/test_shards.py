"""What a round of a stream reads: which shards, in what order, from where, and up to where."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.changes import Block
from schemas.errors import AccessDenied, StoreUnavailable, UsageError
from schemas.streams import Shard, ShardRange, Start, StartKind
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
from transforms.shards import (
    OnGap,
    RoundPlan,
    StreamGap,
    join_ranges,
    plan_round,
    read_task,
)

HORIZON, LATEST = Start(), Start(StartKind.LATEST)
HOUR = timedelta(hours=1)


class Rounds:
    """A stream, and what a delivery that goes round by round has of it."""

    def __init__(self, start: Start = HORIZON, **stream: int) -> None:
        self.clock = FakeClock()
        self.stream = FakeStream(self.clock, **stream)
        self.start = start
        self.positions: dict[str, ShardRange] = {}
        self.blocks: list[Block] = []

    def plan(self, on_gap: OnGap = OnGap.FAIL) -> RoundPlan:
        shards, now = self.stream.list_shards(), self.clock.now()
        return plan_round(ADDRESS, shards, self.positions, self.start, now, RETENTION, on_gap)

    def read(self, on_gap: OnGap = OnGap.FAIL) -> Iterator[Block]:
        until = self.clock.now()
        for task in self.plan(on_gap).tasks:
            yield from read_task(self.stream, task, until, self.clock)

    def commit(self, blocks: list[Block]) -> list[bytes]:
        self.blocks += blocks
        self.positions = positions_of(self.blocks)
        return data_of(blocks)

    def go(self, on_gap: OnGap = OnGap.FAIL) -> list[bytes]:
        """A whole round, committed; gives what it delivered."""
        return self.commit(list(self.read(on_gap)))

    def position(self, shard_id: str) -> ShardRange:
        return self.positions[ADDRESS.source(shard_id)]


def steps(plan: RoundPlan) -> list[list[str]]:
    return [[step.shard_id for step in task.steps] for task in plan.tasks]


def shard(shard_id: str, *parents: str, closed: bool = False) -> Shard:
    return Shard(shard_id, parents, 0, 1, "1", "9" if closed else None)


def planned(shards: list[Shard], *read: ShardRange, start: Start = HORIZON) -> RoundPlan:
    positions = {each.source: each for each in read}
    return plan_round(ADDRESS, shards, positions, start, BEGIN, RETENTION)


def read_to(shard_id: str, last: str | None, until: datetime = BEGIN, **more: bool) -> ShardRange:
    return ShardRange(ADDRESS.source(shard_id), None, last, until, **more)


@st.composite
def lineages(draw: st.DrawFn) -> list[Shard]:
    """Shards after any number of splits and merges, listed in any order, the oldest expired."""
    opened, found = ["a", "b", "c"], [shard("a"), shard("b"), shard("c")]
    for number in range(draw(st.integers(0, 12))):
        parents = draw(st.lists(st.sampled_from(opened), min_size=1, max_size=2, unique=True))
        children = [f"n{number}-{place}" for place in range(draw(st.integers(1, 2)))]
        opened = [key for key in opened if key not in parents] + children
        found += [shard(child, *parents) for child in children]
    kept = found[draw(st.integers(0, len(found))) :]
    closed = {parent for each in found for parent in each.parents}
    shuffled = draw(st.permutations(kept))
    return [shard(s.shard_id, *s.parents, closed=s.shard_id in closed) for s in shuffled]


# --- what is planned


@given(lineages())
def test_every_shard_is_in_one_task_after_all_its_parents(shards: list[Shard]) -> None:
    parents = {each.shard_id: set(each.parents) for each in shards}
    tasks = steps(planned(shards))
    assert sorted(key for task in tasks for key in task) == sorted(parents)
    for task in tasks:
        for place, key in enumerate(task):
            assert parents[key] & parents.keys() <= set(task[:place])


@given(lineages(), st.sets(st.sampled_from("abc")))
def test_read_shards_are_in_no_task(shards: list[Shard], read: set[str]) -> None:
    listed = {each.shard_id for each in shards}
    plan = planned(shards, *(read_to(key, "1", ended=True) for key in read))
    assert {key for task in steps(plan) for key in task} == listed - read


def test_unrelated_shards_are_tasks_of_their_own() -> None:
    assert steps(planned([shard("a"), shard("b")])) == [["a"], ["b"]]


def test_children_of_a_shard_that_is_read_are_tasks_of_their_own() -> None:
    shards = [shard("a", closed=True), shard("b", "a"), shard("c", "a")]
    assert steps(planned(shards, read_to("a", "5", ended=True))) == [["b"], ["c"]]


def test_both_parents_of_a_merge_are_in_its_task() -> None:
    shards = [shard("a", closed=True), shard("b", closed=True), shard("c", "a", "b")]
    assert steps(planned(shards)) == [["a", "b", "c"]]


def test_parent_that_is_no_longer_listed_counts_as_read() -> None:
    (task,) = planned([shard("b", "a")]).tasks
    assert task.steps[0].parents == ()


def test_shard_goes_on_after_its_last_record() -> None:
    (task,) = planned([shard("a")], read_to("a", "5")).tasks
    assert task.steps[0].after == "5"


def test_shard_whose_last_stretch_was_empty_goes_on_after_the_one_before() -> None:
    position = ShardRange(ADDRESS.source("a"), "5", None, BEGIN)
    (task,) = planned([shard("a")], position).tasks
    assert task.steps[0].after == "5"


@pytest.mark.parametrize("start", [LATEST, Start(StartKind.AT_TIMESTAMP, BEGIN)], ids=str)
def test_child_of_a_known_shard_begins_at_its_beginning(start: Start) -> None:
    shards = [shard("a", closed=True), shard("b", "a", closed=True), shard("c", "b")]
    (task,) = planned(shards, read_to("a", "5", ended=True), start=start).tasks
    assert [step.start for step in task.steps] == [HORIZON, HORIZON]


def test_latest_passes_over_shards_that_were_closed_before() -> None:
    plan = planned([shard("a", closed=True), shard("b", "a")], start=LATEST)
    assert [(step.shard_id, step.start) for step in plan.tasks[0].steps] == [("b", LATEST)]


def test_positions_of_other_streams_and_files_are_not_looked_at() -> None:
    other = ShardRange("kinesis://eu-west-1/changes2/a", None, "5", BEGIN - 2 * RETENTION)
    file = ShardRange("/data/a", None, None, BEGIN - 2 * RETENTION)
    (task,) = planned([shard("a")], other, file).tasks
    assert task.steps[0].after is None


def test_start_that_lies_ahead_is_refused() -> None:
    with pytest.raises(UsageError, match="lies ahead"):
        planned([shard("a")], start=Start(StartKind.AT_TIMESTAMP, BEGIN + HOUR))


def test_read_shards_without_a_listed_child_are_named() -> None:
    shards = [shard("a", closed=True), shard("b", closed=True), shard("c", "b")]
    read = [read_to(key, "5", ended=True) for key in "ab"]
    assert planned(shards, *read).childless == ("a",)


# --- gaps


def test_shard_that_expired_before_it_was_read_on_is_a_gap() -> None:
    until = BEGIN - RETENTION - HOUR
    with pytest.raises(StreamGap, match=r"changes/a: was read until .*--on-gap skip") as raised:
        planned([shard("a")], read_to("a", "5", until))
    assert "2026-01-01T00:00:00Z" in raised.value.message  # the horizon
    assert "2025-12-31T23:00:00Z" in raised.value.message


def test_shard_that_is_gone_before_its_end_is_a_gap() -> None:
    with pytest.raises(StreamGap, match="the shard is gone"):
        planned([shard("b", "a")], read_to("a", "5"))


def test_read_shard_that_is_gone_is_no_gap() -> None:
    assert planned([shard("b", "a")], read_to("a", "5", ended=True)).gaps == ()


def test_shard_read_within_the_retention_is_no_gap() -> None:
    assert planned([shard("a")], read_to("a", "5", BEGIN - RETENTION)).gaps == ()


def test_gap_survives_pickling() -> None:
    with pytest.raises(StreamGap) as raised:
        planned([], read_to("a", "5"))
    assert pickle.loads(pickle.dumps(raised.value)).message == raised.value.message


def test_skipped_gap_is_told_and_what_is_left_is_read() -> None:
    rounds = Rounds()
    rounds.stream.put("s0", b"1")
    rounds.go()
    rounds.clock.sleep(RETENTION.total_seconds() + 3600)
    rounds.stream.put("s0", b"2")
    assert [gap.is_lost for gap in rounds.plan(OnGap.SKIP).gaps] == [False]
    assert rounds.go(OnGap.SKIP) == [b"2"]


def test_skipped_loss_is_told_once_and_what_came_after_is_read_from_its_beginning() -> None:
    rounds = Rounds(LATEST)
    rounds.go()
    left, _ = rounds.stream.split("s0")
    child, _ = rounds.stream.split(left)
    rounds.stream.put(child, b"1")
    rounds.stream.expire("s0")
    rounds.stream.expire(left)
    assert rounds.go(OnGap.SKIP) == [b"1"]
    assert rounds.position("s0").ended
    assert rounds.plan().gaps == ()


# --- rounds


def test_round_reads_everything_in_order() -> None:
    rounds = Rounds(page=2)
    rounds.stream.put("s0", *b"12345".split(b" "), b"6", b"7")
    assert rounds.go() == [b"12345", b"6", b"7"]


def test_second_round_reads_only_what_is_new() -> None:
    rounds = Rounds()
    rounds.stream.put("s0", b"1")
    rounds.go()
    rounds.stream.put("s0", b"2")
    assert rounds.go() == [b"2"]


def test_child_is_read_in_the_round_in_which_its_parent_ends() -> None:
    rounds = Rounds()
    rounds.stream.put("s0", b"1")
    left, _ = rounds.stream.split("s0")
    rounds.stream.put(left, b"2")
    assert rounds.go() == [b"1", b"2"]
    assert rounds.position("s0").ended


def test_closed_shard_is_at_its_end_when_nothing_is_left_whatever_iterator_is_given() -> None:
    rounds = Rounds()
    rounds.stream.gives_no_end = True
    rounds.stream.put("s0", b"1")
    left, _ = rounds.stream.split("s0")
    rounds.stream.put(left, b"2")
    assert rounds.go() == [b"1", b"2"]
    assert rounds.position("s0").ended


def test_child_waits_for_a_parent_that_is_not_read_to_its_end() -> None:
    rounds = Rounds(page=1)
    rounds.stream.put("s0", b"1")
    rounds.stream.put("s0", b"2", b"3")
    left, _ = rounds.stream.split("s0")
    rounds.stream.put(left, b"4")
    late = BEGIN - HOUR  # every record has arrived after this moment
    (task,) = rounds.plan().tasks
    assert data_of(read_task(rounds.stream, task, late, rounds.clock)) == [b"1"]


def test_round_ends_although_records_keep_coming() -> None:
    rounds = Rounds(page=1)
    rounds.stream.put("s0", b"1", b"2")
    (task,) = rounds.plan().tasks
    read = read_task(rounds.stream, task, rounds.clock.now() + HOUR / 3600, rounds.clock)
    for _ in zip(range(50), read, strict=False):
        rounds.stream.put("s0", b"more", b"more")
    assert 3 < len(rounds.stream.asked) < 20


def test_latest_delivers_what_comes_after_the_first_round() -> None:
    rounds = Rounds(LATEST)
    rounds.stream.put("s0", b"before")
    rounds.clock.sleep(60)
    assert rounds.go() == []
    assert rounds.position("s0").last is None
    rounds.stream.put("s0", b"between")
    assert rounds.go() == [b"between"]


def test_quiet_rounds_after_latest_lose_nothing() -> None:
    rounds = Rounds(LATEST)
    for _ in range(3):
        rounds.go()
        rounds.clock.sleep(60)
    rounds.stream.put("s0", b"1")
    assert rounds.go() == [b"1"]


def test_record_that_arrives_while_an_answer_is_under_way_is_not_passed_over() -> None:
    rounds = Rounds(LATEST)
    rounds.commit(list(rounds.read()))
    rounds.clock.sleep(-0.5)  # by the clock of the answer, which is ahead of the record's
    rounds.stream.put("s0", b"1")
    rounds.clock.sleep(0.5)
    assert rounds.go() == [b"1"]


def test_shard_split_after_a_latest_round_is_read_with_its_children() -> None:
    rounds = Rounds(LATEST)
    rounds.go()
    rounds.stream.put("s0", b"1")
    left, _ = rounds.stream.split("s0")
    rounds.stream.put(left, b"2")
    assert rounds.go() == [b"1", b"2"]


def test_quiet_shard_does_not_become_a_gap() -> None:
    rounds = Rounds()
    for _ in range(4):
        rounds.go()
        rounds.clock.sleep(RETENTION.total_seconds() / 2)
    assert rounds.plan().gaps == ()


def test_start_at_a_time_leaves_out_what_arrived_before() -> None:
    rounds = Rounds(Start(StartKind.AT_TIMESTAMP, BEGIN + HOUR))
    rounds.stream.put("s0", b"before")
    rounds.clock.sleep(3600)
    rounds.stream.put("s0", b"after")
    assert rounds.go() == [b"after"]


def test_block_tells_offsets_sequences_arrival_and_stretch() -> None:
    rounds = Rounds()
    rounds.stream.put("s0", b"abc", b"de")
    (block,) = rounds.read()
    assert (block.source, block.end) == (ADDRESS.source("s0"), 5)
    assert (block.starts.tolist(), block.sequences) == ([0, 3], ("2", "3"))
    assert (block.arrived, block.position(1, 0).offset) == (BEGIN, 3)


@given(st.data())
def test_every_record_is_delivered_once_whatever_happens(data: st.DataObject) -> None:
    rounds, put = Rounds(page=2), []
    for number in range(data.draw(st.integers(1, 12))):
        event = data.draw(st.sampled_from(["put", "split", "merge", "round", "crash", "wait"]))
        opened = rounds.stream.open_shards
        if event == "put":
            record = str(number).encode()
            rounds.stream.put(data.draw(st.sampled_from(opened)), record)
            put.append(record)
        elif event == "split":
            rounds.stream.split(data.draw(st.sampled_from(opened)))
        elif event == "merge" and len(opened) > 1:
            rounds.stream.merge(*data.draw(st.permutations(opened))[:2])
        elif event == "crash":
            list(rounds.read())[: data.draw(st.integers(0, 3))]
        elif event == "round":
            rounds.go()
        else:
            rounds.clock.sleep(400)
    rounds.go()
    assert sorted(data_of(rounds.blocks)) == sorted(put)


# --- faults


def test_expired_iterator_is_renewed_after_the_last_record() -> None:
    rounds = Rounds(page=1)
    rounds.stream.put("s0", b"1", b"2")
    blocks = rounds.read()
    first = next(blocks)
    rounds.clock.sleep(301)
    assert data_of([first, *blocks]) == [b"1", b"2"]
    assert rounds.stream.iterators[1][1] == "2"  # the sequence number of the first record


def test_throttling_is_waited_out() -> None:
    rounds = Rounds(page=1)
    rounds.stream.put("s0", b"1", b"2")
    rounds.stream.faults["s0"] = [BUSY] * (ATTEMPTS - 1)
    assert rounds.go() == [b"1", b"2"]


def test_shard_that_is_busy_for_good_is_unavailable() -> None:
    rounds = Rounds()
    rounds.stream.faults["s0"] = [BUSY] * ATTEMPTS
    with pytest.raises(StoreUnavailable):
        rounds.go()
    assert len(rounds.stream.asked) == ATTEMPTS


def test_refusal_is_not_tried_again() -> None:
    rounds = Rounds()
    rounds.stream.faults["s0"] = [AccessDenied("no")]
    with pytest.raises(AccessDenied):
        rounds.go()
    assert len(rounds.stream.asked) == 1


def test_shard_is_asked_at_most_five_times_a_second() -> None:
    rounds = Rounds(page=1)
    rounds.stream.put("s0", *[b"x"] * 20)
    rounds.go()
    times = [moment for _, moment in rounds.stream.asked]
    assert all(later - sooner >= 0.199 for sooner, later in zip(times, times[5:], strict=False))
    assert times[-1] >= 19 * 0.2 - 0.001


@given(st.permutations(range(4)))
def test_stretches_are_joined_in_any_order(order: list[int]) -> None:
    source = ADDRESS.source("a")
    ends = [None, "5", "10", None]
    befores = [None, None, "5", "10"]
    stretches = [
        ShardRange(source, befores[n], ends[n], BEGIN + n * HOUR, ended=n == 3) for n in range(4)
    ]
    joined = join_ranges(stretches[n] for n in order)
    assert joined == ShardRange(source, None, "10", BEGIN + 3 * HOUR, ended=True)
