"""What may be done to a job, as pure functions say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import job_changes
from schemas.jobs import Job, JobEnd, JobStatus, event_of_job, shown_job

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
FINAL = [status for status in JobStatus if status.is_final]
DONE = JobEnd(JobStatus.COMPLETED, "out")


def job(**more: Any) -> Job:
    known = Job("j1", "enrichment", "org-1", "ana", "f" * 64, JobStatus.QUEUED, NOW, NOW, "in")
    return replace(known, **more)


def running(**more: Any) -> Job:
    return job(status=JobStatus.RUNNING, run_id="r1", **more)


def test_a_job_is_shown_as_clients_know_it() -> None:
    shown = shown_job(running(total_batches=3, processed_batches=1, parameters={"secret": 1}))
    assert (shown["requestId"], shown["status"]) == ("j1", "running")
    assert (shown["totalBatches"], shown["processedBatches"]) == (3, 1)
    assert shown["createdAt"] == "2026-11-21T12:00:00.000000Z"
    assert "secret" not in str(shown)


def test_an_error_is_shown_only_if_there_is_one() -> None:
    assert "error" not in shown_job(job())
    failed = job(status=JobStatus.FAILED, error_code="bad_input", error_message="row 3")
    assert shown_job(failed)["error"] == {"code": "bad_input", "message": "row 3"}


def test_an_event_is_its_owners_and_of_its_version() -> None:
    told = event_of_job(job(version=7, updated_at=LATER))
    assert (str(told.topic), told.version, told.at) == ("job:j1", 7, LATER)
    assert (told.organization, told.owner) == ("org-1", "ana")


@pytest.mark.parametrize("status", [*FINAL, JobStatus.RUNNING])
def test_only_a_queued_job_begins(status: JobStatus) -> None:
    assert job_changes.begun(job(status=status), "r1") is None


@given(
    st.integers(0, 99),
    st.integers(0, 99),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9))),
)
def test_progress_never_goes_back(processed: int, failed: int, told: list[tuple[int, int]]) -> None:
    known = running(processed_batches=processed, failed_contacts=failed)
    for sums in told:
        after = job_changes.advanced(known, "r1", *sums)
        assert after is not None
        assert after.processed_batches == max(known.processed_batches, sums[0])
        assert after.failed_contacts == max(known.failed_contacts, sums[1])
        known = after


def test_progress_that_is_none_gives_the_same_job() -> None:
    known = running(processed_batches=3, failed_contacts=1)
    assert job_changes.advanced(known, "r1", 2, 1) == known


@pytest.mark.parametrize("status", FINAL)
@pytest.mark.parametrize("end", FINAL)
def test_a_job_ends_once(status: JobStatus, end: JobStatus) -> None:
    assert job_changes.ended(job(status=status), None, JobEnd(end), NOW, 0, 0) is None


@pytest.mark.parametrize(("run_id", "is_ended"), [("r1", True), (None, True), ("r2", False)])
def test_a_job_is_ended_by_its_run_or_by_whoever_answers_for_all(
    run_id: str | None, is_ended: bool
) -> None:
    assert (job_changes.ended(running(), run_id, DONE, NOW, 0, 0) is not None) == is_ended


def test_asking_again_changes_nothing() -> None:
    asked = job_changes.asked_to_end(running(), NOW, at_once=True)
    assert asked is not None
    assert job_changes.asked_to_end(asked, LATER, at_once=True) == asked


def test_a_job_that_ended_is_only_taken_out_of_sight() -> None:
    ended = job(status=JobStatus.COMPLETED, ended_at=NOW)
    assert job_changes.taken_away(ended, LATER) == replace(ended, deleted_at=LATER)


@pytest.mark.parametrize(
    ("more", "stands"),
    [
        ({"status": JobStatus.QUEUED}, True),
        ({"status": JobStatus.RUNNING}, True),
        ({"status": JobStatus.RUNNING, "cancel_requested_at": NOW}, False),
        ({"status": JobStatus.COMPLETED}, True),
        ({"status": JobStatus.COMPLETED, "cancel_requested_at": NOW}, True),
        ({"status": JobStatus.COMPLETED, "deleted_at": NOW}, False),
        ({"status": JobStatus.FAILED}, False),
        ({"status": JobStatus.CANCELLED}, False),
    ],
)
def test_what_came_or_will_come_to_something_stands_for_repeats(
    more: dict[str, Any], stands: bool
) -> None:
    assert job(**more).stands_for_repeats == stands
