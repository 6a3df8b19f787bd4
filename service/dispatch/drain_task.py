"""The drain of data subject requests as a thread of a worker process."""

from __future__ import annotations

import threading
from contextlib import closing

import structlog

from dsr.drain import Drain
from dsr.draining import open_drain
from runners.runs import owner_here, state_of
from schemas.errors import LetheError
from service.bootstrap import Wiring
from stores.state.service_port import Outbox

LOOK_EVERY = 5.0
"""Seconds between two looks if nothing happens: pauses end without an event."""

_SLICE = 0.5
"""Seconds after which a wait sees that the process is asked to end."""

_BREATH = 0.1
"""Seconds between two rounds, however much happens."""

_log = structlog.get_logger()


def run(wiring: Wiring) -> None:
    """Drain, while no other process does, until this one is asked to end."""
    owner = owner_here()
    holder = f"{owner.host}:{owner.pid}:{owner.started}"
    with closing(state_of(wiring.settings)) as state:
        work = (wiring.settings, state, wiring.parameters, wiring.clock)
        with closing(open_drain(*work, holder, wiring.closing)) as drain:
            drain_until(wiring.closing, drain, state.outbox)


def drain_until(stop: threading.Event, drain: Drain, outbox: Outbox) -> None:
    """One round after another, each as soon as something has happened."""
    while not stop.is_set():
        try:
            seen = outbox.newest()
            done = drain.round()
            stop.wait(LOOK_EVERY if done is None else _BREATH)
            if not done:
                _wait(stop, outbox, seen)
        except LetheError as error:
            _log.warning("draining failed and goes on", code=error.code)
            stop.wait(_SLICE)


def _wait(stop: threading.Event, outbox: Outbox, seen: int) -> None:
    """Until something happens; for some seconds at most."""
    for _ in range(int(LOOK_EVERY / _SLICE)):
        if stop.is_set() or outbox.wait(seen, _SLICE):
            return
