"""The token bucket, by a clock that stands still unless it is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.resilience.bucket import TokenBucket


class FakeTime:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_let_through_and_then_the_rate_holds() -> None:
    bucket = TokenBucket(10.0, 3, FakeTime())
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]


def test_a_refused_token_is_not_lost() -> None:
    time = FakeTime()
    bucket = TokenBucket(10.0, 1, time)
    waits = bucket.take(), bucket.take(), bucket.take()
    time.now = 0.1
    assert (waits[1:], bucket.take()) == ((pytest.approx(0.1), pytest.approx(0.1)), 0)


def test_those_who_reserve_are_served_in_turn() -> None:
    bucket = TokenBucket(10.0, 1, FakeTime())
    assert [bucket.reserve() for _ in range(3)] == [0, pytest.approx(0.1), pytest.approx(0.2)]


@given(st.lists(st.floats(0, 1), max_size=50), st.floats(0.5, 100), st.integers(1, 20))
def test_no_more_is_taken_than_rate_and_burst_allow(
    pauses: list[float], rate: float, burst: int
) -> None:
    time = FakeTime()
    bucket, taken = TokenBucket(rate, burst, time), 0
    for pause in pauses:
        time.now += pause
        taken += bucket.take() == 0
    assert taken <= burst + time.now * rate + 1e-6
