"""What every outbox does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from schemas.events import Event, Topic
from tests.integration.state.records import START, AnyState, Clock, job

ROUNDS = 40
WRITERS = 6


def event(topic_id: str = "d1", version: int = 1, seconds: float = 0) -> Event:
    at = START + timedelta(seconds=seconds)
    return Event(Topic("dsr", topic_id), version, "org-1", "ana", at, {"status": "open"})


def test_an_event_comes_back_as_it_was_written(state: AnyState) -> None:
    state.outbox.append(event())
    (stored,) = state.outbox.after(0, 9)
    assert stored.event == event()
    assert state.outbox.newest() == stored.place


def test_an_empty_outbox_has_no_newest_event(state: AnyState) -> None:
    assert (state.outbox.newest(), state.outbox.after(0, 9)) == (0, [])


def test_events_follow_a_place_in_their_order(state: AnyState) -> None:
    for version in range(1, 6):
        state.outbox.append(event(version=version))
    first = state.outbox.after(0, 2)
    rest = state.outbox.after(first[-1].place, 9)
    assert [stored.event.version for stored in first + rest] == [1, 2, 3, 4, 5]


def test_events_of_a_topic_follow_a_version(state: AnyState) -> None:
    for version in range(1, 5):
        state.outbox.append(event("d1", version))
        state.outbox.append(event("d2", version))
    assert state.outbox.of(Topic("dsr", "d1"), 1, 2) == [event("d1", 2), event("d1", 3)]


def test_places_are_not_given_again_after_events_were_forgotten(state: AnyState) -> None:
    state.outbox.append(event())
    place = state.outbox.newest()
    state.outbox.prune(START + timedelta(seconds=1))
    state.outbox.append(event("d2"))
    assert [stored.event.topic.id for stored in state.outbox.after(place, 9)] == ["d2"]


def test_only_old_events_are_forgotten(state: AnyState) -> None:
    state.outbox.append(event("old"))
    state.outbox.append(event("new", seconds=5))
    assert state.outbox.prune(START + timedelta(seconds=5)) == 1
    assert [stored.event.topic.id for stored in state.outbox.after(0, 9)] == ["new"]


def test_waiting_ends_at_once_if_something_is_there(state: AnyState) -> None:
    state.outbox.append(event())
    assert state.outbox.wait(0, 30)


def test_waiting_ends_without_news_when_time_runs_out(state: AnyState) -> None:
    state.outbox.append(event())
    assert not state.outbox.wait(state.outbox.newest(), 0.05)


def test_waiting_ends_when_something_is_written(state: AnyState) -> None:
    place = state.outbox.newest()
    writer = threading.Timer(0.1, lambda: state.jobs.add([job()]))
    writer.start()
    assert state.outbox.wait(place, 30)
    writer.join()
    assert state.outbox.newest() > place


def test_all_threads_that_wait_hear_of_it(state: AnyState) -> None:
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(state.outbox.wait, 0, 30) for _ in range(2)]
        state.outbox.append(event())
        assert [done.result(30) for done in waiting] == [True, True]


def test_a_reader_passes_over_nothing_while_many_write(state: AnyState) -> None:
    seen: list[tuple[str, int]] = []
    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(write_many, state, f"d{number}") for number in range(WRITERS)]
        place = 0
        while len(seen) < WRITERS * ROUNDS:
            are_done = all(each.done() for each in writing)
            news = state.outbox.after(place, 7)
            seen += [(stored.event.topic.id, stored.event.version) for stored in news]
            place = news[-1].place if news else place
            if not news and are_done:
                break
    assert sorted(seen) == [(f"d{n}", v) for n in range(WRITERS) for v in range(1, ROUNDS + 1)]
    assert all(versions_of(seen, f"d{n}") == [*range(1, ROUNDS + 1)] for n in range(WRITERS))


def write_many(state: AnyState, topic_id: str) -> None:
    for version in range(1, ROUNDS + 1):
        state.outbox.append(event(topic_id, version))


def versions_of(seen: list[tuple[str, int]], topic_id: str) -> list[int]:
    return [version for found, version in seen if found == topic_id]


def test_events_answers_and_counters_past_their_time_are_forgotten_together(
    state: AnyState, clock: Clock
) -> None:
    state.outbox.append(event())
    state.idempotency.claim("key", "f" * 64, 1, 1)
    clock.pass_by(25 * 3600)
    pruned = state.prune(clock.now)
    assert (pruned.events, pruned.answers) == (1, 1)
    assert state.outbox.newest() == 0
