"""However commits, the feed and a subscription interleave, no update is lost or told twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from schemas.access import Reach, Resource
from schemas.events import Event, StoredEvent, Topic
from service.live.frames import CloseCode
from service.live.hub import Hub
from service.live.messages import State, Update, Watched
from service.live.opening import MOST_MISSED, Reader, Source
from service.live.session import Session
from service.live.steps import Open, Step
from service.live.watches import MOST_HELD, Begun, Resumed
from tests.unit.service.live_sessions import (
    JOB,
    START,
    Time,
    known_session,
    said,
    subscribe,
    update,
    versions,
)

ORGANIZATION = Reach("org-1")


@dataclass
class Database:
    """Things and their events, as a database has them once they are committed."""

    events: list[StoredEvent] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)

    def commit(self, id_: str) -> None:
        version = self.states[id_].version + 1 if id_ in self.states else 1
        self.states[id_] = State(Watched("job", id_), version, {})
        event = Event(Topic("job", id_), version, "org-1", "user-1", START, {})
        # Places may have gaps.
        self.events.append(StoredEvent(2 * len(self.events) + 2, event))

    def newest(self) -> int:
        return self.events[-1].place if self.events else 0

    def after(self, place: int, limit: int) -> list[StoredEvent]:
        return [stored for stored in self.events if stored.place > place][:limit]

    def of(self, topic: Topic, after_version: int, limit: int) -> list[Event]:
        found = [stored.event for stored in self.events if stored.event.topic == topic]
        return [event for event in found if event.version > after_version][:limit]

    def forget(self, count: int) -> None:
        del self.events[:count]

    @property
    def reader(self) -> Reader:
        source = Source(
            Resource.ENRICHMENT,
            lambda id_, _: self.states.get(id_),
            lambda _: [*self.states.values()],
        )
        return Reader({"job": source}, self)  # type: ignore[arg-type]


class Machine:
    """A database, the feed of a process, and one client, which take steps as a test says."""

    def __init__(self) -> None:
        self.database = Database()
        self.hub = Hub(1, 1)
        self.session: Session = known_session(Time())
        self.steps: list[Step] = []
        self._fed = 0
        self._seat = self.hub.seat(self)
        self._seat.__enter__()
        self.hub.begin_at(0)

    def tell(self, update: Update) -> None:
        self.steps += self.session.told(update)

    def end(self, code: CloseCode, reason: str) -> None:
        raise AssertionError

    def feed(self) -> None:
        for stored in self.database.after(self._fed, 1):
            self.hub.publish(stored)
            self._fed = stored.place

    def opening(self, step: Open) -> Iterator[Callable[[], None]]:
        """The stages in which a subscription is opened; anything may happen in between."""
        place = self.hub.watch(step.watched, self, ORGANIZATION)
        yield lambda: None
        opening = self.database.reader.read(step.watched, step.after, ORGANIZATION, place)
        yield lambda: None
        self.steps += self.session.opened(step.watched, opening)

    def run(self, names: str, action: str, schedule: list[str]) -> None:
        """Open these names, with the schedule's commits and feeds before, between and after."""
        stages: Iterator[Callable[[], None]] = iter(())
        for what in schedule:
            if what == "feed":
                self.feed()
            elif what == "stage":
                next(stages, None)
            elif what == "subscribe":
                (step,) = subscribe(self.session, names, action)
                assert isinstance(step, Open)
                stages = self.opening(step)
            else:
                self.database.commit(what)
        for _ in stages:
            pass
        while self._fed < self.database.newest():
            self.feed()


EVENTS = st.lists(st.sampled_from(["a", "a", "b", "feed", "feed", "stage"]), max_size=30)
SCHEDULES = st.tuples(EVENTS, EVENTS).map(lambda parts: ["a", *parts[0], "subscribe", *parts[1]])


