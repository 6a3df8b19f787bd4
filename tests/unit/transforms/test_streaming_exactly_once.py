"""Whatever an engine repeats, breaks off or forgets: each row is delivered once."""

from __future__ import annotations

import copy
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.changes import Block
from schemas.delivery import decode_dead_letter
from schemas.errors import LakeError, StoreUnavailable
from stores.log import STREAM, DeliveryLog, Run
from stores.stream_log import StreamOvertaken
from tests.unit.transforms.engine import Attempt, Kept
from tests.unit.transforms.memory_store import MemoryStore
from tests.unit.transforms.stream_blocks import SHARD, block, event
from transforms.rotate import Windowing

SHARDS = [SHARD, SHARD.replace("-000000000000", "-000000000001")]
LENGTH = 8
"""Records of each shard."""

Where = tuple[str, int]
"""A record: its shard, and its sequence number there."""


@dataclass(frozen=True)
class Record:
    """A record of a shard: a row of one of two windows, or one that is rejected or filtered out."""

    window: int
    change: int
    kind: str = "row"


records = st.builds(
    Record,
    st.integers(0, 1),
    st.integers(1, LENGTH),
    st.sampled_from(["row", "row", "row", "row", "broken", "filtered"]),
)
streams = st.lists(records, min_size=2 * LENGTH, max_size=2 * LENGTH)


class World:
    """A stream, a lake, and a job that reads one into the other, attempt after attempt."""

    def __init__(self, stream: Sequence[Record], rows_a_file: int = 100) -> None:
        self.records: dict[Where, Record] = {
            (source, number): stream[LENGTH * shard + number - 1]
            for shard, source in enumerate(SHARDS)
            for number in range(1, LENGTH + 1)
        }
        self.store = MemoryStore()
        self.windowing = Windowing(rows=rows_a_file)
        self.runs = 0
        self.begin()

    def begin(self) -> None:
        """Start the job from the log alone."""
        self.store.fails_in = 0
        log = DeliveryLog(self.store)
        log.recover()
        self.runs += 1
        self.run: Run = log.begin(f"run-{self.runs}", log.last_number(), STREAM)
        known = log.positions().shards
        self.checkpoint = Kept(
            {source: max(known[source].place, 0) if source in known else 0 for source in SHARDS}
        )
        self.restart()

    def restart(self) -> None:
        """Start the job's next attempt from its last checkpoint."""
        kept = copy.deepcopy(self.checkpoint)
        self.attempt = Attempt(self.store, self.run, self.windowing, kept)

    def block(self, source: str, after: int, size: int) -> Block:
        numbers = range(after + 1, min(after + size, LENGTH) + 1)
        return block(after, [self.document(source, n) for n in numbers], 10, source)

    def document(self, source: str, number: int) -> bytes:
        record = self.records[source, number]
        identity = 10 * number + SHARDS.index(source)
        kind = {"type": {"S": "sale"}} if record.kind == "filtered" else {}
        made = event(identity, 300 * record.window + 1, **kind)
        made = made.replace(b'"change-%d"' % identity, b'"change-%d"' % record.change)
        return made[:-5] if record.kind == "broken" else made

    def finish(self) -> None:
        """Read to the end and deliver all, without further trouble."""
        self.store.fails_in = 0
        for _ in range(20):
            try:
                self.deliver_rest()
            except StreamOvertaken:
                self.restart()
            else:
                # As whoever delivers next does: it publishes what jobs long ended have left.
                DeliveryLog(self.store).recover()
                return
        raise AssertionError("the job does not come to an end")

    def deliver_rest(self) -> None:
        for source in SHARDS:
            while self.attempt.kept.places[source] < LENGTH:
                self.attempt.read(self.block(source, self.attempt.kept.places[source], 5))
        for key in self.attempt.gathered():
            self.attempt.flush(key)
        self.attempt.commit()

    def rows(self) -> Counter[Where]:
        """How often each row is visible."""
        files = [self.store.read(info.key) for info in self.store.list("type=")]
        ids = [i for file in files for i in pq.read_table(io.BytesIO(file))["id"].to_pylist()]
        found = [divmod(int(i.removeprefix("E-")), 10) for i in ids]
        return Counter((SHARDS[shard], number) for number, shard in found)

    def letters(self) -> Counter[Where]:
        """How often each dead letter is visible."""
        files = [self.store.read(info.key) for info in self.store.list("errors/")]
        lines = [decode_dead_letter(line) for file in files for line in file.splitlines()]
        return Counter((line.source, line.origin.offset) for line in lines)

    def of_kind(self, kind: str) -> Counter[Where]:
        return Counter(where for where, record in self.records.items() if record.kind == kind)


