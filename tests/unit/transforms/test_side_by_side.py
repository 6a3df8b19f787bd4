"""Tasks of a round that are read at once: all of them, each in its order, none after the end."""

from __future__ import annotations

import threading

import pytest

from schemas.errors import AccessDenied
from schemas.streams import Start
from tests.unit.transforms.fake_stream import ADDRESS, RETENTION, FakeClock, FakeStream, data_of
from tests.waiting import wait_until
from transforms.shards import ShardTask, plan_round
from transforms.side_by_side import THREAD_NAME, THREADS, read_tasks


def stream_of(shards: int, records: int) -> FakeStream:
    stream = FakeStream(FakeClock(), page=1, shards=shards)
    for shard_id in stream.open_shards:
        stream.put(shard_id, *(b"%s-%03d" % (shard_id.encode(), n) for n in range(records)))
    return stream


def tasks_of(stream: FakeStream) -> tuple[ShardTask, ...]:
    now = stream.clock.now()
    return plan_round(ADDRESS, stream.list_shards(), {}, Start(), now, RETENTION).tasks


def is_reading() -> bool:
    return any(thread.name == THREAD_NAME for thread in threading.enumerate())


def test_every_task_is_read_in_its_order() -> None:
    stream = stream_of(shards=20, records=5)
    found = data_of(read_tasks(stream, tasks_of(stream), stream.clock.now(), stream.clock))
    assert len(found) == 100
    for shard_id in stream.open_shards:
        own = [each for each in found if each.startswith(shard_id.encode() + b"-")]
        assert len(own) == 5
        assert own == sorted(own)


def test_no_tasks_are_read_to_nothing() -> None:
    assert list(read_tasks(stream_of(1, 0), (), FakeClock().now(), FakeClock())) == []


def test_error_of_any_task_is_raised() -> None:
    stream = stream_of(shards=20, records=1)
    stream.faults["s13"] = [AccessDenied("no")]
    with pytest.raises(AccessDenied):
        list(read_tasks(stream, tasks_of(stream), stream.clock.now(), stream.clock))


def test_reading_ends_when_nobody_wants_more() -> None:
    stream = stream_of(shards=20, records=100)
    blocks = read_tasks(stream, tasks_of(stream), stream.clock.now(), stream.clock)
    next(blocks)
    blocks.close()
    wait_until(lambda: not is_reading(), "the end")
    assert len(stream.asked) <= 1 + 4 * THREADS
