"""A sliding window, estimated from two periods.

          previous: 40               current: 18
    ├──────────────────────────┼──────┬───────────────────┤
           ╰──── 40 x 0.75 + 18 = 48 ─╯ now, a quarter into the current period

It is taken that requests of the previous period came evenly. So no period has more than the limit,
and in the long run nobody gets more; a burst at the end of one period and on through the next may
reach, at worst, twice the limit within one window. A first burst gets the limit exactly, and those
who come evenly, at the limit, are never refused.
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
    """Where one stands after a request, which ``is_over`` the rate or within it.

    ``remaining`` requests could follow at once, the next one in ``wait`` seconds at the earliest;
    in ``reset`` seconds the period ends.
    """

    rate: Rate
    is_over: bool
    remaining: int
    wait: float
    reset: float

    @property
    def retry_after(self) -> int:
        """Whole seconds after which the next request is within the rate; at least 1."""
        return math.floor(self.wait) + 1


def standing(rate: Rate, tally: Tally, now: float) -> Standing:
    """Where the request stands that was the last to be counted; ``now`` in seconds since 1970."""
    elapsed = now % rate.seconds
    # More than the limit were counted only where some of them were refused.
    previous = min(tally.previous, rate.limit)
    room = rate.limit + 1 - previous * (1 - elapsed / rate.seconds) - tally.current
    remaining = max(0, math.ceil(room) - 1)
    return Standing(
        rate=rate,
        is_over=room <= 0,
        remaining=remaining,
        wait=0.0 if remaining else _wait(rate, previous, tally.current, elapsed),
        reset=rate.seconds - elapsed,
    )


def _wait(rate: Rate, previous: int, current: int, elapsed: float) -> float:
    """Seconds after which one more request is within the rate, if none comes before."""
    if current >= rate.limit or previous == 0:
        return rate.seconds - elapsed
    share = 1 - (rate.limit - current) / previous
    return max(0.0, share * rate.seconds - elapsed)
