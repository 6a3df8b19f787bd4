"""The sweep: files that nobody can ask for go, all others stay."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from config.dsr import LakeSection
from config.service import EnrichmentSection
from schemas.access import Reach
from schemas.export import ExportRecord
from schemas.jobs import JobEnd, JobStatus
from service.dispatch.sweep import YOUNG, Kept, Recurring, Sweep, sweep_exports
from service.enrichment.uploads import Uploads
from stores.exports import ExportNote, archive_name, exports_in, keep_export, keep_note
from stores.objects import LocalObjectStore, ObjectStore, S3Settings
from stores.state.sql import SqlState, open_state
from tests.integration.service.enrichment_requests import job

LATER = datetime.now(UTC) + 2 * YOUNG
KEPT = Kept(jobs=timedelta(days=30), runs=timedelta(days=90))
FOLDER = "enrichment/job-0001"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqlState]:
    with closing(open_state(f"sqlite:///{tmp_path / 'state.db'}")) as opened:
        yield opened


@pytest.fixture
def files(tmp_path: Path) -> ObjectStore:
    store = LocalObjectStore(tmp_path / "files")
    for name in ("input.ndjson", "output.ndjson", ".output.ndjson.lethe/receipt.json"):
        store.put(f"{FOLDER}/{name}", b"{}\n")
    return store


def left_by_sweep(state: SqlState, files: ObjectStore, now: datetime = LATER) -> list[str]:
    uploads = Uploads(files, EnrichmentSection(), lambda: now)
    Sweep(state, state, files, uploads, KEPT, lambda: now)()
    return [info.key.removeprefix(f"{FOLDER}/") for info in files.list("enrichment/")]


def completed(state: SqlState) -> None:
    state.jobs.add([job(1)])
    state.jobs.begin("job-0001", "run-1")
    end = JobEnd(JobStatus.COMPLETED, f"{FOLDER}/output.ndjson")
    state.jobs.finish("job-0001", "run-1", end)


def test_files_of_a_job_under_way_stay(state: SqlState, files: ObjectStore) -> None:
    state.jobs.add([job(1)])
    assert len(left_by_sweep(state, files)) == 3


def test_of_a_completed_job_only_the_output_stays(state: SqlState, files: ObjectStore) -> None:
    completed(state)
    assert left_by_sweep(state, files) == ["output.ndjson"]


def test_files_of_a_deleted_job_go(state: SqlState, files: ObjectStore) -> None:
    completed(state)
    state.jobs.delete("job-0001", Reach(None))
    assert left_by_sweep(state, files) == []


def test_files_of_a_deleted_job_that_still_runs_stay(state: SqlState, files: ObjectStore) -> None:
    state.jobs.add([job(1)])
    state.jobs.begin("job-0001", "run-1")
    state.jobs.delete("job-0001", Reach(None))
    assert len(left_by_sweep(state, files)) == 3


def test_young_files_that_no_job_speaks_of_yet_stay(state: SqlState, files: ObjectStore) -> None:
    assert len(left_by_sweep(state, files, datetime.now(UTC))) == 3
    assert left_by_sweep(state, files) == []


def test_job_and_its_files_go_when_they_are_past_their_time(
    state: SqlState, files: ObjectStore
) -> None:
    completed(state)
    assert left_by_sweep(state, files, datetime.now(UTC) + timedelta(days=31)) == []
    assert state.jobs.get("job-0001", Reach(None)) is None


def test_mistake_in_what_recurs_is_logged_without_what_it_says() -> None:
    def fail() -> None:
        raise ValueError("ana@example.org")

    with capture_logs() as lines:
        Recurring(fail, timedelta(hours=1), lambda: LATER)()
        for thread in threading.enumerate():
            if thread.name == "sweep":
                thread.join()
    (line,) = lines
    assert (line["log_level"], line["error"]) == ("error", "ValueError")
    assert "ana" not in str(line)


def exported(out: Path, lake: Path, expires_at: datetime) -> str:
    """An archive, as an export leaves it."""
    record = ExportRecord("1" * 32, str(out), "", expires_at, expires_at, (), (), sha256="2" * 64)
    archive = archive_name(record.id, "")
    keep_export(LocalObjectStore(lake), replace(record, archive=archive))
    keep_note(LocalObjectStore(out), ExportNote(record.id, archive, expires_at))
    LocalObjectStore(out).put(archive, b"PK")
    return archive


def test_exports_past_their_time_go_from_their_place_and_the_lake(tmp_path: Path) -> None:
    out, lake, now = tmp_path / "out", tmp_path / "lake", datetime.now(UTC)
    archive = exported(out, lake, now + timedelta(hours=1))
    section = LakeSection(uri=str(lake), export_to=str(out))
    sweep_exports(section, S3Settings(), now)
    assert (out / archive).exists()
    sweep_exports(section, S3Settings(), now + timedelta(hours=1))
    assert not (out / archive).exists()
    assert list(exports_in(LocalObjectStore(lake))) == []


def test_service_without_a_lake_has_no_exports_to_sweep() -> None:
    sweep_exports(LakeSection(), S3Settings(), datetime.now(UTC))
