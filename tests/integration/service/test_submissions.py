"""Orders become jobs once, whatever is cut off between, and pages of them stay right."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.service import EnrichmentSection
from schemas.access import Reach
from schemas.errors import Conflict, Unavailable
from schemas.jobs import JobCursor, JobQuery
from service.enrichment.submit import Order, Submissions
from service.enrichment.uploads import Uploads
from stores.objects import LocalObjectStore
from stores.state.sql import SqlState, open_state
from tests.integration.service.enrichment_requests import BEGIN, CONTACTS, job
from tests.integration.service.principals import OPERATOR

ID = "0" * 32


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqlState]:
    with closing(open_state(f"sqlite:///{tmp_path / 'state.db'}")) as opened:
        yield opened


def submissions(state: SqlState, folder: Path, api: str | None = "http://api") -> Submissions:
    files, section = LocalObjectStore(folder), EnrichmentSection(api=api)
    uploads = Uploads(files, section, lambda: BEGIN)
    return Submissions(state.jobs, files, uploads, section, lambda: BEGIN)


def test_repeat_of_what_was_done_but_not_answered_is_the_same_job(
    state: SqlState, tmp_path: Path
) -> None:
    service, order = submissions(state, tmp_path / "files"), Order(CONTACTS, force=True)
    assert service.submit(order, OPERATOR, ID) == service.submit(order, OPERATOR, ID)
    assert len(state.jobs.unfinished(10)) == 1


def test_repeat_of_all_or_none_is_the_same_jobs(state: SqlState, tmp_path: Path) -> None:
    service, orders, ids = submissions(state, tmp_path / "files"), [Order(CONTACTS)] * 2, [ID, "1"]
    first = service.submit_all(orders, OPERATOR, ids)
    assert service.submit_all(orders, OPERATOR, ids) == first
    assert len(state.jobs.unfinished(10)) == 2


@pytest.mark.parametrize("force", [False, True])
def test_repeat_of_what_was_deleted_is_refused_and_does_nothing_again(
    state: SqlState, tmp_path: Path, force: bool
) -> None:
    service, order = submissions(state, tmp_path / "files"), Order(CONTACTS, force=force)
    service.submit(order, OPERATOR, ID)
    state.jobs.delete(ID, Reach("org-1"))
    with pytest.raises(Conflict, match="deleted") as refused:
        service.submit(order, OPERATOR, ID)
    assert refused.value.details["reason"] == "deleted"
    assert state.jobs.find(JobQuery("enrichment"), Reach("org-1")) == []


@pytest.mark.parametrize("deleted", [[ID], [ID, "1"]])
def test_repeat_of_all_or_none_is_refused_if_one_was_deleted(
    state: SqlState, tmp_path: Path, deleted: list[str]
) -> None:
    service, orders, ids = submissions(state, tmp_path / "files"), [Order(CONTACTS)] * 2, [ID, "1"]
    service.submit_all(orders, OPERATOR, ids)
    for one in deleted:
        state.jobs.delete(one, Reach("org-1"))
    with pytest.raises(Conflict, match="deleted"):
        service.submit_all(orders, OPERATOR, ids)


def test_input_that_no_job_speaks_of_yet_is_written_over(state: SqlState, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    LocalObjectStore(folder).put(f"enrichment/{ID}/input.ndjson", b"of a request that was killed")
    submissions(state, folder).submit(Order(CONTACTS), OPERATOR, ID)
    content = LocalObjectStore(folder).read(f"enrichment/{ID}/input.ndjson")
    assert content.count(b"\n") == len(CONTACTS)


def test_without_an_api_nothing_is_accepted(state: SqlState, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="api"):
        submissions(state, tmp_path / "files", api=None).submit(Order(CONTACTS), OPERATOR, ID)
    assert state.jobs.unfinished(1) == []


@settings(max_examples=20, deadline=None)
@given(
    times=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    size=st.integers(1, 4),
    added=st.lists(st.integers(0, 3), max_size=12),
)
def test_pages_by_cursor_show_each_job_once_while_newer_ones_are_added(
    times: list[int], size: int, added: list[int]
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_state(f"sqlite:///{folder}/state.db")) as state,
    ):
        jobs = [
            replace(job(number), created_at=BEGIN + timedelta(seconds=second))
            for number, second in enumerate(times)
        ]
        state.jobs.add(jobs)
        newest_first = sorted(jobs, key=lambda each: (each.created_at, each.id), reverse=True)
        assert shown_by_pages(state, size, iter(added)) == [each.id for each in newest_first]


def shown_by_pages(state: SqlState, size: int, added: Iterator[int]) -> list[str]:
    shown: list[str] = []
    query, number = JobQuery("enrichment", limit=size), 100
    while page := state.jobs.find(query, Reach("org-1")):
        shown += [each.id for each in page]
        query = replace(query, after=JobCursor(page[-1].created_at, page[-1].id))
        for _ in range(next(added, 0)):
            number += 1
            state.jobs.add([job(number)])
    return shown
