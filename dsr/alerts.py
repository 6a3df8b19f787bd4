"""Alerts about requests: each is told once, and remembered.

It is told first and remembered then: whoever dies in between has it told twice, never not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from dsr.outages import Outages
from schemas.alerts import Alert, AlertKind
from stores.notify.memory import AlertMemory
from stores.notify.port import Notifier, NotTold

REMEMBERED = timedelta(days=400)
"""Longer than any deadline can be extended."""

_log = structlog.get_logger()


class Alerts:
    """Tells operators. ``clock`` gives UTC. For any number of threads."""

    def __init__(
        self, memory: AlertMemory, notifier: Notifier, clock: Callable[[], datetime]
    ) -> None:
        self._memory = memory
        self._notifier = notifier
        self._clock = clock

    def tell(self, alert: Alert) -> bool:
        """Tell it, unless it was told before; whether it is told by now. Raises ``StoreError``."""
        if self._memory.since(alert.key) is not None:
            return True
        try:
            self._notifier.notify(alert)
        except NotTold as error:
            _log.warning("an alert is told later", key=alert.key, code=error.code)
            return False
        self._memory.remember(alert.key, self._clock())
        return True

    def told(self, keys: Sequence[str]) -> frozenset[str]:
        """Which of these, 100 at most, were told before. Raises ``StoreError``."""
        return self._memory.known(keys)

    def tell_of_outages(self, outages: Outages, names: Sequence[str], after: timedelta) -> None:
        """Tell of processors that have not answered for so long, once an outage."""
        now = self._clock()
        for name in names:
            since, key = outages.since(name), f"outage:{name}"
            if outages.is_well(name):
                self._memory.forget(key)
                self._memory.forget(f"{key}:told")
            elif since is not None:
                # A drain that takes over counts on from what the one before it knew.
                began = self._memory.remember(key, since)
                if now - began >= after:
                    self.tell(_outage_alert(name, began, now))

    def forget_old(self) -> None:
        """Forget what was told so long ago that it will not be asked about."""
        self._memory.prune(self._clock() - REMEMBERED)


def _outage_alert(name: str, since: datetime, now: datetime) -> Alert:
    minutes = int((now - since).total_seconds() // 60)
    return Alert(
        kind=AlertKind.PROCESSOR_UNREACHABLE,
        key=f"outage:{name}:told",
        at=now,
        resource=f"processor:{name}",
        message=f"the processor {name} has taken no request for {minutes} minutes; they are queued",
        details={"minutes": minutes},
    )
