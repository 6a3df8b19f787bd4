"""A run while it is under way: others see that it lives, and it ends cleanly whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from runners.progress import beside
from schemas.errors import StoreError
from stores.log import DeliveryLog, Run

HEARTBEAT_EVERY = 60.0
"""Seconds between the signs of life that a run gives to other machines."""

_log = structlog.get_logger()


@contextmanager
def alive_run(log: DeliveryLog, run: Run) -> Iterator[None]:
    """Give signs of life; at the end publish what was committed, or clear what was staged."""
    try:
        with heartbeats(lambda: log.heartbeat(run)):
            yield
    except Exception:
        log.finish(run)
        raise
    except BaseException:
        # Interrupted from outside: a worker may still be about to commit.
        log.abandon(run)
        raise
    log.finish(run)


@contextmanager
def heartbeats(give: Callable[[], None]) -> Iterator[None]:
    """Give a sign of life from time to time; that one cannot be given is logged."""

    def beat(stop: threading.Event) -> None:
        while not stop.wait(HEARTBEAT_EVERY):
            try:
                give()
            except StoreError as error:
                _log.warning("heartbeat failed", code=error.code)

    with beside(beat):
        yield
