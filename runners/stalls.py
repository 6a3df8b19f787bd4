"""Stalls: shards of which something is missing in the lake that the running job will not bring.

A job that an engine has lost a piece of goes on without it: later rows are delivered, and the
shard's position stands still before the gap. Started again from the log, the piece is read anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.stream_log import ShardState

SLACK = 120.0
"""Seconds that writing, committing and restarts of the engine may add."""


def patience_for(window: float, idle: float) -> float:
    """Seconds after which a position that stands still has lost something.

    Rows of an open window hold it back until the window's end, late ones until they have settled.
    """
    return 2 * window + idle + SLACK


class StallWatch:
    """Remembers since when positions stand still while rows beyond them are delivered."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[str, tuple[int, float]] = {}

    def stalled(self, shards: Mapping[str, ShardState], now: float) -> list[str]:
        """The shards, by source, that have stood still for too long by the clock of ``now``."""
        self._since = {
            source: self._stood(source, state.place, now)
            for source, state in shards.items()
            if state.delivered
        }
        late = now - self._patience
        return sorted(source for source, (_, since) in self._since.items() if since <= late)

    def _stood(self, source: str, place: int, now: float) -> tuple[int, float]:
        known = self._since.get(source)
        return known if known is not None and known[0] == place else (place, now)
