"""The threads of a worker process beside those that answer requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import structlog

from service.bootstrap import Wiring
from service.dispatch import drain_task
from service.dispatch import task as dispatch
from service.errors import places_of
from service.webhooks import task as webhooks

Task = Callable[[Wiring], None]

TASKS: dict[str, Task] = {
    "dispatch": dispatch.run,
    "drain": drain_task.run,
    "webhooks": webhooks.run,
}
"""By name: what runs until ``wiring.closing`` is set, and then returns soon."""


_log = structlog.get_logger()


def start(
    wiring: Wiring, tasks: Mapping[str, Task] = TASKS, pause: float = 1.0
) -> list[threading.Thread]:
    """Start all tasks, to be begun anew when they fail, after ``pause`` seconds.

    To be called after a process was forked.
    """
    threads = [
        threading.Thread(target=_keep_up, args=(name, task, wiring, pause), name=name, daemon=True)
        for name, task in tasks.items()
    ]
    for thread in threads:
        thread.start()
    return threads


def _keep_up(name: str, task: Task, wiring: Wiring, pause: float) -> None:
    while not wiring.closing.is_set():
        try:
            task(wiring)
        except Exception as error:
            kind, places = type(error).__name__, places_of(error)
            _log.error("a task failed and is begun anew", task=name, error=kind, places=places)
        wiring.closing.wait(pause)


def join(threads: Sequence[threading.Thread], seconds: float) -> None:
    """Give tasks so long, each, to return."""
    for thread in threads:
        thread.join(seconds)
