"""Rounds of a stream by the command: what is new is delivered once, whatever happens meanwhile.

The stream is moto's, over HTTP. It keeps records of a few shards in order and gives them out by
sequence number, which is all that is asked of it here; resharding, throttling and expiry are
tested on emulators that show them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from runners.generate import changes
from stores.objects import LocalObjectStore
from tests.e2e.harness import SCRUB_KEY, Lake, Outcome, deliver, lethe, outcome, replay, start
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, kinesis_client, moto_url
from tests.suppressing import suppress
from tests.unit.transforms.batches import sale
from tests.waiting import wait_until

__all__ = ["moto_url"]  # a fixture: pytest finds it here

LINES = [line for chunk in changes(4_000, 11, "kinesis", 0.0) for line in chunk.splitlines()]
IDS = [json.loads(line)["eventID"] for line in LINES]


@dataclass(frozen=True)
class Stream:
    """A stream of its own, of three shards."""

    client: Any
    url: str
    name: str

    @property
    def address(self) -> str:
        return f"kinesis://{self.name}?region={REGION}&endpoint={self.url}"

    def put(self, lines: list[bytes]) -> None:
        for begin in range(0, len(lines), 400):
            records = [
                {"Data": line, "PartitionKey": str(begin + number)}
                for number, line in enumerate(lines[begin : begin + 400])
            ]
            self.client.put_records(StreamName=self.name, Records=records)


@pytest.fixture
def stream(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Stream:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    client = kinesis_client(moto_url)
    name = f"changes-{uuid.uuid4().hex[:8]}"
    client.create_stream(StreamName=name, ShardCount=3)
    client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    return Stream(client, moto_url, name)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def delivered(lake: Path) -> Counter[str]:
    """How often each change is in the lake."""
    return Counter(Lake.at(lake).changes())


def counts(done: Outcome) -> tuple[int, int, int]:
    return done.report["read"], done.report["delivered"], done.report["filtered"]


def test_a_round_delivers_what_came_since_the_last_one(stream: Stream, lake: Path) -> None:
    stream.put(LINES[:1000])
    assert counts(deliver(lake, stream.address, workers=2)) == (1000, 1000, 0)
    stream.put(LINES[1000:1100])
    assert counts(deliver(lake, stream.address)) == (100, 100, 0)
    assert delivered(lake) == Counter(IDS[:1100])


def test_a_round_without_news_leaves_no_commit(stream: Stream, lake: Path) -> None:
    stream.put(LINES[:10])
    assert deliver(lake, stream.address).report["commit"] == 1
    assert deliver(lake, stream.address).report["commit"] is None


def test_the_log_tells_how_many_shards_were_read_on(stream: Stream, lake: Path) -> None:
    stream.put(LINES[:100])
    deliver(lake, stream.address)
    assert f"{stream.name}: 3 shards" in lethe("log", "--lake", lake).out


def test_a_change_that_came_twice_is_delivered_once(stream: Stream, lake: Path) -> None:
    stream.put(LINES[:50])
    stream.put(LINES[:50])
    done = deliver(lake, stream.address)
    assert (*counts(done), done.report["repeats"]) == (100, 50, 50, 50)
    assert delivered(lake) == Counter(IDS[:50])


def test_files_and_streams_are_delivered_in_one_round(
    stream: Stream, lake: Path, tmp_path: Path
) -> None:
    (tmp_path / "changes.ndjson").write_bytes(b"\n".join(LINES[:20]) + b"\n")
    stream.put(LINES[20:50])
    assert counts(deliver(lake, tmp_path / "changes.ndjson", stream.address)) == (50, 50, 0)
    assert delivered(lake) == Counter(IDS[:50])


def test_a_dead_letter_knows_its_sequence_number_and_is_replayed(
    stream: Stream, lake: Path
) -> None:
    stream.put([LINES[0], b"nonsense"])
    assert deliver(lake, stream.address).report["by_error"] == {"invalid_json": 1}
    (letter,) = Lake.at(lake).letters()
    assert (letter["offset"], letter["sequence"].isdecimal()) == (None, True)
    assert replay(lake).report["by_error"] == {"invalid_json": 1}
    (again,) = Lake.at(lake).letters()
    assert (again["id"], again["attempt"]) == (letter["id"], 2)


def test_rows_of_suppressed_subjects_stay_out_of_rounds_until_that_expires(
    stream: Stream, lake: Path
) -> None:
    store, today = LocalObjectStore(lake), datetime.now(UTC)
    suppress(store, SCRUB_KEY, "ana@acme.example", today + timedelta(days=1))
    suppress(store, SCRUB_KEY, "bob@acme.example", today - timedelta(days=1))
    stream.put([sale(1, "Ana@acme.example"), sale(2, "bob@acme.example")])
    first = deliver(lake, stream.address)
    suppress(store, SCRUB_KEY, "cleo@acme.example")
    broken = b'{"eventName":"INSERT","dynamodb":{"NewImage":{"email":{"S":"ana@acme.example"}'
    stream.put([sale(3, "cleo@acme.example"), sale(4, "dan@acme.example"), broken])
    second = deliver(lake, stream.address)
    assert [_suppressed(done) for done in (first, second)] == [(2, 1, 1, 0), (3, 1, 2, 0)]
    assert _emails(lake) == ["bob@acme.example", "dan@acme.example"]
    assert Lake.at(lake).letters() == []


def _suppressed(done: Outcome) -> tuple[int, ...]:
    names = ("read", "delivered", "suppressed", "dead_letters")
    return tuple(done.report[name] for name in names)


def _emails(lake: Path) -> list[str]:
    sales = ds.dataset([str(file) for file in lake.glob("type=sale/*/*.parquet")])
    return sorted(sales.to_table(columns=["email"])["email"].to_pylist())


def test_latest_begins_with_what_comes_after_the_first_round(stream: Stream, lake: Path) -> None:
    stream.put(LINES[:10])
    address = f"{stream.address}&start=LATEST"
    time.sleep(1.1)  # the stream tells times to the second
    assert counts(deliver(lake, address)) == (0, 0, 0)
    time.sleep(1.1)
    stream.put(LINES[10:30])
    deliver(lake, address)
    assert delivered(lake) == Counter(IDS[10:30])


def test_a_dry_run_leaves_nothing_and_moves_nothing(stream: Stream, lake: Path) -> None:
    stream.put(LINES[:10])
    assert counts(deliver(lake, stream.address, "--dry-run")) == (10, 10, 0)
    assert not lake.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_rounds_lose_nothing_and_repeat_nothing(
    stream: Stream, lake: Path, workers: int
) -> None:
    chance = random.Random(workers)
    for turn in range(10):
        stream.put(LINES[turn * 300 : (turn + 1) * 300])
        killed(start("deliver", stream.address, "--lake", lake, "--workers", workers,
                     start_new_session=True), chance.uniform(0.5, 2.5))  # fmt: skip
    assert deliver(lake, stream.address, workers=workers).status == 0
    assert delivered(lake) == Counter(IDS[:3000])
    assert Lake.at(lake).leftovers() == []


def killed(process: Any, after: float) -> None:
    time.sleep(after)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_two_deliveries_of_one_stream_at_once_deliver_it_once(stream: Stream, lake: Path) -> None:
    stream.put(LINES)
    both = [start("deliver", stream.address, "--lake", lake, "--workers", 1) for _ in range(2)]
    ended = [outcome(process) for process in both]
    assert 0 in {done.status for done in ended}
    for done in ended:
        assert done.status == 0 or "another delivery committed this" in done.err
    assert deliver(lake, stream.address).status == 0
    assert delivered(lake) == Counter(IDS)


def test_sigterm_ends_rounds_without_end_after_the_round(stream: Stream, lake: Path) -> None:
    stream.put(LINES[:500])
    process = start("deliver", stream.address, "--lake", lake, "--workers", 1, "--every", "1s")
    wait_until(lambda: len(delivered(lake)) >= 500, "the rows", 60)
    process.send_signal(signal.SIGTERM)
    assert outcome(process).status == 0
    assert Lake.at(lake).leftovers() == []


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("kinesis://?region=us-east-1", 2, "is no name of a stream"),
        ("kinesis://s?region=moon", 2, "is no region"),
        ("kinesis://s?region=us-east-1&start=noon", 2, "start 'noon'"),
        ("kinesis://s?region=us-east-1&speed=9", 2, "unknown option 'speed'"),
        ("kinesis://s?region=us-east-1&endpoint=ftp://x", 2, "is no URL"),
    ],
)
def test_a_bad_address_is_named(lake: Path, address: str, status: int, said: str) -> None:
    done = deliver(lake, address)
    assert (done.status, said in done.err) == (status, True), done.err
    assert not lake.exists()


def test_a_stream_that_is_not_there_is_named(stream: Stream, lake: Path) -> None:
    done = deliver(lake, stream.address.replace(stream.name, "nowhere"))
    assert (done.status, "nowhere" in done.err) == (1, True), done.err


def test_another_way_over_a_gap_is_refused(stream: Stream, lake: Path) -> None:
    done = deliver(lake, stream.address, "--on-gap", "jump")
    assert (done.status, "choose fail or skip" in done.err) == (2, True)
