"""Lists in DynamoDB that are longer than a page, and transactions as great as they may be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from schemas.errors import TooLarge
from schemas.jobs import JobCursor, JobEnd, JobQuery, JobStatus
from schemas.requests import ApiKey, Counted
from stores.state.dynamo.jobs import MOST_AT_ONCE
from stores.state.dynamo.state import DynamoState, open_dynamo_state
from tests.integration.state.conftest import new_table
from tests.integration.state.records import ALL, START, Clock, job

MANY = 4 * MOST_AT_ONCE
NAMES = [f"j{number:03d}" for number in range(MANY)]


@pytest.fixture
def state(
    request: pytest.FixtureRequest, ministack_url: str, clock: Clock
) -> Iterator[DynamoState]:
    state = open_dynamo_state(new_table(request, ministack_url), clock)
    yield state
    state.close()


@pytest.fixture
def many(state: DynamoState) -> DynamoState:
    """A store with many jobs, added as many at once as may be; every tenth has failed."""
    jobs = [job(name, created_at=START + timedelta(seconds=n)) for n, name in enumerate(NAMES)]
    for start in range(0, MANY, MOST_AT_ONCE):
        state.jobs.add(jobs[start : start + MOST_AT_ONCE])
    for name in NAMES[::10]:
        state.jobs.finish(name, None, JobEnd(JobStatus.FAILED))
    return state


def test_a_list_longer_than_a_page_is_whole(many: DynamoState) -> None:
    found = many.jobs.find(JobQuery("enrichment", limit=999), ALL)
    assert [each.id for each in found] == NAMES[::-1]


def test_what_is_rare_is_found_on_all_pages(many: DynamoState) -> None:
    query = JobQuery("enrichment", JobStatus.FAILED, limit=999)
    assert [each.id for each in many.jobs.find(query, ALL)] == NAMES[::10][::-1]
    assert many.jobs.count(query, ALL) == len(NAMES[::10])


def test_a_cursor_and_an_offset_lead_past_a_page(many: DynamoState) -> None:
    after = JobCursor(START + timedelta(seconds=100), NAMES[100])
    found = many.jobs.find(JobQuery("enrichment", limit=3, after=after, offset=60), ALL)
    assert [each.id for each in found] == [NAMES[39], NAMES[38], NAMES[37]]


def test_all_unfinished_jobs_are_given_oldest_first(many: DynamoState) -> None:
    unfinished = [name for number, name in enumerate(NAMES) if number % 10]
    assert [each.id for each in many.jobs.unfinished(999)] == unfinished
    assert [each.id for each in many.jobs.unfinished(5)] == unfinished[:5]


def test_events_of_one_request_have_a_place_each(many: DynamoState) -> None:
    """Also where a reader stops in the midst of a commit."""
    seen: list[int] = []
    while news := many.outbox.after(seen[-1] if seen else 0, 7):
        seen += [stored.place for stored in news]
    assert seen == [*range(1, MANY + len(NAMES[::10]) + 1)]


def test_all_events_past_their_time_are_forgotten(many: DynamoState) -> None:
    assert many.outbox.prune(START + timedelta(days=9)) == MANY + len(NAMES[::10])
    assert many.outbox.after(0, 9) == []


def test_more_jobs_than_fit_into_a_transaction_are_refused(state: DynamoState) -> None:
    with pytest.raises(TooLarge, match=f"at most {MOST_AT_ONCE}"):
        state.jobs.add([job(name) for name in NAMES[: MOST_AT_ONCE + 1]])
    assert state.jobs.find(JobQuery("enrichment"), ALL) == []


def test_jobs_of_one_fingerprint_are_added_together(state: DynamoState) -> None:
    state.jobs.add([job("j1"), job("j2")])
    state.jobs.finish("j2", None, JobEnd(JobStatus.FAILED))
    assert state.jobs.add_once(job("j3")).id == "j1"


def test_sets_of_unfinished_jobs_go_when_they_are_empty(many: DynamoState) -> None:
    for name in NAMES:
        many.jobs.finish(name, None, JobEnd(JobStatus.CANCELLED))
    assert many.jobs.unfinished(9) == []
    kept = many.table.query("#pk = :pk", values={"pk": "unfinished"})
    assert [*kept] == []


def test_many_keys_are_listed(state: DynamoState) -> None:
    for name in NAMES[:60]:
        state.api_keys.add(ApiKey(name, f"digest-{name}", "machine", "org-1", (), START))
    assert [key.id for key in state.api_keys.all()] == NAMES[:60][::-1]


def test_many_counters_are_forgotten(state: DynamoState, clock: Clock) -> None:
    state.counters.count([Counted(name, 60) for name in NAMES[:60]])
    clock.pass_by(180)
    assert state.counters.prune() == 60
