"""Schedulers as processes of their own, which are killed, stopped, and take over from each other.

Every process that a scheduler starts writes its run's id into a file as soon as Python starts in
it, which tells what was really started from what the schedulers say.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runners.runs import is_gone
from schemas.access import Reach
from schemas.runs import RunQuery, RunRecord, RunStatus
from schemas.schedule import ScheduleEntry, ScheduleEvent
from stores.state.port import State
from stores.state.sql import open_state, utc_now
from tests.e2e.harness import EXAMPLES, Lake, environment, lethe, start

LEASE = timedelta(seconds=2)
SLACK = timedelta(seconds=5)
EVERY = timedelta(seconds=10)

WITNESS = """
import os
if "LETHE_RUN_ID" in os.environ:
    with open(os.environ["WITNESSED"], "a") as file:
        file.write(os.environ["LETHE_RUN_ID"] + "\\n")
"""


@dataclass
class Cluster:
    """Some schedulers that share a state store."""

    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """Python runs ``sitecustomize`` whenever it starts."""
        path = f"{self.folder}:{environment()['PYTHONPATH']}"
        state = {"LETHE_STATE__FOLDER": str(self.folder / "state"), "LETHE_SCRUB_KEY": "k" * 32}
        return {**state, "PYTHONPATH": path, "WITNESSED": str(self.folder / "witnessed")}

    @property
    def config(self) -> Path:
        return self.folder / "schedule.yaml"

    def state(self) -> State:
        return open_state(f"sqlite:///{self.folder / 'state' / 'state.db'}")

    def add(self) -> None:
        more: dict[str, Any] = {"cwd": self.folder, "start_new_session": True}
        self.processes.append(
            start("schedule", "run", "--config", self.config, env=self.env, **more)
        )

    def leader(self) -> subprocess.Popen[str]:
        def found() -> list[subprocess.Popen[str]]:
            lease = self.state().leases.current("schedule:default")
            if lease is None or lease.expires_at < utc_now():
                return []
            pid = int(lease.holder.split(":")[-2])
            return [process for process in self.processes if process.pid == pid]

        return eventually(found)[0]

    def kill(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()
        self.processes.remove(process)

    def witnessed(self) -> list[str]:
        file = self.folder / "witnessed"
        return file.read_text().split() if file.exists() else []

    def started(self) -> list[ScheduleEntry]:
        """Entries of runs that were started, oldest first."""
        entries = self.state().history.entries("default", None, 1000)[::-1]
        return [entry for entry in entries if entry.event is ScheduleEvent.STARTED]

    def runs(self) -> list[RunRecord]:
        return self.state().runs.find(RunQuery(1000), Reach(None))[::-1]


def eventually(look: Callable[[], Any], seconds: float = 40) -> Any:
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.05)
    return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "sitecustomize.py").write_text(WITNESS)
    cluster = Cluster(tmp_path)
    yield cluster
    for process in [*cluster.processes]:
        cluster.kill(process)
    for run in cluster.runs():
        if not run.status.is_final and not is_gone(run, utc_now()):
            os.kill(run.owner.pid, signal.SIGKILL)


def schedule(cluster: Cluster, cron: str, *words: str) -> None:
    job = f"    cron: '{cron}'\n    command: {list(words)}\n"
    cluster.config.write_text(f"lease: 2s\ngrace: 30s\njobs:\n  job:\n{job}")


def test_another_takes_over_from_a_killed_leader_and_starts_every_run_once(
    cluster: Cluster,
) -> None:
    schedule(cluster, "*/10 * * * * *", "generate", "contacts", "--count", "1", "--out", "made")
    cluster.add()
    cluster.add()
    kill_leader_as_it_starts_a_run(cluster)
    kill_leader_between_runs(cluster)
    eventually(lambda: len(cluster.witnessed()) >= 3)
    assert_every_run_started_once(cluster)


def kill_leader_as_it_starts_a_run(cluster: Cluster) -> None:
    leader = cluster.leader()
    eventually(cluster.witnessed)
    kill_and_wait_for_another(cluster, leader)


def kill_leader_between_runs(cluster: Cluster) -> None:
    eventually(lambda: len(cluster.witnessed()) >= 2)
    eventually(lambda: all(run.status.is_final for run in cluster.runs()))
    kill_and_wait_for_another(cluster, cluster.leader())


def kill_and_wait_for_another(cluster: Cluster, leader: subprocess.Popen[str]) -> None:
    """Within the time of the lease; its successor has a token of its own."""
    cluster.add()
    before = cluster.state().leases.current("schedule:default")
    cluster.kill(leader)
    killed_at = utc_now()
    assert cluster.leader().pid != leader.pid
    assert utc_now() - killed_at < LEASE + SLACK
    after = cluster.state().leases.current("schedule:default")
    assert before is not None
    assert after is not None
    assert after.token == before.token + 1


def assert_every_run_started_once(cluster: Cluster) -> None:
    started, begun = cluster.started(), Counter(cluster.witnessed())
    times = sorted({entry.due_at for entry in started})
    assert times == [times[0] + EVERY * number for number in range(len(times))]
    for time_due in times[:-1]:
        runs = [entry.run_id for entry in started if entry.due_at == time_due]
        assert sum(begun[str(run_id)] for run_id in runs) == 1


def test_sigterm_ends_scheduler_and_round_with_nothing_half_done(cluster: Cluster) -> None:
    source = str(EXAMPLES / "kinesis-records.ndjson")
    lake = Lake.at(cluster.folder / "lake")
    words = ("deliver", source, "--lake", "lake", "--workers", "1", "--every", "1s")
    schedule(cluster, "* * * * * *", *words)
    cluster.add()
    eventually(lake.files)
    (process,) = cluster.processes
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=40)
    assert process.returncode == 0
    assert [run.status for run in cluster.runs()] == [RunStatus.SUCCEEDED]
    assert len(lake.changes()) == 10
    assert lake.leftovers() == []


def test_a_scheduled_run_can_be_cancelled(cluster: Cluster) -> None:
    source = str(EXAMPLES / "kinesis-records.ndjson")
    words = ("deliver", source, "--lake", "lake", "--workers", "1", "--every", "1s")
    schedule(cluster, "* * * * * *", *words)
    cluster.add()
    eventually(lambda: Lake.at(cluster.folder / "lake").files())
    run = cluster.runs()[0]
    said = lethe("runs", "cancel", run.id, env=cluster.env)
    assert (said.status, said.out) == (0, f"run {run.id} is asked to end\n")
    eventually(lambda: cluster.runs()[0].status is RunStatus.CANCELLED)
    shown = lethe("runs", "show", run.id, "--log", env=cluster.env)
    assert "delivered" in shown.out


def test_an_ended_run_cannot_be_cancelled(cluster: Cluster) -> None:
    schedule(cluster, "* * * * * *", "generate", "contacts", "--count", "1", "--out", "made")
    cluster.add()
    run = eventually(lambda: [run for run in cluster.runs() if run.status.is_final])[0]
    said = lethe("runs", "cancel", run.id, env=cluster.env)
    assert (said.status, "it is succeeded" in said.err) == (2, True)
