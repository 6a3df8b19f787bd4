"""The deliverer of webhooks as a thread of a worker process."""

from __future__ import annotations

import random
import threading
from contextlib import closing
from datetime import timedelta

import structlog

from dsr.alerts import Alerts
from dsr.pauses import Pauses
from runners.runs import owner_here, state_of
from schemas.errors import LetheError
from service.bootstrap import Wiring
from service.webhooks.deliver import LEASE, LEASE_SECONDS, Deliverer, Post
from service.webhooks.outcome import Patience
from stores.notify.opening import open_notifiers, rules_of
from stores.outbound import Outbound
from stores.state.leadership import Leadership
from stores.state.service_port import Outbox, Stores
from stores.webhooks.keys import WebhookKeys

LOOK_EVERY = 2.0
"""Seconds between two looks if nothing happens: pauses end without an event."""

_SLICE = 0.5
_BREATH = 0.1
_log = structlog.get_logger()


def run(wiring: Wiring) -> None:
    """Deliver, while no other process does, until this one is asked to end."""
    owner = owner_here()
    holder = f"{owner.host}:{owner.pid}:{owner.started}"
    with closing(state_of(wiring.settings)) as state:
        leadership = Leadership(state.leases, LEASE, holder, LEASE_SECONDS, wiring.clock)
        deliverer = Deliverer(post_of(wiring, state), leadership, wiring.closing)
        with closing(deliverer):
            deliver_until(wiring.closing, deliverer, state.outbox)


def post_of(wiring: Wiring, state: Stores) -> Post:
    """What a deliverer of these settings works with. Raises ``Invalid``."""
    settings, section = wiring.settings, wiring.settings.webhooks
    pauses = Pauses(section.first_pause_seconds, section.longest_pause_seconds)
    notifier = open_notifiers(settings.alerts, settings.outbound)
    return Post(
        webhooks=state.webhooks,
        outbox=state.outbox,
        outbound=Outbound(rules_of(settings.outbound)),
        keys=WebhookKeys(wiring.parameters),
        alerts=Alerts(state.alerts, notifier, wiring.clock),
        patience=Patience(pauses, random.uniform, timedelta(hours=section.disable_hours)),
        rotation=timedelta(hours=section.rotation_hours),
        concurrency=section.concurrency,
        clock=wiring.clock,
    )


def deliver_until(stop: threading.Event, deliverer: Deliverer, outbox: Outbox) -> None:
    """One round after another, each as soon as something has happened."""
    while not stop.is_set():
        try:
            seen = outbox.newest()
            taken = deliverer.round()
            stop.wait(LOOK_EVERY if taken is None else _BREATH)
            if taken == 0 and not deliverer.is_busy:
                _wait(stop, outbox, seen)
        except LetheError as error:
            _log.warning("delivering failed and goes on", code=error.code)
            stop.wait(_SLICE)


def _wait(stop: threading.Event, outbox: Outbox, seen: int) -> None:
    """Until something happens; for some seconds at most."""
    for _ in range(int(LOOK_EVERY / _SLICE)):
        if stop.is_set() or outbox.wait(seen, _SLICE):
            return
