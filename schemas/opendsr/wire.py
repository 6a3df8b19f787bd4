"""Reading JSON from outside: tolerant of what may be missing, strict about what is there.

A fault is ``Malformed``, which names the field and what it has to be. Values are personal data, and
are in no message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from schemas.errors import RequestError

LONGEST_TEXT = 8192
"""Characters of a text: an id, or an address, which may be signed and long."""

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?"
    r"(?:([Zz])|([+-])(\d\d):(\d\d))?",
    re.ASCII,
)

Kind = TypeVar("Kind", bound=StrEnum)
Value = TypeVar("Value")


class Malformed(RequestError):
    """A message of OpenDSR is not what it has to be; ``details["field"]`` says where."""

    code = "malformed_opendsr"


def malformed(field: str, fault: str) -> Malformed:
    """The error for a field, such as ``subject_identities.0.identity_type``."""
    return Malformed(f"{field}: {fault}", field=field)


class Fields:
    """The fields of a JSON object, read by name. What is null is missing; the rest is unknown."""

    def __init__(self, content: object, path: str = "") -> None:
        if not isinstance(content, dict):
            raise malformed(path or "body", "must be a JSON object")
        self._content = content
        self._path = path

    def named(self, name: str | int) -> str:
        """A field's name with the path to it."""
        return f"{self._path}.{name}" if self._path else str(name)

    def names(self) -> list[str]:
        return list(self._content)

    def text(self, name: str) -> str | None:
        """A text that is not empty."""
        value = self._content.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT:
            raise malformed(self.named(name), f"must be a text of 1 to {LONGEST_TEXT} characters")
        return value

    def count(self, name: str) -> int | None:
        value = self._content.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
            raise malformed(self.named(name), "must be a whole number, 0 or more")
        return value

    def time(self, name: str) -> datetime | None:
        value = self.text(name)
        return None if value is None else self._converted(name, value, parse_time)

    def one_of(self, name: str, kind: type[Kind]) -> Kind | None:
        value = self.text(name)
        if value is None:
            return None
        found = member(kind, value)
        if found is None:
            raise malformed(self.named(name), f"must be one of {', '.join(kind)}")
        return found

    def request_id(self, name: str = "subject_request_id") -> str:
        """A UUID of version 4. Capitals are taken, too, for some write them."""
        value = self.needed(name, self.text(name)).lower()
        if not _UUID4.fullmatch(value):
            raise malformed(self.named(name), "must be a UUID of version 4")
        return value

    def needed(self, name: str, value: Value | None) -> Value:
        """The value, or ``Malformed`` if there is none."""
        if value is None:
            raise malformed(self.named(name), "is missing")
        return value

    def listed(self, name: str, most: int) -> list[Any]:
        """A list of up to ``most`` values; empty if it is missing."""
        value = self._content.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > most:
            raise malformed(self.named(name), f"must be a list of at most {most}")
        return value

    def within(self, name: str) -> Fields:
        """The fields of an object that is a field; of an empty one if it is missing."""
        value = self._content.get(name)
        return Fields({} if value is None else value, self.named(name))

    def raw(self, name: str) -> Any:
        return self._content.get(name)

    def _converted(self, name: str, value: str, convert: Callable[[str], Value]) -> Value:
        try:
            return convert(value)
        except ValueError as error:
            raise malformed(self.named(name), str(error)) from None


def fields_of(body: bytes) -> Fields:
    """The fields of a body. Raises ``Malformed``."""
    return Fields(json_of(body))


def json_of(body: bytes) -> Any:
    """What a body says. Raises ``Malformed`` if it is no JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise malformed("body", "is no JSON") from None


def member(kind: type[Kind], text: str) -> Kind | None:
    """What of this kind is written so, if anything is."""
    try:
        return kind(text)
    except ValueError:
        return None


def parse_time(text: str) -> datetime:
    """A time of RFC 3339, in UTC; without a zone it is UTC, beyond microseconds it is cut off.

    Raises ``ValueError``, which does not repeat the text.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("must be a time of RFC 3339")
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    micros = int((found[7] or "").ljust(6, "0")[:6])
    leap = second == 60  # RFC 3339, 5.7
    try:
        time = datetime(year, month, day, hour, minute, second - leap, micros, UTC)
        return time + timedelta(seconds=leap) - _offset(found[9], found[10], found[11])
    except (ValueError, OverflowError):
        raise ValueError("must be a time that there is") from None


def _offset(sign: str | None, hours: str, minutes: str) -> timedelta:
    if sign is None:
        return timedelta()
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return -offset if sign == "-" else offset
