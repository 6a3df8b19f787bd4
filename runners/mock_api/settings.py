"""How the mock API behaves, and how that is written as JSON."""

from __future__ import annotations

from dataclasses import Field, asdict, dataclass, fields
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec

from schemas.errors import UsageError


@dataclass(frozen=True)
class MockSettings:
    """Seconds before an answer; shares (0 to 1) of calls; calls a second, None for no limit.

    ``outage`` answers every call with 503. ``malformed`` calls get garbage, half a body, too few
    results, or results in another order. A call with a contact whose id is in ``breaking`` is
    answered 500, one whose id is in ``rejected`` 422.
    """

    latency: float = 0.0
    error_rate: float = 0.0
    throttle: float | None = None
    malformed: float = 0.0
    outage: bool = False
    breaking: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()


class Changeable(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Settings = TypeVar("Settings", bound=Changeable)


def changed(settings: Settings, change: bytes) -> Settings:
    """The settings with what a JSON object names replaced. Raises ``UsageError``."""
    try:
        wished = msgspec.json.decode(change, type=dict[str, Any])
        found = msgspec.convert({**asdict(settings), **wished}, type(settings))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UsageError("the settings are not a JSON object with values of their kinds") from None
    unknown = sorted(set(wished) - {field.name for field in fields(settings)})
    if unknown:
        raise UsageError(f"there are no such settings: {', '.join(unknown)}")
    return found


def checked(settings: MockSettings) -> MockSettings:
    """The settings, or ``UsageError`` if a value is out of its range."""
    shares = {"error_rate": settings.error_rate, "malformed": settings.malformed}
    wrong = [name for name, share in shares.items() if not 0 <= share <= 1]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: must lie in 0..1")
    if settings.latency < 0 or (settings.throttle is not None and settings.throttle <= 0):
        raise UsageError("latency and throttle: must not be negative")
    return settings
