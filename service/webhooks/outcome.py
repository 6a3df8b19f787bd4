"""What a webhook becomes by what its address answered. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dsr.pauses import Draw, Pauses
from schemas.alerts import Alert, AlertKind
from schemas.webhooks import Webhook


@dataclass(frozen=True)
class Patience:
    """Pauses between attempts, and after how long without success a webhook is disabled."""

    pauses: Pauses
    draw: Draw
    disable_after: timedelta


@dataclass(frozen=True)
class Reached:
    """All up to ``place`` was delivered, or is none of the webhook's."""

    place: int


@dataclass(frozen=True)
class Failed:
    """What follows ``place`` could not be delivered; ``is_final`` if it never will be.

    ``retry_after`` is what the address asked for, in seconds.
    """

    place: int
    reason: str
    retry_after: float = 0.0
    is_final: bool = False


def after(
    webhook: Webhook, outcome: Reached | Failed, patience: Patience, now: datetime
) -> Webhook:
    """The webhook as it is to be kept."""
    if isinstance(outcome, Reached):
        well = replace(webhook, failures=0, failing_since=None, next_try_at=None)
        return replace(well, place=max(webhook.place, outcome.place))
    return _failing(webhook, outcome, patience, now)


def _failing(webhook: Webhook, failed: Failed, patience: Patience, now: datetime) -> Webhook:
    """Something that was delivered before the failure ends an earlier series of failures."""
    advanced = failed.place > webhook.place
    failures = 1 if advanced else webhook.failures + 1
    since = now if advanced or webhook.failing_since is None else webhook.failing_since
    asked = min(failed.retry_after, patience.pauses.longest)
    pause = patience.pauses.drawn(failures, patience.draw) + timedelta(seconds=asked)
    failing = replace(
        webhook,
        place=max(webhook.place, failed.place),
        failures=failures,
        failing_since=since,
        next_try_at=now + pause,
    )
    if not failed.is_final and now - since < patience.disable_after:
        return failing
    return replace(failing, next_try_at=None, disabled_at=now, disabled_reason=failed.reason)


def disabled_alert(webhook: Webhook, now: datetime) -> Alert:
    """What operators are told of a webhook that was disabled."""
    return Alert(
        kind=AlertKind.WEBHOOK_DISABLED,
        key=f"webhook:{webhook.id}:{webhook.version}",
        at=now,
        resource=f"webhook:{webhook.id}",
        organization=webhook.organization,
        message="a webhook was disabled: nothing could be delivered to it for too long",
        details={"failures": webhook.failures, "reason": webhook.disabled_reason},
    )
