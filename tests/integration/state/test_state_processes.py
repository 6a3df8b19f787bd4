"""A state store that several processes use at once, and some are killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.jobs import JobEnd, JobQuery, JobStatus
from schemas.requests import Counted
from tests.integration.state.records import ALL, events_of, job, opened, there
from tests.integration.state.state_worker import COUNTS, JOBS

ROOT = Path(__file__).parents[3]
MODULE = "tests.integration.state.state_worker"


@contextmanager
def workers(task: str, url: str, *names: str) -> Iterator[list[subprocess.Popen[str]]]:
    """A process for each name, that all begin together."""
    started = [_started(task, url, name) for name in names]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _started(task: str, url: str, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, task, url, name],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(processes: list[subprocess.Popen[str]]) -> list[list[str]]:
    """What each said, when all have ended without an error."""
    said = [process.communicate(timeout=90) for process in processes]
    assert [error for _, error in said] == [""] * len(processes)
    return [out.split() for out, _ in said]


def test_the_same_asked_of_two_processes_is_added_once(url: str) -> None:
    state = opened(url)
    with workers("add_once", url, "a", "b") as both:
        first, second = ended(both)
    assert first == second
    assert state.jobs.count(JobQuery("enrichment"), ALL) == JOBS


def test_requests_counted_by_the_threads_of_two_processes_are_all_counted(sql_url: str) -> None:
    state = opened(sql_url)
    with workers("count_requests", sql_url, "a", "b") as both:
        ended(both)
    (tally,) = state.counters.count([Counted("global", 3600)])
    assert tally.current + tally.previous == 2 * COUNTS + 1


def test_a_killed_process_leaves_no_change_without_its_event(url: str) -> None:
    state = opened(url)
    state.jobs.add([job()])
    with workers("change", url, "a") as (process,):
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
    known = there(state.jobs.get("j1", ALL))
    versions = [stored.event.version for stored in events_of(state)]
    assert known.processed_batches >= 29
    assert versions == [*range(1, known.version + 1)]
    assert there(state.jobs.finish("j1", "r1", JobEnd(JobStatus.FAILED))).status == "failed"
