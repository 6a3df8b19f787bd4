"""Who is to be told of what, in this process: how many may connect, and where updates go."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from schemas.access import Principal, Reach
from schemas.errors import RateLimited, Unavailable
from schemas.events import Event, StoredEvent
from service.live.frames import CloseCode
from service.live.messages import Update, Watched


class Client(Protocol):
    """A connection, as the hub sees it. Neither method may wait for the client, or raise."""

    def tell(self, update: Update) -> None:
        """Something happened that it may watch."""

    def end(self, code: CloseCode, reason: str) -> None:
        """Close the connection."""


class Hub:
    """The connections of this process, and what they watch. For any number of threads."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._lock = threading.Lock()
        self._clients: dict[Client, set[Watched]] = {}
        self._of_principal: Counter[tuple[str, str]] = Counter()
        self._watchers: dict[Watched, dict[Client, Reach]] = {}
        self._place: int | None = None
        self._closing = False

    @contextmanager
    def seat(self, client: Client) -> Iterator[None]:
        """Have ``client`` connected; it watches nothing any more when that is over.

        Raises ``Unavailable`` if there are as many as there may be.
        """
        with self._lock:
            if self._closing or len(self._clients) >= self._most:
                raise Unavailable("there are as many connections as this process takes")
            self._clients[client] = set()
        try:
            yield
        finally:
            with self._lock:
                for watched in self._clients.pop(client):
                    self._forget(watched, client)

    @contextmanager
    def seat_of(self, principal: Principal) -> Iterator[None]:
        """Have one more connection of ``principal``. Raises ``RateLimited`` if they have enough."""
        name = (principal.organization, principal.subject)
        with self._lock:
            if self._of_principal[name] >= self._most_of_one:
                raise RateLimited("you have as many connections as one may have to a process")
            self._of_principal[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._of_principal[name] -= 1
                self._of_principal += Counter()

    def is_watched(self, watched: Watched) -> bool:
        """Whether anybody watches this."""
        return watched in self._watchers

    def begin_at(self, place: int) -> None:
        """Updates after this place are going to be published."""
        with self._lock:
            self._place = place

    def watch(self, watched: Watched, client: Client, reach: Reach) -> int:
        """Tell ``client`` of this from now on: of all that comes after the place returned.

        Raises ``Unavailable`` if nothing is being published.
        """
        with self._lock:
            if self._place is None:
                raise Unavailable("updates are not being published now")
            self._clients[client].add(watched)
            self._watchers.setdefault(watched, {})[client] = reach
            return self._place

    def unwatch(self, watched: Watched, client: Client) -> None:
        """Tell ``client`` of this no more."""
        with self._lock:
            self._clients[client].discard(watched)
            self._forget(watched, client)

    def publish(self, stored: StoredEvent) -> None:
        """Tell all who watch this. Events have to come in the order of their places."""
        update = Update(stored.event, stored.place)
        with self._lock:
            self._place = stored.place
            clients = self._watchers_of(stored.event)
        for client in clients:
            client.tell(update)

    def close(self, code: CloseCode, reason: str) -> None:
        """Close all connections, and take no more."""
        with self._lock:
            self._closing = True
        self.end_all(code, reason)

    def end_all(self, code: CloseCode, reason: str) -> None:
        """Close all connections that there are."""
        with self._lock:
            clients = [*self._clients]
        for client in clients:
            client.end(code, reason)

    def _forget(self, watched: Watched, client: Client) -> None:
        watchers = self._watchers.get(watched, {})
        watchers.pop(client, None)
        if not watchers:
            self._watchers.pop(watched, None)

    def _watchers_of(self, event: Event) -> list[Client]:
        one = self._watchers.get(Watched.of(event.topic), {})
        all_of_kind = self._watchers.get(Watched(event.topic.kind), {})
        watchers = [*one.items(), *((c, r) for c, r in all_of_kind.items() if c not in one)]
        return [client for client, reach in watchers if is_within(event, reach)]


def is_within(event: Event, reach: Reach) -> bool:
    """Whether an event is of something that is within reach."""
    if reach.organization is None:
        return True
    if event.organization != reach.organization:
        return False
    return reach.owner is None or event.owner == reach.owner
