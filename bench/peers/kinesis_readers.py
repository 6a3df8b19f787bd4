"""Readers of one stream, each to be run in a process of its own.

    python -m bench.peers.kinesis_readers READER --url URL [--records N | --seconds S]

READER is ``boto3`` (a plain loop over the shards), ``stream`` or ``round`` (Lethe's readers). Reads
N records, or for S seconds, and prints what that took as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import boto3

from schemas.streams import Start, StreamAddress
from stores.streams import open_stream
from transforms.kinesis import KinesisReader, KinesisSource
from transforms.shards import plan_round
from transforms.side_by_side import read_tasks

STREAM = "recorded"
REGION = "us-east-1"

_WARM_SECONDS = 10.0
"""Before an idle reader is measured: until its pauses have grown to their full length."""


def read_boto3(url: str) -> Iterator[int]:
    """The records in each answer, of all shards in turn, with the SDK as it comes."""
    client = boto3.client("kinesis", endpoint_url=url, region_name=REGION)
    shards = client.list_shards(StreamName=STREAM)["Shards"]
    iterators = deque(_iterator(client, shard["ShardId"]) for shard in shards)
    while iterators:
        answer = client.get_records(ShardIterator=iterators.popleft(), Limit=10_000)
        yield len([record["Data"] for record in answer["Records"]])
        if answer["MillisBehindLatest"]:
            iterators.append(answer["NextShardIterator"])


def _iterator(client: boto3.client, shard_id: str) -> str:
    answer = client.get_shard_iterator(
        StreamName=STREAM, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
    )
    return str(answer["ShardIterator"])


def read_stream(url: str) -> Iterator[int]:
    """The records in each block of the unbounded source; 0 whenever there is none yet."""
    reader = _reader(url)
    is_there = reader.start()
    while True:
        yield len(reader.get_current().documents) if is_there else 0
        if not is_there:
            time.sleep(0.001)
        is_there = reader.advance()


def _reader(url: str) -> KinesisReader:
    return KinesisSource(StreamAddress(STREAM, REGION, url)).create_reader(None, None)


def read_round(url: str) -> Iterator[int]:
    """The records in each block of a bounded round, as one worker reads them."""
    client, now = open_stream(StreamAddress(STREAM, REGION, url)), datetime.now(UTC)
    shards, retention = client.list_shards(), client.retention()
    plan = plan_round(client.address, shards, {}, Start(), now, retention)
    for block in read_tasks(client, plan.tasks, now):
        yield len(block.documents)


READERS: dict[str, Callable[[str], Iterator[int]]] = {
    "boto3": read_boto3,
    "stream": read_stream,
    "round": read_round,
}


def read_records(reader: Iterator[int], records: int) -> dict[str, float]:
    """What reading so many records takes."""
    began, cpu, found = time.monotonic(), time.process_time(), 0
    for count in reader:
        found += count
        if found >= records:
            break
    if found != records:
        raise SystemExit(f"{found} records were read, and {records} expected")
    seconds = time.monotonic() - began
    return {
        "records": records,
        "seconds": seconds,
        "records_per_second": records / seconds,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": _peak_bytes(),
    }


def stay(url: str, seconds: float) -> dict[str, float]:
    """What the unbounded source takes while there is nothing new; Beam asks once a second."""
    reader = _reader(url)
    reader.start()
    _ask(reader, _WARM_SECONDS)
    began, cpu = time.monotonic(), time.process_time()
    _ask(reader, seconds)
    share = (time.process_time() - cpu) / (time.monotonic() - began)
    reader.close()
    return {"seconds": seconds, "cpu_percent": 100 * share, "peak_bytes": _peak_bytes()}


def _ask(reader: KinesisReader, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        while reader.advance():
            pass
        reader.get_watermark()
        time.sleep(1.0)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Read a recorded stream.")
    parser.add_argument("reader", choices=sorted(READERS))
    parser.add_argument("--url", required=True)
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument("--records", type=int)
    amount.add_argument("--seconds", type=float)
    options = parser.parse_args()
    if options.records is None:
        print(json.dumps(stay(options.url, options.seconds)))
    else:
        print(json.dumps(read_records(READERS[options.reader](options.url), options.records)))


if __name__ == "__main__":
    main()
