"""Threads beside those that answer requests: begun anew when they fail, ended when asked to."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

from structlog.testing import capture_logs

from service import background
from service.bootstrap import Wiring


def test_task_that_fails_is_begun_anew() -> None:
    wiring = cast(Wiring, SimpleNamespace(closing=threading.Event()))
    begun: list[int] = []

    def task(wiring: Wiring) -> None:
        begun.append(1)
        if len(begun) < 3:
            raise ValueError("bob@example.com")
        wiring.closing.set()

    with capture_logs() as logged:
        background.join(background.start(wiring, {"task": task}, pause=0.001), 10)
    assert len(begun) == 3
    assert [line["error"] for line in logged] == ["ValueError"] * 2
    assert "bob@example.com" not in str(logged)


def test_task_ends_with_its_process() -> None:
    wiring: Any = SimpleNamespace(closing=threading.Event())
    threads = background.start(wiring, {"task": lambda wiring: wiring.closing.wait()})
    wiring.closing.set()
    background.join(threads, 10)
    assert not any(thread.is_alive() for thread in threads)
