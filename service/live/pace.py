"""How fast a client may send, and whether it is still there. Pure: times are in seconds."""

from __future__ import annotations

_BURST_SECONDS = 10
"""A client may send at once what it may send in so many seconds."""


class Allowance:
    """So many messages a second, and some at once (a token bucket)."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._most = max(rate * _BURST_SECONDS, 1.0)
        self._left = self._most
        self._at = now

    def takes(self, now: float) -> bool:
        """Whether one more message is within the rate."""
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Heartbeat:
    """Asks a client for a sign of life, again and again, and misses it in the end."""

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self.due_at = now + seconds
        self._heard = True

    def heard(self) -> None:
        """Anything at all came from the client."""
        self._heard = True

    def is_lost(self, now: float) -> bool:
        """Whether a beat is due, and nothing came since the last one."""
        return now >= self.due_at and not self._heard

    def beats(self, now: float) -> bool:
        """Whether the client is to be asked now; it then has until the next beat."""
        if now < self.due_at:
            return False
        self.due_at = now + self._seconds
        self._heard = False
        return True
