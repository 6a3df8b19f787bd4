"""The HTTP/1.1 server of mocks: as much of the protocol as clients of an API use.

Connections are kept, and a request is answered before the next one on its connection is looked at.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from schemas.errors import StoreError

MAX_HEAD = 64 << 10
MAX_BODY = 64 << 20
_BACKLOG = 1024


@dataclass(frozen=True)
class Request:
    """A request; ``path`` has its query, names of headers are in small letters."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """An answer, to be sent after ``delay`` seconds; ``cut`` after half of its body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False


Answer = Callable[[Request], Reply]
"""A mock: it is called by one thread."""


def serve(answer: Answer, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` is told the port, which is a free one for 0.

    Raises ``StoreError`` if the port cannot be listened at.
    """
    asyncio.run(_serve(answer, host, port, ready))


async def _serve(answer: Answer, host: str, port: int, ready: Callable[[int], None]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        server = await loop.create_server(lambda: _Connection(answer), host, port, backlog=_BACKLOG)
    except OSError as error:
        raise StoreError(f"cannot listen at {host}:{port}: {error.strerror}") from error
    ready(server.sockets[0].getsockname()[1])
    await stop.wait()
    server.close()


class _Connection(asyncio.Protocol):
    """One connection: what of it has come, and whether an answer is due."""

    def __init__(self, answer: Answer) -> None:
        self._reply_to = answer
        self._held = bytearray()
        self._is_answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self._is_answering:
            self._answer_next()

    def _answer_next(self) -> None:
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            if len(self._held) > MAX_HEAD:
                self._refuse(431)
            return
        method, path, headers = _head(bytes(self._held[:end]))
        length = _length(headers)
        if not 0 <= length <= MAX_BODY:
            self._refuse(400 if length < 0 else 413)
        elif len(self._held) >= end + 4 + length:
            body = bytes(self._held[end + 4 : end + 4 + length])
            del self._held[: end + 4 + length]
            self._answer(self._reply_to(Request(method, path, body, headers)))

    def _answer(self, reply: Reply) -> None:
        self._is_answering = True
        if reply.delay > 0:
            asyncio.get_running_loop().call_later(reply.delay, self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        self._is_answering = False
        if self._transport.is_closing():
            return
        if reply.cut:
            self._transport.write(_rendered(reply)[: -len(reply.body) // 2])
            self._transport.close()
            return
        self._transport.write(_rendered(reply))
        if self._held:
            self._answer_next()

    def _refuse(self, status: int) -> None:
        self._transport.write(_rendered(Reply(status, b"{}")))
        self._transport.close()


def _head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, path and headers."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    names = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in names}
    return method, rest.partition(" ")[0], headers


def _length(headers: Mapping[str, str]) -> int:
    """The body's length, which is -1 if it cannot be known."""
    length = headers.get("content-length", "0")
    is_known = length.isdecimal() and "transfer-encoding" not in headers
    return int(length) if is_known else -1


def _rendered(reply: Reply) -> bytes:
    phrase = HTTPStatus(reply.status).phrase
    headers = {
        "Content-Type": "application/json", "Content-Length": str(len(reply.body)), **reply.headers
    }  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} {phrase}\r\n{lines}\r\n".encode() + reply.body
