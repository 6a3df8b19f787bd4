"""Calls are spread before the limit is reached, and repeats are few."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stores.processors.budget import RetryBudget
from stores.processors.pace import SLOW_FROM, WINDOW, Pace


class Ticking:
    """Seconds that are set."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_nobody_waits_while_the_limit_is_far() -> None:
    pace = Pace(1000, Ticking())
    pace.note(SLOW_FROM - 1)
    assert [pace.reserve(10) for _ in range(5)] == [0.0] * 5


@given(st.floats(SLOW_FROM, 99), st.integers(100, 10_000))
def test_what_is_left_of_the_limit_lasts_for_its_minute(used: float, limit: int) -> None:
    clock = Ticking()
    pace = Pace(limit, clock)
    pace.note(used)
    calls = 0
    while clock.at - 100 < WINDOW - 0.001:
        clock.at += pace.reserve(WINDOW)
        calls += 1
    assert calls <= limit * (100 - used) / 100 + 2


def test_turn_that_is_too_far_is_not_taken() -> None:
    pace = Pace(1000, Ticking())
    pace.note(100)
    assert pace.reserve(1) == 0.0
    assert pace.reserve(1) == pace.reserve(1) == WINDOW


def test_what_was_said_is_forgotten_after_the_minute() -> None:
    clock = Ticking()
    pace = Pace(1000, clock)
    pace.note(100)
    pace.reserve(1)
    clock.at += WINDOW
    assert (pace.reserve(1), pace.reserve(1)) == (0.0, 0.0)


def test_wish_to_be_left_alone_holds_for_all() -> None:
    clock = Ticking()
    pace = Pace(1000, clock)
    pace.hold(7)
    clock.at += 3
    assert pace.reserve(10) == 4.0


def test_repeats_are_a_share_of_the_calls() -> None:
    budget = RetryBudget()
    made = sum(budget.may_repeat() for _ in range(1000))
    for _ in range(100):
        budget.called()
        made += budget.may_repeat()
    assert made <= 10 + 100 * 0.2 + 1
