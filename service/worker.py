"""gunicorn's worker of threads, with four things of our own.

Requests that are no HTTP are answered in our shape, without repeating them, and logged without
what they held. Threads that wait are told as soon as the worker is asked to end. A client that
pauses in the midst of a request, or of taking an answer, or sends it bit by bit, does not hold a
thread for ever. And one that does not hang up after its last answer holds up nobody else.
"""

from __future__ import annotations

import socket
import struct
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from gunicorn import util
from gunicorn.http import errors as http
from gunicorn.http import get_parser
from gunicorn.workers.gthread import ThreadWorker

from service.correlation import HEADER
from service.errors import Fault
from service.request_pace import PacedUnreader

_log = structlog.get_logger()

_LAST_SECONDS = 0.1
_PARTING_SECONDS = 2.0
_PARTING_BYTES = 64 * 1024

_FAULTS: dict[type[Exception], Fault] = {
    http.LimitRequestLine: Fault(414, "uri_too_long", "the address is longer than is taken"),
    http.LimitRequestHeaders: Fault(
        431, "request_header_fields_too_large", "the headers are larger than is taken"
    ),
    http.UnsupportedTransferCoding: Fault(
        501, "not_implemented", "this transfer coding is not known here"
    ),
    http.ExpectationFailed: Fault(417, "expectation_failed", "this expectation is not met here"),
    http.ParseException: Fault(400, "bad_request", "this is no well-formed HTTP request"),
}
_MISTAKE = Fault(500, "internal", "something went wrong here")


class Worker(ThreadWorker):
    """One worker process."""

    def enqueue_req(self, conn: Any) -> None:
        """Have reads and writes end that last for too long."""
        seconds = self.wsgi.extensions["lethe"].pause_seconds
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            conn.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))
        if conn.parser is None:
            conn.parser = get_parser(conn.cfg, conn.sock, conn.client)
            conn.parser.unreader = PacedUnreader(conn.sock, seconds)
        conn.parser.unreader.begin()
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Do a request, and see its connection to the end if it is the last one."""
        kept = super().handle(conn)
        if kept is False:
            part(conn.sock, 0.0 if _is_read(conn.parser) else _PARTING_SECONDS)
        return kept

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: let requests under way end, and those that wait know."""
        self._begin_to_close()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGQUIT and SIGINT: end at once."""
        self._begin_to_close()
        super().handle_quit(sig, frame)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer what never became a request of the application."""
        del req, addr
        fault = fault_of(exc)
        _log.warning("a connection did not bring a request", error=type(exc).__name__)
        try:
            util.write_nonblock(client, answer_to(fault, uuid.uuid4().hex, datetime.now(UTC)))
        except OSError as error:
            _log.debug("a refusal could not be sent", error=type(error).__name__)

    def _begin_to_close(self) -> None:
        app = getattr(self, "wsgi", None)
        if app is not None:
            app.extensions["lethe"].closing.set()


def _is_read(parser: Any) -> bool:
    """Whether nothing is left of the last request, so that closing cuts no answer off."""
    try:
        return parser.mesg is not None and parser.finish_body(time.monotonic() + _LAST_SECONDS)
    except (http.ParseException, OSError):
        return False


def part(connection: socket.socket, within: float) -> None:
    """Say that no more comes, and let the client see its answer before it is cut off.

    So RFC 9112 has it in section 9.6. The client should hang up ``within`` so many seconds. After
    them gunicorn, which closes connections in the thread that accepts them, has none to wait for.
    """
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        until, left = time.monotonic() + within, _PARTING_BYTES
        while left > 0 and (seconds := until - time.monotonic()) > 0:
            connection.settimeout(seconds)
            received = len(connection.recv(4096))
            left = left - received if received else 0
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def fault_of(error: Exception) -> Fault:
    """What is said of a request that gunicorn could not read."""
    for kind, fault in _FAULTS.items():
        if isinstance(error, kind):
            return fault
    return _MISTAKE


def answer_to(fault: Fault, correlation: str, at: datetime) -> bytes:
    """The whole answer, after which the connection is closed."""
    body = msgspec.json.encode(fault.body(correlation, at))
    head = (
        f"HTTP/1.1 {fault.status} {fault.code}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
        f"{HEADER}: {correlation}\r\n\r\n"
    )
    return head.encode("ascii") + body
