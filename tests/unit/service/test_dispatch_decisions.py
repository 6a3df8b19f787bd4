"""What is to be done about a job, by what is known of it and of its run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.runs import owner_here
from schemas.jobs import Job, JobStatus
from schemas.runs import RunOwner, RunRecord, RunStatus
from service.dispatch.decide import AskToEnd, End, Leave, Requeue, Start, Step, next_step

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ALIVE = owner_here()
GONE = replace(ALIVE, started="1")
QUEUED = Job(
    "job-1", "enrichment", "org-1", "user-1", "0" * 64, JobStatus.QUEUED, NOW, NOW, "input"
)
RUNNING = replace(QUEUED, status=JobStatus.RUNNING, run_id="run-1", attempts=1)
RUN = RunRecord("run-1", "enrichment", RunStatus.RUNNING, ALIVE, NOW, NOW)


def step(job: Job, run: RunRecord | None = None) -> Step:
    return next_step(job, run, NOW, max_attempts=3)


def test_queued_job_is_to_be_started() -> None:
    assert step(QUEUED) == Start()


def test_queued_job_that_is_to_end_is_cancelled() -> None:
    asked = step(replace(QUEUED, cancel_requested_at=NOW))
    assert isinstance(asked, End)
    assert asked.end.status is JobStatus.CANCELLED


def test_job_whose_run_lives_is_left_alone() -> None:
    assert step(RUNNING, RUN) == Leave()


def test_request_to_end_is_passed_on_once() -> None:
    asked = replace(RUNNING, cancel_requested_at=NOW)
    assert step(asked, RUN) == AskToEnd()
    assert step(asked, replace(RUN, cancel_requested_at=NOW)) == Leave()


@pytest.mark.parametrize(
    "run",
    [
        None,
        replace(RUN, owner=GONE),
        replace(RUN, owner=GONE, status=RunStatus.QUEUED),
        replace(RUN, owner=RunOwner("elsewhere", 1, "1"), seen_at=NOW - timedelta(minutes=3)),
        replace(RUN, status=RunStatus.FAILED),
        replace(RUN, status=RunStatus.LOST),
        replace(RUN, status=RunStatus.SUCCEEDED),
    ],
)
def test_job_whose_run_is_over_is_queued_again(run: RunRecord | None) -> None:
    assert step(RUNNING, run) == Requeue()


def test_job_that_has_used_its_attempts_fails_with_the_code_of_its_last_run() -> None:
    failed = replace(RUN, status=RunStatus.FAILED, error_code="mistake", error_message="a@b.c")
    given_up = step(replace(RUNNING, attempts=3), failed)
    assert isinstance(given_up, End)
    assert (given_up.end.status, given_up.end.error_code) == (JobStatus.FAILED, "mistake")
    assert "a@b.c" not in str(given_up.end.error_message)


def test_job_whose_run_was_cancelled_is_cancelled() -> None:
    ended = step(RUNNING, replace(RUN, status=RunStatus.CANCELLED))
    assert isinstance(ended, End)
    assert ended.end.status is JobStatus.CANCELLED


@given(
    status=st.sampled_from([JobStatus.QUEUED, JobStatus.RUNNING]),
    run_status=st.none() | st.sampled_from(RunStatus),
    is_alive=st.booleans(),
    attempts=st.integers(0, 5),
    asked=st.booleans(),
)
def test_every_end_is_one_that_the_job_may_come_to(
    status: JobStatus, run_status: RunStatus | None, is_alive: bool, attempts: int, asked: bool
) -> None:
    job = replace(
        RUNNING, status=status, attempts=attempts, cancel_requested_at=NOW if asked else None
    )
    owner = ALIVE if is_alive else GONE
    run = None if run_status is None else replace(RUN, status=run_status, owner=owner)
    decided = step(job, run)
    assert not isinstance(decided, End) or job.status.may_become(decided.end.status)
    assert not isinstance(decided, Requeue) or (status is JobStatus.RUNNING and attempts < 3)
