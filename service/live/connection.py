"""One client's connection: carries out what its session asks for, and feeds it with what comes.

The thread of the request reads, and does what takes time: it asks who the client is, and reads what
a watch begins with. Updates come by the feed's thread. They take turns at the session, so that what
it says first is sent first; nothing that waits is done within a turn.
"""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import structlog

from schemas.errors import LetheError, RequestError
from service.errors import places_of
from service.live.feed import Feed
from service.live.frames import CloseCode, Closed, Frames, Received
from service.live.hub import Hub
from service.live.messages import Update
from service.live.opening import Reader
from service.live.requests import MOST_BYTES
from service.live.sending import Outgoing
from service.live.session import Session
from service.live.steps import Close, Identify, Open, Send, Step, Unwatch
from service.security.tokens import Identity

_AT_ONCE = 16 * 1024
_DRAIN_SECONDS = 0.1

_log = structlog.get_logger()

_Task = Identify | Open | Unwatch
_Input = Callable[[], list[Step]]


class Connection:
    """A client of the hub. ``run`` is for the thread of its request, once."""

    def __init__(
        self,
        sock: socket.socket,
        session: Session,
        outgoing: Outgoing,
        hub: Hub,
        feed: Feed,
        reader: Reader,
        identify: Callable[[str], Identity],
    ) -> None:
        self._socket = sock
        self._session = session
        self._outgoing = outgoing
        self._hub = hub
        self._feed = feed
        self._reader = reader
        self._identify = identify
        self._turn = threading.Lock()
        self._frames = Frames(MOST_BYTES)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._seat = ExitStack()
        self._is_known = False
        self._client_closed = False
        self._code = CloseCode.ABNORMAL

    def tell(self, update: Update) -> None:
        """See ``service.live.hub.Client``."""
        self._say(lambda: self._session.told(update))

    def end(self, code: CloseCode, reason: str) -> None:
        """See ``service.live.hub.Client``."""
        self._say(lambda: self._session.end(code, reason))

    def run(self) -> None:
        """Serve the client until the connection is over."""
        with self._seat:
            try:
                self._take_seat()
                self._serve()
            except Exception as error:
                _log.error("a socket failed", error=type(error).__name__, places=places_of(error))
                self._say(partial(self._session.broke, error))
            self._drain()
        if self._outgoing.was_too_slow:
            _log.warning("a socket was cut off: its client reads too slowly")
        _log.info("socket closed", code=int(self._code))

    def _take_seat(self) -> None:
        try:
            self._feed.begin()
            self._seat.enter_context(self._hub.seat(self))
        except LetheError as error:
            _note(error)
            self._say(partial(self._session.refused, error))

    def _serve(self) -> None:
        while not self._session.closed:
            data = self._read(self._session.due_in())
            if data == b"":
                return
            for received in self._received(data or b""):
                self._feed_session(partial(self._session.receive, received))
            self._feed_session(self._session.tick)

    def _read(self, seconds: float) -> bytes | None:
        """What came within this time, None if nothing did; nothing if the connection is over."""
        if not self._poll.poll(seconds * 1000):
            return None
        try:
            return self._socket.recv(_AT_ONCE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _received(self, data: bytes) -> Iterator[Received]:
        for received in self._frames.receive(data):
            self._client_closed = self._client_closed or isinstance(received, Closed)
            yield received

    def _feed_session(self, put_in: _Input) -> None:
        """Put something into the session, and do all that it asks for."""
        tasks = deque(self._say(put_in))
        while tasks:
            tasks.extend(self._say(self._perform(tasks.popleft())))

    def _say(self, put_in: _Input) -> list[_Task]:
        """Put something into the session, send what it says, and return what is left to be done."""
        with self._turn:
            return [task for step in put_in() for task in self._send(step)]

    def _send(self, step: Step) -> list[_Task]:
        if isinstance(step, Send):
            self._outgoing.put(step.frame)
        elif isinstance(step, Close):
            self._code = step.code
            self._outgoing.put(step.frame, last=True)
        else:
            return [step]
        return []

    def _perform(self, task: _Task) -> _Input:
        """Do something that may take time; what the session is to be told of it."""
        if isinstance(task, Identify):
            return self._find_out(task)
        if isinstance(task, Open):
            return self._open(task)
        self._hub.unwatch(task.watched, self)
        return list

    def _find_out(self, task: Identify) -> _Input:
        try:
            identity = self._identify(task.token)
            if not self._is_known:
                self._seat.enter_context(self._hub.seat_of(identity.principal))
                self._is_known = True
        except LetheError as error:
            _note(error)
            return partial(self._session.refused, error)
        return partial(self._session.identified, identity)

    def _open(self, task: Open) -> _Input:
        """First have updates told, then read: so that nothing is lost in between."""
        try:
            reach = self._reader.reach(self._session.principal, task.watched)
            place = self._hub.watch(task.watched, self, reach)
            opening = self._reader.read(task.watched, task.after, reach, place)
        except LetheError as error:
            _note(error)
            return partial(self._session.not_opened, task.watched, error)
        return partial(self._session.opened, task.watched, opening)

    def _drain(self) -> None:
        """Give the client time to get all that was sent, and to answer the close."""
        while not self._client_closed or self._outgoing.has_unsent:
            data = self._read(_DRAIN_SECONDS)
            if data == b"":
                break
            for _ in self._received(data or b""):
                pass
        self._outgoing.stop()


def _note(error: LetheError) -> None:
    """Log what is not the client's doing."""
    if not isinstance(error, RequestError):
        _log.error("a socket's request failed", code=error.code, message=error.message)
