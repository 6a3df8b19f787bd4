"""Pauses between attempts, and between questions: bounds that grow, and jitter. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

_MOST_DOUBLINGS = 40

Draw = Callable[[float, float], float]
"""A number between two others, as ``random.uniform``."""


@dataclass(frozen=True)
class Pauses:
    """The bound of the first pause, and the one that no pause goes beyond, in seconds."""

    first: float
    longest: float

    def bound(self, failures: int) -> float:
        """The longest that the pause after so many failures in a row, at least 1, may be."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))

    def drawn(self, failures: int, draw: Draw) -> timedelta:
        """A pause after so many failures: anything up to the bound, so that none come together."""
        return timedelta(seconds=draw(0.0, self.bound(failures)))


@dataclass(frozen=True)
class Silence:
    """For how long a processor may be silent about a request before it is asked, in seconds.

    That is as long as it has had the request, but never less than ``first`` and never more than
    ``longest``, and up to half as long again: so questions grow rare, and none come together.
    """

    first: float = 3600.0
    longest: float = 86_400.0
    draw: Draw = random.uniform

    def until(self, sent_at: datetime | None, now: datetime) -> datetime:
        """When to ask about a request that was sent then, and that was heard of now."""
        had = 0.0 if sent_at is None else (now - sent_at).total_seconds()
        bound = min(self.longest, max(self.first, had))
        return now + timedelta(seconds=bound * self.draw(1.0, 1.5))
