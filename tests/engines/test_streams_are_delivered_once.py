"""A stream into a lake on the engines, while they are killed: each row is visible once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam import coders
from apache_beam.io.unbounded_source import (
    ReadFromUnboundedSource,
    UnboundedReader,
    UnboundedSource,
)
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from beam_pipelines.deliver import Rules
from beam_pipelines.stream import StreamDestination, deliver_stream
from runners.engines.flink import FlinkCluster, FlinkRunner
from runners.engines.portable import Build
from runners.engines.prism import PrismRunner
from schemas.changes import Block
from stores.log import STREAM, DeliveryLog, Owner
from stores.objects import LocalObjectStore
from stores.parameters import EnvironmentParameters
from tests.engines.clusters import FlinkProcesses, engine, flink_cluster
from tests.unit.transforms.batches import REGISTRY
from tests.unit.transforms.stream_blocks import NOON, SHARD, BlockMark, block, event
from tests.waiting import wait_until
from transforms.partition import Partitioning
from transforms.rotate import Windowing
from transforms.scrub import ScrubKey
from transforms.write import Output

pytestmark = pytest.mark.engine

RATE = 40
"""Records a second, in each of two shards."""

LENGTH = 25 * RATE
"""Records of a shard."""

WINDOW = 5


class Ticks(UnboundedSource):
    """Shards to which records come at a rate, as they would come to a stream, for a while."""

    def __init__(self, began: float, shard: int | None = None) -> None:
        self.began, self.shard = began, shard

    def split(self, desired_num_splits: int, options: Any = None) -> list[UnboundedSource]:
        return [Ticks(self.began, shard) for shard in range(2)]

    def create_reader(self, options: Any, checkpoint_mark: BlockMark | None) -> UnboundedReader:
        return TickReader(self, checkpoint_mark.place if checkpoint_mark else 0)

    def get_checkpoint_mark_coder(self) -> coders.Coder:
        return coders.PickleCoder()

    def default_output_coder(self) -> coders.Coder:
        return coders.registry.get_coder(Block)

    def at(self, number: int) -> float:
        """When a record was made, in epoch seconds."""
        return self.began + number / RATE


class TickReader(UnboundedReader):
    def __init__(self, source: Ticks, place: int) -> None:
        self._source, self._place, self._current = source, place, block(0, [])

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        there = min(LENGTH, int((time.time() - self._source.began) * RATE))
        if there <= self._place:
            return False
        self._current = self._block(there)
        self._place = there
        return True

    def _block(self, last: int) -> Block:
        shard = self._source.shard or 0
        numbers = range(self._place + 1, last + 1)
        times = {n: self._source.at(n) - NOON.timestamp() for n in numbers}
        documents = [event(10 * n + shard, times[n]) for n in numbers]
        return block(self._place, documents, times[last], f"{SHARD}{shard}")

    def get_current(self) -> Block:
        return self._current

    def get_current_timestamp(self) -> Timestamp:
        return Timestamp(self._source.at(self._place))

    def get_watermark(self) -> Timestamp:
        is_over = self._place >= LENGTH
        return MAX_TIMESTAMP if is_over else Timestamp(self._source.at(self._place))

    def get_checkpoint_mark(self) -> BlockMark:
        return BlockMark(self._place)


@pytest.fixture(scope="module", autouse=True)
def scrub_key() -> Iterator[None]:
    """In the environment of all workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LETHE_SCRUB_KEY", "only-for-tests-only-for-tests-32")
        yield


@pytest.fixture
def log(tmp_path: Path) -> DeliveryLog:
    return DeliveryLog(LocalObjectStore(tmp_path / "lake"), Owner.elsewhere("test"))


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def delivery(log: DeliveryLog, lake: Path) -> Build:
    key = ScrubKey.of(EnvironmentParameters())
    rules = Rules(REGISTRY, key, partitioning=Partitioning(window=WINDOW))
    run = log.begin("stream", log.last_number(), STREAM)
    destination = StreamDestination(LocalObjectStore(lake), Output(), run, Windowing(idle=3))
    source = ReadFromUnboundedSource(Ticks(time.time()), poll_interval=0.5)

    def build(pipeline: beam.Pipeline) -> None:
        deliver_stream(pipeline, source, rules, destination)

    return build


def rows(lake: Path) -> Counter[str]:
    files = lake.glob("type=event/*/*.parquet")
    return Counter(i for file in files for i in pq.read_table(file)["id"].to_pylist())


def wait_for(log: DeliveryLog, share: float) -> None:
    """Wait until so much of both shards is delivered wholly."""

    def is_there() -> bool:
        known = log.positions().shards.values()
        return len(known) == 2 and all(state.place >= share * LENGTH for state in known)

    wait_until(is_there, f"{share:.0%} of the stream")


def assert_each_once(lake: Path) -> None:
    # A commit stands in the log a moment before its files are published.
    wait_until(lambda: rows(lake).total() >= 2 * LENGTH, "the last files")
    sent = (f"E-{10 * number + shard}" for number in range(1, LENGTH + 1) for shard in (0, 1))
    assert rows(lake) == Counter(sent)
    assert not [file for file in (lake / "_lethe/staging").rglob("*") if file.is_file()]


@pytest.fixture(scope="module")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkProcesses]:
    with flink_cluster(tmp_path_factory.mktemp("flink"), task_managers=2) as cluster:
        yield cluster


def flink_runner(cluster: FlinkProcesses) -> FlinkRunner:
    setting = FlinkCluster(cluster.master, cluster.worker_pool, 2, checkpoint_every=2.0)
    return FlinkRunner(engine("flink"), setting)


def test_prism_delivers_each_row_once(log: DeliveryLog, lake: Path) -> None:
    with PrismRunner(engine("prism")) as runner:
        runner.start(delivery(log, lake))
        wait_for(log, 1)
    assert_each_once(lake)


def test_flink_delivers_each_row_once(flink: FlinkProcesses, log: DeliveryLog, lake: Path) -> None:
    job = flink_runner(flink).start(delivery(log, lake), flink.worker_pool)
    wait_for(log, 1)
    job.cancel()
    assert_each_once(lake)


def test_a_task_manager_that_is_killed_loses_and_doubles_nothing(
    flink: FlinkProcesses, log: DeliveryLog, lake: Path
) -> None:
    job = flink_runner(flink).start(delivery(log, lake), flink.worker_pool)
    for share in (0.3, 0.6):
        wait_for(log, share)
        flink.kill_task_manager_of(job.id)
        flink.start_task_manager()
    wait_for(log, 1)
    job.cancel()
    assert_each_once(lake)