Step = tuple[bool, tuple[str, int]]

read = st.tuples(st.just("read"), st.integers(0, 11))
flush = st.tuples(st.just("flush"), st.integers(0, 5))
commit = st.tuples(st.just("commit"), st.integers(0, 255))
trouble = st.sampled_from(["checkpoint", "crash", "crash", "anew", "fail", "nothing"])
turns = st.tuples(
    st.booleans(),
    st.lists(read, max_size=3),
    st.lists(flush, min_size=1, max_size=3),
    st.lists(commit, max_size=3),
    st.tuples(trouble, st.integers(1, 8)),
)
"""Some reading, some files and some commits, by one attempt, and what happens then."""


def as_steps(turn: tuple[bool, list[Any], list[Any], list[Any], tuple[str, int]]) -> list[Step]:
    is_given_up, *parts, end = turn
    return [*((is_given_up, step) for part in parts for step in part), (False, end)]


histories = st.lists(turns, min_size=1, max_size=8).map(
    lambda chosen: [step for turn in chosen for step in as_steps(turn)]
)


def play(world: World, history: Sequence[Step]) -> None:
    """Do the steps; what is marked is done by an attempt that was given up, if there is one."""
    given_up: Attempt | None = None
    for is_given_up, (name, argument) in history:
        who = given_up if is_given_up and given_up is not None else world.attempt
        try:
            if name == "crash":
                given_up = world.attempt
                world.restart()
            elif name == "anew":
                given_up = world.attempt
                world.begin()
            else:
                do(world, who, name, argument)
        except (StreamOvertaken, StoreUnavailable):
            if who is world.attempt:
                world.restart()
            else:
                given_up = None


def do(world: World, who: Attempt, name: str, argument: int) -> None:
    if name == "read":
        size, shard = divmod(argument, 2)
        place = who.kept.places[SHARDS[shard]]
        if place < LENGTH:
            who.read(world.block(SHARDS[shard], place, size + 1))
    elif name == "flush" and who.gathered():
        keys = who.gathered()
        who.flush(keys[argument % len(keys)])
    elif name == "commit" and who.on_the_way:
        who.commit(some(len(who.on_the_way), argument))
    elif name == "checkpoint":
        kept = who.checkpoint()
        if who is world.attempt:
            world.checkpoint = kept
    elif name == "fail":
        world.store.fails_in = argument


def some(count: int, seed: int) -> list[int]:
    """Some of the first ``count`` numbers, in some order."""
    order = sorted(range(count), key=lambda n: (seed * (2 * n + 1)) % 31)
    return order[: 1 + seed % count]


def unrepeated(stream: Sequence[Record]) -> list[Record]:
    """The records, each with a change id of its own."""
    return [replace(one, change=number) for number, one in enumerate(stream, 1)]


@given(streams, st.integers(1, 8), histories)
def test_after_any_history_each_row_and_letter_is_visible_once(
    stream: list[Record], rows_a_file: int, history: list[Step]
) -> None:
    world = World(unrepeated(stream), rows_a_file)
    play(world, history)
    world.finish()
    assert world.rows() == world.of_kind("row")
    assert world.letters() == world.of_kind("broken")


@given(streams, st.integers(1, 8), histories)
def test_after_any_history_shards_are_delivered_to_their_ends(
    stream: list[Record], rows_a_file: int, history: list[Step]
) -> None:
    world = World(stream, rows_a_file)
    play(world, history)
    world.finish()
    known = DeliveryLog(world.store).positions().shards
    assert {s: (at.place, at.delivered) for s, at in known.items()} == dict.fromkeys(
        SHARDS, (LENGTH, {})
    )


@given(streams, st.integers(1, 8), histories)
def test_after_any_history_each_change_is_visible_though_its_repeats_are_left_out(
    stream: list[Record], rows_a_file: int, history: list[Step]
) -> None:
    world = World(stream, rows_a_file)
    play(world, history)
    world.finish()
    rows = world.rows()
    assert set(rows.values()) <= {1}
    assert changes(world, rows) == changes(world, world.of_kind("row"))


