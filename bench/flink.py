"""The Flink benchmark: a recorded stream, delivered without end, and what a failure costs.

    python -m bench.flink [--answers A] [--parallelism 1,2]

Starts a Flink cluster of two task managers here. Prints a Markdown table and writes
``bench/results/flink.json``: records per second from the job's start until all are in the lake, the
workers' start included, and the seconds from a task manager's death to the next commit.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from bench.contenders import environment
from bench.deliver import DATA, RESULTS, make_source
from bench.kinesis import RECORDS, endpoint
from bench.report import document
from stores.log import Commit, DeliveryLog
from stores.objects import LocalObjectStore
from tests.engines.clusters import FlinkProcesses, flink_cluster
from tests.waiting import wait_until

SHARDS = 16
PATIENCE = 600.0
"""Seconds that anything may take."""

_ID = re.compile(rb'"eventID":"[^"]*",')
_UPDATED = re.compile(rb'"updatedAt":\{"[SN]":"[^"]*"\}')
_SECRETS = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "LETHE_SCRUB_KEY": "only-for-benchmarks-only-for-benc",
}

Answers = Annotated[int, typer.Option(min=4, help="Answers of a shard, each of 2,000 records.")]
Parallelism = Annotated[str, typer.Option(help="Flink's parallelism in each run: 1,2.")]


@dataclass(frozen=True)
class Outcome:
    """One delivery; ``recovery`` is of the one whose task manager was killed."""

    parallelism: int
    records: int
    seconds: float
    recovery: float | None = None

    @property
    def rate(self) -> float:
        return self.records / self.seconds


def main(answers: Answers = 16, parallelism: Parallelism = "1,2") -> None:
    """Deliver the recorded stream with each parallelism, and once with a failure."""
    os.environ.update(_SECRETS)  # the workers' environment is that of the pool, started from here
    widths = [int(width) for width in parallelism.split(",")]
    with _cluster() as cluster, endpoint(_changes(), SHARDS, answers) as url:
        outcomes = [deliver(cluster, url, width, answers) for width in widths]
        outcomes.append(deliver(cluster, url, widths[-1], answers, kill=True))
    print(table(outcomes))
    write_results(outcomes)


@contextmanager
def _cluster() -> Iterator[FlinkProcesses]:
    with (
        tempfile.TemporaryDirectory() as folder,
        flink_cluster(Path(folder), task_managers=2) as made,
    ):
        yield made


def _changes() -> Path:
    """Records of one day, as a stream has them, and without their ids.

    All shards give the same ones, which would be told as repeats.
    """
    path = DATA / "unidentified.ndjson"
    lines = make_source(100_000).path.read_bytes().splitlines()[:RECORDS]
    path.write_bytes(b"".join(_anonymous(line) for line in lines))
    return path


def _anonymous(line: bytes) -> bytes:
    updated = b'"updatedAt":{"S":"2026-01-20T12:00:00Z"}'
    return _ID.sub(b"", _UPDATED.sub(updated, line)) + b"\n"


def deliver(
    cluster: FlinkProcesses, url: str, width: int, answers: int, kill: bool = False
) -> Outcome:
    """Deliver the whole stream into an empty lake; on request, kill a task manager half way."""
    lake, count = DATA / "lakes" / "flink", SHARDS * answers * RECORDS
    shutil.rmtree(lake, ignore_errors=True)
    log = DeliveryLog(LocalObjectStore(lake))
    with _launcher(cluster, url, lake, width):
        began = wait_until(lambda: _running_since(cluster), "a job", PATIENCE)
        recovery = _kill(cluster, log, count) if kill else None
        wait_until(lambda: _delivered(log) >= count, "all records", PATIENCE)
        ended = [commit for commit in log.commits() if commit.files][-1].committed_at.timestamp()
    found = Outcome(width, _delivered(log), ended - began, recovery)
    print(f"parallelism {width}: {found}", file=sys.stderr)
    return found


@contextmanager
def _launcher(cluster: FlinkProcesses, url: str, lake: Path, width: int) -> Iterator[None]:
    address = f"kinesis://recorded?region=us-east-1&endpoint={url}"
    command = [
        sys.executable, "-m", "runners.cli", "deliver", address, "--lake", str(lake),
        "--window", "1d", "--idle", "3s", "--runner", "flink", "--flink-master", cluster.master,
        "--worker-pool", cluster.worker_pool, "--workers", str(width),
    ]  # fmt: skip
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)


def _running_since(cluster: FlinkProcesses) -> float | None:
    jobs = cluster.rest.get("/jobs/overview")["jobs"]
    running = [job for job in jobs if job["state"] == "RUNNING"]
    return float(running[0]["start-time"]) / 1000 if running else None


def _delivered(log: DeliveryLog) -> int:
    return sum(file.rows for commit in log.commits() for file in commit.files)


def _kill(cluster: FlinkProcesses, log: DeliveryLog, count: int) -> float:
    """Seconds from the death of the job's task manager, half way, to the next commit."""
    wait_until(lambda: _delivered(log) > count / 4, "a quarter of the records", PATIENCE)
    (job,) = [job["jid"] for job in cluster.rest.get("/jobs/overview")["jobs"]
              if job["state"] == "RUNNING"]  # fmt: skip
    cluster.kill_task_manager_of(job)
    died = time.time()
    cluster.start_task_manager()
    commit = wait_until(lambda: _commit_after(log, died), "a commit", PATIENCE)
    return commit.committed_at.timestamp() - died


def _commit_after(log: DeliveryLog, moment: float) -> Commit | None:
    later = (commit for commit in log.commits() if commit.committed_at.timestamp() > moment)
    return next(later, None)


def table(outcomes: list[Outcome]) -> str:
    """Records per second of each delivery, and the seconds of the recovery."""
    lines = [
        "| parallelism | records | seconds | records/s | recovery s |",
        "| --: | --: | --: | --: | --: |",
    ]
    for each in outcomes:
        recovery = "" if each.recovery is None else f"{each.recovery:.1f}"
        figures = f"{each.records:,} | {each.seconds:.1f} | {each.rate:,.0f} | {recovery}"
        lines.append(f"| {each.parallelism} | {figures} |")
    return "\n".join(lines)


def write_results(outcomes: list[Outcome]) -> None:
    found = document([])
    found["results"] = [asdict(each) for each in outcomes]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "flink.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
