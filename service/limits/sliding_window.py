"""A sliding window, estimated from two periods.

          previous: 40               current: 18
    ├──────────────────────────┼──────┬───────────────────┤
           ╰──── 40 x 0.75 + 18 = 48 ─╯ now, a quarter into the current period

It is taken that requests of the previous period came evenly. So no period has more than the limit,
and in the long run nobody gets more; a burst at the end of one period and on through the next may
reach, at worst, not quite twice the limit within one window. Those who come evenly, at the limit,
are never refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from schemas.errors import UsageError
from schemas.requests import Tally

_RATE = re.compile(r"([1-9]\d{0,8})/(\d{0,4})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Rate:
    """At most ``limit`` requests in ``seconds``."""

    limit: int
    seconds: int

    @staticmethod
    def parse(text: str) -> Rate:
        """Read ``10/s``, ``600/m``, ``50/10m``, ``1000/h``. Raises ``UsageError``."""
        found = _RATE.fullmatch(text)
        if found is None or found[2].startswith("0"):
            raise UsageError(f"{text!r} is no rate: write one as 10/s, 600/m or 50/10m")
        return Rate(int(found[1]), int(found[2] or 1) * _UNITS[found[3]])


@dataclass(frozen=True)
class Standing:
    """Where one stands after a request: ``wait`` is None if it is within the rate.

    ``remaining`` requests could follow at once; ``reset`` is when the period ends. ``wait`` and
    ``reset`` are in seconds.
    """

    rate: Rate
    remaining: int
    reset: float
    wait: float | None

    @property
    def retry_after(self) -> int:
        """Whole seconds to wait; 0 if it is within the rate."""
        return 0 if self.wait is None else max(1, math.ceil(self.wait))


def standing(rate: Rate, tally: Tally, now: float) -> Standing:
    """Where the request stands that was the last to be counted; ``now`` in seconds since 1970."""
    elapsed = now % rate.seconds
    overlap = 1 - elapsed / rate.seconds
    # More than the limit were counted only where some of them were refused.
    previous = min(tally.previous, rate.limit)
    estimate = previous * overlap + tally.current
    return Standing(
        rate=rate,
        remaining=max(0, math.floor(rate.limit - estimate)),
        reset=rate.seconds - elapsed,
        wait=None if estimate <= rate.limit else _wait(rate, previous, tally.current, elapsed),
    )


def _wait(rate: Rate, previous: int, current: int, elapsed: float) -> float:
    """Seconds until one more request would be within the rate, if none comes before."""
    if current < rate.limit and previous > 0:
        share = 1 - (rate.limit - current - 1) / previous
        return max(0.0, share * rate.seconds - elapsed)
    kept = min(current, rate.limit)
    return rate.seconds - elapsed + rate.seconds * max(0.0, 1 - (rate.limit - 1) / kept)
