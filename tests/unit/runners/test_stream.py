"""A delivery without end: which ends of its job are borne, and what is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from beam_pipelines.deliver import Rules
from runners import stream
from runners.deliver import Delivery
from runners.engines.errors import EngineError, EngineUnreachable
from runners.engines.jobs import JobState
from runners.options import RunnerOptions
from schemas.registry import load_registry
from stores.inputs import InputOpener
from stores.log import RUNS
from stores.objects import LocalObjectStore
from stores.parameters import FileParameters
from transforms.rotate import Windowing
from transforms.scrub import ScrubKey
from transforms.write import Output

End = JobState | Exception


class FakeJob:
    """A job that is seen running once, and then what it is made with."""

    id = "job"

    def __init__(self, then: End) -> None:
        self._states: list[End] = [JobState.RUNNING, then]
        self.was_cancelled = False

    def state(self) -> JobState:
        if self.was_cancelled:
            return JobState.CANCELLED
        found = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(found, Exception):
            raise found
        return found

    def counters(self) -> dict[str, int]:
        return {}

    def cancel(self) -> None:
        self.was_cancelled = True


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    rules = Rules(load_registry(), ScrubKey.of(FileParameters(tmp_path / "parameters")))
    return Delivery((), LocalObjectStore(tmp_path / "lake"), InputOpener(), rules, Output(), 1)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[FakeJob]:
    """The jobs that an engine will start, one after another; the last one is being stopped."""
    for name in ("WATCH_EVERY", "FIRST_PAUSE"):
        monkeypatch.setattr(stream, name, 0.001)
    return []


def run(delivery: Delivery, jobs: list[FakeJob], monkeypatch: pytest.MonkeyPatch) -> list[FakeJob]:
    """Deliver until the last of the jobs has been started; those that were."""
    stop, started = threading.Event(), list[FakeJob]()

    @contextmanager
    def start(options: RunnerOptions, build: Callable[..., None]) -> Iterator[FakeJob]:
        started.append(jobs[len(started)])
        if len(started) == len(jobs):
            stop.set()
        yield started[-1]

    monkeypatch.setattr(stream, "started_job", start)
    stream.run_stream(delivery, RunnerOptions(), Windowing(), stop)
    return started


@pytest.mark.parametrize(
    "end",
    [JobState.FAILED, JobState.DONE, EngineError("404"), grpc.RpcError()],
    ids=["failed", "done", "forgotten", "prism died"],
)
def test_a_job_that_ends_is_followed_by_another(
    delivery: Delivery, jobs: list[FakeJob], monkeypatch: pytest.MonkeyPatch, end: End
) -> None:
    jobs += [FakeJob(end), FakeJob(JobState.RUNNING)]
    assert run(delivery, jobs, monkeypatch) == jobs


def test_a_stopped_delivery_cancels_its_job_and_ends_its_run(
    delivery: Delivery, jobs: list[FakeJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs += [FakeJob(JobState.RUNNING)]
    assert run(delivery, jobs, monkeypatch)[0].was_cancelled
    assert list(delivery.store.list(RUNS)) == []


def test_a_job_that_cannot_be_watched_any_more_is_cancelled(
    delivery: Delivery, jobs: list[FakeJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs += [FakeJob(RuntimeError("a mistake")), FakeJob(JobState.RUNNING)]
    with pytest.raises(RuntimeError):
        run(delivery, jobs, monkeypatch)
    assert jobs[0].was_cancelled


def test_an_engine_that_was_never_there_is_told_at_once(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise EngineUnreachable("no Flink answers")

    monkeypatch.setattr(stream, "started_job", refuse)
    with pytest.raises(EngineUnreachable):
        stream.run_stream(delivery, RunnerOptions(), Windowing(), threading.Event())


def test_what_a_job_stages_after_its_run_is_cleared_at_the_end(
    delivery: Delivery, jobs: list[FakeJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    area = "an-earlier-run~20261121T02"

    class Outlived(FakeJob):
        def cancel(self) -> None:
            super().cancel()
            writer = delivery.store.stage("type=sale/late.parquet", area)
            writer.write(b"rows")
            writer.close()

    jobs += [Outlived(JobState.RUNNING)]
    run(delivery, jobs, monkeypatch)
    assert list(delivery.store.list_staged(area)) == []
