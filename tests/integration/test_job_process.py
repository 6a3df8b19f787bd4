"""The process of a job, killed where it hurts most, or too late for its job."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config.settings import Settings, load_settings
from runners.engines.errors import EngineError
from runners.generate import contacts
from runners.jobs import run_job, said_to_clients
from runners.runs import RUN_ID, owner_here, state_of
from schemas.access import Reach
from schemas.errors import InputError, LetheError, StoreError, StoreUnavailable
from schemas.jobs import Job, JobEnd, JobStatus
from schemas.runs import RunRecord, RunStatus
from stores.enrichment.errors import ApiUnavailable
from stores.state.service_port import Stores
from stores.state.sql_jobs import SqlJobs
from tests.e2e.harness import dying, in_child
from tests.mock_api import Mock, running_mock

COUNT = 200
NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY = "enrichment/job-1/input.ndjson"
JOB = Job(
    "job-1", "enrichment", "org-1", "user-1", "0" * 64, JobStatus.QUEUED, NOW, NOW, KEY,
    {"mapping": {}, "batchSize": 20, "outputFormat": "ndjson"},
)  # fmt: skip


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with running_mock() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, mock: Mock) -> Settings:
    return load_settings(
        state={"folder": tmp_path / "state"},
        service={"enrichment": {"api": mock.url, "patience_seconds": 5}},
    )


@pytest.fixture
def state(settings: Settings) -> Iterator[Stores]:
    """With a job that is queued, whose input is in place."""
    file = settings.state.folder / "files" / KEY
    file.parent.mkdir(parents=True)
    file.write_bytes(b"".join(contacts(COUNT, seed=1)))
    with closing(state_of(settings)) as opened:
        opened.jobs.add([JOB])
        yield opened


def now(state: Stores) -> Job:
    found = state.jobs.get(JOB.id, Reach(None))
    assert found is not None
    return found


def begin(state: Stores, run_id: str) -> None:
    """Do as the dispatcher does before it opens the gate."""
    state.runs.add(RunRecord(run_id, "enrichment", RunStatus.QUEUED, owner_here(), NOW, NOW))
    state.jobs.begin(JOB.id, run_id)


def attempt(settings: Settings, run_id: str, before: Callable[[], None] = lambda: None) -> int:
    """Run the job's process as this run; how it ended."""

    def work() -> None:
        os.environ[RUN_ID] = run_id
        before()
        run_job(JOB.id, settings)

    return in_child(work)


def test_job_ends_with_its_output_and_all_that_is_told_of_it(
    settings: Settings, state: Stores
) -> None:
    begin(state, "run-1")
    assert attempt(settings, "run-1") == 0
    job = now(state)
    assert (job.status, job.contacts, job.total_batches, job.processed_batches) == (
        JobStatus.COMPLETED, COUNT, 10, 10,
    )  # fmt: skip
    output = settings.state.folder / "files" / str(job.output_key)
    assert output.read_bytes().count(b"\n") == COUNT


def test_run_after_one_that_died_before_it_said_so_calls_nothing_again(
    settings: Settings, state: Stores, mock: Mock
) -> None:
    begin(state, "run-1")
    died = attempt(settings, "run-1", lambda: dying(SqlJobs, "finish", 1, after=False))
    state.jobs.requeue(JOB.id, "run-1")
    begin(state, "run-2")
    calls = mock.stats()["calls"]
    assert (died, attempt(settings, "run-2")) == (-signal.SIGKILL, 0)
    assert (now(state).status, now(state).processed_batches) == (JobStatus.COMPLETED, 10)
    assert mock.stats()["calls"] == calls


def test_run_that_the_job_was_taken_from_changes_nothing(
    settings: Settings, state: Stores, mock: Mock
) -> None:
    begin(state, "run-2")
    before, calls = now(state), mock.stats()["calls"]
    state.runs.add(RunRecord("run-1", "enrichment", RunStatus.QUEUED, owner_here(), NOW, NOW))
    assert attempt(settings, "run-1") != 0
    assert (now(state), mock.stats()["calls"]) == (before, calls)


def test_input_that_is_not_there_fails_the_job_and_says_no_path(
    settings: Settings, state: Stores
) -> None:
    (settings.state.folder / "files" / KEY).unlink()
    begin(state, "run-1")
    assert attempt(settings, "run-1") != 0
    job = now(state)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "input_missing")
    assert str(settings.state.folder) not in str(job.error_message)


def test_ended_job_is_not_ended_again(settings: Settings, state: Stores) -> None:
    begin(state, "run-1")
    state.jobs.finish(JOB.id, "run-1", JobEnd(JobStatus.CANCELLED))
    assert attempt(settings, "run-1") != 0
    assert now(state).status is JobStatus.CANCELLED


def test_errors_are_told_without_where_files_are() -> None:
    error = InputError("/srv/files/enrichment/job-1/input.ndjson: is cut off")
    assert said_to_clients(error, "/srv/files") == "enrichment/job-1/input.ndjson: is cut off"


def test_clients_are_not_told_of_options_of_the_command() -> None:
    error = ApiUnavailable("the API takes no calls: go on with --resume")
    assert "--resume" not in said_to_clients(error, "/srv/files")


@pytest.mark.parametrize("kind", [StoreUnavailable, StoreError, EngineError])
def test_clients_are_not_told_of_what_the_service_needs(kind: type[LetheError]) -> None:
    error = kind("state store postgresql://lethe@db.internal/lethe: connection refused")
    assert "db.internal" not in said_to_clients(error, "/srv/files")
