"""Alerts in the log, which every installation has."""

from __future__ import annotations

import structlog

from schemas.alerts import Alert, shown_alert

_log = structlog.get_logger()


class LogNotifier:
    """Writes an error line for each alert; whoever watches the log looks for ``alert``."""

    def notify(self, alert: Alert) -> None:
        _log.error("alert", **shown_alert(alert))
