"""``lethe deliver`` of a stream without end, on Prism and Flink, whatever dies meanwhile.

Each test has a producer that writes all the time, and counts rows by change id at the end: none is
lost, and none is there twice.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from beam_pipelines.deliver import Rules
from beam_pipelines.stream import StreamDestination, deliver_stream
from runners.engines.flink import FlinkCluster, FlinkRunner
from runners.engines.flink_rest import FlinkJob
from runners.engines.jobs import JobState
from runners.engines.portable import Build
from schemas.registry import load_registry
from stores.log import STREAM, DeliveryLog, Run
from stores.objects import LocalObjectStore
from stores.parameters import EnvironmentParameters
from stores.stream_log import LogSaysEnded
from tests.e2e.harness import SCRUB_KEY, Lake, deliver
from tests.emulators import ACCESS_KEY, SECRET_KEY
from tests.engines.clusters import FlinkProcesses, engine, flink_cluster
from tests.engines.streaming import (
    WINDOW,
    Launcher,
    Producer,
    Visible,
    WorkerPool,
    assert_each_once,
    delivering,
    survives,
)
from tests.faults import CutAnswer, CutRequest, LoseAnswer, Refuse
from tests.integration.streams.conftest import kinesis_local_url
from tests.integration.streams.emulated import Emulated, KinesisFaultProxy
from tests.waiting import wait_until
from transforms.kinesis import KinesisSource
from transforms.partition import Partitioning
from transforms.read_stream import ReadStream
from transforms.rotate import Windowing
from transforms.scrub import ScrubKey
from transforms.write import Output

__all__ = ["kinesis_local_url"]  # a fixture: pytest finds it here

pytestmark = pytest.mark.engine

Options = tuple[str, ...]
PRISM: Options = ("--runner", "prism")


@pytest.fixture(scope="module", autouse=True)
def secrets() -> Iterator[None]:
    """In the environment of all workers, which get nothing from the launcher's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        patch.setenv("LETHE_SCRUB_KEY", SCRUB_KEY)
        yield


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def stream(kinesis_local_url: str) -> Emulated:
    return Emulated(kinesis_local_url, kinesis_local_url).create(3)


@pytest.fixture(scope="module")
def pool(secrets: None) -> Iterator[WorkerPool]:
    with closing(WorkerPool()) as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def cluster(secrets: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkProcesses]:
    with flink_cluster(tmp_path_factory.mktemp("flink"), task_managers=2) as made:
        yield made


@pytest.fixture
def flink(cluster: FlinkProcesses, pool: WorkerPool) -> Iterator[Options]:
    """The options for the cluster; what a test leaves running there is cancelled."""
    cluster.wait_for_task_managers(2)
    yield (
        "--runner", "flink", "--flink-master", cluster.master, "--worker-pool", pool.address,
        "--workers", "2",
    )  # fmt: skip
    for job in living_jobs(cluster):
        job.cancel()


@pytest.fixture
def prism() -> Options:
    engine("prism")
    return PRISM


