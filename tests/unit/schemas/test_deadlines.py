"""Deadlines by calendar months, calendar days and business days, in the controller's zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.deadlines import (
    business_days_after,
    check_extension,
    days_left,
    deadlines,
    end_of_day,
    extended_deadline,
    federal_holidays,
    is_business_day,
    months_after,
)
from schemas.dsr import DsrStatus, Regulation
from schemas.errors import Conflict
from tests.dsr_requests import a_request

UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
LOS_ANGELES = ZoneInfo("America/Los_Angeles")
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Asia/Beirut", "Pacific/Apia"])
DAYS = st.dates(date(1990, 1, 1), date(2150, 1, 1))
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ("2026-01-31", "2026-02-28"),
        ("2028-01-31", "2028-02-29"),
        ("2026-02-28", "2026-03-28"),
        ("2026-08-31", "2026-09-30"),
        ("2026-12-15", "2027-01-15"),
    ],
)
def test_gdpr_gives_one_calendar_month(received: str, due: str) -> None:
    at = datetime.fromisoformat(f"{received}T12:00:00Z")
    found = deadlines(Regulation.GDPR, at, UTC_ZONE)
    assert found.due_at == datetime.fromisoformat(f"{due}T23:59:59Z")
    assert found.confirm_at is None


def test_gdpr_extension_counts_from_receipt_and_not_from_the_shortened_month() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert extended_deadline(Regulation.GDPR, at, UTC_ZONE).date() == date(2026, 4, 30)


def test_day_of_receipt_is_that_of_the_controllers_zone() -> None:
    at = datetime(2026, 3, 31, 23, 30, tzinfo=UTC)  # 1 April in Berlin
    assert deadlines(Regulation.GDPR, at, BERLIN).due_at == datetime(
        2026, 5, 1, 21, 59, 59, tzinfo=UTC
    )


def test_ccpa_is_confirmed_in_ten_business_days_and_answered_in_45_days() -> None:
    at = datetime(2026, 11, 20, 18, tzinfo=UTC)  # a Friday; Thanksgiving is the 26th
    found = deadlines(Regulation.CCPA, at, LOS_ANGELES)
    assert found.confirm_at == datetime(2026, 12, 8, 7, 59, 59, tzinfo=UTC)
    assert found.due_at == datetime(2027, 1, 5, 7, 59, 59, tzinfo=UTC)


def test_ccpa_ends_after_90_days_at_most() -> None:
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert extended_deadline(Regulation.CCPA, at, UTC_ZONE).date() == date(2026, 4, 1)


def test_federal_holidays_of_2026_are_those_of_its_calendar() -> None:
    days = ["01-01", "01-19", "02-16", "05-25", "06-19", "07-03"]
    days += ["09-07", "10-12", "11-11", "11-26", "12-25"]
    assert federal_holidays(2026) == {date.fromisoformat(f"2026-{day}") for day in days}


def test_new_year_on_a_saturday_is_observed_in_the_year_before() -> None:
    assert date(2027, 12, 31) in federal_holidays(2027)
    assert date(2028, 1, 1) not in federal_holidays(2028)


@given(st.integers(1990, 2150))
def test_no_holiday_is_observed_on_a_weekend(year: int) -> None:
    assert all(day.weekday() < 5 for day in federal_holidays(year))


@given(DAYS, st.integers(1, 30))
def test_so_many_business_days_lie_between(day: date, days: int) -> None:
    end = business_days_after(day, days)
    span = [day + timedelta(days=n) for n in range(1, (end - day).days + 1)]
    assert sum(map(is_business_day, span)) == days
    assert is_business_day(end)


@given(DAYS, st.integers(0, 40))
def test_months_later_is_the_same_day_or_the_last_of_its_month(day: date, months: int) -> None:
    later = months_after(day, months)
    assert (later.year * 12 + later.month) - (day.year * 12 + day.month) == months
    is_last = (later + timedelta(days=1)).day == 1
    assert later.day == day.day or (is_last and later.day < day.day)


@given(DAYS, ZONES)
def test_last_second_is_the_days_and_the_next_one_is_not(day: date, name: str) -> None:
    zone = ZoneInfo(name)
    last = end_of_day(day, zone)
    assert (last + timedelta(seconds=1)).astimezone(zone).date() > day
    assert last.astimezone(zone).date() <= day


@given(MOMENTS, ZONES, st.sampled_from(Regulation))
def test_no_deadline_comes_before_its_receipt_or_after_the_latest(
    at: datetime, name: str, regulation: Regulation
) -> None:
    zone = ZoneInfo(name)
    found = deadlines(regulation, at, zone)
    assert at < (found.confirm_at or found.due_at) <= found.due_at
    assert found.due_at < extended_deadline(regulation, at, zone)


def test_days_left_are_whole_ones() -> None:
    due = datetime(2026, 12, 1, tzinfo=UTC)
    moments = [timedelta(days=2), timedelta(hours=1), timedelta(0), timedelta(seconds=-1)]
    assert [days_left(due, due - left) for left in moments] == [2, 0, 0, -1]


def test_request_may_be_extended_on_its_last_second() -> None:
    dsr = a_request()
    check_extension(dsr, dsr.due_at)


@pytest.mark.parametrize(
    ("changes", "late", "reason"),
    [
        ({}, 1, "overdue"),
        ({"extended_at": datetime(2026, 11, 22, tzinfo=UTC)}, 0, "extended"),
        ({"status": DsrStatus.COMPLETED}, 0, "closed"),
    ],
)
def test_request_is_extended_once_while_open_and_in_time(
    changes: dict[str, object], late: int, reason: str
) -> None:
    dsr = a_request(**changes)
    with pytest.raises(Conflict) as raised:
        check_extension(dsr, dsr.due_at + timedelta(seconds=late))
    assert raised.value.details["reason"] == reason
