"""What every store of jobs does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.access import Reach
from schemas.jobs import Job, JobCursor, JobEnd, JobQuery, JobStatus, PartProgress, shown_job
from stores.state.port import AlreadyThere
from tests.integration.state.records import ALL, START, AnyState, Clock, events_of, job, there

ANA = Reach("org-1", "ana")
BEN = Reach("org-1", "ben")
OTHERS = Reach("org-2")
OUT_OF_REACH = [BEN, OTHERS]
QUERY = JobQuery("enrichment")
DONE = JobEnd(JobStatus.COMPLETED, "outputs/j1.ndjson")
FINAL = [status for status in JobStatus if status.is_final]


def running(state: AnyState, job_id: str = "j1") -> Job:
    state.jobs.add([job(job_id)])
    return there(state.jobs.begin(job_id, "r1"))


def ids(found: list[Job]) -> list[str]:
    return [each.id for each in found]


def test_a_job_comes_back_as_it_was_kept(state: AnyState) -> None:
    kept = job(parameters={"mapping": {"E-mail": "email"}, "batchSize": 100}, contacts=3)
    state.jobs.add([kept])
    assert state.jobs.get("j1", ANA) == kept


def test_jobs_are_added_all_or_none(state: AnyState) -> None:
    state.jobs.add([job("j2")])
    with pytest.raises(AlreadyThere, match="there already"):
        state.jobs.add([job("j1"), job("j2"), job("j3")])
    assert ids(state.jobs.find(QUERY, ALL)) == ["j2"]
    assert len(events_of(state)) == 1


def test_id_of_a_deleted_job_is_not_given_again(state: AnyState) -> None:
    state.jobs.add([job("j1")])
    state.jobs.delete("j1", ALL)
    with pytest.raises(AlreadyThere):
        state.jobs.add([job("j1")])
    with pytest.raises(AlreadyThere):
        state.jobs.add_once(job("j1"))


@pytest.mark.parametrize("reach", OUT_OF_REACH)
def test_what_is_out_of_reach_is_not_there(state: AnyState, reach: Reach) -> None:
    state.jobs.add([job()])
    assert state.jobs.get("j1", reach) is None
    assert state.jobs.find(QUERY, reach) == []
    assert state.jobs.count(QUERY, reach) == 0


@pytest.mark.parametrize("reach", OUT_OF_REACH)
def test_what_is_out_of_reach_cannot_be_changed(state: AnyState, reach: Reach) -> None:
    state.jobs.add([job()])
    assert state.jobs.request_cancel("j1", reach, at_once=True) is None
    assert not state.jobs.delete("j1", reach)
    assert state.jobs.get("j1", ALL) == job()


def test_an_organization_reaches_the_jobs_of_all_its_owners(state: AnyState) -> None:
    state.jobs.add([job("j1"), job("j2", owner="ben"), job("j3", organization="org-2")])
    assert {*ids(state.jobs.find(QUERY, Reach("org-1")))} == {"j1", "j2"}


def test_newest_jobs_come_first_and_ids_decide_between_equal_times(state: AnyState) -> None:
    late = START + timedelta(microseconds=1)
    state.jobs.add([job("b"), job("a", created_at=late), job("c")])
    assert ids(state.jobs.find(QUERY, ANA)) == ["a", "c", "b"]


def test_pages_by_cursor_hold_each_job_once_while_others_are_added(state: AnyState) -> None:
    state.jobs.add([job(f"j{n}", created_at=START + timedelta(seconds=n // 2)) for n in range(5)])
    first = state.jobs.find(replace(QUERY, limit=2), ANA)
    state.jobs.add([job("new", created_at=START + timedelta(hours=1))])
    cursor = JobCursor(first[-1].created_at, first[-1].id)
    rest = state.jobs.find(replace(QUERY, after=cursor), ANA)
    assert ids(first + rest) == ["j4", "j3", "j2", "j1", "j0"]


def test_an_offset_skips_jobs(state: AnyState) -> None:
    state.jobs.add([job(f"j{n}", created_at=START + timedelta(seconds=n)) for n in range(4)])
    assert ids(state.jobs.find(replace(QUERY, limit=2, offset=1), ANA)) == ["j2", "j1"]


def test_jobs_are_found_and_counted_by_status_and_kind(state: AnyState) -> None:
    state.jobs.add([job("j1"), job("j2"), job("dsr", kind="erasure")])
    state.jobs.begin("j2", "r1")
    query = replace(QUERY, status=JobStatus.RUNNING, limit=1)
    assert ids(state.jobs.find(query, ANA)) == ["j2"]
    assert (state.jobs.count(query, ANA), state.jobs.count(QUERY, ANA)) == (1, 2)


def test_a_job_begins_once_with_one_attempt_more(state: AnyState) -> None:
    begun = running(state)
    assert (begun.status, begun.run_id, begun.attempts) == ("running", "r1", 1)
    assert state.jobs.begin("j1", "r2") is None


def test_a_job_whose_run_was_lost_begins_again(state: AnyState) -> None:
    running(state)
    assert there(state.jobs.requeue("j1", "r1")).run_id is None
    assert there(state.jobs.begin("j1", "r2")).attempts == 2


def test_a_run_that_has_lost_its_job_can_do_nothing_with_it(state: AnyState) -> None:
    running(state)
    state.jobs.requeue("j1", "r1")
    state.jobs.begin("j1", "r2")
    assert state.jobs.requeue("j1", "r1") is None
    assert state.jobs.plan("j1", "r1", "e" * 64, 1, 1) is None
    assert state.jobs.advance("j1", "r1") is None
    assert state.jobs.finish("j1", "r1", DONE) is None


def test_a_plan_is_noted(state: AnyState) -> None:
    running(state)
    planned = there(state.jobs.plan("j1", "r1", "e" * 64, 250, 3))
    assert (planned.fingerprint, planned.contacts, planned.total_batches) == ("e" * 64, 250, 3)
    assert state.jobs.get("j1", ANA) == planned


def test_progress_is_the_sum_of_what_the_parts_told_last(state: AnyState) -> None:
    running(state)
    for part, processed, failed in ((0, 1, 0), (0, 3, 2), (1, 5, 1)):
        state.jobs.report("j1", PartProgress(part, processed, failed))
    advanced = there(state.jobs.advance("j1", "r1"))
    assert (advanced.processed_batches, advanced.failed_contacts) == (8, 3)


def test_progress_is_exact_and_never_less_when_a_part_is_done_again(state: AnyState) -> None:
    running(state)
    for processed in (1, 2, 3, 1, 2, 3, 4):
        state.jobs.report("j1", PartProgress(0, processed, 0))
        state.jobs.advance("j1", "r1")
    told = [stored.event.payload["processedBatches"] for stored in events_of(state)]
    assert told == [0, 0, 1, 2, 3, 4]


def test_progress_goes_on_in_the_next_attempt(state: AnyState) -> None:
    running(state)
    state.jobs.report("j1", PartProgress(0, 3, 1))
    state.jobs.advance("j1", "r1")
    state.jobs.requeue("j1", "r1")
    state.jobs.begin("j1", "r2")
    state.jobs.report("j1", PartProgress(0, 1, 0))
    assert there(state.jobs.advance("j1", "r2")).processed_batches == 3


def test_progress_that_is_none_is_not_told(state: AnyState) -> None:
    before = running(state)
    assert state.jobs.advance("j1", "r1") == before
    assert len(events_of(state)) == 2


def test_an_end_is_kept_with_what_the_parts_have_told(state: AnyState, clock: Clock) -> None:
    running(state)
    state.jobs.report("j1", PartProgress(0, 2, 1))
    clock.pass_by(7)
    ended = there(state.jobs.finish("j1", "r1", DONE))
    assert (ended.status, ended.output_key, ended.ended_at) == (*_kept(DONE), clock.now)
    assert (ended.processed_batches, ended.failed_contacts) == (2, 1)


def _kept(end: JobEnd) -> tuple[JobStatus, str | None]:
    return end.status, end.output_key


def test_a_failure_is_kept_with_its_reason(state: AnyState) -> None:
    running(state)
    state.jobs.finish("j1", None, JobEnd(JobStatus.FAILED, None, "bad_input", "row 3: no e-mail"))
    failed = there(state.jobs.get("j1", ANA))
    assert (failed.error_code, failed.error_message) == ("bad_input", "row 3: no e-mail")
    assert events_of(state)[-1].event.payload["error"]["code"] == "bad_input"


def test_a_queued_job_cannot_be_completed(state: AnyState) -> None:
    state.jobs.add([job()])
    assert state.jobs.finish("j1", None, DONE) is None


@pytest.mark.parametrize("status", FINAL)
def test_a_job_that_has_ended_cannot_be_changed(state: AnyState, status: JobStatus) -> None:
    running(state)
    ended = there(state.jobs.finish("j1", "r1", JobEnd(status)))
    state.jobs.report("j1", PartProgress(0, 9, 9))
    changed = [
        state.jobs.begin("j1", "r2"),
        state.jobs.requeue("j1", "r1"),
        state.jobs.advance("j1", "r1"),
        state.jobs.request_cancel("j1", ANA, at_once=True),
        state.jobs.finish("j1", None, JobEnd(JobStatus.FAILED)),
    ]
    assert changed == [None] * 5
    assert state.jobs.get("j1", ANA) == ended


def test_nothing_is_done_about_an_unknown_job(state: AnyState) -> None:
    state.jobs.report("j1", PartProgress(0, 1, 0))
    assert state.jobs.begin("j1", "r1") is None
    assert state.jobs.advance("j1", "r1") is None
    assert not state.jobs.delete("j1", ALL)


def test_a_running_job_is_asked_to_end_once(state: AnyState, clock: Clock) -> None:
    running(state)
    asked = there(state.jobs.request_cancel("j1", ANA, at_once=True))
    clock.pass_by(5)
    assert (asked.status, asked.cancel_requested_at) == ("running", START)
    assert state.jobs.request_cancel("j1", ANA, at_once=True) == asked


def test_a_queued_job_is_cancelled_at_once_if_so_asked(state: AnyState) -> None:
    state.jobs.add([job("j1"), job("j2")])
    assert there(state.jobs.request_cancel("j1", ANA, at_once=True)).status == "cancelled"
    assert there(state.jobs.request_cancel("j2", ANA, at_once=False)).status == "queued"


def test_nothing_is_left_of_the_progress_of_a_job_that_was_cancelled_in_the_queue(
    state: AnyState, clock: Clock
) -> None:
    running(state)
    state.jobs.report("j1", PartProgress(0, 5, 1))
    state.jobs.requeue("j1", "r1")
    state.jobs.request_cancel("j1", ANA, at_once=True)
    clock.pass_by(1)
    state.jobs.prune(clock())
    state.outbox.prune(clock())
    running(state)
    assert there(state.jobs.advance("j1", "r1")).processed_batches == 0


def test_a_deleted_job_is_out_of_sight(state: AnyState) -> None:
    running(state)
    state.jobs.finish("j1", "r1", DONE)
    assert state.jobs.delete("j1", ANA)
    assert state.jobs.get("j1", ALL) is None
    assert (state.jobs.find(QUERY, ALL), state.jobs.count(QUERY, ALL)) == ([], 0)
    assert not state.jobs.delete("j1", ANA)


def test_a_running_job_that_is_deleted_is_asked_to_end_and_remains_unfinished(
    state: AnyState,
) -> None:
    running(state)
    state.jobs.delete("j1", ANA)
    (left,) = state.jobs.unfinished(9)
    assert (left.cancel_requested_at, left.deleted_at) == (START, START)
    assert there(state.jobs.finish("j1", "r1", JobEnd(JobStatus.CANCELLED))).status == "cancelled"
    assert state.jobs.unfinished(9) == []


def test_a_queued_job_that_is_deleted_is_cancelled(state: AnyState) -> None:
    state.jobs.add([job()])
    state.jobs.delete("j1", ANA)
    assert state.jobs.unfinished(9) == []
    assert events_of(state)[-1].event.payload["status"] == "cancelled"


def test_unfinished_jobs_come_oldest_first_whosever_they_are(state: AnyState) -> None:
    late = START + timedelta(seconds=1)
    state.jobs.add([job("new", created_at=late), job("old", organization="org-2"), job("over")])
    state.jobs.request_cancel("over", ANA, at_once=True)
    assert ids(state.jobs.unfinished(9)) == ["old", "new"]
    assert ids(state.jobs.unfinished(1)) == ["old"]


def test_every_change_is_told_with_the_next_version(state: AnyState, clock: Clock) -> None:
    running(state)
    clock.pass_by(1)
    state.jobs.report("j1", PartProgress(0, 1, 0))
    state.jobs.advance("j1", "r1")
    state.jobs.finish("j1", "r1", DONE)
    events = [stored.event for stored in events_of(state)]
    assert [event.version for event in events] == [1, 2, 3, 4]
    assert {(event.organization, event.owner) for event in events} == {("org-1", "ana")}
    assert events[-1].payload == shown_job(there(state.jobs.get("j1", ANA)))


def test_only_jobs_that_ended_before_are_forgotten(state: AnyState, clock: Clock) -> None:
    state.jobs.add([job("old"), job("new"), job("alive")])
    state.jobs.request_cancel("old", ANA, at_once=True)
    clock.pass_by(60)
    state.jobs.request_cancel("new", ANA, at_once=True)
    assert state.jobs.prune(clock.now) == 1
    assert {*ids(state.jobs.find(QUERY, ALL))} == {"new", "alive"}


def test_the_same_is_added_once(state: AnyState) -> None:
    assert state.jobs.add_once(job("j1")).id == "j1"
    assert state.jobs.add_once(job("j2")).id == "j1"
    assert ids(state.jobs.find(QUERY, ALL)) == ["j1"]


@pytest.mark.parametrize("other", [{"organization": "o"}, {"kind": "k"}, {"fingerprint": "e" * 64}])
def test_what_differs_is_added(state: AnyState, other: dict[str, str]) -> None:
    state.jobs.add_once(job("j1"))
    assert state.jobs.add_once(job("j2", **other)).id == "j2"


def test_a_completed_job_stands_for_the_same_asked_again(state: AnyState) -> None:
    running(state)
    ended = state.jobs.finish("j1", "r1", DONE)
    assert state.jobs.add_once(job("j2")) == ended


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_job_that_came_to_nothing_stands_for_no_other(state: AnyState, status: JobStatus) -> None:
    running(state)
    state.jobs.finish("j1", "r1", JobEnd(status))
    assert state.jobs.add_once(job("j2")).id == "j2"


def test_a_job_that_is_asked_to_end_stands_for_no_other(state: AnyState) -> None:
    running(state)
    state.jobs.request_cancel("j1", ANA, at_once=True)
    assert state.jobs.add_once(job("j2")).id == "j2"


def test_a_deleted_job_stands_for_no_other(state: AnyState) -> None:
    running(state)
    state.jobs.finish("j1", "r1", DONE)
    state.jobs.delete("j1", ANA)
    assert state.jobs.add_once(job("j2")).id == "j2"


def test_a_job_stands_for_what_its_run_found_in_the_input(state: AnyState) -> None:
    running(state)
    state.jobs.plan("j1", "r1", "e" * 64, 1, 1)
    assert state.jobs.add_once(job("j2", fingerprint="e" * 64)).id == "j1"
