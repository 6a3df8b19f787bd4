"""``lethe enrich`` on every engine makes the very file that the direct runner makes.

What dies under it costs no batch that was finished.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runners.generate import contacts
from runners.generate.output import write_file
from stores.enrichment.records import decode_records
from tests.e2e.harness import Outcome, lethe, outcome, start
from tests.engines.clusters import (
    FlinkProcesses,
    engine,
    flink_cluster,
    spark_cluster,
)
from tests.mock_api import Mock, running_mock
from tests.waiting import wait_until

pytestmark = pytest.mark.engine

COUNT = 12_000
BATCH = 20


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with running_mock() as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "contacts.ndjson"
    write_file(path, contacts(COUNT, seed=1))
    return path


@pytest.fixture(scope="module")
def expected(file: Path, mock: Mock, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("expected") / "out.ndjson"
    assert lethe(*arguments(file, out, mock)).status == 0
    return out.read_bytes()


@pytest.fixture(scope="module")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkProcesses]:
    with flink_cluster(tmp_path_factory.mktemp("flink"), task_managers=2) as cluster:
        yield cluster


def arguments(file: Path, out: Path, mock: Mock, *more: object) -> tuple[object, ...]:
    here = ("enrich", file, "--out", out, "--api", mock.url, "--batch-size", BATCH)
    return (*here, "--workers", 2, *more)


def finished(out: Path) -> int:
    """How many batches are in what a run has left."""
    kept = list((out.parent / f".{out.name}.lethe").glob("*/*/*"))
    files = [path for path in kept if path.parent.name in {"some", "done"}]
    return len({number for path in files for number in decode_records(path.read_bytes())})


def wait_for_batches(out: Path, count: int) -> None:
    wait_until(lambda: finished(out) >= count, f"{count} batches")


def test_prism_makes_the_same(file: Path, mock: Mock, expected: bytes, tmp_path: Path) -> None:
    engine("prism")
    out = tmp_path / "out.ndjson"
    done = lethe(*arguments(file, out, mock, "--runner", "prism"))
    assert done.status == 0, done.err
    assert out.read_bytes() == expected


def test_flink_makes_the_same(
    flink: FlinkProcesses, file: Path, mock: Mock, expected: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "out.ndjson"
    done = lethe(*arguments(file, out, mock, "--runner", "flink", "--flink-master", flink.master))
    assert done.status == 0, done.err
    assert out.read_bytes() == expected


def test_spark_makes_the_same(file: Path, mock: Mock, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    with spark_cluster(tmp_path) as master:
        done = lethe(*arguments(file, out, mock, "--runner", "spark", "--spark-master", master))
    assert done.status == 0, done.err
    assert out.read_bytes() == expected


@pytest.fixture
def slow(mock: Mock) -> Iterator[Mock]:
    mock.set(latency=0.1)
    yield mock
    mock.set(latency=0.0)


def resumed(file: Path, out: Path, mock: Mock, *where: object) -> Outcome:
    """Go on with a killed run; it asks only for what was not finished."""
    time.sleep(0.5)  # calls that the mock has begun, workers that have not noticed
    mock.set(latency=0.0)
    left, before = COUNT - finished(out) * BATCH, mock.stats()["contacts"]
    done = lethe(*arguments(file, out, mock, "--resume", *where))
    assert done.status == 0, done.err
    assert mock.stats()["contacts"] - before == left
    return done


def test_a_killed_run_on_prism_is_gone_on_with(
    file: Path, slow: Mock, expected: bytes, tmp_path: Path
) -> None:
    engine("prism")
    out = tmp_path / "out.ndjson"
    process = start(*arguments(file, out, slow, "--runner", "prism", "--concurrency", 4))
    wait_for_batches(out, 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    resumed(file, out, slow, "--runner", "prism")
    assert out.read_bytes() == expected


def running_job(flink: FlinkProcesses) -> str | None:
    jobs: list[Any] = flink.rest.get("/jobs")["jobs"]
    return next((str(job["id"]) for job in jobs if job["status"] == "RUNNING"), None)


def test_a_task_manager_that_dies_costs_no_finished_batch(
    flink: FlinkProcesses, file: Path, slow: Mock, expected: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "out.ndjson"
    where = ("--runner", "flink", "--flink-master", flink.master)
    before = slow.stats()["contacts"]
    process = start(*arguments(file, out, slow, *where, "--concurrency", 4))
    wait_for_batches(out, 20)
    flink.kill_task_manager_of(wait_until(lambda: running_job(flink), "the job"))
    slow.set(latency=0.0)
    done = outcome(process)
    if done.status != 0:  # Flink's restarts are its own setting
        resumed(file, out, slow, *where)
    assert out.read_bytes() == expected
    under_way = 4 * BATCH
    assert slow.stats()["contacts"] - before <= COUNT + under_way
