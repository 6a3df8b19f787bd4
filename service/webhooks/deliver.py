"""Delivering: each webhook is sent its events in order, at least once.

A webhook's place is kept after events were taken, so that whoever dies in between has some of them
sent again; they bear the same id. One that fails holds up no other webhook, and nothing of its own
passes it by: what follows waits, for as long as the outbox keeps it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import structlog

from dsr.alerts import Alerts
from schemas.access import Reach
from schemas.errors import StoreError, UsageError
from schemas.events import StoredEvent
from schemas.webhooks import Webhook, delivery_of, event_id
from service.webhooks.letters import Letter, Write
from service.webhooks.outcome import Failed, Patience, Reached, after, disabled_alert
from service.webhooks.public import NOT_PUBLIC
from stores.outbound import AddressRefused, Outbound, OutboundAnswer, Unanswered, Unresolved
from stores.state.leadership import Leadership
from stores.state.service_port import Outbox
from stores.webhooks.keys import WebhookKeys
from stores.webhooks.port import WebhookStore

LEASE = "webhooks"
LEASE_SECONDS = 8.0

_AT_ONCE = 200
"""Events, or webhooks, that are read at once."""

_TURN_SECONDS = 5.0
"""For so long one webhook is served before it is the others' turn."""

_LOOKS_WITHIN = 1.0
_EVERYWHERE = Reach(None)
_GONE = 410

_log = structlog.get_logger()


@dataclass(frozen=True)
class Post:
    """What a deliverer works with; ``rotation`` is how long the key before the newest signs too.

    ``callbacks`` writes what controllers are sent.
    """

    webhooks: WebhookStore
    outbox: Outbox
    outbound: Outbound
    keys: WebhookKeys
    callbacks: Write
    alerts: Alerts
    patience: Patience
    rotation: timedelta
    concurrency: int
    clock: Callable[[], datetime]


class Deliverer:
    """Delivers while it leads. ``round`` is for one thread, which has helpers of its own."""

    def __init__(self, post: Post, leadership: Leadership, stopping: threading.Event) -> None:
        self._post = post
        self._leadership = leadership
        self._stopping = stopping
        self._helpers = ThreadPoolExecutor(post.concurrency, "webhook")
        self._seen: dict[str, int] = {}
        self._turns: dict[str, Future[int]] = {}

    def round(self) -> int | None:
        """Begin a turn of each webhook that has none; how many events were taken meanwhile.

        None if another one leads. Raises ``StoreError``.
        """
        if self._leadership.hold() is None:
            return None
        newest = self._post.outbox.newest()
        for hook in self._due(newest):
            if hook.id not in self._turns:
                self._turns[hook.id] = self._helpers.submit(self._serve, hook)
        wait(self._turns.values(), _LOOKS_WITHIN, FIRST_COMPLETED)
        return self._ended()

    @property
    def is_busy(self) -> bool:
        """Whether a turn is under way."""
        return bool(self._turns)

    def _ended(self) -> int:
        """How many events were taken in the turns that have ended."""
        ended = [name for name, turn in self._turns.items() if turn.done()]
        return sum([self._turns.pop(name).result() for name in ended])

    def close(self) -> None:
        """Wait for what is under way, and let others deliver."""
        self._helpers.shutdown(cancel_futures=True)
        try:
            self._leadership.resign()
        except StoreError as error:
            _log.warning("the lease runs out by itself", code=error.code)

    def _due(self, newest: int) -> Iterator[Webhook]:
        last, page = "", self._post.webhooks.enabled("", _AT_ONCE)
        while page:
            yield from (hook for hook in page if self._is_due(hook, newest))
            last = page[-1].id
            page = self._post.webhooks.enabled(last, _AT_ONCE) if len(page) == _AT_ONCE else []

    def _is_due(self, hook: Webhook, newest: int) -> bool:
        is_time = hook.next_try_at is None or hook.next_try_at <= self._post.clock()
        return is_time and self._place(hook) < newest

    def _place(self, hook: Webhook) -> int:
        """Up to where there is nothing for it; further than is kept, as not all is written down."""
        return max(hook.place, self._seen.get(hook.id, 0))

    def _serve(self, hook: Webhook) -> int:
        """One turn; how many events were taken."""
        place, taken = self._place(hook), 0
        for stored in self._turn(place):
            if hook.wants(stored.event):
                failed = self._send(hook, stored, place)
                if failed is not None:
                    self._keep(hook, failed)
                    return taken
                taken += 1
            place = stored.place
        self._seen[hook.id] = place
        if taken or place - hook.place >= _AT_ONCE:
            self._keep(hook, Reached(place))
        return taken

    def _turn(self, place: int) -> Iterator[StoredEvent]:
        """What follows in the outbox, until all is read or the turn is over."""
        until = time.monotonic() + _TURN_SECONDS
        while page := self._post.outbox.after(place, _AT_ONCE):
            for stored in page:
                if self._stopping.is_set() or time.monotonic() > until or not self._leads():
                    return
                yield stored
            place = page[-1].place

    def _leads(self) -> bool:
        lease = self._leadership.lease
        return lease is not None and lease.expires_at > self._post.clock()

    def _send(self, hook: Webhook, stored: StoredEvent, place: int) -> Failed | None:
        """Have one event taken; what is known if it was not, ``place`` being that before it."""
        write = self._post.callbacks if hook.is_callback else self._delivery
        try:
            letter = write(hook, stored)
            if letter is None:
                return None
            answer = self._post.outbound.send("POST", hook.url, letter.body, letter.headers)
        except Unresolved:
            return Failed(place, NOT_PUBLIC)
        except (AddressRefused, Unanswered, UsageError) as error:
            return Failed(place, error.message)
        return None if 200 <= answer.status < 300 else _refusal(answer, place)

    def _delivery(self, hook: Webhook, stored: StoredEvent) -> Letter:
        """What clients are sent, signed by their keys."""
        body, now = msgspec.json.encode(delivery_of(hook, stored)), self._post.clock()
        numbers = hook.key_numbers(now, self._post.rotation)
        headers = {
            "Content-Type": "application/json",
            "X-Lethe-Webhook": hook.id,
            "X-Lethe-Event": event_id(stored.event),
            **self._post.keys.headers(hook.id, numbers, int(now.timestamp()), body),
        }
        return Letter(body, headers)

    def _keep(self, hook: Webhook, outcome: Reached | Failed) -> None:
        """Write down how it went, also if its owner has changed the webhook meanwhile."""
        known: Webhook | None = hook
        while known is not None:
            kept = self._post.webhooks.change(
                after(known, outcome, self._post.patience, self._post.clock())
            )
            if kept is not None:
                self._tell(kept)
                return
            known = self._post.webhooks.get(hook.id, _EVERYWHERE)

    def _tell(self, hook: Webhook) -> None:
        if hook.disabled_at is not None:
            _log.warning("webhook disabled", webhook=hook.id, reason=hook.disabled_reason)
            self._post.alerts.tell(disabled_alert(hook, hook.disabled_at))


def _refusal(answer: OutboundAnswer, place: int) -> Failed:
    wish = answer.headers.get("retry-after", "")
    seconds = float(wish) if wish.isascii() and wish.isdigit() and len(wish) < 10 else 0.0
    reason = f"the answer was {answer.status}"
    return Failed(place, reason, seconds, is_final=answer.status == _GONE)
