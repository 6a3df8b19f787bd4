"""Kept connections to one host, none of which can be held up by an answer that does not come."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from schemas.errors import UsageError


class _Connection(HTTPConnection):
    """A connection whose answer's head may not take longer in all than one silence may."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        with _hung_up_after(self.timeout, self.sock):
            return super().getresponse()


class _SecureConnection(HTTPSConnection):
    """The same over TLS."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        with _hung_up_after(self.timeout, self.sock):
            return super().getresponse()


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


@contextmanager
def _hung_up_after(seconds: float | None, connection: socket.socket) -> Iterator[None]:
    """End the connection then, though bytes may still come one by one. Raises ``TimeoutError``."""
    is_over = threading.Event()

    def hang_up() -> None:
        is_over.set()
        with suppress(OSError):  # it is closed already
            # The plain socket's: that of TLS would take its own state away under the reader.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    watch = threading.Timer(seconds or 0, hang_up)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
    if is_over.is_set():  # a head that ends too soon is taken for a whole one
        raise TimeoutError


def open_pool(
    address: str, connections: int, timeout: float, ca_file: Path | None
) -> urllib3.HTTPConnectionPool:
    """The connections to the host of an address. Raises ``UsageError`` for a bad ``ca_file``."""
    limits = urllib3.Timeout(connect=timeout, read=timeout)
    parts = urlsplit(address)
    host = str(parts.hostname)
    if parts.scheme == "http":
        return _Pool(host, parts.port, timeout=limits, maxsize=connections, block=True)
    return _SecurePool(
        host,
        parts.port,
        timeout=limits,
        maxsize=connections,
        block=True,
        ssl_context=_trusting(ca_file),
    )


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError:
        raise UsageError(f"processors: ca_file {str(ca_file)!r} holds no certificates") from None
