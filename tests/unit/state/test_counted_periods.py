"""Periods lie alike for everybody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.requests import Counted

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
SECONDS = st.integers(1, 86_400)


@given(TIMES, SECONDS)
def test_a_time_lies_in_the_period_of_its_number(now: datetime, seconds: int) -> None:
    period = Counted("n", seconds).period(now)
    begin = datetime.fromtimestamp(period * seconds, UTC)
    assert begin <= now < begin + timedelta(seconds=seconds)


@given(TIMES, SECONDS)
def test_the_next_period_follows(now: datetime, seconds: int) -> None:
    counted = Counted("n", seconds)
    assert counted.period(now + timedelta(seconds=seconds)) == counted.period(now) + 1
