"""Single values as text: numbers, times and dates, each rule in one place.

Columns are read by vectorised casts; these functions say what such a cast must come to, and read
the values that it refuses.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import TypeVar

import numpy as np

from schemas.changes import ErrorCode
from schemas.fields import DecimalKind

D = TypeVar("D", date, datetime)

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
"""Times before this are taken for mistakes, not for data."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_MICROS = (EARLIEST - _EPOCH) // timedelta(microseconds=1)
LATEST_MICROS = (datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC) - _EPOCH) // timedelta(
    microseconds=1
)
EARLIEST_DAY, LATEST_DAY = (
    (day - _EPOCH.date()).days for day in (EARLIEST.date(), date(9999, 12, 31))
)
_TOO_LATE = "10000-01-01T00:00:00Z"

_ZONE = "(Z|[+-][0-9]{2}(:?[0-5][0-9])?)"
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    "("
    "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}(:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?)?"
    "|[0-9]{8}[T ][0-9]{2}([0-9]{2}([0-9]{2}([.,][0-9]+)?)?)?"
    f"){_ZONE}"
)
_STRANGE_YEAR = re.compile("[+-]?[0-9]{5,}-|[+-][0-9]{4}-|0000-")

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ZERO = Decimal(0)
EXACT = Context(prec=38, traps=[InvalidOperation, Inexact])
_WIDE = Context(prec=1000)


class BadValue(Exception):
    """A single value that cannot be read as its kind."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code = code


def parse_int(text: str, bits: int) -> int:
    """A whole number in DynamoDB's notation, which may be ``1E+2`` or ``7.0``."""
    number = _parse_number(text)
    if number != number.to_integral_value():
        raise BadValue(ErrorCode.WRONG_TYPE)
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise BadValue(ErrorCode.NUMBER_OUT_OF_RANGE)
    return int(number)


def parse_float(text: str, bits: int) -> float:
    """The nearest number of ``bits``; one that would be infinite is out of range."""
    number = float(_parse_number(text))
    with np.errstate(over="ignore"):
        nearest = np.float32(number) if bits == 32 else np.float64(number)
    if not np.isfinite(nearest):
        raise BadValue(ErrorCode.NUMBER_OUT_OF_RANGE)
    return number


def parse_decimal(text: str, kind: DecimalKind) -> Decimal:
    """An exact decimal; digits beyond the scale are an error unless they are zeros."""
    number = _parse_number(text)
    if number and number.adjusted() >= kind.precision - kind.scale:
        raise BadValue(ErrorCode.NUMBER_OUT_OF_RANGE)
    try:
        return number.quantize(Decimal((0, (1,), -kind.scale)), context=EXACT)
    except (InvalidOperation, Inexact):
        raise BadValue(ErrorCode.NUMBER_OUT_OF_RANGE) from None


def _parse_number(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise BadValue(ErrorCode.BAD_NUMBER)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise BadValue(ErrorCode.NUMBER_OUT_OF_RANGE) from None
    if not number:
        return _ZERO.copy_sign(number)  # whatever its exponent
    if abs(number.adjusted()) > 400:
        raise BadValue(ErrorCode.NUMBER_OUT_OF_RANGE)
    return number


def parse_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadValue(ErrorCode.BAD_BASE64) from None


def parse_date(text: str) -> date:
    """A calendar date, ``YYYY-MM-DD``."""
    parsed = _parse_iso(text, _DATE, date.fromisoformat)
    if parsed < EARLIEST.date():
        raise BadValue(ErrorCode.DATE_OUT_OF_RANGE)
    return parsed


def parse_time(text: str) -> int:
    """Microseconds since the epoch of an ISO 8601 date and time with a zone.

    Hyphens and colons may be left out, all together; ``T`` may be a space, and ``T`` and ``Z``
    small (RFC 3339). Week and ordinal dates, 24:00 and leap seconds are no times. Digits beyond
    microseconds are cut off.
    """
    moment = _parse_iso(text.upper(), _TIME, datetime.fromisoformat)
    micros = (moment - _EPOCH) // timedelta(microseconds=1)
    if not EARLIEST_MICROS <= micros <= LATEST_MICROS:
        raise BadValue(ErrorCode.DATE_OUT_OF_RANGE)
    return micros


def _parse_iso(text: str, form: re.Pattern[str], parse: Callable[[str], D]) -> D:
    if _STRANGE_YEAR.match(text):
        raise BadValue(ErrorCode.DATE_OUT_OF_RANGE)
    if not form.fullmatch(text):
        raise BadValue(ErrorCode.BAD_TIMESTAMP)
    try:
        return parse(text)
    except ValueError:
        raise BadValue(ErrorCode.BAD_TIMESTAMP) from None


def iso_of_millis(text: str) -> str | None:
    """Epoch milliseconds as ISO text, so that one cast serves both notations; None if no number."""
    try:
        return (_EPOCH + timedelta(microseconds=_micros_of_millis(text))).isoformat()
    except OverflowError:
        return _TOO_LATE
    except BadValue as bad:
        return _TOO_LATE if bad.code is ErrorCode.NUMBER_OUT_OF_RANGE else None


def _micros_of_millis(text: str) -> int:
    if len(text) < 20 and text.isascii() and text.isdigit():
        return int(text) * 1000
    return math.floor(_parse_number(text).scaleb(3, _WIDE))
