"""Instants as producers write them, each a function of milliseconds since 1970."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

TimeStyle = Callable[[int], str]

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


def _calendar() -> tuple[str, ...]:
    first, last = date(2025, 1, 1).toordinal(), date(2027, 12, 31).toordinal()
    return tuple(date.fromordinal(day).isoformat() for day in range(first, last + 1))


_FIRST_DAY = (date(2025, 1, 1) - date(1970, 1, 1)).days
_DATES = _calendar()
_MINUTES = tuple(f"T{minute // 60:02d}:{minute % 60:02d}:" for minute in range(1440))


def local_iso(ms: int) -> str:
    """Date and time of day to the millisecond, without a zone, for 2025 to 2027.

    From tables, because ``datetime`` would take a third of the time a record is given.
    """
    day, within = divmod(ms, DAY_MS)
    minute, rest = divmod(within, 60_000)
    return f"{_DATES[day - _FIRST_DAY]}{_MINUTES[minute]}{rest // 1000:02d}.{rest % 1000:03d}"


def plain_utc(ms: int) -> str:
    return f'"{local_iso(ms)}Z"'


def typed_utc(ms: int) -> str:
    return f'{{"S":"{local_iso(ms)}Z"}}'


def typed_offset(ms: int) -> str:
    """The same instant as told one hour east of Greenwich."""
    return f'{{"S":"{local_iso(ms + HOUR_MS)}+01:00"}}'


def typed_epoch(ms: int) -> str:
    return f'{{"N":"{ms}"}}'
