"""The port of notifiers, and several as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog

from schemas.alerts import Alert
from schemas.errors import StoreUnavailable

_log = structlog.get_logger()


class NotTold(StoreUnavailable):
    """The alert did not get through; it may later."""

    code = "alert_not_told"


class Notifier(Protocol):
    """A way to operators. For any number of threads."""

    def notify(self, alert: Alert) -> None:
        """Pass it on, within seconds. Raises ``NotTold``; told again it may come twice."""


class Notifiers:
    """All of several ways."""

    def __init__(self, ways: Sequence[Notifier]) -> None:
        self._ways = ways

    def notify(self, alert: Alert) -> None:
        """Pass it on by each. Raises ``NotTold`` if it got through by one way less."""
        missed = 0
        for way in self._ways:
            try:
                way.notify(alert)
            except NotTold:
                missed += 1
                _log.warning("an alert did not get through", way=type(way).__name__, key=alert.key)
        if missed:
            raise NotTold(f"the alert did not get through by {missed} of {len(self._ways)} ways")
