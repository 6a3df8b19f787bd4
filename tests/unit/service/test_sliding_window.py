"""The sliding window: what it lets through, whoever comes however."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UsageError
from schemas.requests import Tally
from service.limits.sliding_window import Rate, standing

PERIOD = 60
LIMITS = st.integers(1, 12)
ARRIVALS = st.lists(st.floats(0, 5 * PERIOD, allow_nan=False), max_size=120).map(sorted)


class Counters:
    """Two periods' counts, as a store keeps them."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def count(self, now: float) -> Tally:
        period = int(now // PERIOD)
        self.counts[period] = self.counts.get(period, 0) + 1
        return Tally(self.counts[period], self.counts.get(period - 1, 0))


def admitted(limit: int, arrivals: list[float]) -> list[float]:
    """The arrivals that are let through; those refused are counted, too."""
    counters, rate = Counters(), Rate(limit, PERIOD)
    return [at for at in arrivals if not standing(rate, counters.count(at), at).is_over]


@given(LIMITS, ARRIVALS)
def test_no_period_has_more_than_the_limit(limit: int, arrivals: list[float]) -> None:
    through = admitted(limit, arrivals)
    for period in range(6):
        assert sum(1 for at in through if at // PERIOD == period) <= limit


@given(LIMITS, ARRIVALS)
def test_no_window_has_more_than_twice_the_limit(limit: int, arrivals: list[float]) -> None:
    """The bound of the estimate: it takes the previous period's requests to have come evenly."""
    through = admitted(limit, arrivals)
    for end in through:
        assert sum(1 for at in through if end - PERIOD < at <= end) <= 2 * limit


@given(LIMITS, st.floats(1e-3, PERIOD, allow_nan=False))
def test_those_who_come_evenly_at_the_limit_are_never_refused(limit: int, start: float) -> None:
    arrivals = [start + number * PERIOD / limit + number * 1e-6 for number in range(5 * limit)]
    assert admitted(limit, arrivals) == arrivals


@given(LIMITS, ARRIVALS)
def test_first_burst_is_exact(limit: int, arrivals: list[float]) -> None:
    """Ten a minute is ten: as long as nothing was counted before."""
    first = [at for at in arrivals if at < PERIOD]
    assert admitted(limit, first) == first[:limit]


@given(LIMITS, ARRIVALS)
def test_whoever_waits_as_told_is_let_through(limit: int, arrivals: list[float]) -> None:
    counters, rate = Counters(), Rate(limit, PERIOD)
    for at in arrivals:
        place = standing(rate, counters.count(at), at)
        if place.is_over:
            later = at + place.retry_after
            assert not standing(rate, counters.count(later), later).is_over
            break


@given(st.integers(0, 30), st.integers(1, 30), LIMITS, st.floats(0, 1e9, allow_nan=False))
def test_standing_is_never_absurd(previous: int, current: int, limit: int, now: float) -> None:
    place = standing(Rate(limit, PERIOD), Tally(current, previous), now)
    assert 0 <= place.remaining <= limit
    assert 0 < place.reset <= PERIOD
    assert 1 <= place.retry_after <= PERIOD + 1
    assert (place.wait == 0) >= (place.remaining > 0)


def test_remaining_requests_can_follow_at_once() -> None:
    place = standing(Rate(10, PERIOD), Tally(3, 4), 30)
    assert (place.is_over, place.remaining, place.wait, place.reset) == (False, 5, 0, 30)


def test_whoever_has_used_up_a_period_waits_for_the_next() -> None:
    place = standing(Rate(10, PERIOD), Tally(10, 0), 50)
    assert (place.is_over, place.remaining, place.wait) == (False, 0, 10)


@pytest.mark.parametrize(
    ("text", "limit", "seconds"),
    [("10/s", 10, 1), ("600/m", 600, 60), ("50/10m", 50, 600), ("1000/h", 1000, 3600)],
)
def test_rate_is_read(text: str, limit: int, seconds: int) -> None:
    assert Rate.parse(text) == Rate(limit, seconds)


@pytest.mark.parametrize("text", ["", "10", "0/m", "10/0m", "-1/m", "10/w", "1.5/s", "10 / m"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no rate"):
        Rate.parse(text)
