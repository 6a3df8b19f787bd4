"""Deadlines are watched: before a request is late, operators and whoever watches it are told.

Operators get an alert, the others an event, each once for each request, deadline and number of
days. The event is written together with what the request keeps of it, so it is neither lost nor
repeated, whoever is killed; it reaches webhooks and WebSockets as every other event of it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from dsr.alerts import Alerts
from dsr.changing import Step, change, resource_of
from dsr.desk import Desk
from schemas.access import Reach
from schemas.alerts import Alert, AlertKind
from schemas.dsr import Dsr, DueCursor, DueNotice
from schemas.errors import Unavailable

_PAGE = 100
_AT_A_TIME = timedelta(seconds=4)
"""For so long one look goes on: it shares a thread and a lease with the forwarding of requests."""

_DAY = timedelta(days=1)
_EVERYWHERE = Reach(None)
_log = structlog.get_logger()


class DeadlineWatch:
    """Goes through all open requests that are near their deadline; for one thread.

    ``days`` are the numbers of days left at which it tells; ``actor`` is what the audit log calls
    it.
    """

    def __init__(self, desk: Desk, alerts: Alerts, days: Sequence[int], actor: str) -> None:
        self._desk = desk
        self._alerts = alerts
        self._days = days
        self._actor = actor
        self._after: DueCursor | None = None
        self._is_heard = True

    def look(self) -> bool:
        """Go on from where the last look ended; whether all have been gone through by now.

        The next look begins again then. If operators cannot be told, they are told of nothing more
        until then, so that none of their alerts is waited for in vain. Raises ``StoreError``.
        """
        until = self._desk.clock() + _AT_A_TIME
        while page := self._page():
            untold = self._untold(page)
            for dsr in page:
                self._tell(dsr, untold.get(resource_of(dsr.id)))
                self._after = DueCursor(dsr.due_at, dsr.id)
                if self._desk.clock() >= until:
                    return False
        self._after, self._is_heard = None, True
        return True

    def _page(self) -> list[Dsr]:
        if not self._days:
            return []
        moment = self._desk.clock() + max(self._days) * _DAY
        return self._desk.requests.due_before(moment, _EVERYWHERE, _PAGE, self._after)

    def _untold(self, page: Sequence[Dsr]) -> dict[str, Alert]:
        """The alerts about these that operators were not told yet, by request."""
        now = self._desk.clock()
        found = [(dsr, reached(dsr, self._days, now)) for dsr in page]
        alerts = [_alert(dsr, days, now) for dsr, days in found if days is not None]
        known = self._alerts.told([alert.key for alert in alerts])
        return {alert.resource: alert for alert in alerts if alert.key not in known}

    def _tell(self, dsr: Dsr, alert: Alert | None) -> None:
        if self._noticing(dsr, self._desk.clock()) is not None:
            self._notice(dsr.id)
        if alert is not None and self._is_heard:
            self._is_heard = self._alerts.tell(alert)

    def _notice(self, request_id: str) -> None:
        try:
            change(self._desk, request_id, _EVERYWHERE, self._actor, self._noticing)
        except Unavailable:
            _log.warning("a deadline is told later", request=request_id)

    def _noticing(self, dsr: Dsr, now: datetime) -> Step | None:
        """What has the next event of a request tell of its deadline, if that is due."""
        days, last = reached(dsr, self._days, now), dsr.due_notice
        if days is None or dsr.status.is_final or (last is not None and last.days <= days):
            return None
        told = replace(dsr, due_notice=DueNotice(days, dsr.version + 1))
        return Step(told, "deadline_noticed", {"days": str(days)})


def reached(dsr: Dsr, days: Sequence[int], now: datetime) -> int | None:
    """The least of ``days`` that a request has left, or fewer; None if it has more left."""
    return min((day for day in days if dsr.due_at - now < day * _DAY), default=None)


def _alert(dsr: Dsr, days: int, now: datetime) -> Alert:
    when = "is overdue" if dsr.due_at <= now else f"is due in {days} days or fewer"
    return Alert(
        kind=AlertKind.DEADLINE_AT_RISK,
        key=f"deadline:{dsr.id}:{dsr.due_at:%Y%m%d}:{days}",
        at=now,
        resource=resource_of(dsr.id),
        organization=dsr.organization,
        message=f"a request {when}",
        details={"days": days, "status": dsr.status.value, "regulation": dsr.regulation.value},
    )
