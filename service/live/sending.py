"""Sending to clients without ever waiting for one.

simple-websocket hands each frame to ``send`` once, from whatever thread: what the socket does not
take is lost, and the stream broken. So all frames of a connection go through its ``Outgoing``,
which keeps what is left over, up to a limit, and one thread, the ``Flusher``, sends it on as the
client reads. Who reads too slowly is cut off, and may come back and resume.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

MOST_UNSENT = 256 * 1024
"""Bytes kept for one client that does not read, beside what the system keeps for its socket."""

SLOW_SECONDS = 10.0
"""For so long a client may leave something unread that was kept for it."""

LINGER_SECONDS = 2.0
"""For so long a client has time to answer a close."""

_LOOK_MS = 50


class Outgoing:
    """The frames that one client has yet to get. For any number of threads."""

    def __init__(self, sock: socket.socket, flusher: Flusher) -> None:
        self._socket = sock
        self._flusher = flusher
        self._lock = threading.Lock()
        self._unsent: deque[memoryview] = deque()
        self._size = 0
        self._is_last = False
        self._deadline: float | None = None
        self._is_over = False
        self.was_too_slow = False

    def put(self, frame: bytes, last: bool = False) -> None:
        """Send a whole frame, now or as soon as the client reads; nothing after the ``last``."""
        with self._lock:
            if self._is_last or self._is_over:
                return
            self._is_last = last
            self._unsent.append(memoryview(frame))
            self._size += len(frame)
            self._send()
            if self._size > MOST_UNSENT:
                self._give_up()
            elif self._unsent or last:
                self._set_deadline(LINGER_SECONDS if last else SLOW_SECONDS)

    def flush(self, now: float) -> bool:
        """Send what is left; whether there is still something to look after."""
        with self._lock:
            self._send()
            if not self._unsent and not self._is_last:
                self._deadline = None
            if self._deadline is not None and now >= self._deadline:
                self._give_up()
            return self._deadline is not None and not self._is_over

    def fileno(self) -> int:
        """The socket's number, -1 if it is closed."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether the client has to read before more can be sent."""
        return bool(self._unsent)

    def stop(self) -> None:
        """The connection is over: nothing is sent or looked after any more."""
        with self._lock:
            self._cut_off()

    def _send(self) -> None:
        """Give the system what it takes."""
        while self._unsent and not self._is_over:
            try:
                sent = self._socket.send(self._unsent[0], socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                self._cut_off()
                return
            self._size -= sent
            rest = self._unsent.popleft()[sent:]
            if rest:
                self._unsent.appendleft(rest)

    def _set_deadline(self, seconds: float) -> None:
        if self._deadline is None or self._is_last:
            self._deadline = time.monotonic() + seconds
        self._flusher.look_after(self)

    def _give_up(self) -> None:
        self.was_too_slow = not self._is_last
        self._cut_off()

    def _cut_off(self) -> None:
        """Whoever waits for the socket finds that it has ended."""
        self._is_over = True
        self._unsent.clear()
        self._size = 0
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


class Flusher:
    """One thread that looks after all connections of a process that could not be sent everything.

    It sleeps while there are none.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._wake = threading.Condition()
        self._watched: set[Outgoing] = set()
        self._thread: threading.Thread | None = None

    def look_after(self, outgoing: Outgoing) -> None:
        """Send the rest as the client reads; cut it off at its deadline."""
        with self._wake:
            self._watched.add(outgoing)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="flusher", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        while True:
            watched = self._take()
            _wait_for_any(watched)
            rest = [outgoing for outgoing in watched if outgoing.flush(self._now())]
            with self._wake:
                self._watched.update(rest)

    def _take(self) -> list[Outgoing]:
        """Those that were asked for; whoever asks again meanwhile is looked at again."""
        with self._wake:
            while not self._watched:
                self._wake.wait()
            taken = [*self._watched]
            self._watched.clear()
            return taken


def _wait_for_any(watched: list[Outgoing]) -> None:
    """Wait until one of these can be sent something, or a moment passes.

    A number may be another socket's by now: then it is looked at once too often, and no harm done.
    """
    poll = select.poll()
    for outgoing in watched:
        number = outgoing.fileno()
        if number >= 0 and outgoing.has_unsent:
            poll.register(number, select.POLLOUT)
    poll.poll(_LOOK_MS)