@pytest.fixture(params=["prism", "flink"])
def options(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def living_jobs(cluster: FlinkProcesses) -> list[FlinkJob]:
    found = cluster.rest.get("/jobs/overview")["jobs"]
    return [
        FlinkJob(cluster.rest, job["jid"])
        for job in found
        if not JobState.of_flink(job["state"]).ended
    ]


def test_rows_are_those_of_a_round_and_are_visible_while_others_come(
    stream: Emulated, lake: Path, tmp_path: Path, options: Options
) -> None:
    visible = Visible(lake)
    with delivering(stream, lake, options) as launcher:
        with Producer(stream) as producer:
            visible.wait_for_news(producer)
            steady = set(producer.put_at)
            for _ in range(2):
                visible.wait_for_news(producer)
        visible.wait_for(set(producer.put_at))
        launcher.end()
    waited = sorted(visible.since[i] - at for i, at in producer.put_at.items() if i not in steady)
    print(
        f"put to visible: {waited[len(waited) // 2]:.1f} s in the middle, {waited[-1]:.1f} s most"
    )
    assert_each_once(lake, producer)
    deliver(tmp_path / "round", f"kinesis://{stream.name}?region=us-east-1&endpoint={stream.url}")
    assert Lake.at(lake).rows() == Lake.at(tmp_path / "round").rows()


# --- Flink


def test_flink_goes_on_when_its_task_manager_or_the_workers_are_killed(
    stream: Emulated, lake: Path, flink: Options, cluster: FlinkProcesses, pool: WorkerPool
) -> None:
    def kill_task_manager(launcher: Launcher) -> None:
        (job,) = living_jobs(cluster)
        cluster.kill_task_manager_of(job.id)
        cluster.start_task_manager()

    def kill_workers(launcher: Launcher) -> None:
        pool.kill()
        pool.start()

    survives(stream, lake, flink, kill_task_manager, kill_workers)


def test_flink_job_is_started_again_when_the_job_manager_was_killed(
    stream: Emulated, lake: Path, flink: Options, cluster: FlinkProcesses
) -> None:
    def kill_job_manager(launcher: Launcher) -> None:
        cluster.kill_job_manager()
        cluster.start_job_manager()

    survives(stream, lake, flink, kill_job_manager)


def test_flink_job_goes_on_from_its_last_checkpoint_when_the_job_manager_was_killed(
    stream: Emulated, lake: Path, flink: Options, cluster: FlinkProcesses, pool: WorkerPool
) -> None:
    log = DeliveryLog(LocalObjectStore(lake))
    run = log.begin("stream", 0, STREAM)
    visible, build = Visible(lake), pipeline_of(stream, lake, run)
    setting = FlinkCluster(cluster.master, pool.address, 2, checkpoint_every=2.0)
    runner = FlinkRunner(engine("flink"), setting)
    with Producer(stream) as producer:
        job = runner.start(build, pool.address)
        visible.wait_for_news(producer)
        cluster.wait_for_checkpoint(job.id)
        cluster.kill_job_manager()
        checkpoint = cluster.newest_checkpoint(job.id)
        cluster.start_job_manager()
        cluster.wait_for_task_managers(2)
        job = runner.start(build, pool.address, checkpoint)
        visible.wait_for_news(producer)
    visible.wait_for(set(producer.put_at))
    job.cancel()
    wait_until(lambda: job.state().ended, "the end")
    log.abandon(run)
    assert_each_once(lake, producer)


def pipeline_of(stream: Emulated, lake: Path, run: Run) -> Build:
    key = ScrubKey.of(EnvironmentParameters())
    rules = Rules(load_registry(), key, partitioning=Partitioning(window=WINDOW))
    store = LocalObjectStore(lake)
    destination = StreamDestination(store, Output(), run, Windowing(idle=3))
    source = KinesisSource(stream.address, is_finished=LogSaysEnded(store))
    return lambda pipeline: deliver_stream(pipeline, ReadStream(source), rules, destination)


# --- any engine


def test_another_launcher_goes_on_when_one_was_killed(
    stream: Emulated, lake: Path, options: Options
) -> None:
    launchers: list[Launcher] = []

    def kill_launcher(launcher: Launcher) -> Launcher:
        launcher.kill()
        launchers.append(Launcher(stream, lake, options))
        return launchers[-1]

    try:
        survives(stream, lake, options, kill_launcher)
    finally:
        for launcher in launchers:
            launcher.close()


# --- Prism


def test_prism_is_started_again_when_it_was_killed(
    stream: Emulated, lake: Path, prism: Options
) -> None:
    survives(stream, lake, prism, kill_prism)


def kill_prism(launcher: Launcher) -> None:
    os.kill(prism_of(launcher), signal.SIGKILL)


def prism_of(launcher: Launcher) -> int:
    children = Path(f"/proc/{launcher.pid}/task").glob("*/children")
    pids = [pid for file in children for pid in file.read_text().split()]
    return next(int(p) for p in pids if b"prism" in Path(f"/proc/{p}/cmdline").read_bytes()[:200])


# --- the stream

FAULTS = [
    Refuse(400, "ProvisionedThroughputExceededException"),
    Refuse(500, "InternalFailure"),
    CutRequest(10),
    CutAnswer(100),
    LoseAnswer(),
]


def test_faults_and_reshards_of_the_stream_lose_and_double_nothing(
    kinesis_local_url: str, lake: Path, prism: Options
) -> None:
    with KinesisFaultProxy(kinesis_local_url) as proxy:
        stream = Emulated(kinesis_local_url, proxy.url).create(2)

        def fail(launcher: Launcher) -> None:
            for fault in FAULTS:
                proxy.inject(fault, times=2)
            wait_until(proxy.is_used_up, "all faults")

        def reshard(launcher: Launcher) -> None:
            stream.split()
            stream.merge()

        survives(stream, lake, prism, fail, reshard, fail)
