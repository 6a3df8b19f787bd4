"""Draws change records of the four shipped types.

One seed gives the same changes in every format: the draws never depend on how they are written.
Only ``random()`` and ``getrandbits()`` are used, whose sequences Python keeps between versions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from runners.generate.images import MOST_ITEMS, Dialect, Pen
from runners.generate.people import Person, person
from runners.generate.times import (
    DAY_MS,
    HOUR_MS,
    TimeStyle,
    plain_utc,
    typed_epoch,
    typed_offset,
    typed_utc,
)
from runners.generate.vocabulary import (
    ACTS,
    CHANNELS,
    CITIES,
    CURRENCIES,
    TEMPLATES,
    TICKET_SYSTEMS,
    TOURS,
)

DAYS = 30
"""``updatedAt`` falls on the first 30 dates of January 2026."""

_START = 1_767_225_600_000  # 2026-01-01T00:00:00Z in milliseconds
_RECENT = 256
_RECORDS_A_PERSON = 5
_CHANGES_AN_EVENT = 40

_DEMAND_STATES = ("OPEN", "OPEN", "MATCHED", "EXPIRED", "CANCELLED")
_NOTIFICATION_STATES = ("SENT", "SENT", "SENT", "SENT", "BOUNCED", "FAILED", "QUEUED")

_T = TypeVar("_T")


class Change(NamedTuple):
    """One change of one item; ``new`` and ``old`` are rendered images.

    ``time_ms`` is the change record's own time, in milliseconds since 1970; ``event_id`` has
    32 hexadecimal digits; ``number`` counts from 0.
    """

    number: int
    type: str
    id: str
    event: str
    by_ttl: bool
    time_ms: int
    event_id: str
    new: str | None
    old: str | None


class _Item(NamedTuple):
    """What is drawn of an item: ``state`` is the head's own attribute, now and before."""

    type: str
    id: str
    state: object
    state_before: object
    body: str


class _Demand(NamedTuple):
    id: str
    person: Person


def draw_changes(count: int, seed: int, dialect: Dialect) -> Iterator[Change]:
    """``count`` changes, in the order a stream would give them, their images in ``dialect``."""
    sampler = _Sampler(count, seed, Pen(dialect))
    return (sampler.change(number) for number in range(count))


