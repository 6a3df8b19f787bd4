"""A Kinesis endpoint that answers from a recording, faster than any client can read.

    python bench/peers/recorded_kinesis.py --shards N --answers A --records R --changes FILE [--own]

Prints its port. Every shard gives A answers of R change records each and is idle from then on: all
the same records, or with ``--own`` each answer records of its own. The answers are made once, as
the service words them, so that serving one costs a copy.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO

_PLACES = 10**9
"""An iterator is its shard's number times this, and how many answers came before."""

_LAST_HASH = 2**128 - 1
_HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nDate: {date}\r\n"
    "Content-Length: {length}\r\n\r\n"
)


class Recording:
    """The answers of a stream; ``changes`` yields the records of one answer after another.

    Of as many answers as there are for one shard, all shards have the same.
    """

    def __init__(self, shards: int, answers: int, changes: Iterable[list[bytes]]) -> None:
        self._shards, self._answers = shards, answers
        self._records = [_entries(found, number % answers) for number, found in enumerate(changes)]

    def answer(self, operation: str, request: dict[str, str]) -> bytes:
        """The body for a request. Raises ``KeyError`` for what was not recorded."""
        return {
            "ListShards": self._list,
            "DescribeStreamSummary": self._summary,
            "GetShardIterator": self._iterator,
            "GetRecords": self._get,
        }[operation](request)

    def _list(self, _: dict[str, str]) -> bytes:
        return json.dumps({"Shards": [self._shard(n) for n in range(self._shards)]}).encode()

    def _shard(self, number: int) -> dict[str, object]:
        width = (_LAST_HASH + 1) // self._shards
        hashes = {
            "StartingHashKey": str(number * width),
            "EndingHashKey": str((number + 1) * width - 1),
        }
        return {
            "ShardId": f"shardId-{number:012}",
            "HashKeyRange": hashes,
            "SequenceNumberRange": {"StartingSequenceNumber": "0"},
        }

    def _summary(self, _: dict[str, str]) -> bytes:
        return b'{"StreamDescriptionSummary":{"RetentionPeriodHours":24}}'

    def _iterator(self, request: dict[str, str]) -> bytes:
        shard = int(request["ShardId"].rpartition("-")[2])
        return b'{"ShardIterator":"%0200d"}' % (shard * _PLACES)

    def _get(self, request: dict[str, str]) -> bytes:
        shard, place = divmod(int(request["ShardIterator"]), _PLACES)
        number = (shard * self._answers + place) % len(self._records)
        records = self._records[number] if place < self._answers else b""
        following = min(place + 1, self._answers)
        behind = 0 if following == self._answers else 1000
        iterator = shard * _PLACES + following
        tail = b'],"NextShardIterator":"%0200d","MillisBehindLatest":%d}' % (iterator, behind)
        return b'{"Records":[' + records + tail


def _entries(changes: list[bytes], answer: int) -> bytes:
    now = round(time.time(), 3)
    numbers = itertools.count(answer * len(changes))
    return b",".join(
        json.dumps(
            {
                "SequenceNumber": f"4965{next(numbers):052}",
                "ApproximateArrivalTimestamp": now,
                "Data": base64.b64encode(change).decode(),
                "PartitionKey": "key",
            }
        ).encode()
        for change in changes
    )


def serve(recording: Recording, listener: socket.socket) -> None:
    """Answer all connections for ever, each in a thread of its own."""
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_converse, args=(recording, connection), daemon=True).start()


def _converse(recording: Recording, connection: socket.socket) -> None:
    with suppress(ConnectionError), connection, connection.makefile("rb") as stream:
        while (asked := _request(stream)) is not None:
            body = recording.answer(*asked)
            head = _HEAD.format(date=formatdate(usegmt=True), length=len(body))
            connection.sendall(head.encode() + body)


def _request(stream: BinaryIO) -> tuple[str, dict[str, str]] | None:
    """The operation and what it is asked for; None once the client has hung up."""
    if not stream.readline():
        return None
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    body = json.loads(stream.read(int(headers["content-length"])))
    return headers["x-amz-target"].rpartition(".")[2], body


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve recorded Kinesis answers.")
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--answers", type=int, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--changes", type=Path, required=True)
    parser.add_argument("--own", action="store_true")
    options = parser.parse_args()
    with options.changes.open("rb") as lines:
        stripped = (line.rstrip(b"\n") for line in lines)
        count = options.answers * (options.shards if options.own else 1)
        first = list(itertools.islice(stripped, options.records))
        own = (list(itertools.islice(stripped, options.records)) for _ in range(count - 1))
        answers = [first, *own] if options.own else [first] * count
        recording = Recording(options.shards, options.answers, answers)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    serve(recording, listener)


if __name__ == "__main__":
    main()
