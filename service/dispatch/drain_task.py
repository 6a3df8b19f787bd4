"""The drain of data subject requests as a thread of a worker process."""

from __future__ import annotations

from contextlib import closing

from dsr.drain import Drain
from dsr.draining import open_drain
from runners.runs import holder_here, state_of
from service.bootstrap import Wiring
from service.rounds import Look, Rounds

LOOK_EVERY = 5.0
"""Seconds between two looks if nothing happens: pauses end without an event."""


def run(wiring: Wiring) -> None:
    """Drain, while no other process does, until this one is asked to end."""
    with closing(state_of(wiring.settings)) as state:
        work = (wiring.settings, state, wiring.parameters, wiring.clock)
        with closing(open_drain(*work, holder_here(), wiring.closing)) as drain:
            rounds = Rounds("draining", lambda: look(drain), LOOK_EVERY)
            rounds.run(wiring.closing, state.outbox)


def look(drain: Drain) -> Look:
    """One round."""
    done = drain.round()
    return Look(leads=done is not None, is_idle=not done and not drain.has_waited)
