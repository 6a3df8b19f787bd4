"""Alerts: what somebody has to look at soon. They hold no personal data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from schemas.events import shown_time


class AlertKind(StrEnum):
    """What happened."""

    PROCESSOR_UNREACHABLE = "processor_unreachable"
    REQUEST_PARKED = "request_parked"
    DEADLINE_AT_RISK = "deadline_at_risk"
    WEBHOOK_DISABLED = "webhook_disabled"


@dataclass(frozen=True)
class Alert:
    """Something to look at; ``resource`` names it, as ``dsr:ID``.

    ``key`` is the same for all that say the same: it is told once.
    """

    kind: AlertKind
    key: str
    at: datetime
    resource: str
    message: str
    organization: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def shown_alert(alert: Alert) -> dict[str, Any]:
    """An alert as it is sent."""
    return {
        "kind": alert.kind.value,
        "key": alert.key,
        "at": shown_time(alert.at),
        "resource": alert.resource,
        "organization": alert.organization,
        "message": alert.message,
        "details": dict(alert.details),
    }
