"""Stalls: a position that stands still before delivered rows is noticed, a quiet one is not."""

from __future__ import annotations

from datetime import UTC, datetime

from runners.stalls import StallWatch
from schemas.stream_log import Portion, ShardState, Stretches
from schemas.streams import ShardRange

SHARD = "kinesis://eu-west-1/changes/shardId-0"
PORTION = Portion("event", "2026-01-02", 0, 60, "UTC")


def state(through: int, delivered: int | None = None) -> ShardState:
    """Delivered wholly up to one place, and of a portion the records up to another."""
    reached = ShardRange(SHARD, None, str(through), datetime(2026, 1, 2, tzinfo=UTC))
    ahead = {} if delivered is None else {PORTION: Stretches.of((through + 1, delivered))}
    return ShardState(reached, ahead)


def test_a_position_before_delivered_rows_may_stand_for_a_while_and_no_longer() -> None:
    watch = StallWatch(patience=100)
    assert watch.stalled({SHARD: state(5, 9)}, now=0) == []
    assert watch.stalled({SHARD: state(5, 12)}, now=99) == []
    assert watch.stalled({SHARD: state(5, 15)}, now=100) == [SHARD]


def test_a_position_that_moves_is_no_stall() -> None:
    watch = StallWatch(patience=100)
    watch.stalled({SHARD: state(5, 9)}, now=0)
    assert watch.stalled({SHARD: state(7, 12)}, now=150) == []


def test_a_quiet_shard_is_no_stall() -> None:
    watch = StallWatch(patience=100)
    watch.stalled({SHARD: state(5)}, now=0)
    assert watch.stalled({SHARD: state(5)}, now=1000) == []


def test_time_counts_from_when_rows_were_delivered_beyond_the_position() -> None:
    watch = StallWatch(patience=100)
    watch.stalled({SHARD: state(5)}, now=0)
    watch.stalled({SHARD: state(5, 9)}, now=1000)
    assert watch.stalled({SHARD: state(5, 9)}, now=1050) == []
