"""Alerts to a URL of the operators'."""

from __future__ import annotations

import msgspec

from schemas.alerts import Alert, shown_alert
from schemas.errors import RequestError, StoreUnavailable
from stores.notify.port import NotTold
from stores.outbound import Outbound


class WebhookNotifier:
    """Posts each alert as JSON. The URL may hold a secret, and is never repeated."""

    def __init__(self, url: str, outbound: Outbound) -> None:
        self._url = url
        self._outbound = outbound

    def notify(self, alert: Alert) -> None:
        body = msgspec.json.encode(shown_alert(alert))
        headers = {"Content-Type": "application/json"}
        try:
            status = self._outbound.send("POST", self._url, body, headers).status
        except (RequestError, StoreUnavailable) as error:
            raise NotTold(f"the alert was not sent: {error.message}") from None
        if not 200 <= status < 300:
            raise NotTold(f"the alert was not taken: the answer was {status}")
