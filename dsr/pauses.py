"""Pauses between attempts: bounds that double, and full jitter below them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

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