@given(SCHEDULES)
def test_versions_follow_the_snapshot_without_gap_or_repeat(schedule: list[str]) -> None:
    machine = Machine()
    machine.run("job:a", "subscribe", schedule)
    told = versions(machine.steps)
    assert told == [*range(told[0], machine.database.states["a"].version + 1)]


@given(SCHEDULES)
def test_resumed_versions_follow_the_one_that_was_known(schedule: list[str]) -> None:
    machine = Machine()
    machine.run("job:a@1", "resume", schedule)
    assert said(machine.steps)[0]["data"]["action"] == "resumed"
    assert versions(machine.steps) == [*range(2, machine.database.states["a"].version + 1)]


@given(SCHEDULES)
def test_all_versions_of_all_things_follow_the_snapshot_of_all(schedule: list[str]) -> None:
    machine = Machine()
    machine.run("jobs", "subscribe", schedule)
    messages = [message["data"] for message in said(machine.steps)]
    assert messages[0]["action"] == "snapshot"
    known = {item["resource"]: item["version"] for item in messages[0]["items"]}
    for message in messages[1:]:
        assert message["version"] == known.get(message["resource"], 0) + 1
        known[message["resource"]] = message["version"]
    assert known == {s.watched.name: s.version for s in machine.database.states.values()}


@given(SCHEDULES)
def test_all_events_after_the_place_that_was_known_are_told_once(schedule: list[str]) -> None:
    machine = Machine()
    machine.run("jobs@2", "resume", schedule)
    messages = [message["data"] for message in said(machine.steps)]
    assert messages[0] == {"action": "resumed", "resource": "jobs", "after": 2}
    told = [message["place"] for message in messages[1:]]
    assert told == [stored.place for stored in machine.database.events[1:]]


def test_update_that_two_watches_are_of_is_told_once() -> None:
    session = known_session(Time())
    subscribe(session, "job:a jobs")
    session.opened(JOB, Begun(State(JOB, 3, {})))
    session.opened(Watched("job"), Resumed((), 3))
    assert versions(session.told(update(4))) == [4]


def test_update_held_for_one_watch_is_not_told_again_after_another_has_told_it() -> None:
    session = known_session(Time())
    subscribe(session, "job:a jobs")
    session.opened(Watched("job"), Resumed((), 3))
    assert versions(session.told(update(4))) == [4]
    assert versions(session.opened(JOB, Begun(State(JOB, 3, {})))) == [3]


def test_state_is_read_again_when_more_came_than_is_held() -> None:
    session = known_session(Time())
    subscribe(session, "job:a")
    for version in range(1, MOST_HELD + 2):
        session.told(update(version))
    assert session.opened(JOB, Begun(State(JOB, 0, {}))) == [Open(JOB, None)]
    assert versions(session.opened(JOB, Begun(State(JOB, 300, {})))) == [300]


def missed(database: Database, name: Watched, after: int) -> object:
    return database.reader.read(name, after, ORGANIZATION, database.newest())


def database_of(count: int) -> Database:
    database = Database()
    for _ in range(count):
        database.commit("a")
    return database


def test_client_whose_events_are_gone_begins_anew() -> None:
    database = database_of(10)
    database.forget(5)
    assert isinstance(missed(database, JOB, 3), Begun)
    assert not isinstance(missed(database, Watched("job"), 6), Resumed)
    assert isinstance(missed(database, Watched("job"), 12), Resumed)


def test_client_that_missed_too_much_begins_anew() -> None:
    assert isinstance(missed(database_of(MOST_MISSED + 2), JOB, 1), Begun)


def test_client_that_knows_more_than_there_is_begins_anew() -> None:
    assert isinstance(missed(database_of(2), JOB, 7), Begun)


def test_all_of_a_kind_leaves_out_what_is_of_others_when_it_is_resumed() -> None:
    database = database_of(2)
    stored = database.events[1]
    database.events[1] = replace(stored, event=replace(stored.event, organization="org-9"))
    assert missed(database, Watched("job"), 2) == Resumed((), 4)
