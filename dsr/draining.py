"""The drain, built from the settings; for the service and the command line alike."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from config.settings import Settings
from dsr.alerts import Alerts
from dsr.callbacks import sealed_with, silence_of
from dsr.desk import DsrState, open_desk
from dsr.drain import LEASE, LEASE_SECONDS, Drain, Post, Route, Routes, Watch
from dsr.forwarding import Outcome, Rules
from dsr.outages import Outages
from dsr.pauses import Pauses
from schemas.errors import StoreError
from stores.notify.memory import AlertMemory
from stores.notify.opening import open_notifiers
from stores.parameters import ParameterStore
from stores.processors.opening import open_processors
from stores.state.leadership import Leadership
from stores.state.port import LeaseStore

_OUTAGE_PAUSES = Pauses(first=1.0, longest=60.0)
"""How long a processor that is down is left alone before one request or two are tried."""

_FOLLOWS_EVERY = 1.0
"""Seconds between two rounds of a drain that goes on."""

_log = structlog.get_logger()


class DrainState(DsrState, Protocol):
    """What of the state a drain needs."""

    @property
    def leases(self) -> LeaseStore: ...

    @property
    def alerts(self) -> AlertMemory: ...


def open_drain(
    settings: Settings,
    state: DrainState,
    parameters: ParameterStore,
    clock: Callable[[], datetime],
    holder: str,
    stopping: threading.Event,
) -> Drain:
    """The drain of these settings; ``holder`` names it, unlike any other. To be closed.

    Does no I/O but for files of certificates. Raises ``UsageError`` and ``Invalid``.
    """
    section, watch = settings.drain, settings.alerts
    desk = open_desk(settings.dsr, state, parameters, clock)
    rules = Rules(
        pauses=Pauses(section.first_pause_seconds, section.longest_pause_seconds),
        draw=random.uniform,
        max_attempts=section.max_attempts,
        seal=lambda dsr, url: sealed_with(desk, dsr, url),
        settled_after=settled_after(settings),
        silence=silence_of(settings.dsr),
    )
    post = Post(
        desk=desk,
        routes=open_routes(settings, parameters),
        outages=Outages(_OUTAGE_PAUSES, random.uniform, clock),
        alerts=Alerts(state.alerts, open_notifiers(watch, settings.outbound), clock),
        rules=rules,
        watch=Watch(timedelta(minutes=watch.outage_minutes), watch.deadline_days),
        concurrency=section.concurrency,
    )
    return Drain(post, Leadership(state.leases, LEASE, holder, LEASE_SECONDS, clock), stopping)


def drain_all(
    settings: Settings,
    state: DrainState,
    parameters: ParameterStore,
    clock: Callable[[], datetime],
    holder: str,
) -> Counter[Outcome] | None:
    """Forward all that is due now; None if another process drains. Raises ``LetheError``."""
    total: Counter[Outcome] = Counter()
    with closing(
        open_drain(settings, state, parameters, clock, holder, threading.Event())
    ) as drain:
        while True:
            done = drain.round()
            if done is None:
                return None
            if not done:
                return total
            total += done


def drain_on(
    settings: Settings,
    state: DrainState,
    parameters: ParameterStore,
    clock: Callable[[], datetime],
    holder: str,
) -> Counter[Outcome]:
    """Go on until interrupted; what became of requests meanwhile. Raises ``UsageError``."""
    total: Counter[Outcome] = Counter()
    stopping = threading.Event()
    with closing(open_drain(settings, state, parameters, clock, holder, stopping)) as drain:
        try:
            while not stopping.wait(_FOLLOWS_EVERY):
                total += _round_or_nothing(drain)
        except KeyboardInterrupt:
            stopping.set()
    return total


def _round_or_nothing(drain: Drain) -> Counter[Outcome]:
    """A round; what fails for the state store is done in a later one."""
    try:
        return drain.round() or Counter()
    except StoreError as error:
        _log.warning("draining failed and goes on", code=error.code)
        return Counter()


def open_routes(settings: Settings, parameters: ParameterStore) -> Routes:
    """All processors of the settings, in their order. Raises ``UsageError``."""
    regions = {
        name: tuple(region.name for region in section.regions)
        for name, section in settings.processors.items()
    }
    clients = open_processors(settings.processors, parameters)
    routes = {name: Route(client, regions[name]) for name, client in clients.items()}
    return Routes(routes, settings.callbacks.urls[:1])


def settled_after(settings: Settings) -> timedelta:
    """After so long nothing that was sent to any processor is on its way any more."""
    seconds = [section.settled_after_seconds for section in settings.processors.values()]
    return timedelta(seconds=max(seconds, default=0.0))
