"""Rounds of background work, each as soon as something has happened in the outbox."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from schemas.errors import LetheError
from stores.state.service_port import Outbox

_SLICE = 0.5
"""Seconds after which a wait sees that the process is asked to end."""

_BREATH = 0.1
"""Seconds between two rounds, however much happens."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Look:
    """What a round found: whether this process is the one that does the work, and did any."""

    leads: bool
    is_idle: bool


@dataclass(frozen=True)
class Rounds:
    """Rounds of ``work``, named by ``name``; ``every`` is the seconds between two at the most."""

    name: str
    work: Callable[[], Look]
    every: float

    def run(self, stop: threading.Event, outbox: Outbox) -> None:
        """Go on until ``stop`` is set; a round that fails is followed by others."""
        while not stop.is_set():
            try:
                seen = outbox.newest()
                look = self.work()
                stop.wait(_BREATH if look.leads else self.every)
                if look.is_idle:
                    self._wait(stop, outbox, seen)
            except LetheError as error:
                _log.warning(f"{self.name} failed and goes on", code=error.code)
                stop.wait(_SLICE)

    def _wait(self, stop: threading.Event, outbox: Outbox, seen: int) -> None:
        """Until something happens; for some seconds at most."""
        for _ in range(int(self.every / _SLICE)):
            if stop.is_set() or outbox.wait(seen, _SLICE):
                return
