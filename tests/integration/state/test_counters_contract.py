"""What every store of request counters does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from schemas.requests import Counted, Tally
from tests.integration.state.records import AnyState, Clock

MINUTE = Counted("minute", 60)
SECOND = Counted("second", 1)


def test_requests_are_counted_by_name(state: AnyState) -> None:
    state.counters.count([MINUTE])
    assert state.counters.count([SECOND, MINUTE]) == [Tally(1, 0), Tally(2, 0)]


def test_counting_nothing_is_no_work(state: AnyState) -> None:
    assert state.counters.count([]) == []


def test_a_name_is_counted_for_each_length_of_period(state: AnyState) -> None:
    tallies = state.counters.count([Counted("n", 1), Counted("n", 60)])
    assert tallies == [Tally(1, 0), Tally(1, 0)]


def test_the_period_before_is_told_too(state: AnyState, clock: Clock) -> None:
    for _ in range(3):
        state.counters.count([MINUTE])
    clock.pass_by(60)
    assert state.counters.count([MINUTE]) == [Tally(1, 3)]
    clock.pass_by(120)
    assert state.counters.count([MINUTE]) == [Tally(1, 0)]


def test_what_is_counted_late_in_the_period_before_is_told(state: AnyState, clock: Clock) -> None:
    clock.pass_by(60)
    state.counters.count([MINUTE])
    clock.pass_by(-60)
    state.counters.count([MINUTE])
    clock.pass_by(60)
    assert state.counters.count([MINUTE]) == [Tally(2, 1)]


def test_only_periods_that_no_window_looks_at_are_forgotten(state: AnyState, clock: Clock) -> None:
    state.counters.count([MINUTE, SECOND])
    clock.pass_by(60)
    assert state.counters.prune() == 1
    assert state.counters.count([MINUTE]) == [Tally(1, 1)]


def test_nothing_is_lost_when_many_count(state: AnyState) -> None:
    def count(number: int) -> None:
        state.counters.count([MINUTE, SECOND] if number % 2 else [SECOND, MINUTE])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(99)))
    assert state.counters.count([MINUTE, SECOND]) == [Tally(100, 0)] * 2
