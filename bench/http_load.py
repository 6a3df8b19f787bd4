"""Load on an HTTP service: requests by a timetable, or as many as it takes.

By a timetable (open loop) a request is sent when it is due, whether or not those before it were
answered, and its latency is counted from when it was due: a service that stalls is not spared the
requests that would have come meanwhile. As many as it takes (closed loop) is what a number of
connections get through, each sending its next request as soon as it has an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles


@dataclass(frozen=True)
class Ask:
    """One request to be made; ``expected`` is the status of its answer."""

    kind: str
    method: str
    path: str
    expected: int
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """How one request went, in milliseconds; ``status`` is 0 if its connection broke."""

    ask: Ask
    status: int
    latency: float

    @property
    def is_error(self) -> bool:
        return self.status != self.ask.expected


@dataclass(frozen=True)
class Latencies:
    """Of one kind of request: how many, errors among them, each second, and milliseconds."""

    kind: str
    count: int
    errors: int
    per_second: float
    p50: float
    p95: float
    p99: float
    worst: float


class Client:
    """Keeps connections open and takes one for each request, as browsers and proxies do."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, ask: Ask, due: float) -> Reply:
        """Make a request that was ``due`` then, by the monotonic clock."""
        try:
            status = await self._exchange(ask)
        except (OSError, asyncio.IncompleteReadError):
            status = 0
        return Reply(ask, status, (time.monotonic() - due) * 1000)

    def close(self) -> None:
        """Let go of the connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _exchange(self, ask: Ask) -> int:
        reader, writer = self._open_one() or await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._written(ask))
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_length_of(head))
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head.split(b" ", 2)[1])

    def _open_one(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection that the service has not closed meanwhile, for want of requests."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    def _written(self, ask: Ask) -> bytes:
        head = (
            f"{ask.method} {ask.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(ask.body)}\r\n\r\n"
        )
        return head.encode("ascii") + ask.body


def _length_of(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def by_timetable(
    client: Client, asks: Callable[[int], Ask], per_minute: float, seconds: float
) -> list[Reply]:
    """``asks(n)`` is the request that is due at n x 60 / ``per_minute`` seconds."""
    begin, every = time.monotonic(), 60 / per_minute
    under_way = []
    for number in range(int(seconds / every)):
        due = begin + number * every
        await asyncio.sleep(due - time.monotonic())
        under_way.append(asyncio.create_task(client.send(asks(number), due)))
    return await asyncio.gather(*under_way)


async def as_many_as_it_takes(
    client: Client, asks: Callable[[int], Ask], connections: int, seconds: float
) -> list[Reply]:
    """What so many connections get through in so many seconds."""
    until = time.monotonic() + seconds
    replies: list[Reply] = []

    async def one_after_another() -> None:
        while (now := time.monotonic()) < until:
            replies.append(await client.send(asks(len(replies)), now))

    await asyncio.gather(*(one_after_another() for _ in range(connections)))
    return replies


def latencies(kind: str, replies: Sequence[Reply], seconds: float) -> Latencies:
    """The figures of one kind of request. Raises ``ValueError`` for less than two of them."""
    found = [reply for reply in replies if reply.ask.kind == kind]
    times = [reply.latency for reply in found]
    cuts = quantiles(times, n=100, method="inclusive")
    errors = sum(reply.is_error for reply in found)
    per_second = (len(found) - errors) / seconds
    return Latencies(kind, len(found), errors, per_second, cuts[49], cuts[94], cuts[98], max(times))
