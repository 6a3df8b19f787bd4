"""The deliverer of webhooks as a thread of a worker process."""

from __future__ import annotations

import random
from contextlib import closing
from datetime import timedelta

from dsr.alerts import Alerts
from dsr.answers import Signers
from dsr.pauses import Pauses
from runners.runs import holder_here, state_of
from service.bootstrap import Wiring
from service.rounds import Look, Rounds
from service.webhooks.callbacks import Reports
from service.webhooks.deliver import LEASE, LEASE_SECONDS, Deliverer, Post
from service.webhooks.outcome import Patience
from stores.notify.opening import open_notifiers, rules_of
from stores.outbound import Outbound
from stores.state.leadership import Leadership
from stores.state.service_port import Stores
from stores.subjects import Subjects
from stores.webhooks.keys import WebhookKeys

LOOK_EVERY = 2.0
"""Seconds between two looks if nothing happens: pauses end without an event."""


def run(wiring: Wiring) -> None:
    """Deliver, while no other process does, until this one is asked to end."""
    holder = holder_here()
    with closing(state_of(wiring.settings)) as state:
        leadership = Leadership(state.leases, LEASE, holder, LEASE_SECONDS, wiring.clock)
        deliverer = Deliverer(post_of(wiring, state), leadership, wiring.closing)
        with closing(deliverer):
            rounds = Rounds("delivering", lambda: look(deliverer), LOOK_EVERY)
            rounds.run(wiring.closing, state.outbox)


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
        callbacks=Reports(
            state.dsr,
            state.outbox,
            Subjects(wiring.parameters),
            Signers(settings.opendsr, wiring.parameters),
        ).write,
        alerts=Alerts(state.alerts, notifier, wiring.clock),
        patience=Patience(pauses, random.uniform, timedelta(hours=section.disable_hours)),
        rotation=timedelta(hours=section.rotation_hours),
        concurrency=section.concurrency,
        clock=wiring.clock,
    )


def look(deliverer: Deliverer) -> Look:
    """One round."""
    taken = deliverer.round()
    return Look(leads=taken is not None, is_idle=taken == 0 and not deliverer.is_busy)
