"""The threads of a worker process beside those that answer requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from service.bootstrap import Wiring
from service.dispatch import task as dispatch

Task = Callable[[Wiring], None]

TASKS: dict[str, Task] = {
    "dispatch": dispatch.run,
}
"""By name: what runs until ``wiring.closing`` is set, and then returns soon."""


def start(wiring: Wiring) -> list[threading.Thread]:
    """Start all tasks. To be called after a process was forked."""
    threads = [
        threading.Thread(target=task, args=(wiring,), name=name, daemon=True)
        for name, task in TASKS.items()
    ]
    for thread in threads:
        thread.start()
    return threads


def join(threads: Sequence[threading.Thread], seconds: float) -> None:
    """Give tasks so long, each, to return."""
    for thread in threads:
        thread.join(seconds)
