"""Drafting a commit: positions of shards, and rounds that are not worth one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from schemas.delivery import Counts
from schemas.streams import ShardRange
from stores.log import Commit, Owner, Run
from stores.stream_log import QUIET_PROGRESS
from transforms.commit import draft_commit, is_quiet

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SHARD = "kinesis://eu-west-1/changes/shardId-0"
QUIET = ShardRange(SHARD, "7", None, NOON)


def draft(*stretches: ShardRange, counts: Counts | None = None) -> Commit:
    run = Run("run", Owner.this_process(), 0)
    return draft_commit(run, "deliver", [], [], stretches, [counts or Counts()], {})


def test_the_stretches_of_a_shard_become_one() -> None:
    later = NOON + timedelta(seconds=5)
    made = draft(ShardRange(SHARD, "9", "12", later), ShardRange(SHARD, None, "9", NOON))
    assert made.shards == (ShardRange(SHARD, None, "12", later),)


def test_a_round_that_found_nothing_is_quiet() -> None:
    assert is_quiet(draft(QUIET), {SHARD: NOON - timedelta(seconds=30)})


def test_a_position_is_renewed_before_it_grows_old() -> None:
    assert not is_quiet(draft(QUIET), {SHARD: NOON - QUIET_PROGRESS})


@pytest.mark.parametrize(
    "news",
    [replace(QUIET, last="8"), replace(QUIET, ended=True), replace(QUIET, source=SHARD + "1")],
)
def test_news_of_a_shard_is_worth_a_commit(news: ShardRange) -> None:
    assert not is_quiet(draft(QUIET, news), {SHARD: NOON})


def test_records_that_were_read_are_worth_a_commit() -> None:
    counts = Counts(read=1, filtered=1)
    assert not is_quiet(draft(QUIET, counts=counts), {SHARD: NOON})
