"""Leading by a lease: one of several, renewed in time, given up or lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stores.state.leadership import Leadership
from stores.state.sql import SqlState, open_state


@dataclass
class Clock:
    now: datetime = field(default_factory=lambda: datetime(2026, 1, 2, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(tmp_path: Path, clock: Clock) -> Iterator[SqlState]:
    opened = open_state(f"sqlite:///{tmp_path / 'state.db'}", clock)
    yield opened
    opened.close()


def claim(state: SqlState, clock: Clock, holder: str) -> Leadership:
    return Leadership(state.leases, "dispatch", holder, 20.0, clock)


def test_one_of_two_leads(state: SqlState, clock: Clock) -> None:
    one, other = claim(state, clock, "one"), claim(state, clock, "other")
    assert one.hold() is not None
    assert other.hold() is None


def test_lease_is_renewed_once_a_quarter_of_it_has_passed(state: SqlState, clock: Clock) -> None:
    leader = claim(state, clock, "one")
    first = leader.hold()
    clock.pass_by(4)
    assert leader.hold() == first
    clock.pass_by(2)
    renewed = leader.hold()
    assert renewed is not None
    assert first is not None
    assert (renewed.token, renewed.expires_at) == (first.token, clock.now + timedelta(seconds=20))


def test_leader_that_paused_for_too_long_leads_no_more(state: SqlState, clock: Clock) -> None:
    one, other = claim(state, clock, "one"), claim(state, clock, "other")
    one.hold()
    clock.pass_by(21)
    assert other.hold() is not None
    assert one.hold() is None
    assert one.lease is None


def test_who_resigns_is_followed_at_once(state: SqlState, clock: Clock) -> None:
    one, other = claim(state, clock, "one"), claim(state, clock, "other")
    one.hold()
    one.resign()
    assert other.hold() is not None
