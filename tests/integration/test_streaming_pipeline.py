"""A delivery without end, on Beam's own runner and a lake in a folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.dataset as ds
import pytest
from apache_beam.io import Read
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_pipelines.deliver import Rules
from beam_pipelines.stream import StreamDestination, deliver_stream
from schemas.changes import Block
from stores.log import STREAM, Commit, DeliveryLog, Run, new_run_id
from stores.objects import LocalObjectStore
from stores.parameters import EnvironmentParameters
from tests.unit.transforms.batches import REGISTRY
from tests.unit.transforms.stream_blocks import SHARD, BlockSource, block, event
from transforms.partition import Partitioning
from transforms.scrub import ScrubKey
from transforms.write import Output


@pytest.fixture(autouse=True)
def scrub_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_SCRUB_KEY", "only-for-tests-only-for-tests-32")


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "lake")


def begin(store: LocalObjectStore) -> Run:
    log = DeliveryLog(store)
    return log.begin(new_run_id(datetime.now(UTC)), log.last_number(), STREAM)


def run(
    store: LocalObjectStore, blocks: list[Block], window: int | None = 300, end: bool = True
) -> None:
    key = ScrubKey.of(EnvironmentParameters())
    rules = Rules(REGISTRY, key, partitioning=Partitioning(window=window))
    destination = StreamDestination(store, Output(), begin(store))
    options = PipelineOptions(streaming=True)
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        deliver_stream(pipeline, Read(BlockSource(blocks)), rules, destination)
    if end:
        DeliveryLog(store).abandon(destination.run)


def ids(store: LocalObjectStore) -> list[str]:
    found: list[Any] = []
    for info in store.list("type=event/"):
        found += ds.dataset(f"{store.uri}/{info.key}").to_table(columns=["id"])["id"].to_pylist()
    return sorted(found)


def commits(store: LocalObjectStore) -> list[Commit]:
    return [commit for commit in DeliveryLog(store).commits() if commit.kind == STREAM]


def test_rows_of_each_window_come_into_files_of_their_own(store: LocalObjectStore) -> None:
    run(store, [block(0, [event(1, 10), event(2, 310)], 312), block(2, [event(3, 20)], 400)])
    assert ids(store) == ["E-1", "E-2", "E-3"]
    windows = {f.partition.window for c in commits(store) for f in c.files}
    assert len(windows) == 2


def test_a_stream_is_delivered_up_to_its_last_record(store: LocalObjectStore) -> None:
    run(store, [block(0, [event(1, 10)], 12), block(1, [event(2, 20)], 21)])
    through = DeliveryLog(store).positions().shards[SHARD].through
    assert through is not None
    assert through.last == "2"
