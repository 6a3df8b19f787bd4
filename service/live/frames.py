"""WebSocket frames (RFC 6455) become messages, and messages frames. No I/O.

Frames are taken apart by wsproto; compression is never agreed on, so that a message is no larger
than what came over the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from io import StringIO
from typing import Any

from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import FrameProtocol
from wsproto.utilities import LocalProtocolError


class CloseCode(IntEnum):
    """Why a connection ends: RFC 6455, 7.4.1, its registry at IANA, and one of our own.

    ``ABNORMAL`` is what ended without a word; it is never sent.
    """

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    BINARY = 1003
    ABNORMAL = 1006
    NOT_UTF8 = 1007
    POLICY = 1008
    TOO_BIG = 1009
    MISTAKE = 1011
    TRY_LATER = 1013
    NOT_AUTHENTICATED = 4401


@dataclass(frozen=True)
class Text:
    """A whole text message."""

    text: str


@dataclass(frozen=True)
class Pinged:
    """A ping of the protocol, to be answered by ``pong``."""

    payload: bytes


@dataclass(frozen=True)
class Ponged:
    """A pong of the protocol."""


@dataclass(frozen=True)
class Part:
    """A frame that ends no message."""


@dataclass(frozen=True)
class Closed:
    """The peer ends the connection."""


@dataclass(frozen=True)
class Broken:
    """What came cannot be taken: the connection has to be ended with this code."""

    code: CloseCode
    reason: str


Received = Text | Pinged | Ponged | Part | Closed | Broken


class Frames:
    """One connection's frames, the server's end. For one thread, but for what only makes frames."""

    def __init__(self, most: int) -> None:
        self._wire = Connection(ConnectionType.SERVER)
        self._most = most
        self._text = StringIO()

    def receive(self, data: bytes) -> Iterator[Received]:
        """What these bytes complete. Ends after ``Closed`` and ``Broken``."""
        try:
            self._wire.receive_data(data)
            for event in self._wire.events():
                yield from self._take(event)
        except LocalProtocolError:
            yield Closed()

    def _take(self, event: Any) -> Iterator[Received]:
        if isinstance(event, TextMessage):
            yield from self._piece(event)
        elif isinstance(event, BytesMessage):
            yield Broken(CloseCode.BINARY, "only text is taken")
        elif isinstance(event, Ping):
            yield Pinged(bytes(event.payload))
        elif isinstance(event, Pong):
            yield Ponged()
        elif isinstance(event, CloseConnection):
            yield self._closed(event.code)

    def _piece(self, event: TextMessage) -> Iterator[Received]:
        if self._text.tell() + len(event.data) > self._most:
            yield Broken(CloseCode.TOO_BIG, f"a message has at most {self._most} characters")
            return
        self._text.write(event.data)
        if event.message_finished:
            whole, self._text = self._text, StringIO()
            yield Text(whole.getvalue())
        elif event.frame_finished:
            yield Part()

    def _closed(self, code: int) -> Received:
        """wsproto tells of a faulty frame as of a close, but only a close changes its state."""
        if self._wire.state.name in {"REMOTE_CLOSING", "CLOSED"}:
            return Closed()
        if code == CloseCode.NOT_UTF8:
            return Broken(CloseCode.NOT_UTF8, "text has to be UTF-8")
        return Broken(CloseCode.PROTOCOL_ERROR, "a frame is malformed")


def text_frame(text: bytes) -> bytes:
    """The frame of a text message."""
    return bytes(_frames().send_data(text.decode(), True))


def ping_frame() -> bytes:
    """The frame of a ping."""
    return bytes(_frames().ping())


def pong_frame(payload: bytes) -> bytes:
    """The frame of the answer to a ping."""
    return bytes(_frames().pong(payload))


def close_frame(code: int, reason: str) -> bytes:
    """The frame that ends a connection."""
    return bytes(_frames().close(code, reason))


def _frames() -> FrameProtocol:
    return FrameProtocol(client=False, extensions=[])
