"""How the mock processor behaves: ``runners.mock_api.settings.changed`` reads changes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import UsageError


class Signing(StrEnum):
    """How callbacks and answers are signed."""

    GOOD = "good"
    PSS = "pss"
    WRONG = "wrong"
    NONE = "none"


@dataclass(frozen=True)
class ProcessorSettings:
    """Times are in seconds, shares are of calls and from 0 to 1.

    Of calls ``error_rate`` are answered 500 and not looked at, ``lost`` are worked off and not
    answered. ``outage`` answers every call with 503. ``throttle`` is calls a second, beyond which
    there is 429. A request goes on to its next status after ``step``, or only when it is told if
    that is None. Each change is told ``repeats`` times; ``shuffled`` tells the last one first,
    ``garbage`` of callbacks have a body that is none. ``legacy`` uses the headers of OpenGDPR,
    ``odd_times`` writes seven digits and no zone, ``sparse`` leaves out what may be missing.
    ``used_percent`` is what answers say of the rate limit.
    """

    latency: float = 0.0
    error_rate: float = 0.0
    lost: float = 0.0
    outage: bool = False
    throttle: float | None = None
    step: float | None = 1.0
    signing: Signing = Signing.GOOD
    legacy: bool = False
    garbage: float = 0.0
    repeats: int = 1
    shuffled: bool = False
    odd_times: bool = False
    sparse: bool = False
    used_percent: float | None = None


def checked(settings: ProcessorSettings) -> ProcessorSettings:
    """The settings, or ``UsageError`` if a value is out of its range."""
    shares = {
        "error_rate": settings.error_rate, "lost": settings.lost, "garbage": settings.garbage
    }  # fmt: skip
    wrong = [name for name, share in shares.items() if not 0 <= share <= 1]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: must lie in 0..1")
    if settings.latency < 0 or (settings.step or 0) < 0 or not 0 <= settings.repeats <= 100:
        raise UsageError("latency, step, repeats: must not be negative, repeats at most 100")
    if settings.throttle is not None and settings.throttle <= 0:
        raise UsageError("throttle: must be more than 0")
    return settings
