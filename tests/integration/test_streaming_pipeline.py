"""A delivery without end, on Beam's own runner and a lake in a folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
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
from schemas.delivery import decode_dead_letter
from schemas.errors import UsageError
from stores.log import STREAM, Commit, DeliveryLog, Run, new_run_id
from stores.objects import LocalObjectStore
from stores.parameters import EnvironmentParameters
from tests.suppressing import suppress
from tests.unit.transforms.batches import REGISTRY, sale
from tests.unit.transforms.stream_blocks import SHARD, BlockSource, block, event, moment
from transforms.partition import Partitioning
from transforms.scrub import ScrubKey
from transforms.write import Output

SCRUB_KEY = "only-for-tests-only-for-tests-32"


@pytest.fixture(autouse=True)
def scrub_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_SCRUB_KEY", SCRUB_KEY)


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "lake")


def begin(store: LocalObjectStore) -> Run:
    log = DeliveryLog(store)
    return log.begin(new_run_id(datetime.now(UTC)), log.last_number(), STREAM)


def run(store: LocalObjectStore, blocks: list[Block], window: int | None = 300) -> None:
    key = ScrubKey.of(EnvironmentParameters())
    rules = Rules(REGISTRY, key, partitioning=Partitioning(window=window))
    destination = StreamDestination(store, Output(), begin(store))
    options = PipelineOptions(streaming=True)
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        deliver_stream(pipeline, Read(BlockSource(blocks)), rules, destination)
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


def test_a_delivery_that_starts_again_delivers_what_is_new_alone(store: LocalObjectStore) -> None:
    first, second = block(0, [event(1, 10)], 12), block(1, [event(2, 20)], 21)
    run(store, [first])
    run(store, [first, second])
    assert ids(store) == ["E-1", "E-2"]
    assert sum(commit.counts["read"] for commit in commits(store)) == 2


def test_a_delivery_goes_on_in_other_blocks_than_before(store: LocalObjectStore) -> None:
    documents = [event(n, 10 * n) for n in range(1, 7)]
    run(store, [block(0, documents[:4], 40)])
    run(store, [block(0, documents[:2], 20), block(2, documents[2:], 60)])
    assert ids(store) == [f"E-{n}" for n in range(1, 7)]


def test_a_late_row_comes_into_a_new_file_of_its_own_date(store: LocalObjectStore) -> None:
    day = 24 * 3600
    run(store, [block(0, [event(1, 10)], 12), block(1, [event(2, day)], day + 1)])
    run(store, [block(2, [event(3, 20)], day + 2)])
    dates = [info.key.split("/")[1] for info in store.list("type=event/")]
    assert dates == ["date=2026-01-02", "date=2026-01-02", "date=2026-01-03"]


def test_dead_letters_are_delivered_beside_the_rows(store: LocalObjectStore) -> None:
    run(store, [block(0, [event(1, 10), b"{"], 12)])
    (info,) = store.list("errors/")
    letter = decode_dead_letter(store.read(info.key))
    assert (letter.code, letter.origin.offset) == ("invalid_json", 2)


def test_a_record_is_counted_as_what_became_of_it(store: LocalObjectStore) -> None:
    run(store, [block(0, [event(1, 10), event(1, 10), b"{"], 12)])
    counts = [commit.counts for commit in commits(store)]
    names = ("read", "delivered", "dead_letters", "repeats")
    assert [sum(count[name] for count in counts) for name in names] == [3, 1, 1, 1]


def test_rows_of_suppressed_subjects_stay_out_until_that_expires(store: LocalObjectStore) -> None:
    today = datetime.now(UTC)
    suppress(store, SCRUB_KEY, "ana@acme.example", today + timedelta(days=1))
    suppress(store, SCRUB_KEY, "bob@acme.example", today - timedelta(days=1))
    sales = [sale(1, "Ana@acme.example"), sale(2, "bob@acme.example"), sale(3, "cy@acme.example")]
    run(store, [block(0, sales, 12)])
    (commit,) = [one for one in commits(store) if one.files]
    assert [commit.counts[name] for name in ("read", "delivered", "suppressed")] == [3, 2, 1]
    found = ds.dataset(f"{store.uri}/{commit.files[0].path}").to_table(columns=["email"])
    assert sorted(found["email"].to_pylist()) == ["bob@acme.example", "cy@acme.example"]


def test_a_suppression_counts_for_what_comes_after_it(store: LocalObjectStore) -> None:
    first, second = block(0, [sale(1, "ana@acme.example")], 12), [sale(2, "ana@acme.example")]
    run(store, [first])
    number = suppress(store, SCRUB_KEY, "ana@acme.example")
    run(store, [first, block(1, second, 21)])
    last = commits(store)[-1]
    assert (last.files, last.counts["suppressed"], last.knows) == ((), 1, number)


def test_a_shard_that_holds_nothing_is_read_up_to_a_moment(store: LocalObjectStore) -> None:
    run(store, [block(0, [], 40)])
    through = DeliveryLog(store).positions().shards[SHARD].through
    assert through is not None
    assert (through.last, through.until) == (None, moment(40))


def test_a_stream_without_windows_is_refused(store: LocalObjectStore) -> None:
    with pytest.raises(UsageError, match="--window"):
        run(store, [], window=None)


def test_nothing_is_left_behind(store: LocalObjectStore) -> None:
    run(store, [block(0, [event(1, 10), event(2, 310)], 312)])
    assert not [*store.list("_lethe/staging/"), *store.list("_lethe/runs/")]
