"""By when a data subject request has to be answered, by the law that it is made under. Pure.

GDPR, article 12(3): within one month of receipt; two further months if the subject is told of it,
and why, within the first. Months are those of the calendar: 31 January and a month is the last day
of February. CCPA (California Code of Regulations, title 11, section 7021): receipt is confirmed
within 10 business days; the answer is due in 45 calendar days of receipt, however long it takes to
verify the request, and in 90 if the consumer is told of it, and why, within the first 45.

Days are those of the controller's time zone, and a deadline is the last second of its day. The day
of receipt is not counted. A deadline on a Sunday or holiday stays there, though the law may give
another day: whoever keeps to it is never late.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.dsr import Dsr, Regulation
from schemas.errors import Conflict

GDPR_MONTHS = 1
GDPR_MONTHS_EXTENDED = 3
CCPA_CONFIRM_BUSINESS_DAYS = 10
CCPA_DAYS = 45
CCPA_DAYS_EXTENDED = 90

_SATURDAY = 5
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Deadlines:
    """When a request is to be answered, and its receipt confirmed, at the latest; in UTC."""

    due_at: datetime
    confirm_at: datetime | None = None


def deadlines(regulation: Regulation, received_at: datetime, zone: ZoneInfo) -> Deadlines:
    """The deadlines of a request that was received at this time, not extended."""
    day = received_at.astimezone(zone).date()
    if regulation is Regulation.GDPR:
        return Deadlines(end_of_day(months_after(day, GDPR_MONTHS), zone))
    confirm = business_days_after(day, CCPA_CONFIRM_BUSINESS_DAYS)
    return Deadlines(end_of_day(day + CCPA_DAYS * _DAY, zone), end_of_day(confirm, zone))


def extended_deadline(regulation: Regulation, received_at: datetime, zone: ZoneInfo) -> datetime:
    """The latest deadline that the law allows for a request received at this time."""
    day = received_at.astimezone(zone).date()
    if regulation is Regulation.GDPR:
        return end_of_day(months_after(day, GDPR_MONTHS_EXTENDED), zone)
    return end_of_day(day + CCPA_DAYS_EXTENDED * _DAY, zone)


def check_extension(dsr: Dsr, now: datetime) -> None:
    """Raise ``Conflict`` unless this request may be extended now: once, open, and in time."""
    if dsr.status.is_final:
        raise Conflict(f"the request is closed: it is {dsr.status}", reason="closed")
    if dsr.extended_at is not None:
        raise Conflict("the request was extended before: the law allows it once", reason="extended")
    if now > dsr.due_at:
        message = "the deadline has passed: an extension is told before it"
        raise Conflict(message, reason="overdue")


def days_left(due_at: datetime, now: datetime) -> int:
    """Whole days until a deadline, rounded down: 0 on the last one, below 0 when it has passed."""
    return (due_at - now) // _DAY


def months_after(day: date, months: int) -> date:
    """The same day so many months later, or the last of that month if it has none such."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(day.day, last))


def business_days_after(day: date, days: int) -> date:
    """The day that is so many business days later."""
    for _ in range(days):
        day += _DAY
        while not is_business_day(day):
            day += _DAY
    return day


def is_business_day(day: date) -> bool:
    """Whether this is neither of a weekend nor a federal holiday of the United States."""
    return day.weekday() < _SATURDAY and day not in federal_holidays(day.year)


def federal_holidays(year: int) -> frozenset[date]:
    """The days of a year on which federal holidays are observed (5 U.S.C. 6103).

    One on a Saturday is observed on the Friday before, one on a Sunday on the Monday after; so New
    Year may be observed in the year before.
    """
    observed = {_observed(day) for day in (*_holidays(year), date(year + 1, 1, 1))}
    return frozenset(day for day in observed if day.year == year)


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The last second of a day in this zone, in UTC."""
    following = datetime.combine(day + _DAY, time(), zone)
    return following.astimezone(UTC) - timedelta(seconds=1)


def _holidays(year: int) -> tuple[date, ...]:
    return (
        date(year, 1, 1),
        _nth(year, 1, calendar.MONDAY, 3),  # Martin Luther King, Jr.
        _nth(year, 2, calendar.MONDAY, 3),  # Washington
        _last_monday(year, 5),  # Memorial Day
        date(year, 6, 19),  # Juneteenth
        date(year, 7, 4),
        _nth(year, 9, calendar.MONDAY, 1),  # Labor Day
        _nth(year, 10, calendar.MONDAY, 2),  # Columbus Day
        date(year, 11, 11),  # Veterans Day
        _nth(year, 11, calendar.THURSDAY, 4),  # Thanksgiving
        date(year, 12, 25),
    )


def _observed(day: date) -> date:
    if day.weekday() == _SATURDAY:
        return day - _DAY
    return day + _DAY if day.weekday() > _SATURDAY else day


def _nth(year: int, month: int, weekday: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))


def _last_monday(year: int, month: int) -> date:
    last = date(year, month, calendar.monthrange(year, month)[1])
    return last - timedelta(days=last.weekday())
