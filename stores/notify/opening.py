"""The notifiers that the settings name."""

from __future__ import annotations

from config.dsr import AlertsSection, OutboundSection
from stores.notify.log import LogNotifier
from stores.notify.port import Notifier, Notifiers
from stores.outbound import Outbound, OutboundRules, parse_networks


def open_notifiers(alerts: AlertsSection, outbound: OutboundSection) -> Notifier:
    """The log, and whatever else is configured. Does no I/O. Raises ``Invalid``."""
    ways: list[Notifier] = [LogNotifier()]
    if alerts.webhook_url is not None:
        from stores.notify.webhook import WebhookNotifier

        url = alerts.webhook_url.get_secret_value()
        ways.append(WebhookNotifier(url, Outbound(rules_of(outbound))))
    if alerts.sns_topic_arn is not None:
        from stores.notify.sns import SnsNotifier

        ways.append(SnsNotifier(alerts.sns_topic_arn))
    return Notifiers(ways)


def rules_of(section: OutboundSection) -> OutboundRules:
    """What may be spoken to, by the settings. Raises ``Invalid``."""
    return OutboundRules(
        plain_http=section.plain_http,
        networks=parse_networks(section.networks),
        seconds=section.timeout_seconds,
    )
