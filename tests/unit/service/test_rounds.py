"""Rounds of background work: when the next one comes, and what a failure does."""

from __future__ import annotations

import threading
from collections.abc import Callable

from schemas.errors import StoreUnavailable
from service.rounds import Look, Rounds

BUSY, IDLE = Look(leads=True, is_idle=False), Look(leads=True, is_idle=True)


class News:
    """An outbox in which something happens whenever it is waited for."""

    def __init__(self) -> None:
        self.waits = 0

    def newest(self) -> int:
        return 0

    def wait(self, place: int, seconds: float) -> bool:
        self.waits += 1
        return True


def ran(*looks: Look | StoreUnavailable) -> tuple[int, int]:
    """How many rounds there were until all of these had been, and how often news was awaited."""
    stop, news, left = threading.Event(), News(), list(looks)
    Rounds("working", _taking(left, stop), 1.0).run(stop, news)  # type: ignore[arg-type]
    return len(looks) - len(left), news.waits


def _taking(left: list[Look | StoreUnavailable], stop: threading.Event) -> Callable[[], Look]:
    def work() -> Look:
        found = left.pop(0)
        if not left:
            stop.set()
        if isinstance(found, StoreUnavailable):
            raise found
        return found

    return work


def test_round_that_did_something_is_followed_without_waiting_for_news() -> None:
    assert ran(BUSY, BUSY, BUSY) == (3, 0)


def test_idle_round_is_followed_once_something_happens() -> None:
    assert ran(IDLE, BUSY) == (2, 1)


def test_round_that_fails_is_followed_by_another() -> None:
    assert ran(StoreUnavailable("away"), BUSY) == (2, 0)
