"""The hub tells those who watch, within their reach, and takes as many as it may."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from schemas.access import Reach
from schemas.errors import RateLimited, Unavailable
from schemas.events import StoredEvent
from service.live.frames import CloseCode
from service.live.hub import Hub
from service.live.messages import Update, Watched
from tests.unit.service.live_sessions import JOB, SOMEBODY, update

ORGANIZATION = Reach("org-1")
ALL = Reach(None)


@dataclass(eq=False)
class Listener:
    """A client that notes what it is told."""

    told: list[int] = field(default_factory=list)
    ended: CloseCode | None = None

    def tell(self, update: Update) -> None:
        self.told.append(update.event.version)

    def end(self, code: CloseCode, reason: str) -> None:
        self.ended = code


def event(version: int, organization: str | None = "org-1", owner: str = "user-1") -> StoredEvent:
    changed = replace(update(version).event, organization=organization, owner=owner)
    return StoredEvent(version, changed)


@pytest.fixture
def hub() -> Hub:
    made = Hub(2, 1)
    made.begin_at(0)
    return made


def test_those_who_watch_are_told_once(hub: Hub) -> None:
    client = Listener()
    with hub.seat(client):
        hub.watch(JOB, client, ORGANIZATION)
        hub.watch(Watched("job"), client, ORGANIZATION)
        hub.publish(event(1))
    assert client.told == [1]


@pytest.mark.parametrize(
    ("reach", "told"),
    [(ALL, [1, 2, 3, 4]), (ORGANIZATION, [1, 2]), (Reach("org-1", "user-1"), [1])],
)
def test_all_of_a_kind_are_those_within_reach(hub: Hub, reach: Reach, told: list[int]) -> None:
    client = Listener()
    with hub.seat(client):
        hub.watch(Watched("job"), client, reach)
        hub.publish(event(1))
        hub.publish(event(2, owner="user-2"))
        hub.publish(event(3, "org-9"))
        hub.publish(event(4, None))
    assert client.told == told


def test_who_has_left_is_told_nothing_and_leaves_nothing(hub: Hub) -> None:
    client = Listener()
    with hub.seat(client):
        hub.watch(JOB, client, ALL)
    hub.publish(event(1))
    assert client.told == []
    assert not hub.is_watched(JOB)


def test_no_more_are_taken_than_there_may_be(hub: Hub) -> None:
    with hub.seat(Listener()), hub.seat(Listener()), pytest.raises(Unavailable):
        hub.seat(Listener()).__enter__()
    with hub.seat(Listener()):
        pass


def test_no_more_of_one_principal_are_taken_than_there_may_be(hub: Hub) -> None:
    with hub.seat_of(SOMEBODY):
        with pytest.raises(RateLimited), hub.seat_of(SOMEBODY):
            pass
        with hub.seat_of(replace(SOMEBODY, organization="org-2")):
            pass
    with hub.seat_of(SOMEBODY):
        pass


def test_closing_ends_all_and_takes_no_more(hub: Hub) -> None:
    client = Listener()
    with hub.seat(client):
        hub.close(CloseCode.GOING_AWAY, "")
        assert client.ended is CloseCode.GOING_AWAY
        with pytest.raises(Unavailable), hub.seat(Listener()):
            pass


def test_place_of_a_new_watch_is_that_of_the_last_update(hub: Hub) -> None:
    client = Listener()
    with hub.seat(client):
        hub.publish(event(7))
        assert hub.watch(JOB, client, ALL) == 7
