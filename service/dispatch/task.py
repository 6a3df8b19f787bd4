"""The dispatcher as a thread of a worker process."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

from runners.launcher import ProcessLauncher
from runners.runs import owner_here, state_folder, state_of
from service.bootstrap import Wiring
from service.dispatch.dispatcher import Dispatcher, Post
from service.dispatch.sweep import Hourly, Kept, Sweep
from service.enrichment.uploads import Uploads
from stores.state.service_port import Stores


def run(wiring: Wiring) -> None:
    """Dispatch until the process is asked to end; with a store of its own, which it waits on."""
    owner = owner_here()
    with closing(state_of(wiring.settings)) as state:
        dispatcher = Dispatcher(post_of(wiring, state), f"{owner.host}:{owner.pid}:{owner.started}")
        dispatcher.run(wiring.closing)


def post_of(wiring: Wiring, state: Stores) -> Post:
    """What a dispatcher of these settings works with."""
    section = wiring.settings.service.enrichment
    return Post(
        state=state,
        launcher=ProcessLauncher(),
        clock=wiring.clock,
        logs=state_folder(wiring.settings) / "logs",
        max_running=section.max_running,
        max_attempts=section.max_attempts,
        sweep=Hourly(_sweep(wiring, state), wiring.clock),
    )


def _sweep(wiring: Wiring, state: Stores) -> Sweep:
    settings = wiring.settings
    kept = Kept(
        jobs=timedelta(days=settings.service.enrichment.keep_days),
        runs=timedelta(days=settings.state.keep_days),
    )
    uploads = Uploads(wiring.files, settings.service.enrichment, wiring.clock)
    return Sweep(state, state, wiring.files, uploads, kept, wiring.clock)
