"""Repeated requests against a real store: by threads at once, and after a process was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask, Response, request

from config.service import IdempotencySection
from schemas.access import Reach
from schemas.errors import Conflict
from schemas.jobs import Job, JobQuery, JobStatus
from service.idempotency import HEADER, REPLAYED, Attempt, Idempotency
from service.security.pseudonyms import Pseudonyms
from stores.state.sql import SqlState, open_state
from tests.integration.service.principals import OPERATOR

APP = Flask("test")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECTION = IdempotencySection()


def attempt(idempotency: Idempotency, key: str = "3f2c6a1e-0001") -> Attempt:
    with APP.test_request_context("/v1/enrichment", method="POST", json={}, headers={HEADER: key}):
        return idempotency.attempt(request, OPERATOR)


def repeats_of(state: SqlState) -> Idempotency:
    return Idempotency(state.idempotency, Pseudonyms(b"k" * 32), SECTION)


def create(state: SqlState, job_id: str) -> Response:
    """Creating work as it has to be: what is there already is not made again."""
    if state.jobs.get(job_id, Reach("org-1")) is None:
        owner = (OPERATOR.organization, OPERATOR.subject)
        state.jobs.add([Job(job_id, "enrichment", *owner, job_id, JobStatus.QUEUED, NOW, NOW, "k")])
    return Response(job_id, 202)


def jobs_of(state: SqlState) -> list[str]:
    return [job.id for job in state.jobs.find(JobQuery("enrichment"), Reach("org-1"))]


@pytest.fixture
def url(tmp_path: Path) -> str:
    found = f"sqlite:///{tmp_path / 'state.db'}"
    open_state(found).close()
    return found


def test_repeats_at_once_do_the_work_once(url: str) -> None:
    state = open_state(url, lambda: NOW)
    idempotency, start, done = repeats_of(state), threading.Barrier(16), []

    def ask(_: int) -> str:
        start.wait()
        mine = attempt(idempotency)
        try:
            return idempotency.once(mine, work(mine)).get_data(as_text=True)
        except Conflict as conflict:
            return str(conflict.details["reason"])

    def work(mine: Attempt) -> Callable[[], Response]:
        def run() -> Response:
            done.append(mine)
            return create(state, mine.created_id())

        return run

    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(ask, range(16)))
    assert (len(done), len(jobs_of(state))) == (1, 1)
    assert answers <= {*jobs_of(state), "in_progress"}
    state.close()


def _die_after_the_work(url: str) -> None:
    state = open_state(url, lambda: NOW)
    idempotency = repeats_of(state)
    mine = attempt(idempotency)

    def work() -> Response:
        create(state, mine.created_id())
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    idempotency.once(mine, work)


def test_process_killed_between_work_and_answer_leaves_one_job(url: str) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die_after_the_work, args=(url,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL

    state = open_state(url, lambda: NOW + timedelta(seconds=SECTION.lock_seconds + 1))
    idempotency = repeats_of(state)
    mine = attempt(idempotency)
    answer = idempotency.once(mine, lambda: create(state, mine.created_id()))
    assert [answer.get_data(as_text=True)] == jobs_of(state)
    state.close()


def test_killed_request_is_in_progress_until_its_lock_runs_out(url: str) -> None:
    state = open_state(url, lambda: NOW)
    idempotency = repeats_of(state)
    mine = attempt(idempotency)
    assert mine.name is not None
    state.idempotency.claim(mine.name, mine.fingerprint, SECTION.lock_seconds, SECTION.keep_seconds)
    with pytest.raises(Conflict, match="still being done"):
        idempotency.once(mine, Response)
    state.close()


@pytest.mark.parametrize(("hours", "replayed"), [(23, True), (25, False)])
def test_answer_is_kept_for_a_day(url: str, hours: int, replayed: bool) -> None:
    times = [NOW]
    state = open_state(url, lambda: times[-1])
    idempotency = repeats_of(state)
    mine = attempt(idempotency)
    for passed in (0, hours):
        times.append(NOW + timedelta(hours=passed))
        answer = idempotency.once(mine, lambda: create(state, mine.created_id()))
    assert (REPLAYED in answer.headers) == replayed
    assert len(jobs_of(state)) == 1
    state.close()