def changes(world: World, rows: Counter[Where]) -> set[tuple[int, int]]:
    return {(world.records[where].window, world.records[where].change) for where in rows}


@given(streams, st.integers(1, 8), histories)
def test_restarts_count_each_record_once(
    stream: list[Record], rows_a_file: int, history: list[Step]
) -> None:
    world = World(unrepeated(stream), rows_a_file)
    play(world, [(False, step) for _, step in history])
    world.finish()
    counts = [commit.counts for commit in DeliveryLog(world.store).commits()]
    kinds = {"row": "delivered", "broken": "dead_letters", "filtered": "filtered"}
    for kind, name in kinds.items():
        assert sum(count[name] for count in counts) == world.of_kind(kind).total()
    assert sum(count["read"] for count in counts) == 2 * LENGTH


def plain_world() -> World:
    """All rows are of one window, and each is another change."""
    return World(unrepeated([Record(0, 1)] * 2 * LENGTH))


def test_a_job_that_was_ended_and_goes_on_cannot_commit() -> None:
    world = plain_world()
    world.attempt.read(world.block(SHARD, 0, 5))
    world.attempt.commit()
    DeliveryLog(world.store).abandon(world.run)
    world.attempt.read(world.block(SHARD, 5, 5))
    with pytest.raises(LakeError, match="has been ended"):
        world.attempt.commit()


def test_an_attempt_that_starts_after_its_job_was_ended_cannot_commit() -> None:
    world = plain_world()
    world.attempt.read(world.block(SHARD, 0, 5))
    DeliveryLog(world.store).abandon(world.run)
    with pytest.raises(LakeError, match="has been ended"):
        world.attempt.commit()


def interrupted(fails_in: int) -> World:
    """A world whose job staged a file and failed in the commit, after so many half changes."""
    world = plain_world()
    world.attempt.read(world.block(SHARD, 0, 5))
    world.attempt.flush(world.attempt.gathered()[0])
    world.store.fails_in = fails_in
    with pytest.raises(StoreUnavailable):
        world.attempt.commit()
    return world


COMMITTED_NOT_PUBLISHED = 2


def test_what_an_attempt_committed_is_published_by_the_next() -> None:
    world = interrupted(COMMITTED_NOT_PUBLISHED)
    assert not world.rows()
    world.restart()
    world.attempt.commit()
    assert len(world.rows()) == 5


def test_what_an_attempt_committed_that_was_given_up_is_published_by_its_successor() -> None:
    world = plain_world()
    given_up = world.attempt
    world.restart()
    world.attempt.read(world.block(SHARD, 0, 5))
    world.attempt.commit()
    given_up.read(world.block(SHARDS[1], 0, 5))
    given_up.flush(given_up.gathered()[0])
    world.store.fails_in = COMMITTED_NOT_PUBLISHED
    with pytest.raises(StoreUnavailable):
        given_up.commit()
    world.attempt.commit()
    assert len(world.rows()) == 5


def test_a_file_that_another_attempt_has_delivered_in_part_is_not_committed() -> None:
    world = plain_world()
    given_up = world.attempt
    world.restart()
    for who, size in ((given_up, 3), (world.attempt, 5)):
        who.read(world.block(SHARD, 0, size))
        who.flush(who.gathered()[0])
    given_up.commit()
    with pytest.raises(StreamOvertaken):
        world.attempt.commit()
    assert len(world.rows()) == 3


def test_a_file_that_others_have_delivered_wholly_is_dropped() -> None:
    world = plain_world()
    given_up = world.attempt
    world.restart()
    for who in (given_up, world.attempt):
        who.read(world.block(SHARD, 0, 5))
        who.flush(who.gathered()[0])
    given_up.commit()
    world.attempt.commit()
    assert len(world.rows()) == 5
    assert not [*world.store.list("_lethe/staging/")]


def test_repeats_are_not_left_out_before_what_they_repeat_is_delivered() -> None:
    world = World([Record(0, 1)] * 2 * LENGTH)
    for source in SHARDS:
        world.attempt.read(world.block(source, 0, 2))
        world.attempt.flush(world.attempt.gathered()[0])
    accounts_and_second_file = [0, 2, 3]
    with pytest.raises(StreamOvertaken, match="not delivered yet"):
        world.attempt.commit(accounts_and_second_file)
