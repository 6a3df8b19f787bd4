"""Jobs that several threads change at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from schemas.jobs import JobEnd, JobQuery, JobStatus, PartProgress
from tests.integration.state.records import ALL, AnyState, events_of, job, there

T = TypeVar("T")

THREADS = 6
BATCHES = 12


def by_all(work: Callable[[int], T]) -> list[T]:
    """What each thread got from doing this, with its number."""
    with ThreadPoolExecutor(THREADS) as pool:
        return [*pool.map(work, range(THREADS))]


def test_the_same_asked_for_by_many_is_added_once(state: AnyState) -> None:
    added = by_all(lambda number: state.jobs.add_once(job(f"j{number}")).id)
    (only,) = state.jobs.find(JobQuery("enrichment"), ALL)
    assert {*added} == {only.id}
    assert len(events_of(state)) == 1


def test_a_job_begun_by_many_is_begun_once(state: AnyState) -> None:
    state.jobs.add([job()])
    begun = by_all(lambda number: state.jobs.begin("j1", f"r{number}"))
    (winner,) = [each for each in begun if each is not None]
    assert state.jobs.get("j1", ALL) == winner


def test_a_job_ended_by_many_is_ended_once(state: AnyState) -> None:
    state.jobs.add([job()])
    state.jobs.begin("j1", "r1")
    ends = [JobEnd(JobStatus.COMPLETED, "out"), JobEnd(JobStatus.FAILED, None, "code", "why")]
    ended = by_all(lambda number: state.jobs.finish("j1", "r1", ends[number % 2]))
    (winner,) = [each for each in ended if each is not None]
    assert state.jobs.get("j1", ALL) == winner


def test_progress_told_by_many_never_goes_back_and_is_exact_at_the_end(state: AnyState) -> None:
    state.jobs.add([job()])
    state.jobs.begin("j1", "r1")

    def work(part: int) -> None:
        for processed in range(1, BATCHES + 1):
            state.jobs.report("j1", PartProgress(part, processed, 1))
            state.jobs.advance("j1", "r1")

    by_all(work)
    told = [stored.event.payload["processedBatches"] for stored in events_of(state)]
    assert told == sorted(told)
    ended = there(state.jobs.finish("j1", "r1", JobEnd(JobStatus.COMPLETED, "out")))
    assert (ended.processed_batches, ended.failed_contacts) == (THREADS * BATCHES, THREADS)


def test_versions_have_no_gap_whoever_changes_a_job(state: AnyState) -> None:
    state.jobs.add([job()])

    def work(number: int) -> None:
        for _ in range(5):
            state.jobs.begin("j1", f"r{number}")
            state.jobs.requeue("j1", f"r{number}")

    by_all(work)
    versions = [stored.event.version for stored in events_of(state)]
    assert versions == [*range(1, there(state.jobs.get("j1", ALL)).version + 1)]