class _Sampler:
    def __init__(self, count: int, seed: int, pen: Pen) -> None:
        source = random.Random(seed)
        self._random = source.random
        self._bits = source.getrandbits
        self._pen = pen
        self._plain = pen.dialect is Dialect.PLAIN
        self._people = count // _RECORDS_A_PERSON + 1
        self._events = count // _CHANGES_AN_EVENT + 1
        self._recent = [_Demand(self._id("D"), self._person()) for _ in range(_RECENT)]
        # Of 20 changes, 8 are demands (40 %), 6 notifications, 3 events and 3 sales.
        draws = ((self._demand, 8), (self._notification, 6), (self._event, 3), (self._sale, 3))
        self._draws = [draw for draw, share in draws for _ in range(share)]

    def change(self, number: int) -> Change:
        rand = self._random
        updated = _START + int(rand() * DAYS * DAY_MS)
        time = self._time_style()
        item = self._draws[int(rand() * 20)](number, updated, time)
        kind = rand()
        if kind < 0.6:
            return self._insert(number, item, updated, time)
        if kind < 0.9:
            return self._modify(number, item, updated, time)
        return self._remove(number, item, updated, time)

    def _insert(self, number: int, item: _Item, updated: int, time: TimeStyle) -> Change:
        new = self._image(item, 1, time(updated), time(updated), item.state_before)
        return self._finish(number, item, "INSERT", updated, new=new)

    def _modify(self, number: int, item: _Item, updated: int, time: TimeStyle) -> Change:
        age = HOUR_MS + int(self._random() * 20 * DAY_MS)
        version = 2 + self._bits(2)
        created = time(updated - age)
        new = self._image(item, version, created, time(updated), item.state)
        before = time(updated - age // (version - 1))
        old = self._image(item, version - 1, created, before, item.state_before)
        return self._finish(number, item, "MODIFY", updated, new=new, old=old)

    def _remove(self, number: int, item: _Item, updated: int, time: TimeStyle) -> Change:
        age = HOUR_MS + int(self._random() * 20 * DAY_MS)
        version = 1 + self._bits(2)
        old = self._image(item, version, time(updated - age), time(updated), item.state)
        gone = updated + int(self._random() * DAY_MS)
        by_ttl = self._random() < 0.2
        return self._finish(number, item, "REMOVE", gone, old=old)._replace(by_ttl=by_ttl)

    def _finish(
        self,
        number: int,
        item: _Item,
        event: str,
        time_ms: int,
        *,
        new: str | None = None,
        old: str | None = None,
    ) -> Change:
        time_ms += self._bits(11)  # the stream sees a write within two seconds
        event_id = f"{self._bits(128):032x}"
        return Change(number, item.type, item.id, event, False, time_ms, event_id, new, old)

    def _image(self, item: _Item, version: int, created: str, updated: str, state: object) -> str:
        return self._pen.heads[item.type] % (item.id, version, created, updated, state) + item.body

    def _demand(self, number: int, _updated: int, _time: TimeStyle) -> _Item:
        rand, pen = self._random, self._pen
        demand = _Demand(self._id("D"), self._person())
        self._recent[number % _RECENT] = demand
        body = pen.bodies["demand"] % (
            self._event_id(),
            demand.person.user_id,
            demand.person.email,
            1 + int(rand() * rand() * 50),
            f"{20 + int(rand() * 480)}.{self._bits(2) * 25:02d}",
            _pick(CURRENCIES, rand()),
            _pick(pen.sections, rand()),
            pen.phone % demand.person.phone if rand() < 0.6 else "",
            _pick(pen.preferences, rand()) if rand() < 0.5 else "",
        )
        return _Item("demand", demand.id, _pick(_DEMAND_STATES, rand()), "OPEN", body)

    def _notification(self, _number: int, updated: int, time: TimeStyle) -> _Item:
        rand = self._random
        demand = _pick(self._recent, rand())
        channel = _pick(CHANNELS, rand())
        body = self._pen.bodies["notification"] % (
            demand.id,
            demand.person.user_id,
            channel,
            self._address(channel, demand.person),
            _pick(TEMPLATES, rand()),
            time(updated + self._bits(14)),
        )
        state = _pick(_NOTIFICATION_STATES, rand())
        return _Item("notification", self._id("N"), state, "QUEUED", body)

    def _event(self, _number: int, updated: int, time: TimeStyle) -> _Item:
        rand, pen = self._random, self._pen
        city = _pick(CITIES, rand())[0]
        body = pen.bodies["event"] % (
            f"{_pick(ACTS, rand())}: {_pick(TOURS, rand())}, {city}",
            f"V-{self._bits(20):06d}",
            time(updated + DAY_MS * (20 + self._bits(8)) // HOUR_MS * HOUR_MS),
            500 * (1 + self._bits(7)),
            _pick(pen.tags, rand()) if rand() < 0.8 else "",
        )
        return _Item("event", self._event_id(), "true", "false", body)

    def _sale(self, _number: int, updated: int, time: TimeStyle) -> _Item:
        rand, pen = self._random, self._pen
        demand = _pick(self._recent, rand())
        quantity = 1 + int(rand() * MOST_ITEMS)
        body = pen.bodies["sale"] % (
            f"O-{self._bits(40):012x}",
            demand.person.user_id,
            demand.person.email,
            quantity,
            _pick(CURRENCIES, rand()),
            time(updated - self._bits(12)),
            pen.demand_id % demand.id if rand() < 0.7 else "",
            _pick(pen.items[quantity], rand()) if rand() < 0.6 else "",
        )
        price = 20 + int(rand() * 300)
        return _Item(
            "sale", self._id("S"), f"{quantity * price}.50", f"{quantity * price}.00", body
        )

    def _address(self, channel: str, receiver: Person) -> str:
        if channel == "email":
            return receiver.email
        return receiver.phone if channel == "sms" else f"device:{self._bits(96):024x}"

    def _person(self) -> Person:
        return person(int(self._random() * self._people))

    def _event_id(self) -> str:
        number = int(self._random() * self._events)
        return f"{TICKET_SYSTEMS[number % len(TICKET_SYSTEMS)]}{number:06d}"

    def _id(self, letter: str) -> str:
        return f"{letter}-{self._bits(64):016x}"

    def _time_style(self) -> TimeStyle:
        """Most producers write UTC with a Z; a few an offset, or milliseconds since 1970."""
        style = self._random()
        if self._plain:
            return plain_utc
        if style < 0.95:
            return typed_utc
        return typed_offset if style < 0.98 else typed_epoch


def _pick(options: Sequence[_T], chance: float) -> _T:
    return options[int(chance * len(options))]
