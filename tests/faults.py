"""An HTTP proxy that misbehaves on request: errors, slow answers, cut connections, lost answers.

with FaultProxy(upstream_url) as proxy:
    proxy.inject(Refuse(503, "SlowDown"), times=2, method="PUT")
    ...                         # talk to proxy.url
    assert proxy.injected == 2
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

_OF_ONE_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}


@dataclass(frozen=True)
class Refuse:
    """Answer with an S3 error, without asking the upstream."""

    status: int
    code: str


@dataclass(frozen=True)
class Reply:
    """Answer with this JSON, without asking the upstream."""

    status: int
    body: str


@dataclass(frozen=True)
class Delay:
    """Answer correctly, but only after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class CutAnswer:
    """Hang up after so many bytes of the answer's body."""

    after: int


@dataclass(frozen=True)
class CutRequest:
    """Hang up after reading so many bytes of the request's body; the upstream never hears of it."""

    after: int


@dataclass(frozen=True)
class LoseAnswer:
    """Let the upstream do it, then hang up without an answer."""


Fault = Refuse | Reply | Delay | CutAnswer | CutRequest | LoseAnswer


@dataclass
class _Rule:
    fault: Fault
    times: int
    matches: Callable[[str, str, str], bool]


class FaultProxy:
    """A proxy before ``upstream``; faults are used up in the order they were injected."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.injected = 0
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def inject(
        self,
        fault: Fault,
        *,
        times: int = 1,
        method: str = "",
        path: str = "",
        query: str = "",
        target: str = "",
    ) -> None:
        """Do ``fault`` to the next ``times`` requests of this method and these parts of a URL.

        ``target`` is a part of the header by which AWS's JSON services name an operation.
        """

        def matches(asked: str, url: str, operation: str) -> bool:
            parts = urlsplit(url)
            named = path in parts.path and query in parts.query and target in operation
            return named and method in {"", asked}

        with self._lock:
            self._rules.append(_Rule(fault, times, matches))

    def relent(self) -> None:
        """Forget the faults that no request has suffered so far."""
        with self._lock:
            self._rules.clear()

    def take(self, method: str, url: str, operation: str = "") -> Fault | None:
        """The fault that this request suffers, if any."""
        with self._lock:
            for rule in self._rules:
                if rule.times and rule.matches(method, url, operation):
                    rule.times -= 1
                    self.injected += 1
                    return rule.fault
        return None

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: FaultProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up waiting is part of the exercise."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        operation = self.headers.get("X-Amz-Target", "")
        fault = self.server.proxy.take(self.command, self.path, operation)
        length = int(self.headers.get("Content-Length", 0))
        if isinstance(fault, CutRequest):
            self.rfile.read(min(fault.after, length))
            return self._hang_up()
        body = self.rfile.read(length)
        if isinstance(fault, Refuse):
            return self._refuse(fault)
        if isinstance(fault, Reply):
            return self._send(fault.status, "application/x-amz-json-1.0", fault.body.encode())
        answer, content = self._ask_upstream(body)
        if isinstance(fault, LoseAnswer):
            return self._hang_up()
        if isinstance(fault, Delay):
            time.sleep(fault.seconds)
        return self._answer(answer, content, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

    def _ask_upstream(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        upstream = http.client.HTTPConnection(self.server.proxy.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name != "Expect"}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        return answer, content

    def _answer(
        self, answer: http.client.HTTPResponse, content: bytes, fault: Fault | None
    ) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_ONE_CONNECTION | {"content-length"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        if isinstance(fault, CutAnswer):
            self.wfile.write(content[: fault.after])
            return self._hang_up()
        self.wfile.write(content)
        return None

    def _refuse(self, fault: Refuse) -> None:
        body = f"<Error><Code>{fault.code}</Code><Message>injected</Message></Error>".encode()
        self._send(fault.status, "application/xml", body)

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the test says what it expects."""
