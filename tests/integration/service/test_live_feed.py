"""The feed tells of what any process commits, in order, on every kind of state store."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from schemas.access import Reach
from schemas.events import Event, Topic
from service.live.feed import Feed
from service.live.frames import CloseCode
from service.live.hub import Hub
from service.live.messages import Update, Watched
from tests.integration.state.conftest import (
    clock,
    credentials,
    ministack_url,
    moto_dynamodb_url,
    postgres_url,
    state,
    url,
)
from tests.integration.state.records import AnyState, Clock
from tests.waiting import PATIENCE

__all__ = [
    "clock",
    "credentials",
    "ministack_url",
    "moto_dynamodb_url",
    "postgres_url",
    "state",
    "url",
]


@dataclass(eq=False)
class Listener:
    """A client that notes what it is told."""

    told: queue.Queue[Update] = field(default_factory=queue.Queue)
    ended: queue.Queue[CloseCode] = field(default_factory=queue.Queue)

    def tell(self, update: Update) -> None:
        self.told.put(update)

    def end(self, code: CloseCode, reason: str) -> None:
        self.ended.put(code)

    def hear(self, count: int) -> list[Update]:
        return [self.told.get(timeout=PATIENCE) for _ in range(count)]


@dataclass
class Telling:
    """A feed at work for one listener that watches all jobs."""

    listener: Listener
    closing: threading.Event
    hub: Hub


@pytest.fixture
def telling(state: AnyState) -> Iterator[Telling]:
    closing, hub, listener = threading.Event(), Hub(1, 1), Listener()
    feed = Feed(state.outbox, hub, closing)
    with hub.seat(listener):
        feed.begin()
        hub.watch(Watched("job"), listener, Reach("org-1"))
        yield Telling(listener, closing, hub)
        closing.set()
        listener.ended.get(timeout=PATIENCE)


def write(state: AnyState, clock: Clock, topic: str, count: int) -> None:
    for version in range(1, count + 1):
        event = Event(Topic("job", topic), version, "org-1", "user-1", clock(), {})
        state.outbox.append(event)


def test_events_of_several_writers_come_in_the_order_of_their_places(
    telling: Telling, state: AnyState, clock: Clock
) -> None:
    writers = [threading.Thread(target=write, args=(state, clock, name, 15)) for name in "abc"]
    for writer in writers:
        writer.start()
    places = [update.place for update in telling.listener.hear(45)]
    for writer in writers:
        writer.join()
    assert places == [stored.place for stored in state.outbox.after(0, 100)]


def test_feed_hears_of_events_while_another_thread_waits_for_them(
    telling: Telling, state: AnyState, clock: Clock
) -> None:
    woken: queue.Queue[bool] = queue.Queue()
    waiter = threading.Thread(target=lambda: woken.put(state.outbox.wait(0, PATIENCE)))
    waiter.start()
    write(state, clock, "a", 1)
    assert telling.listener.hear(1)[0].event.version == 1
    assert woken.get(timeout=PATIENCE)
    waiter.join()
