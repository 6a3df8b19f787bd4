"""Kinesis streams of emulators, written to and resharded by a plain client, and read by ours."""

from __future__ import annotations

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import boto3

from schemas.changes import Block
from schemas.streams import Shard, ShardRange, Start, StreamAddress
from stores.streams.backoff import SystemClock, patiently
from stores.streams.kinesis import KinesisClient
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY
from tests.faults import FaultProxy, Refuse, _Handler
from tests.waiting import wait_until
from transforms.kinesis import KinesisSource
from transforms.parked import PARKING
from transforms.shards import join_ranges, plan_round, read_task


class KinesisFaultProxy(FaultProxy):
    """A proxy whose refusals are worded as Kinesis words them."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self._server.RequestHandlerClass = _KinesisHandler

    def is_used_up(self) -> bool:
        """Whether every fault has been made as often as it was to be."""
        return not any(rule.times for rule in self._rules)


class _KinesisHandler(_Handler):
    def _refuse(self, fault: Refuse) -> None:
        body = json.dumps({"__type": fault.code, "message": "injected"}).encode()
        self.send_response(fault.status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@dataclass
class Emulated:
    """A stream of an emulator at ``url``. ``read_url`` is where our client asks."""

    url: str
    read_url: str
    name: str = field(default_factory=lambda: f"changes-{uuid.uuid4().hex[:12]}")

    @property
    def address(self) -> StreamAddress:
        return StreamAddress(self.name, REGION, self.read_url)

    @property
    def ours(self) -> KinesisClient:
        return KinesisClient(self.address)

    def create(self, shards: int) -> Emulated:
        self.plain().create_stream(StreamName=self.name, ShardCount=shards)
        self.await_active()
        return self

    def plain(self) -> Any:
        return boto3.client(
            "kinesis",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    def await_active(self) -> None:
        def is_active() -> bool:
            answer = self.plain().describe_stream_summary(StreamName=self.name)
            return bool(answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")

        wait_until(is_active)

    def put(self, *data: bytes) -> list[str]:
        """Write records, each with its data as its key; gives their sequence numbers."""
        records = [{"Data": each, "PartitionKey": each.decode()} for each in data]
        return self._put(records)

    def _put(self, records: list[dict[str, Any]]) -> list[str]:
        answer = self.plain().put_records(StreamName=self.name, Records=records)
        assert answer["FailedRecordCount"] == 0
        return [record["SequenceNumber"] for record in answer["Records"]]

    def open_shards(self) -> list[Shard]:
        listed = KinesisClient(StreamAddress(self.name, REGION, self.url)).list_shards()
        return sorted((each for each in listed if not each.is_closed), key=lambda s: s.first_hash)

    def split(self) -> None:
        widest = max(self.open_shards(), key=lambda each: each.last_hash - each.first_hash)
        middle = (widest.first_hash + widest.last_hash) // 2
        self.plain().split_shard(
            StreamName=self.name,
            ShardToSplit=widest.shard_id,
            NewStartingHashKey=str(middle),
        )
        self.await_active()

    def merge(self) -> None:
        left, right = self.open_shards()[:2]
        self.plain().merge_shards(
            StreamName=self.name,
            ShardToMerge=left.shard_id,
            AdjacentShardToMerge=right.shard_id,
        )
        self.await_active()


class Producer:
    """Writes numbered records of a few keys, in order, until it is stopped."""

    KEYS = 20

    def __init__(self, stream: Emulated) -> None:
        self.written: list[bytes] = []
        self._stream = stream
        self._stop = Event()
        self._thread = Thread(target=self._write)
        self._error: Exception | None = None

    def _write(self) -> None:
        client, number = self._stream.plain(), 0
        try:
            while not self._stop.wait(0.02):
                for _ in range(3):
                    data = b"%d:%d" % (number % self.KEYS, number)
                    key = str(number % self.KEYS)
                    client.put_record(StreamName=self._stream.name, Data=data, PartitionKey=key)
                    self.written.append(data)
                    number += 1
        except Exception as error:
            self._error = error

    def __enter__(self) -> Producer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error


class Rounds:
    """A delivery that goes round by round, and keeps positions as the log would."""

    def __init__(self, stream: Emulated, start: Start | None = None) -> None:
        self.stream, self.start = stream, start or Start()
        self.blocks: list[Block] = []

    def go(self) -> list[Block]:
        client, clock = self.stream.ours, SystemClock()
        shards = patiently(client.list_shards, clock)
        retention, now = patiently(client.retention, clock), datetime.now(UTC)
        positions = self._positions()
        plan = plan_round(client.address, shards, positions, self.start, now, retention)
        found = [block for task in plan.tasks for block in read_task(client, task, now)]
        self.blocks += found
        return found

    def _positions(self) -> dict[str, ShardRange]:
        stretches: dict[str, list[ShardRange]] = defaultdict(list)
        for block in self.blocks:
            assert block.stretch is not None
            stretches[block.source].append(block.stretch)
        return {source: join_ranges(each) for source, each in stretches.items()}


class Streaming:
    """A reader of the unbounded source, restarted from its checkpoint on request."""

    def __init__(self, stream: Emulated) -> None:
        self.source = KinesisSource(stream.address)
        self.blocks: list[Block] = []
        self._reader = self.source.create_reader(None, None)
        self._take(self._reader.start())

    def _take(self, is_there: bool) -> bool:
        if is_there:
            self.blocks.append(self._reader.get_current())
        return is_there

    def take(self, most: int = 1_000_000) -> None:
        """Take the blocks that are there, at most so many."""
        for _ in range(most):
            if not self._take(self._reader.advance()):
                return

    def restart(self) -> None:
        """Go on as another process would: from the checkpoint, with nothing that was read ahead."""
        coder = self.source.get_checkpoint_mark_coder()
        stored = coder.encode(self._reader.get_checkpoint_mark())
        PARKING.close()
        self._reader = self.source.create_reader(None, coder.decode(stored))
        self._take(self._reader.start())

    def take_while(self, condition: Callable[[], bool]) -> None:
        """Take blocks as they come, while ``condition`` holds."""

        def is_enough() -> bool:
            self.take()
            return not condition()

        wait_until(is_enough)

    def take_until(self, count: int) -> None:
        """Take blocks until there are so many records, and whatever comes in a second more."""
        self.take_while(lambda: len(data_of(self.blocks)) < count)
        time.sleep(1)
        self.take()

    def close(self) -> None:
        self._reader.close()
        PARKING.close()


def data_of(blocks: Iterable[Block]) -> list[bytes]:
    return [document for block in blocks for document in block.documents]


def check_each_once_and_in_order(blocks: list[Block], written: list[bytes]) -> None:
    """Every record, once by its sequence number, and those of a key as they were written."""
    places = [(block.source, number) for block in blocks for number in block.sequences or ()]
    found = data_of(blocks)
    assert sorted(found) == sorted(written)
    assert len(places) == len(set(places)) == len(written)
    assert _by_key(found) == _by_key(written)


def _by_key(data: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    keys: dict[bytes, list[bytes]] = defaultdict(list)
    for each in data:
        keys[each.partition(b":")[0]].append(each)
    return keys
