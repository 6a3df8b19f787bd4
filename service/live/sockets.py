"""``GET /ws``: the WebSocket, on flask-sock under gunicorn's threads.

flask-sock does the handshake and gives the socket back to gunicorn. In between the request's own
thread reads, without the second one that simple-websocket would start to read ahead of it.
"""

from __future__ import annotations

import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, request
from flask.blueprints import BlueprintSetupState
from flask_sock import Sock
from werkzeug.datastructures import Headers

from schemas.errors import Forbidden, RequestError
from service.bootstrap import Wiring
from service.context import correlation_id, public
from service.live.connection import Connection
from service.live.feed import Feed
from service.live.hub import Hub
from service.live.opening import Reader, sources
from service.live.sending import Flusher, Outgoing
from service.live.session import Clock, Rules, Session

PATH = "/ws"

_SYSTEM_BUFFER = 64 * 1024
"""Bytes that the system is asked to keep of what a client has yet to read."""

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_VERSION = "13"


def blueprint(wiring: Wiring) -> Blueprint:
    """The route. Its threads begin with the first connection."""
    pages = Blueprint("sockets", __name__)
    origins = frozenset(wiring.settings.service.sockets.origins)
    connect = _connector(wiring)
    gauge = wiring.observer.metrics.sockets
    pages.before_request(lambda: _check_handshake(origins))
    pages.record_once(_configure)

    @Sock().route(PATH, bp=pages)
    @public
    def talk(ws: Any) -> None:
        gauge.inc()
        try:
            connect(ws.sock).run()
        finally:
            gauge.dec()
            ws.connected = False

    return pages


def _connector(wiring: Wiring) -> Callable[[socket.socket], Connection]:
    section = wiring.settings.service.sockets
    hub = Hub(wiring.settings.service.most_sockets, section.max_per_principal)
    feed = Feed(wiring.state.outbox, hub, wiring.closing)
    reader = Reader(sources(wiring.state), wiring.state.outbox)
    flusher = Flusher()
    clock = Clock(wiring.clock, time.monotonic)
    rules = Rules(
        authenticate_seconds=section.authenticate_seconds,
        heartbeat_seconds=section.heartbeat_seconds,
        messages_per_second=section.messages_per_second,
        development=wiring.settings.env == "local",
    )

    def connect(sock: socket.socket) -> Connection:
        _prepare(sock)
        session = Session(rules, clock, correlation_id(), uuid.uuid4().hex)
        outgoing = Outgoing(sock, flusher)
        return Connection(sock, session, outgoing, hub, feed, reader, wiring.identify)

    return connect


def _prepare(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SYSTEM_BUFFER)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _check_handshake(origins: frozenset[str]) -> None:
    """Raise ``Forbidden`` for pages of others, ``RequestError`` for what is no handshake."""
    origin = request.headers.get("Origin")
    if origin is not None and origin not in origins and not _is_own(origin):
        raise Forbidden("pages of this origin may not connect: see service.sockets.origins")
    if not _is_handshake(request.headers):
        raise RequestError("this is no WebSocket handshake of RFC 6455, version 13")
    request.environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)  # So nothing is ever compressed.


def _is_handshake(headers: Headers) -> bool:
    """Whether it has what RFC 6455, 4.2.1, wants and the route did not ask for, and no body."""
    if "Host" not in headers or "Content-Length" in headers or "Transfer-Encoding" in headers:
        return False
    key = headers.get("Sec-WebSocket-Key", "")
    return bool(_KEY.fullmatch(key)) and headers.get("Sec-WebSocket-Version") == _VERSION


def _is_own(origin: str) -> bool:
    parts = urlsplit(origin)
    return (parts.scheme, parts.netloc) == (request.scheme, request.host)


def _configure(setup: BlueprintSetupState) -> None:
    setup.app.config["SOCK_SERVER_OPTIONS"] = {"thread_class": _NoThread}


class _NoThread:
    """Stands in for simple-websocket's reading thread."""

    def __init__(self, target: Callable[[], None]) -> None:
        del target
        self.name = threading.current_thread().name

    def start(self) -> None:
        """Nothing is read but by the connection."""
