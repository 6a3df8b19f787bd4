"""Requests that several threads and processes change at once, and some are killed."""

from __future__ import annotations

from dataclasses import replace

from schemas.audit_check import Whole
from schemas.dsr import DsrQuery, DsrStatus
from stores.checkpoints import check_store
from stores.state.dsr_port import OpenRequestExists
from tests.audit_logs import KEYS, draft
from tests.dsr_requests import a_request
from tests.integration.state.records import ALL, AnyState, events_of, opened, there
from tests.integration.state.state_worker import REQUESTS
from tests.integration.state.test_jobs_at_once import THREADS, by_all
from tests.integration.state.test_state_processes import ended, workers

ENTRIES = 4


def length_of(state: AnyState) -> int:
    """How many entries the log has, which has to be whole."""
    found = check_store(state.audit, KEYS.public.is_signed)
    assert isinstance(found, Whole)
    return found.head.sequence


def assert_in_step(state: AnyState) -> None:
    """There are as many events and entries as versions of requests."""
    requests = state.dsr.find(DsrQuery(limit=10_000), ALL)
    versions = sorted((dsr.id, at) for dsr in requests for at in range(1, dsr.version + 1))
    told = [stored.event for stored in events_of(state, "dsr")]
    said = [entry.draft for entry in state.audit.entries(0, 10_000)]
    assert sorted((event.topic.id, event.version) for event in told) == versions
    assert sorted((each.resource, each.detail["version"]) for each in said) == [
        (f"dsr:{request_id}", version) for request_id, version in versions
    ]
    assert length_of(state) == len(versions)


def test_entries_of_many_threads_have_no_gap(state: AnyState) -> None:
    by_all(lambda number: [state.audit.append(draft(number)) for _ in range(ENTRIES)])
    assert length_of(state) == THREADS * ENTRIES


def test_of_many_who_add_the_same_one_does(state: AnyState) -> None:
    def work(number: int) -> bool:
        dsr = a_request()
        try:
            state.dsr.add([dsr], [draft(number)])
        except OpenRequestExists as refused:
            return bool(refused.details["request_id"] == dsr.id)
        return True

    assert by_all(work).count(True) == 1
    assert len(state.dsr.find(DsrQuery(), ALL)) == length_of(state) == 1


def test_of_many_who_change_a_version_one_does(state: AnyState) -> None:
    dsr = a_request()
    state.dsr.add([dsr], [draft(0)])
    cancelled = replace(dsr, status=DsrStatus.CANCELLED)
    kept = by_all(lambda number: state.dsr.change(cancelled, draft(number)))
    (winner,) = [each for each in kept if each is not None]
    assert there(state.dsr.get(dsr.id, ALL)) == winner
    assert length_of(state) == 2


def test_entries_of_two_processes_have_no_gap(url: str) -> None:
    state = opened(url)
    with workers("ask", url, "a", "b") as both:
        ended(both)
    assert length_of(state) == 2 * REQUESTS
    assert_in_step(state)


def test_a_process_killed_among_changes_leaves_all_in_step(url: str) -> None:
    state = opened(url)
    with workers("change_requests", url, "a", "b") as both:
        for process in both:
            assert process.stdout is not None
            process.stdout.readline()
        both[0].kill()
        assert both[1].stdout is not None
        both[1].stdout.readline()
    assert_in_step(state)
