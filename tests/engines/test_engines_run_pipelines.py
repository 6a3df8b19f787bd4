"""The same pipelines on every engine; streams that survive what is killed under them."""

# ruff: noqa: B008 - state and timers are declared as default values

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam import coders
from apache_beam.io.unbounded_source import (
    CheckpointMark,
    ReadFromUnboundedSource,
    UnboundedReader,
    UnboundedSource,
)
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.utils.timestamp import Timestamp

from runners.engines.errors import EngineError, EngineUnreachable
from runners.engines.flink import FlinkCluster, FlinkRunner
from runners.engines.jobs import JobState
from runners.engines.portable import Build
from runners.engines.prism import PrismRunner
from runners.engines.spark import SparkCluster, SparkRunner
from schemas.errors import InputError
from tests.engines.clusters import FlinkProcesses, engine, flink_cluster, spark_cluster
from tests.waiting import wait_until
from transforms.stages import NAMESPACE

pytestmark = pytest.mark.engine

PARTS = 2
SECRET = "ana@example.com"


class Write(beam.DoFn):
    """Write each group's size to a file of its own, and count it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def process(self, element: tuple[str, Iterable[int]]) -> None:
        key, values = element
        (self._folder / key).write_text(str(len(list(values))))
        beam.metrics.Metrics.counter(NAMESPACE, "written").inc()


def count_by_remainder(folder: Path) -> Build:
    def build(pipeline: beam.Pipeline) -> None:
        (
            pipeline
            | beam.Create(range(100), reshuffle=False)
            | beam.Map(lambda number: (str(number % 3), number))
            | beam.GroupByKey()
            | beam.ParDo(Write(folder))
        )

    return build


def refuse(number: int) -> int:
    raise InputError("input 7 is bad")


def blunder(number: int) -> int:
    raise ValueError(SECRET)


def failing(fault: Any) -> Build:
    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create([1], reshuffle=False) | beam.Map(fault)

    return build


class Mark(CheckpointMark):
    def __init__(self, position: int) -> None:
        self.position = position


class Ticks(UnboundedSource):
    """Shards of numbers that come at a rate of ``RATE`` a second; never ends."""

    RATE = 50

    def __init__(self, began: float, shard: int | None = None) -> None:
        self.began, self.shard = began, shard

    def split(self, desired_num_splits: int, options: Any = None) -> list[UnboundedSource]:
        return [Ticks(self.began, shard) for shard in range(2)]

    def create_reader(self, options: Any, checkpoint_mark: Mark | None) -> UnboundedReader:
        return TickReader(self, checkpoint_mark.position if checkpoint_mark else 0)

    def get_checkpoint_mark_coder(self) -> coders.Coder:
        return coders.PickleCoder()

    def default_output_coder(self) -> coders.Coder:
        return coders.FastPrimitivesCoder()


class TickReader(UnboundedReader):
    def __init__(self, source: Ticks, position: int) -> None:
        self.source, self.position = source, position

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        if self.position >= (time.time() - self.source.began) * Ticks.RATE:
            return False
        self.position += 1
        return True

    def get_current(self) -> tuple[int, int]:
        assert self.source.shard is not None
        return self.source.shard, self.position - 1

    def get_current_timestamp(self) -> Timestamp:
        return Timestamp(self.source.began + (self.position - 1) / Ticks.RATE)

    def get_watermark(self) -> Timestamp:
        return Timestamp(self.source.began + self.position / Ticks.RATE)

    def get_checkpoint_mark(self) -> Mark:
        return Mark(self.position)


class Gather(beam.DoFn):
    """Hold what comes for two seconds of event time, then write it as one file.

    What is in a file comes from its ticks' numbers alone, however far a restart has to catch up:
    what is done again writes the same file.
    """

    TICKS = 2 * Ticks.RATE

    HELD = BagStateSpec("held", coders.FastPrimitivesCoder())
    OPEN = ReadModifyWriteStateSpec("open", coders.BooleanCoder())
    FULL = TimerSpec("full", TimeDomain.WATERMARK)
    ALIVE = TimerSpec("alive", TimeDomain.REAL_TIME)

    def __init__(self, folder: Path, began: float) -> None:
        self._folder, self._began = folder, began

    def process(
        self,
        element: tuple[str, tuple[int, int]],
        held: Any = beam.DoFn.StateParam(HELD),
        opened: Any = beam.DoFn.StateParam(OPEN),
        full: Any = beam.DoFn.TimerParam(FULL),
        alive: Any = beam.DoFn.TimerParam(ALIVE),
    ) -> None:
        if not opened.read():
            opened.write(True)
            full.set(self._end(element[1]))
            alive.set(Timestamp.now() + 1)
        held.add(element[1])
        beam.metrics.Metrics.counter(NAMESPACE, "held").inc()

    @on_timer(FULL)
    def write(
        self,
        held: Any = beam.DoFn.StateParam(HELD),
        opened: Any = beam.DoFn.StateParam(OPEN),
        full: Any = beam.DoFn.TimerParam(FULL),
    ) -> None:
        ticks = sorted(held.read(), key=lambda tick: tick[1])
        due = [tick for tick in ticks if self._end(tick) == self._end(ticks[0])]
        held.clear()
        for tick in ticks[len(due) :]:
            held.add(tick)
        if len(due) < len(ticks):
            full.set(self._end(ticks[len(due)]))
        else:
            opened.clear()
        self._write(sorted(due))

    def _end(self, tick: tuple[int, int]) -> Timestamp:
        return Timestamp(self._began + (tick[1] // self.TICKS + 1) * 2)

    def _write(self, values: list[tuple[int, int]]) -> None:
        part = self._folder / f".{values[0]}-{time.time_ns()}"
        part.write_text(json.dumps(values))
        part.rename(self._folder / f"{values[0][0]}-{values[0][1]}.json")

    @on_timer(ALIVE)
    def touch(self, key: str = beam.DoFn.KeyParam) -> None:
        (self._folder / f"alive-{key}").touch()


def gather_ticks(folder: Path) -> Build:
    source = Ticks(time.time())

    def build(pipeline: beam.Pipeline) -> None:
        (
            pipeline
            | ReadFromUnboundedSource(source, poll_interval=0.2)
            | beam.Map(lambda tick: (str(tick[1] % 2), tick)).with_output_types(
                tuple[str, tuple[int, int]]
            )
            | beam.ParDo(Gather(folder, source.began))
        )

    return build


def gathered(folder: Path) -> list[tuple[int, int]]:
    """All that was written, one after another."""
    files = sorted(folder.glob("*.json"))
    return [tuple(value) for file in files for value in json.loads(file.read_text())]


def wait_for_ticks(folder: Path, more_than: int) -> None:
    """Wait until the files go beyond a number in both shards."""

    def beyond() -> bool:
        ticks = gathered(folder)
        return all(
            max((n for s, n in ticks if s == shard), default=0) > more_than for shard in (0, 1)
        )

    wait_until(beyond, f"ticks beyond {more_than}")


def assert_each_once(folder: Path) -> None:
    """No tick is written twice, and none is left out before what is still held."""
    ticks = gathered(folder)
    assert len(ticks) == len(set(ticks))
    for key in (0, 1):
        seen = {tick for tick in ticks if tick[1] % 2 == key}
        last = min(max(n for s, n in seen if s == shard) for shard in (0, 1))
        held = 3 * Ticks.RATE
        assert {(s, n) for s in (0, 1) for n in range(key, last - held, 2)} <= seen


@pytest.fixture(scope="module")
def prism() -> Iterator[PrismRunner]:
    with PrismRunner(engine("prism")) as runner:
        yield runner


@pytest.fixture(scope="module")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkProcesses]:
    with flink_cluster(tmp_path_factory.mktemp("flink"), task_managers=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkRunner]:
    with spark_cluster(tmp_path_factory.mktemp("spark")) as master:
        memory = (("spark.executor.memory", "512m"), ("spark.driver.host", "127.0.0.1"))
        yield SparkRunner(engine("spark"), SparkCluster(master, properties=memory))


def flink_runner(cluster: FlinkProcesses) -> FlinkRunner:
    setting = FlinkCluster(
        cluster.master, cluster.worker_pool, parallelism=PARTS, checkpoint_every=1.0
    )
    return FlinkRunner(engine("flink"), setting)


@pytest.fixture(params=["prism", "flink", "spark"])
def runner(request: pytest.FixtureRequest) -> Any:
    made = request.getfixturevalue(request.param)
    return flink_runner(made) if isinstance(made, FlinkProcesses) else made


def test_batch_writes_and_counts(runner: Any, tmp_path: Path) -> None:
    counters = runner.run(count_by_remainder(tmp_path), PARTS)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "0": "34", "1": "33", "2": "33",
    }  # fmt: skip
    assert counters == {"written": 3}


def test_error_of_a_stage_comes_back_as_itself(runner: Any) -> None:
    with pytest.raises(InputError, match=r"^input 7 is bad$"):
        runner.run(failing(refuse), 1)


def test_bug_of_a_stage_tells_its_place_and_no_values(runner: Any, caplog: Any) -> None:
    with pytest.raises(RuntimeError, match="blunder") as raised:
        runner.run(failing(blunder), 1)
    assert "ValueError" in str(raised.value)
    assert SECRET not in str(raised.value) + caplog.text


def test_job_that_spark_gives_up_is_told(tmp_path: Path) -> None:
    here = (("spark.driver.host", "127.0.0.1"),)
    with spark_cluster(tmp_path, executors_start=False) as master:
        runner = SparkRunner(engine("spark"), SparkCluster(master, properties=here))
        with pytest.raises(EngineError, match="gave the job up"):
            runner.run(count_by_remainder(tmp_path), PARTS)


def test_prism_streams_until_it_is_cancelled(prism: PrismRunner, tmp_path: Path) -> None:
    job = prism.start(gather_ticks(tmp_path))
    wait_for_ticks(tmp_path, 100)
    wait_until((tmp_path / "alive-0").exists, "a timer of processing time")
    job.cancel()
    wait_until(lambda: job.state() is JobState.CANCELLED, "the end")
    assert_each_once(tmp_path)


def test_flink_streams_and_counts_until_it_is_cancelled(
    flink: FlinkProcesses, tmp_path: Path
) -> None:
    job = flink_runner(flink).start(gather_ticks(tmp_path), flink.worker_pool)
    wait_for_ticks(tmp_path, 100)
    wait_until((tmp_path / "alive-0").exists, "a timer of processing time")
    wait_until(lambda: job.counters().get("held", 0) >= 200, "counters")
    job.cancel()
    wait_until(lambda: job.state() is JobState.CANCELLED, "the end")
    assert_each_once(tmp_path)


def test_stream_goes_on_when_its_task_manager_is_killed(
    flink: FlinkProcesses, tmp_path: Path
) -> None:
    job = flink_runner(flink).start(gather_ticks(tmp_path), flink.worker_pool)
    wait_for_ticks(tmp_path, 150)
    flink.kill_task_manager_of(job.id)
    killed_at = max(n for _, n in gathered(tmp_path))
    flink.start_task_manager()
    wait_for_ticks(tmp_path, killed_at + 10 * Ticks.RATE)
    job.cancel()
    assert_each_once(tmp_path)


def test_stream_goes_on_from_its_savepoint(flink: FlinkProcesses, tmp_path: Path) -> None:
    build = gather_ticks(tmp_path)
    job = flink_runner(flink).start(build, flink.worker_pool)
    wait_for_ticks(tmp_path, 150)
    savepoint = job.stop(f"{flink.folder.as_uri()}/savepoints")
    stopped_at = max(n for _, n in gathered(tmp_path))
    assert job.state() is JobState.DONE
    job = flink_runner(flink).start(build, flink.worker_pool, savepoint)
    wait_for_ticks(tmp_path, stopped_at + 5 * Ticks.RATE)
    job.cancel()
    assert_each_once(tmp_path)


def wait_until_quiet(flink: FlinkProcesses, folder: Path) -> None:
    """Wait until the dead job manager's tasks have ended: they run on until they miss it."""
    flink.wait_for_free_slots()
    before = -1
    while before != (now := len(gathered(folder))):
        before = now
        time.sleep(7)


def test_stream_goes_on_when_the_job_manager_is_killed(
    flink: FlinkProcesses, tmp_path: Path
) -> None:
    build = gather_ticks(tmp_path)
    job = flink_runner(flink).start(build, flink.worker_pool)
    wait_for_ticks(tmp_path, 150)
    flink.wait_for_checkpoint(job.id)
    flink.kill_job_manager()
    checkpoint = flink.newest_checkpoint(job.id)
    flink.start_job_manager()
    flink.wait_for_task_managers(2)
    wait_until_quiet(flink, tmp_path)
    stopped_at = max(n for _, n in gathered(tmp_path))
    job = flink_runner(flink).start(build, flink.worker_pool, checkpoint)
    wait_for_ticks(tmp_path, stopped_at + 5 * Ticks.RATE)
    job.cancel()
    assert_each_once(tmp_path)


def test_cluster_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    nowhere = FlinkRunner(engine("flink"), FlinkCluster("127.0.0.1:1"))
    with pytest.raises(EngineUnreachable, match=r"127\.0\.0\.1:1$"):
        nowhere.run(count_by_remainder(tmp_path), 1)
